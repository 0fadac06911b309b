"""A small processor with windows, for tests of the engine: counts the rows of each key in tumbling windows.

A row's value is `time` (an integer). Its output is `partition offset window count`: what the count of its key is in
its window, itself included. The window is that of the partition's watermark, so it can be computed from the log alone:
`expected` does so.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.operators as tm
from dataflows.engine.config import EngineConfig
from dataflows.engine.flow import over_kafka
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Running
from dataflows.engine.work import Done, Work
from dataflows.run import run
from tidemark.errors import RecordError
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.runtime.settings import Settings

ABORT = b"abort"
"""A row at which the processor sends a record too big for the topic `TARGET.small`, once in its life: Kafka refuses it
and the transaction fails. Counts as a row of time 0."""


@dataclass
class _State:
    watermark: int
    first: int | None
    counts: Counter[bytes | None] = field(default_factory=Counter)


class CountingProcessor:
    """See the module."""

    def __init__(self, source: str, target: str, *, size: int = 100) -> None:
        self.topics: Sequence[str] = (source,)
        self.target = target
        self.size = size
        self.states: dict[Partition, _State] = {}
        self.replayed = 0
        self.opened: list[tuple[Partition, str]] = []
        self.closed: list[Partition] = []
        self.aborted: set[int] = set()
        self.batches: list[Batch] = []

    def open(self, partition: Partition, metadata: str) -> int | None:
        self.opened.append((partition, metadata))
        if not metadata:
            self.states[partition] = _State(0, None)
            return None
        resume = json.loads(metadata)
        self.states[partition] = _State(resume["watermark"], None)
        return None if resume["rewind"] is None else int(resume["rewind"])

    def close(self, partition: Partition) -> None:
        self.closed.append(partition)
        del self.states[partition]

    def process(self, batch: Batch) -> list[Output]:
        state = self.states[batch.partition]
        outputs = []
        self.batches.append(batch)
        self.replayed += len(batch) if batch.replay else 0
        for offset, key, value in zip(batch.offsets.tolist(), batch.keys, batch.values, strict=True):
            text = value
            if value == ABORT:
                if offset not in self.aborted:
                    self.aborted.add(offset)
                    outputs.append(Output(f"{self.target}.small", os.urandom(5_000), headers=(("h", b""),)))
                text = b"0"
            if text is None:
                raise RecordError("count", "empty value")
            window = max(state.watermark, int(text)) // self.size
            if state.first is None or window != state.watermark // self.size:
                state.counts.clear()
                state.first = offset
            state.watermark = max(state.watermark, int(text))
            state.counts[key] += 1
            told = f"{batch.partition.index} {offset} {window} {state.counts[key]}"
            outputs.append(Output(self.target, told.encode(), key))
        return outputs

    def metadata(self, partition: Partition) -> str:
        state = self.states[partition]
        return json.dumps({"rewind": state.first, "watermark": state.watermark // self.size * self.size})

    def tick(self, now: float) -> list[Output]:  # noqa: ARG002 nothing here comes with time
        return []

    def event_time(self, batch: Batch) -> int | None:
        return self.states[batch.partition].watermark


def expected(rows: Iterable[tuple[int, int, bytes | None, int]], *, size: int = 100) -> list[str]:
    """Outputs for the whole log, given (partition, offset, key, time) in offset order within each partition."""
    watermark: dict[int, int] = {}
    counts: Counter[tuple[int, int, bytes | None]] = Counter()
    texts = []
    for partition, offset, key, time in rows:
        watermark[partition] = max(watermark.get(partition, 0), time)
        window = watermark[partition] // size
        counts[partition, window, key] += 1
        texts.append(f"{partition} {offset} {window} {counts[partition, window, key]}")
    return texts


def main() -> None:
    """Run the flow in this process: `python -m counting SOURCE TARGET GROUP [KEY=VALUE of the configuration…]`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    source, target, group, *options = sys.argv[1:]
    over = {name: float(value) for name, value in (option.split("=") for option in options)}
    consumer = {"session_timeout_ms": int(over.pop("session_timeout", 6) * 1_000), "heartbeat_interval_ms": 500}
    config = EngineConfig(group=group, settings=Settings.from_environment(), consumer=consumer, **over)  # type: ignore[arg-type]
    size = int(os.environ.get("COUNTING_SIZE", "100"))
    stop = Stop().on_signals()

    def build(read: Source[Work], sink: Sink[Done]) -> Dataflow:
        flow = Dataflow("counting")
        rounds = tm.input("read", flow, read)
        tm.commit("commit", sink, tm.processor("count", rounds, lambda: CountingProcessor(source, target, size=size)))
        return flow

    sys.exit(run(*over_kafka(build, lambda: Running(config), stop)))


if __name__ == "__main__":
    main()

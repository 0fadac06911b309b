"""Runs what a flow keeps and does over logs, as the engine does, with crashes: all that it commits, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemark.runtime.processor import EARLIEST, Batch, Headers, Output, Partition

START_MS = 1_750_000_000_000


@dataclass(frozen=True)
class Row:
    """A record. timestamp: Kafka's, ms."""

    value: bytes | None
    timestamp: int = START_MS
    headers: Headers = field(default_factory=list)


@dataclass(frozen=True)
class Commit:
    """One transaction: what it produces to each topic, and offset and metadata of the partitions that go with it."""

    outputs: Mapping[str, Sequence[Output]]
    offsets: Mapping[Partition, tuple[int, str]]


def commits(
    make: Callable[[Sequence[Output]], Any],
    logs: Mapping[Partition, Sequence[Row]],
    seed: int,
    *,
    crash: float = 0.1,
    ticks: float = 0.2,
) -> list[Commit]:
    """Process all logs in batches of random sizes, with ticks and crashes between.

    Args:
        make: a processor, or a flow in the place of one, given all that was committed before.
        logs: the records of each partition.
        seed: of batches, ticks and crashes.
        crash: how often a process dies before it commits.
        ticks: how often time passes.

    Returns:
        The transactions; dead letters without the time at which they were written.

    """
    rng = np.random.default_rng(seed)
    done: list[Commit] = []
    committed: dict[Partition, tuple[int, str]] = {}
    produced: list[Output] = []

    def batch(partition: Partition, begin: int, end: int, *, replay: bool = False) -> Batch:
        rows = logs[partition][begin:end]
        return Batch(
            partition=partition,
            offsets=np.arange(begin, end, dtype=np.int64),
            timestamps=np.array([row.timestamp for row in rows], np.int64),
            keys=[None] * len(rows),
            values=[row.value for row in rows],
            headers=[row.headers for row in rows],
            replay=replay,
        )

    def started() -> Any:  # noqa: ANN401 a processor of any kind
        processor = make(produced)
        for partition in logs:
            position, metadata = committed.get(partition, (0, ""))
            rewind = processor.open(partition, metadata)
            begin = position if rewind is None else 0 if rewind == EARLIEST else rewind
            for at in range(begin, position, 50):
                outputs = processor.process(batch(partition, at, min(at + 50, position), replay=True))
                assert list(outputs) == []
        return processor

    processor = started()
    now, position = START_MS / 1_000, dict.fromkeys(logs, 0)
    while any(position[partition] < len(log) for partition, log in logs.items()):
        if rng.random() < ticks:
            now += float(rng.choice([0.3, 2.0, 40.0]))
            outputs, moved = processor.tick(now), [each for each in logs if position[each]]
        else:
            left = [each for each, log in logs.items() if position[each] < len(log)]
            partition = left[int(rng.integers(len(left)))]
            end = min(position[partition] + int(rng.integers(1, 60)), len(logs[partition]))
            outputs, moved = processor.process(batch(partition, position[partition], end)), [partition]
            if rng.random() >= crash:
                position[partition] = end
            else:
                processor = started()
                continue
        if outputs or moved:
            produced += outputs
            committed |= {each: (position[each], processor.metadata(each)) for each in moved}
            done.append(Commit(_by_topic(outputs), {each: committed[each] for each in moved}))
    return done


def _by_topic(outputs: Sequence[Output]) -> dict[str, list[Output]]:
    given: dict[str, list[Output]] = {}
    for output in outputs:
        given.setdefault(output.topic, []).append(_timeless(output))
    return given


def _timeless(output: Output) -> Output:
    return output._replace(headers=tuple(header for header in output.headers if header[0] != "at"))

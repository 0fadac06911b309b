"""A backlog that becomes visible at once: how fast an engine works it off, at what cost, and whether it is right.

First a warm-up is worked off, long enough that windows are full. The backlog is written in one transaction. The clock
runs from its commit until the last prediction is visible to readers of committed records. Processor time is that of
the engine's processes, the broker's apart.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from confluent_kafka import Producer

from benchmarks.stream.engines import BESIDE, Engine, EngineProcess
from benchmarks.stream.rig import Rig
from benchmarks.stream.usage import peak_mb, processor_seconds
from benchmarks.stream.visibility import Visibility, committed
from benchmarks.stream.workload import Agreement, send
from tidemark.kafka import producer_config

_PATIENCE: Final = 900.0
_POLL: Final = 0.05
_TRANSACTION_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Worked:
    """How a backlog was worked off.

    agreement: with the oracle; None: it only passes on.
    micros, broker_micros: processor time an event, µs.
    """

    engine: str
    guarantee: str
    events: int
    seconds: float
    micros: float
    broker_micros: float
    peak_mb: float
    agreement: Agreement | None

    @property
    def per_second(self) -> float:
        """Events a second over the whole backlog."""
        return self.events / self.seconds

    @property
    def is_right(self) -> bool:
        """Whether each event has one prediction, that of event order."""
        return self.agreement is None or self.agreement.is_right

    def told(self) -> dict[str, Any]:
        """For the record."""
        return {
            "engine": self.engine,
            "guarantee": self.guarantee,
            "events": self.events,
            "seconds": round(self.seconds, 2),
            "per_second": round(self.per_second),
            "processor_us_an_event": round(self.micros, 2),
            "broker_us_an_event": round(self.broker_micros, 2),
            "peak_mb": round(self.peak_mb),
            **({} if self.agreement is None else self.agreement.told()),
        }


def work_off(rig: Rig, engine: Engine, warm: int, backlog: int, settle: float) -> Worked:
    """Let an engine work off a backlog.

    Args:
        rig: the broker and the events.
        engine: that works.
        warm: events before the backlog.
        backlog: events of it.
        settle: seconds without a further record after which nothing more comes.

    Returns:
        How it went.

    """
    with rig.started(engine) as (process, run):
        count = warm + backlog
        visibility = Visibility(rig.admin, run.target, rig.pipeline.partitions)
        send(rig.settings, run.source, rig.workload.records(0, warm))
        _wait(visibility, process, warm, settle)
        producer = Producer(
            producer_config(rig.settings, transactional_id=f"bench-{run.target}")
            | {"transaction.timeout.ms": _TRANSACTION_MS}
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        send(rig.settings, run.source, rig.workload.records(warm, count), producer)
        visibility.forget()
        used = [(processor_seconds(process.pid), processor_seconds(rig.broker_pid))]
        began = time.time()
        producer.commit_transaction(60)
        used += _wait(visibility, process, count, settle, rig.broker_pid)
        peak = peak_mb(process.pid)
        offsets: list[list[int]] = [[] for _ in range(rig.pipeline.partitions)]

        def values() -> Iterator[bytes]:
            for partition, offset, value in committed(rig.settings, run.target, rig.pipeline.partitions):
                offsets[partition].append(offset)
                yield value

        if engine.name == BESIDE:
            agreement = None
            passed = sum(1 for _ in values())
            if passed != count:
                raise RuntimeError(f"{passed} of {count} records were passed on")
        else:
            agreement = rig.workload.compare(values(), count)
        seen = visibility.counts([np.array(sorted(each), np.int64) for each in offsets])
        whole = next((place for place, records in enumerate(seen) if records >= count), len(seen) - 1)
        own, brokers = (used[whole + 1][which] - used[0][which] for which in (0, 1))
        return Worked(
            engine.name,
            engine.guarantee,
            backlog,
            visibility.times[whole] - began,
            own / backlog * 1e6,
            brokers / backlog * 1e6,
            peak,
            agreement,
        )


def _wait(
    visibility: Visibility, process: EngineProcess, records: int, settle: float, broker: int | None = None
) -> list[tuple[float, float]]:
    """Look until so many records can be there and none comes any more; processor seconds at each look."""
    used: list[tuple[float, float]] = []
    deadline = time.monotonic() + _PATIENCE
    last, moved = -1, time.monotonic()
    while last < records or time.monotonic() - moved < settle:
        process.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{process.name}: offsets up to {last} of {records}:\n{process.output[-3_000:]}")
        looks = len(visibility.times)
        end = visibility.look()
        if len(visibility.times) > looks:
            used.append((processor_seconds(process.pid), 0.0 if broker is None else processor_seconds(broker)))
        if end != last:
            last, moved = end, time.monotonic()
        time.sleep(_POLL)
    return used

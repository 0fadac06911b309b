"""A feed at a rate: from when Kafka appended an event until a reader has its prediction.

One reader reads what is committed, one all that is there; both are in a process of their own. Events carry the time at
which they are sent, as they would in life.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any, Final

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.stream.engines import Engine
from benchmarks.stream.rig import Rig
from benchmarks.stream.usage import processor_seconds
from benchmarks.stream.visibility import Visibility
from benchmarks.stream.workload import Prediction, send
from tidemark.kafka import consumer_config, producer_config
from tidemark.runtime.settings import Settings

_ISOLATIONS: Final = ("read_committed", "read_uncommitted")
_PATIENCE: Final = 180.0
_STEP: Final = 0.002
_SETTLE: Final = 3.0
_QUANTILES: Final = (50, 99, 100)


@dataclass(frozen=True, slots=True)
class Paced:
    """How a feed went. latencies: ms, by isolation: p50, p99, worst.  missing: predictions that never came."""

    engine: str
    rate: int
    seconds: float
    latencies: dict[str, list[float]]
    missing: int
    doubled: int
    micros: float

    @property
    def is_right(self) -> bool:
        """Whether each event had one prediction."""
        return self.missing == 0 and self.doubled == 0

    def told(self) -> dict[str, Any]:
        """For the record."""
        names = ("p50", "p99", "worst")
        return {
            "engine": self.engine,
            "rate": self.rate,
            "seconds": self.seconds,
            **{
                f"{isolation.removeprefix('read_')}_ms": dict(zip(names, (round(x, 1) for x in found), strict=True))
                for isolation, found in self.latencies.items()
            },
            "missing": self.missing,
            "doubled": self.doubled,
            "processor_us_an_event": round(self.micros, 1),
        }


def paced(rig: Rig, engine: Engine, rate: int, warm: int, warm_seconds: float, seconds: float) -> Paced:
    """Feed an engine at a rate, and look when predictions come.

    Args:
        rig: the broker and the events.
        engine: that works.
        rate: events a second.
        warm: events that are worked off before the feed.
        warm_seconds: of the feed, which do not count.
        seconds: that count.

    Returns:
        How it went.

    """
    count = int(rate * (warm_seconds + seconds))
    records = list(rig.workload.records(0, warm + count))
    spawning = multiprocessing.get_context("spawn")
    stop = spawning.Event()
    here, there = spawning.Pipe()
    with rig.started(engine) as (process, run):
        earlier = datetime.now(UTC) - timedelta(milliseconds=warm)
        moments = (earlier + timedelta(milliseconds=number) for number in range(warm))
        told = ((key, stamped(value, moment)) for (key, value), moment in zip(records, moments, strict=False))
        send(rig.settings, run.source, told)
        visibility = Visibility(rig.admin, run.target, rig.pipeline.partitions)
        deadline = time.monotonic() + _PATIENCE
        while visibility.look() < warm:
            process.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{engine.name} has not warmed up:\n{process.output[-3_000:]}")
            time.sleep(0.1)
        watching = spawning.Process(
            target=_watch_both, args=(rig.settings, run.target, rig.pipeline.partitions, stop, there)
        )
        watching.start()
        try:
            here.recv()  # both read
            began, used = _feed(rig.settings, run.source, records[warm:], rate, process.pid, warm_seconds)
            used = processor_seconds(process.pid) - used
            last, moved = -1, time.monotonic()
            while time.monotonic() - moved < _SETTLE:
                if (end := visibility.look()) != last:
                    last, moved = end, time.monotonic()
                time.sleep(0.1)
            stop.set()
            seen: dict[str, list[tuple[int, float]]] = here.recv()
        finally:
            stop.set()
            watching.join(10)
            watching.kill()
        appended = _appended(rig.settings, run.source, rig.pipeline.partitions)
    first = (began + warm_seconds) * 1_000
    measured = {number: at for number, at in appended.items() if at >= first}
    latencies: dict[str, list[float]] = {}
    for isolation, rows in seen.items():
        when: dict[int, float] = {}
        for number, at in rows:
            when.setdefault(number, at)
        waited = [when[number] * 1_000 - at for number, at in measured.items() if number in when]
        latencies[isolation] = [float(x) for x in np.percentile(waited, _QUANTILES)]
    committed = [number for number, _ in seen["read_committed"] if number in measured]
    return Paced(
        engine.name,
        rate,
        seconds,
        latencies,
        missing=len(measured) - len(set(committed)),
        doubled=len(committed) - len(set(committed)),
        micros=used / len(measured) * 1e6,
    )


def _feed(
    settings: Settings, topic: str, records: list[tuple[bytes, bytes]], rate: int, pid: int, warm_seconds: float
) -> tuple[float, float]:
    """Send at a rate; when it began, and the processor seconds of a process once the warm-up was over."""
    producer = Producer(producer_config(settings, linger_ms=0))
    began, sent, used = time.time(), 0, 0.0
    while sent < len(records):
        passed = time.time() - began
        due = min(len(records), int(passed * rate))
        for number in range(sent, due):
            key, value = records[number]
            producer.produce(topic, stamped(value, datetime.fromtimestamp(began + number / rate, UTC)), key)
        sent = due
        producer.poll(0)
        if not used and passed >= warm_seconds:
            used = processor_seconds(pid)
        time.sleep(_STEP)
    if left := producer.flush(30):
        raise RuntimeError(f"{left} records were not acknowledged")
    return began, used


def stamped(value: bytes, when: datetime) -> bytes:
    """The event at another time."""
    mark = b'"time":"'
    begin = value.index(mark) + len(mark)
    told = when.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
    return value[:begin] + told + value[value.index(b'"', begin) :]


def _appended(settings: Settings, topic: str, partitions: int) -> dict[int, int]:
    """When Kafka appended each event, ms since 1970."""
    decoder = msgspec.json.Decoder(_Event)
    consumer = Consumer(consumer_config(settings, group="bench-appended", enable_partition_eof=True))
    consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
    unread, times = set(range(partitions)), {}
    while unread:
        for message in consumer.consume(10_000, 0.2):
            if message.error() is None:
                event = decoder.decode(message.value() or b"")
                times[int(event.transaction_id.rpartition("-")[2])] = message.timestamp()[1]
            else:
                unread.discard(message.partition() or 0)
    consumer.close()
    return times


class _Event(msgspec.Struct):
    transaction_id: str


def _watch_both(settings: Settings, topic: str, partitions: int, stop: Any, pipe: Connection) -> None:  # noqa: ANN401
    seen: dict[str, list[tuple[int, float]]] = {isolation: [] for isolation in _ISOLATIONS}
    ready = threading.Barrier(len(_ISOLATIONS) + 1)
    threads = [
        threading.Thread(target=_watch, args=(settings, topic, partitions, isolation, rows, ready, stop))
        for isolation, rows in seen.items()
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    pipe.send("ready")
    for thread in threads:
        thread.join()
    pipe.send(seen)


def _watch(
    settings: Settings,
    topic: str,
    partitions: int,
    isolation: str,
    rows: list[tuple[int, float]],
    ready: threading.Barrier,
    stop: Any,  # noqa: ANN401 an event of multiprocessing, whose class is not public
) -> None:
    config = consumer_config(settings, group=f"bench-{isolation}", fetch_wait_max_ms=50, fetch_queue_backoff_ms=1)
    consumer = Consumer({**config, "isolation.level": isolation})
    consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
    decoder = msgspec.json.Decoder(Prediction)
    waiting = True
    while not stop.is_set():
        first = consumer.poll(0.05)
        if first is None:
            continue
        messages = [first, *consumer.consume(2_000, 0)]
        at = time.time()
        if waiting:
            waiting = False
            ready.wait()
        rows.extend(
            (decoder.decode(message.value() or b"").number, at) for message in messages if message.error() is None
        )
    consumer.close()

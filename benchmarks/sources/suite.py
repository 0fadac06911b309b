"""`make bench-sources`: sources killed at seeded moments, their rates, and the use cases fed through them.

I1: of each kind, rows that were acknowledged (or written to a file) and are not in the raw topic after 50 SIGKILLs of
the source or the broker at seeded moments; of kinds that keep positions, rows that are there more than once; rows a
second from the first that is sent to the last that is committed. I3: events whose features are not those of the topic,
of each use case and source. Syslog acknowledges nothing, so it is in neither.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from models import pipeline_text
from mqtt_brokers import MOSQUITTO, mqtt_broker
from sourcing import pipeline_of, raw, toml

from benchmarks.loop.fraud_loop import own_kafka
from benchmarks.sources.feeds import Feed, FileFeed, HttpFeed, KafkaFeed, MqttFeed
from benchmarks.sources.use_cases import USE_CASES, case_of, differing, produce
from benchmarks.support.flow_process import FlowProcess, wait_for
from benchmarks.support.report import write
from tidemark import kafka as clients
from tidemark.broker import EmbeddedKafka
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

_KINDS: Final = ("http", "mqtt", "kafka", "folder", "log")
_PATIENCE: Final = 120.0
_BATCH: Final = 200
_PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """kills: of each kind; every fifth is the broker's.  rows: that the rate is taken over.  events: of a use case."""

    kills: int
    rows: int
    events: int


FULL: Final = Plan(50, 50_000, 2_000)
QUICK: Final = Plan(2, 5_000, 200)


def row(number: int) -> bytes:
    """A row of the small pipeline."""
    told = {"key": f"k{number % 50}", "time": "2025-01-01T00:00:00Z", "a": number, "b": 1.5, "c": -2.25}
    return json.dumps(told).encode()


class Seen:
    """What a reader of committed records sees, in a thread: how often each number."""

    def __init__(self, settings: Settings, topic: str, partitions: int) -> None:
        self.numbers: Counter[int] = Counter()
        self._consumer = clients.consumer(settings, group="bench-sources", log_level=0)
        self._consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in range(partitions)])
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.numbers[json.loads(message.value() or b"")["a"]] += 1

    def close(self) -> None:
        """End it."""
        self._end.set()
        self._thread.join()
        self._consumer.close()


@contextmanager
def feed_of(kind: str, folder: Path, theirs: Settings) -> Iterator[Feed]:
    """A sender to a source of a kind."""
    with ExitStack() as stack:
        if kind == "http":
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            made: Feed = HttpFeed(port)
        elif kind == "mqtt":
            broker = "rumqttd" if MOSQUITTO is None else "mosquitto"
            made = MqttFeed(stack.enter_context(mqtt_broker(broker, folder)))
        elif kind == "kafka":
            made = KafkaFeed(theirs, f"theirs-{folder.name}")
        else:
            made = FileFeed(kind, folder / "in")
        stack.callback(made.close)
        yield made


@contextmanager
def fed(
    settings: Settings, feed: Feed, folder: Path, pipeline: Pipeline | None = None
) -> Iterator[tuple[Pipeline, FlowProcess]]:
    """The process of a source that runs over a small pipeline."""
    name = f"bench-{folder.name}"
    made = pipeline or pipeline_of(feed.kind, feed.options(), name)
    partitions = made.partitions
    ensure_topics(settings, [TopicSpec(made.raw_topics[0], partitions, {}), TopicSpec(made.topics.deadletter, 1, {})])
    file = folder / "p.toml"
    extra = f'[[sources]]\nname = "s"\nkind = "{feed.kind}"\noptions = {toml(feed.options())}\n'
    file.write_text(pipeline_text(name, extra=extra), encoding="utf-8")
    with FlowProcess(settings, "source", "dataflows.sources", str(file), "s", log=folder / "log") as process:
        yield made, process


def rate(settings: Settings, feed: Feed, folder: Path, rows: int) -> float:
    """Rows a second from the first that is sent to the last that is committed."""
    with fed(settings, feed, folder) as (pipeline, process):
        seen = Seen(settings, pipeline.raw_topics[0], pipeline.partitions)
        feed.send([row(-1)])
        wait_for(lambda: _again(feed, seen), "nothing came", [process], patience=_PATIENCE, poll=0.3)
        began = time.monotonic()
        for begin in range(0, rows, 1_000):
            feed.send([row(number) for number in range(begin, begin + 1_000)])
        wait_for(lambda: len(seen.numbers) > rows, f"{rows} rows did not come", [process], patience=_PATIENCE)
        took = time.monotonic() - began
        process.terminate()
        seen.close()
    return rows / took


def _again(feed: Feed, seen: Seen) -> bool:
    """A subscription takes its time."""
    if not seen.numbers and feed.kind == "mqtt":
        feed.send([row(-1)])
    return bool(seen.numbers)


class Sender:
    """Sends without an end, in a thread. acknowledged: numbers that must be there."""

    def __init__(self, feed: Feed, seed: int) -> None:
        self.acknowledged: set[int] = set()
        self._feed, self._chance, self._end = feed, random.Random(seed), threading.Event()  # noqa: S311 seeded
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._end.is_set():
            numbers = range(number, number + _BATCH)
            if self._feed.send([row(each) for each in numbers]):
                self.acknowledged.update(numbers)
            number += _BATCH
            if self._chance.random() < 0.05:
                self._feed.rotate()
            time.sleep(_PAUSE)

    def stop(self) -> None:
        """End it."""
        self._end.set()
        self._thread.join()


def killed(kafka: EmbeddedKafka, settings: Settings, feed: Feed, folder: Path, kills: int) -> dict[str, Any]:
    """What is lost and doubled after so many kills."""
    chance = random.Random(20)  # noqa: S311 seeded
    with fed(settings, feed, folder) as (pipeline, process):
        seen = Seen(settings, pipeline.raw_topics[0], pipeline.partitions)
        feed.send([row(-1)])
        wait_for(lambda: _again(feed, seen), "nothing came", [process], patience=_PATIENCE, poll=0.3)
        sender = Sender(feed, 20)
        for number in range(kills):
            before = sum(seen.numbers.values())
            wait_for(lambda b=before: sum(seen.numbers.values()) > b, "nothing came", [process], patience=_PATIENCE)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.5))
            if number % 5 == 4:
                kafka.kill()
                kafka.start_node()
            else:
                process.kill()
            if not process.runs:
                process.start()
        sender.stop()
        if not process.runs:
            process.start()
        wanted = sender.acknowledged
        arrived = _waited(lambda: wanted <= seen.numbers.keys())
        status = process.terminate()
        seen.close()
    doubled = sum(count - 1 for number, count in seen.numbers.items() if number >= 0 and count > 1)
    return {
        "lost": len(wanted - seen.numbers.keys()),
        "doubled": doubled,
        "rows": len(wanted),
        "kills": kills,
        "status": status,
        "arrived": arrived,
    }


def _waited(condition: Any) -> bool:  # noqa: ANN401 a function
    last = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > last:
            return False
        time.sleep(_PAUSE)
    return True


def same_features(settings: Settings, folder: Path, plan: Plan) -> Iterator[dict[str, Any]]:
    """Row I3 of each use case and source."""
    for use_case in USE_CASES:
        for kind in ("mqtt", "http", "log", "folder"):
            place = folder / f"{use_case}-{kind}"
            place.mkdir()
            with feed_of(kind, place, settings) as feed:
                case = case_of(use_case, feed, f"i3-{use_case}-{kind}", plan.events)
                yield _compared(settings, feed, place, case, plan, use_case)


def _compared(settings: Settings, feed: Feed, place: Path, case: Any, plan: Plan, use_case: str) -> dict[str, Any]:  # noqa: ANN401
    from sourcing import running  # noqa: PLC0415 a task in this process

    produce(settings, case)
    ensure_topics(settings, [TopicSpec(case.ours.topics.deadletter, 1, {})])
    with running(settings, case.ours, place / "home") as task:
        if not _waited(lambda: getattr(task.source, "ready", bool(task.task._incarnation))):  # noqa: SLF001 when it is open
            raise RuntimeError(f"{use_case}, {feed.kind}: the source does not open: {task.error}")
        for begin in range(0, plan.events, 500):
            feed.send(case.rows[begin : begin + 500])
            feed.rotate()
        _waited(lambda: task.task.counts.records >= plan.events)
    wrong = differing(case, raw(settings, case.theirs), raw(settings, case.ours))
    print(f"I3 {use_case} {feed.kind}: {wrong} of {plan.events} differ", flush=True)
    return {
        "id": f"I3 {use_case} {feed.kind}",
        "value": wrong,
        "target": 0,
        "reached": wrong == 0,
        "unit": "events that differ",
        "detail": {"events": plan.events},
    }


def main(argv: list[str]) -> int:
    """Run it; 0 if every target is reached."""
    parser = argparse.ArgumentParser("python -m benchmarks sources")
    parser.add_argument("--quick", action="store_true", help="under a minute or two, on smaller input")
    parser.add_argument("--kinds", nargs="*", default=list(_KINDS), help="kinds of I1")
    given = parser.parse_args(argv)
    plan = QUICK if given.quick else FULL
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        kafka, settings = stack.enter_context(own_kafka(folder))
        needs_other = "kafka" in given.kinds
        (folder / "theirs").mkdir()
        theirs = stack.enter_context(own_kafka(folder / "theirs"))[1] if needs_other else settings
        for kind in given.kinds:
            rows += _of_kind(kind, kafka, settings, theirs, folder, plan)
        rows += same_features(settings, folder, plan)
    write("sources_quick" if given.quick else "sources", rows)
    return 0 if all(each["reached"] for each in rows) else 1


def _of_kind(
    kind: str, kafka: EmbeddedKafka, settings: Settings, theirs: Settings, folder: Path, plan: Plan
) -> list[dict[str, Any]]:
    found = []
    for part in ("rate", "kills"):
        place = folder / f"{kind}-{part}"
        place.mkdir()
        with feed_of(kind, place, theirs) as feed:
            if part == "rate":
                speed = rate(settings, feed, place, plan.rows)
                print(f"I1 {kind}: {speed:,.0f} rows/s", flush=True)
                told = {"value": round(speed), "target": None, "reached": True, "unit": "rows/s"}
                found.append({"id": f"I1 {kind} rate", **told, "detail": {"rows": plan.rows}})
                continue
            after = killed(kafka, settings, feed, place, plan.kills)
            print(f"I1 {kind}: {after}", flush=True)
            lost = {"value": after["lost"], "target": 0, "reached": after["lost"] == 0, "unit": "rows lost"}
            found.append({"id": f"I1 {kind} lost", **lost, "detail": after})
            twice = after["doubled"]
            target = 0 if feed.exact else None
            told = {"value": twice, "target": target, "reached": not feed.exact or twice == 0, "unit": "rows doubled"}
            found.append({"id": f"I1 {kind} doubled", **told, "detail": {"rows": after["rows"]}})
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Several processes of the monitor flow, real ones, on a real Kafka: one joins everything, the others stand by."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec
from feeding import feeder
from models import pipeline_text

from benchmarks.support.flow_process import FlowProcess
from support import wait_until
from tidemark.kafka import admin, ensure_topics, read_all, wait_settled
from tidemark.kafka.committed import CommittedOffsets
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Outcome, Prediction, encode
from tidemark.runtime.settings import Settings

SECOND: Final = 1_000_000
PARTITIONS: Final = 3
START: Final = 1_750_000_000 * SECOND
ACTIVE: Final = "this process is the active one"
STANDS_BY: Final = "another process is active; this one stands by"


class Bench:
    """A pipeline's predictions and the outcomes of them, under any key and so in any partition."""

    def __init__(self, settings: Settings, name: str, folder: Path) -> None:
        self.settings = settings.model_copy(update={"state_dir": folder})
        text = (
            pipeline_text(name).replace('delay = "1d"', 'delay = "10s"\ngrace = "5s"').replace("= 2", f"= {PARTITIONS}")
        )
        self.path = folder / "p.toml"
        self.path.write_text(text)
        self.pipeline: Pipeline = parse(text, "p.toml")
        self.topics = self.pipeline.topics
        specs = self.topics.specs(raw=[], hops=[], partitions=PARTITIONS, retention_ms=3_600_000)
        self.read = [self.topics.predictions, self.topics.labels, self.topics.outcomes]
        wanted = {*self.read, self.topics.metrics, self.topics.deadletter}
        ensure_topics(self.settings, [spec for spec in specs if spec.name in wanted])
        self.admin = admin(self.settings)
        self.offsets = CommittedOffsets(self.settings)
        self.events = 0
        self.nobody: list[bytes] = []

    def feed(self, count: int) -> None:
        """Events a tenth of a second apart, each with its outcome; one outcome of a hundred is of no event."""
        producer = feeder(self.settings)
        for number in range(self.events, self.events + count):
            time = START + number * SECOND // 10
            prediction = Prediction(
                event_id=f"e{number}",
                business_id=f"b{number}",
                key=None,
                time=time,
                probabilities=[0.5, 0.5],
                uncertainty=None,
                model="m1",
            )
            producer.produce(self.topics.predictions, encode(prediction), partition=number % PARTITIONS)
            outcome = Outcome(
                label="yes",
                known_at=time + 10 * SECOND,
                event_id=f"e{number}" if number % 2 else None,
                business_id=None if number % 2 else f"b{number}",
            )
            producer.produce(self.topics.outcomes, encode(outcome), partition=(number * 7 + number // 5) % PARTITIONS)
            if number % 100 == 50:
                self.nobody.append(encode(Outcome(label="yes", known_at=time, event_id=f"nobody{number}")))
                producer.produce(self.topics.outcomes, self.nobody[-1], partition=number % PARTITIONS)
        assert producer.flush(60) == 0
        self.events += count

    def process(self, slot: str) -> FlowProcess:
        command = ("dataflows.run", "monitor", str(self.path))
        return FlowProcess(self.settings, slot, *command, log=self.settings.state_dir / f"{slot}.log")

    def all_committed(self) -> bool:
        """Whether the group has committed every partition of predictions and outcomes up to its end."""
        places = [TopicPartition(topic, i) for topic in (self.read[0], self.read[2]) for i in range(PARTITIONS)]
        asked = self.admin.list_offsets({place: OffsetSpec.latest() for place in places})
        ends = {place: future.result().offset for place, future in asked.items()}
        committed = self.offsets.of(f"{self.pipeline.name}.monitor", places, timeout=10)
        done = {(place.topic, place.partition): place.offset for place in committed}
        return all(done.get((place.topic, place.partition), -1) >= end - 1 for place, end in ends.items())

    def dead(self) -> Counter[bytes | None]:
        return Counter(_value(message.value()) for message in read_all(self.settings, self.topics.deadletter))


def _value(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def test_one_of_two_monitors_joins_all_and_no_outcome_of_an_event_is_a_dead_letter_though_the_active_one_is_killed(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    bench = Bench(kafka, unique, tmp_path)
    with ExitStack() as stack:
        processes = [stack.enter_context(bench.process(f"m{number}")) for number in range(2)]
        wait_until(
            lambda: (
                {ACTIVE in each.output for each in processes} == {True, False}
                and any(STANDS_BY in each.output for each in processes)
            ),
            lambda: f"no one is active beside one that stands by: {[each.output[-500:] for each in processes]}",
            120,
        )
        active, standing = sorted(processes, key=lambda each: ACTIVE not in each.output)
        bench.feed(1_500)
        wait_until(bench.all_committed, "the active process did not commit all", 60)
        bench.feed(500)
        active.kill()
        bench.feed(1_500)
        wait_until(lambda: ACTIVE in standing.output, lambda: f"nobody took over: {standing.output[-500:]}", 60)
        wait_until(bench.all_committed, "the process that took over did not commit all", 60)
        wait_until(
            lambda: len(bench.dead()) >= len(bench.nobody) - 3,  # the last may be given up when more events have come
            lambda: f"{len(bench.dead())} of {len(bench.nobody)} outcomes of no event were given up",
            60,
        )
        wait_until(bench.all_committed, "dead letters were not committed", 60)
    wait_settled(kafka, bench.topics.deadletter)
    found = bench.dead()
    assert set(found) <= set(bench.nobody)
    assert max(found.values()) == 1

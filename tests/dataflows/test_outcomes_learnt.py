"""Truth that arrives by itself is learnt from: on a real Kafka, from raw records to a model and its correction."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from feeding import feeder
from offsets import read_settled
from sessions import pump

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from tidemark.cli.up import prepare
from tidemark.formats.arrow import from_ipc
from tidemark.kafka import wait_settled
from tidemark.monitoring import MonitorProcessor
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Label, LabelFeatures, ModelManifest, Outcome, decode, encode
from tidemark.registry.follower import ModelWatcher
from tidemark.registry.reading import read_registry
from tidemark.runtime.processor import Processor
from tidemark.runtime.settings import Settings
from tidemark.simulators import simulate
from tidemark.stream import StreamProcessor
from tidemark.training import RetrainProcessor
from tidemark.training.recomputing import Recomputer

TEXT = (Path(__file__).parents[2] / "pipelines" / "fraud.toml").read_text()
ROWS, TOLD = 500, 120


class Bench:
    """A pipeline of card fraud whose outcomes are learnt from, and its flows."""

    def __init__(self, kafka: Settings, unique: str, home: Path) -> None:
        self.kafka = kafka.model_copy(update={"state_dir": home})
        text = TEXT.replace('name = "fraud"', f'name = "{unique}"\nfeatures_topic = true', 1)
        edits = (
            ('topic = "fraud.raw"', f'topic = "{unique}.raw"'),
            ("partitions = 4", "partitions = 2"),
            ("= 50", "= 5"),
        )
        for before, after in edits:
            assert before in text
            text = text.replace(before, after)
        self.pipeline: Pipeline = parse(f'{text}\n[label.outcomes]\nof = "some"\n', "fraud.toml")
        self.topics = self.pipeline.topics
        self.sessions: list[Session] = []
        prepare(self.pipeline, self.kafka)

    def produce(self, topic: str, values: list[bytes], keys: list[str] | None = None) -> None:
        producer = feeder(self.kafka)
        for place, value in enumerate(values):
            producer.produce(topic, value, None if keys is None else keys[place].encode())
        assert producer.flush(60) == 0

    def run(self, flow: str, processor: Processor, done: Callable[[], bool]) -> None:
        topics = self.topics
        fixed = {"retrain": {topics.labels: 1}, "monitor": {topics.labels: 1, topics.sample: 1}}.get(flow, {})
        name = f"{self.pipeline.name}.{flow}"
        config = EngineConfig(
            name, self.kafka, commit_interval=0.0, deadletter=topics.deadletter, fixed_partitions=fixed
        )
        session = Session(config, processor, Stop())
        self.sessions.append(session)
        session.start()
        pump(session, done, f"{flow} has not come so far", 120)
        session.finish()

    def streamed(self) -> pl.DataFrame:
        """Features of all events, as they were scored."""
        with ModelWatcher(self.kafka, self.pipeline) as watcher:
            watcher.wait_ready()
            stream = StreamProcessor(self.pipeline, watcher)
            self.run("stream", stream, lambda: len(read_settled(self.kafka, self.topics.predictions)) >= ROWS)
        frames = [from_ipc(m.value(), "features") for m in read_settled(self.kafka, self.topics.features)]
        return pl.concat(frames, how="diagonal").sort("time", "event_id")

    def labels(self) -> list[Label]:
        return [decode(Label, message.value()) for message in read_settled(self.kafka, self.topics.labels)]

    def labeled(self, count: int) -> list[Label]:
        """What the monitor has made of outcomes, once it is so many."""
        self.run("monitor", MonitorProcessor(self.pipeline), lambda: len(self.labels()) >= count)
        return self.labels()

    def retrained(self, more: Callable[[ModelManifest], bool]) -> ModelManifest:
        processor = RetrainProcessor(
            self.pipeline,
            read_registry=lambda: read_registry(self.kafka, self.topics.models),
            recomputing=Recomputer(self.pipeline, self.kafka),
        )
        self.run("retrain", processor, lambda: any(map(more, self.manifests())))
        wait_settled(self.kafka, self.topics.models)
        return next(manifest for manifest in self.manifests() if more(manifest))

    def manifests(self) -> list[ModelManifest]:
        keys = [(m.key() or b"", m.value()) for m in read_settled(self.kafka, self.topics.models)]
        return [decode(ModelManifest, value) for key, value in keys if key.startswith(b"v") and b"/" not in key]


@pytest.fixture
def bench(kafka: Settings, unique: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, unique, tmp_path)
    yield bench
    for session in bench.sessions:
        session.abandon()


def until_now(events: pl.DataFrame) -> pl.DataFrame:
    """Events whose last was an hour ago."""
    moment = pl.col("time").str.to_datetime(time_zone="UTC")
    ago = datetime.now(UTC) - timedelta(hours=1)
    return events.with_columns((moment + (pl.lit(ago) - moment.max())).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))


def is_fraud(row: dict[str, float]) -> bool:
    return row["amount"] > 60


def truth_of(row: dict[str, float]) -> str:
    return "fraud" if is_fraud(row) else "legitimate"


@pytest.mark.timeout(300)
def test_outcomes_alone_make_a_model_of_the_features_that_were_scored_and_a_correction_makes_another(
    bench: Bench,
) -> None:
    events = until_now(simulate("fraud", 1, ROWS).events.head(ROWS))
    raw = events.write_ndjson().encode().splitlines()
    bench.produce(bench.pipeline.raw_topics[0], raw, events["customer_id"].to_list())
    scored = bench.streamed()
    told = scored.tail(TOLD).to_dicts()
    outcomes = [
        Outcome(label=truth_of(row), known_at=row["time"] + 1, event_id=row["event_id"] if place % 2 else None,
                business_id=None if place % 2 else row["business_id"])
        for place, row in enumerate(told)
    ]  # fmt: skip
    bench.produce(bench.topics.outcomes, [encode(each) for each in outcomes])
    labels = bench.labeled(TOLD)
    assert {(label.event_id, label.label, label.key) for label in labels} == {
        (row["event_id"], truth_of(row), row["key"]) for row in told
    }
    assert {label.inclusion_probability for label in labels} == {None}

    enough = TOLD * 2 // 3
    first = bench.retrained(lambda manifest: manifest.used >= enough)
    assert first.source_counts == {"outcome": first.used}
    assert (first.conflicts, sum(first.drawn_counts)) == (0, 0)
    expected = {row["event_id"]: row for row in told}
    ids = {identity: name for name, identity in first.definitions.items()}
    topic = bench.topics.label_features
    kept = [decode(LabelFeatures, message.value()) for message in read_settled(bench.kafka, topic)]
    checked = 0
    for record in kept:
        for identity, value in record.values.items():
            was = expected[record.event_id][ids[identity]]
            was = None if was is None or math.isnan(was) else was
            assert value == (None if was is None else pytest.approx(was)), (record.event_id, ids[identity])
            checked += 1
    assert checked >= first.used * len(bench.pipeline.feature_names)

    # Half of them turn out otherwise, later: the next model has learnt so, of the same events.
    models = len(bench.manifests())
    later = [
        Outcome(label="legitimate", known_at=row["time"] + 2, event_id=row["event_id"]) for row in told if is_fraud(row)
    ][::2]
    assert len(later) > 5
    soon = int(time.time() * 1e6) + 12 * 3_600_000_000  # what will be known then is not learnt from now
    wrong = [Outcome(label="fraud", known_at=soon, event_id=row["event_id"]) for row in told if not is_fraud(row)]
    bench.produce(bench.topics.outcomes, [encode(each) for each in [*wrong, *later]])
    bench.labeled(TOLD + len(wrong) + len(later))
    place = bench.pipeline.label.classes.index("fraud")
    corrected = bench.retrained(lambda manifest: manifest.used == TOLD and manifest.class_counts[place] < frauds(told))
    assert len(bench.manifests()) > models
    assert corrected.class_counts[place] >= frauds(told) - len(later)
    assert read_settled(bench.kafka, bench.topics.deadletter) == []


def frauds(told: list[dict[str, float]]) -> int:
    return sum(map(is_fraud, told))

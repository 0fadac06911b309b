from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from feeding import feeder
from models import label_values, small_pipeline
from offsets import GroupOffsets, read_settled
from sessions import pump, step

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from support import wait_until
from tidemark.kafka import ensure_topics, topic_incarnation
from tidemark.pipeline import Pipeline
from tidemark.records import ModelManifest, decode
from tidemark.registry.follower import ModelWatcher
from tidemark.registry.reading import read_registry
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.settings import Settings
from tidemark.training import RetrainProcessor
from tidemark.training.dataset import check
from tidemark.training.manifest import labels_of

TRAINING = (
    "[training]\nlearner = 'boosted'\nevery = 40\nmin_labels = 20\nmin_positive = 2\n"
    "params = { num_iterations = 5 }\n[gates]\nmin_holdout = 20"
)


class Bench:
    """A pipeline's labels and models, and sessions of the retrain flow."""

    def __init__(self, kafka: Settings, name: str, home: Path) -> None:
        self.settings = kafka.model_copy(update={"state_dir": home})
        self.pipeline: Pipeline = small_pipeline(name, extra=TRAINING)
        self.topics = self.pipeline.topics
        wanted = {self.topics.labels, self.topics.models, self.topics.metrics, self.topics.deadletter}
        specs = self.topics.specs(raw=[], hops=[], partitions=1, retention_ms=3_600_000)
        ensure_topics(self.settings, [spec for spec in specs if spec.name in wanted])
        self.values = label_values(150, topic=self.pipeline.raw_topics[0])
        self.sessions: list[Session] = []
        self.offsets = GroupOffsets(self.settings, f"{name}.retrain", self.topics.labels, 1)
        self.fed = 0

    def feed(self, until: int, extra: Sequence[bytes] = ()) -> None:
        producer = feeder(self.settings)
        for value in [*self.values[self.fed : until], *extra]:
            producer.produce(self.topics.labels, value)
        assert producer.flush(60) == 0
        self.fed = until

    def session(self) -> Session:
        config = EngineConfig(
            group=f"{self.pipeline.name}.retrain",
            settings=self.settings,
            commit_interval=0.0,
            batch_rows=7,
            fixed_partitions={self.topics.labels: 1},
        )
        processor = RetrainProcessor(
            self.pipeline, read_registry=lambda: read_registry(self.settings, self.topics.models)
        )
        session = Session(config, processor, Stop())
        self.sessions.append(session)
        session.start()
        return session

    def manifests(self) -> list[ModelManifest]:
        """Every committed manifest, in the order of the topic: one published twice would be here twice."""
        keys = [(message.key() or b"", message.value()) for message in read_settled(self.settings, self.topics.models)]
        return [decode(ModelManifest, value) for key, value in keys if key.startswith(b"v") and b"/" not in key]


@pytest.fixture
def bench(kafka: Settings, unique: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, unique, tmp_path)
    yield bench
    for session in bench.sessions:
        session.abandon()
    bench.offsets.close()


def test_a_crash_between_training_and_the_commit_gives_each_model_once_of_the_labels_it_names(bench: Bench) -> None:
    bench.feed(60)
    crashing = bench.session()
    published: list[bool] = []

    def trained_but_not_committed() -> bool:
        for work in crashing.poll():
            done = crashing.process(work)
            published.append(any(output.topic == bench.topics.models for output in done.outputs))
            if published[-1]:
                return True
            crashing.handle([done])
        return False

    wait_until(trained_but_not_committed, "no model was trained")
    crashing.abandon()
    assert bench.manifests() == []

    session = bench.session()
    bench.feed(90, extra=[b"rubbish"])
    pump(session, lambda: bench.offsets.handled() == 91, "the labels were not handled", 60)
    found = bench.manifests()
    assert [manifest.used for manifest in found] == [20, 50, 80]
    assert [manifest.parent for manifest in found] == [None, found[0].version, found[1].version]
    assert len(read_settled(bench.settings, bench.topics.deadletter)) == 1

    schema = ModelSchema.of(bench.pipeline)
    incarnation = topic_incarnation(bench.settings, bench.topics.labels)
    values = [(message.offset() or 0, message.value()) for message in read_settled(bench.settings, bench.topics.labels)]
    labels = [(at, check(value, schema, bench.pipeline.raw_topics)) for at, value in values if value != b"rubbish"]
    for manifest in found:
        made = labels_of(manifest, labels, schema, bench.topics.labels, incarnation)
        assert (len(made), made.event_ids_sha256) == (manifest.used, manifest.event_ids_sha256)


def test_what_is_retrained_is_served(bench: Bench) -> None:
    with ModelWatcher(bench.settings, bench.pipeline) as watcher:
        assert watcher.wait_ready() is None
        bench.feed(60)
        session = bench.session()
        seen: list[str] = []

        def served() -> bool:
            current = watcher.current()
            if current is not None and current.version not in seen:
                seen.append(current.version)
            step(session)
            return bool(seen) and seen[-1].startswith("v000002-")

        wait_until(served, lambda: f"served {seen}", 60)
        assert seen[-1] == bench.manifests()[-1].version

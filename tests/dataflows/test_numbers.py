"""A label that is a number, on a real Kafka: from raw records to cases, a model, estimates, and a better model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feeding import feeder
from offsets import read_settled
from sessions import pump

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from tidemark.cli.up import prepare
from tidemark.kafka import wait_settled
from tidemark.monitoring import MonitorProcessor
from tidemark.pipeline import parse
from tidemark.records import Candidate, Label, Metric, ModelManifest, Outcome, Prediction, decode, encode
from tidemark.registry.follower import ModelWatcher
from tidemark.registry.reading import read_registry
from tidemark.runtime.processor import Processor
from tidemark.runtime.settings import Settings
from tidemark.selection import SelectProcessor
from tidemark.simulators import simulate
from tidemark.stream import StreamProcessor
from tidemark.training import RetrainProcessor
from tidemark.training.recomputing import Recomputer

TEXT = (Path(__file__).parents[2] / "pipelines" / "maintenance.toml").read_text()
ROWS, FIRST = 6_000, 3_600
SOON, LATE = 200, 2_000
HOURS = 'type = "number"\nunit = "h"\nmin = 0\nmax = 240\n'


class Bench:
    """Machines whose hours left are asked, and the pipeline's flows."""

    def __init__(self, kafka: Settings, unique: str, home: Path, tables: str = "") -> None:
        self.kafka = kafka.model_copy(update={"state_dir": home})
        text = TEXT
        for before, after in (
            ('name = "maintenance"', f'name = "{unique}"'),
            ('topic = "maintenance.raw"', f'topic = "{unique}.raw"'),
            ("partitions = 4", "partitions = 1"),
            ('classes = ["runs", "fails"]\npositive = "fails"\n', HOURS),
            ("explore = 2", "explore = 4"),
            ("every = 50", "every = 100\n\n[gates]\nmin_holdout = 40"),
        ):
            assert before in text
            text = text.replace(before, after, 1)
        self.pipeline = parse(f"{text}\n{tables}", "maintenance.toml")
        self.topics = self.pipeline.topics
        self.sessions: list[Session] = []
        prepare(self.pipeline, self.kafka)
        simulation = simulate("maintenance", 1, ROWS)
        self.raw = simulation.events
        self.truth = dict(simulation.truth.select("business_id", "hours_left").rows())

    def produce(self, topic: str, values: list[bytes], keys: list[str]) -> None:
        producer = feeder(self.kafka)
        for value, key in zip(values, keys, strict=True):
            producer.produce(topic, value, key.encode())
        assert producer.flush(60) == 0

    def feed(self, begin: int, end: int) -> None:
        events = self.raw[begin:end]
        self.produce(
            self.pipeline.raw_topics[0], events.write_ndjson().encode().splitlines(), events["machine_id"].to_list()
        )

    def run(
        self, flow: str, processor: Processor, done: Callable[[], bool], so_far: Callable[[], str] = lambda: ""
    ) -> None:
        topics = self.topics
        fixed = {"retrain": {topics.labels: 1}, "monitor": {topics.labels: 1, topics.sample: 1}}.get(flow, {})
        name = f"{self.pipeline.name}.{flow}"
        config = EngineConfig(
            name, self.kafka, commit_interval=0.0, deadletter=topics.deadletter, fixed_partitions=fixed
        )
        session = Session(config, processor, Stop())
        self.sessions.append(session)
        session.start()
        pump(session, done, lambda: f"{flow} has not come so far: {so_far()}", 120)
        session.finish()

    def streamed(self, count: int) -> list[Prediction]:
        with ModelWatcher(self.kafka, self.pipeline) as watcher:
            watcher.wait_ready()
            stream = StreamProcessor(self.pipeline, watcher)
            self.run("stream", stream, lambda: len(self.predictions()) >= count)
        return self.predictions()

    def selected(self, enough: Callable[[list[Candidate]], bool]) -> list[Candidate]:
        self.run(
            "select",
            SelectProcessor(self.pipeline),
            lambda: enough(self.candidates()),
            lambda: f"{len(self.candidates())} cases",
        )
        return self.candidates()

    def answer(self, candidates: list[Candidate]) -> None:
        """What people who know the truth say of cases, as the labeling service writes it."""
        labels = [
            Label(
                **{name: getattr(case, name) for name in SAME},
                status="answered",
                label=repr(float(self.truth[case.business_id or ""])),
                annotator="anna",
                known_at=case.time + place + 1,
                answered_at=case.time + place + 1,
            )
            for place, case in enumerate(candidates)
        ]
        self.produce(self.topics.labels, [encode(each) for each in labels], [each.event_id for each in labels])

    def turned_out(self, events: list[Prediction]) -> None:
        """What machines' systems say later of events."""
        told = [
            Outcome(label=self.truth[one.business_id or ""], known_at=one.time + 1, business_id=one.business_id)
            for one in events
        ]
        self.produce(self.topics.outcomes, [encode(each) for each in told], [str(each.business_id) for each in told])

    def labels(self) -> list[Label]:
        return [decode(Label, m.value()) for m in read_settled(self.kafka, self.topics.labels)]

    def retrained(self, models: int) -> list[ModelManifest]:
        processor = RetrainProcessor(
            self.pipeline,
            read_registry=lambda: read_registry(self.kafka, self.topics.models),
            recomputing=Recomputer(self.pipeline, self.kafka) if self.pipeline.label.outcomes else None,
        )
        self.run("retrain", processor, lambda: len(self.manifests()) >= models)
        wait_settled(self.kafka, self.topics.models)
        return self.manifests()

    def predictions(self) -> list[Prediction]:
        return [decode(Prediction, m.value()) for m in read_settled(self.kafka, self.topics.predictions)]

    def candidates(self) -> list[Candidate]:
        return [decode(Candidate, m.value()) for m in read_settled(self.kafka, self.topics.candidates)]

    def metrics(self, name: str) -> list[Metric]:
        found = [decode(Metric, m.value()) for m in read_settled(self.kafka, self.topics.metrics)]
        return [metric for metric in found if metric.name == name]

    def manifests(self) -> list[ModelManifest]:
        keys = [(m.key() or b"", m.value()) for m in read_settled(self.kafka, self.topics.models)]
        return [decode(ModelManifest, value) for key, value in keys if key.startswith(b"v") and b"/" not in key]


SAME = (
    "event_id", "business_id", "key", "time", "reason", "inclusion_probability", "tile", "tile_count", "policy",
    "features", "probabilities", "uncertainty", "model", "definitions",
)  # fmt: skip
"""Fields that a label has of its case."""


@pytest.fixture
def learning(kafka: Settings, unique: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, unique, tmp_path, '[label.outcomes]\nof = "some"\n')
    yield bench
    for session in bench.sessions:
        session.abandon()


@pytest.fixture
def bench(kafka: Settings, unique: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, unique, tmp_path)
    yield bench
    for session in bench.sessions:
        session.abandon()


@pytest.mark.timeout(300)
def test_hours_that_turned_out_make_a_model_by_themselves_and_tell_how_far_off_it_is(learning: Bench) -> None:
    learning.feed(0, SOON)
    told = learning.streamed(SOON)
    learning.turned_out(told)
    learning.run("monitor", MonitorProcessor(learning.pipeline), lambda: len(learning.labels()) >= SOON)
    labels = {label.event_id: label for label in learning.labels()}
    assert {event: label.label for event, label in labels.items()} == {
        one.event_id: repr(float(learning.truth[one.business_id or ""])) for one in told
    }
    models = learning.retrained(1)
    assert all(each.source_counts == {"outcome": each.used} for each in models)

    learning.feed(SOON, LATE)
    after = learning.streamed(LATE)[SOON:]
    (model,) = {one.model for one in after}
    assert model in {each.version for each in models}
    learning.turned_out(after)
    spec, latest = learning.pipeline.label, max(one.time for one in after)
    had_time = [one for one in after if one.time <= latest - spec.delay - spec.grace]
    errors = [abs((one.value or 0.0) - learning.truth[one.business_id or ""]) for one in had_time]
    processor = MonitorProcessor(learning.pipeline)
    learning.run("monitor", processor, lambda: any(each.n == len(errors) for each in learning.metrics("mae")))
    found = {name: learning.metrics(name)[-1] for name in ("rmse", "mae", "interval_coverage")}
    assert {(metric.source, metric.model, metric.n) for metric in found.values()} == {("outcomes", model, len(errors))}
    assert found["mae"].value == pytest.approx(float(np.mean(errors)))
    assert read_settled(learning.kafka, learning.topics.deadletter) == []


@pytest.mark.timeout(300)
def test_hours_left_are_asked_learnt_predicted_with_an_interval_and_measured(bench: Bench) -> None:
    bench.feed(0, FIRST)
    before = bench.streamed(FIRST)
    assert {(one.value, one.low, one.high, one.uncertainty) for one in before} == {(None, None, None, None)}
    cold = bench.selected(lambda cases: len(cases) >= 300)
    assert all(case.value is None for case in cold)
    bench.answer(cold)
    first, *_ = bench.retrained(2)
    assert (first.classes, first.class_counts) == ([], [])

    bench.feed(FIRST, ROWS)
    after = bench.streamed(ROWS)[FIRST:]
    assert len({one.event_id for one in after}) == ROWS - FIRST
    table = pl.DataFrame(
        [(one.value, one.low, one.high, bench.truth[one.business_id or ""]) for one in after],
        schema=["value", "low", "high", "truth"],
        orient="row",
    )
    value, low, high, truth = (table[name].to_numpy() for name in table.columns)
    assert ((low >= 0) & (low <= value) & (value <= high) & (high <= 240)).all()
    assert all(one.probabilities is None for one in after)
    error, base = np.sqrt(np.mean((value - truth) ** 2)), truth.std()
    assert error < 0.92 * base, (error, base)
    covered = float(np.mean((low <= truth) & (truth <= high)))

    assert covered > 0.75, covered

    warm = bench.selected(lambda cases: any(case.reason == "diverse" and case.value is not None for case in cases))
    asked = [case for case in warm if case.value is not None]
    assert all(case.probabilities is None and case.low is not None and case.uncertainty is not None for case in asked)
    bench.answer(asked)
    manifests = bench.retrained(3)
    assert manifests[-1].decision.startswith(("replaces", "first"))
    assert "RMSE" in manifests[-1].decision
    for name in ("quality", "rmse", "mae", "interval_coverage", "gate_rmse_difference"):
        found = [metric for metric in bench.metrics(name) if metric.value is not None]
        assert found, name

    bench.run("monitor", MonitorProcessor(bench.pipeline), lambda: bool(bench.metrics("prediction_rate")))
    letters = read_settled(bench.kafka, bench.topics.deadletter)
    assert [letter.headers() for letter in letters] == []

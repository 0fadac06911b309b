"""The pipeline file of card fraud is edited while it runs: on a real Kafka, with the flows' own sessions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest
from feeding import feeder
from offsets import read_settled
from sessions import pump
from typer.testing import CliRunner

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from support import wait_until
from tidemark.cli.app import app
from tidemark.cli.costs import costs
from tidemark.cli.up import prepare
from tidemark.formats.arrow import from_ipc
from tidemark.kafka import read_all, wait_settled
from tidemark.pipeline import Pipeline, parse
from tidemark.pipeline.definitions import feature_ids
from tidemark.records import Label, LabelFeatures, ModelManifest, Prediction, decode, encode
from tidemark.registry.deployed import record_deployed
from tidemark.registry.follower import ModelWatcher
from tidemark.registry.reading import read_registry
from tidemark.runtime.processor import Processor
from tidemark.runtime.settings import Settings
from tidemark.simulators import simulate
from tidemark.stream import StreamProcessor
from tidemark.training import RetrainProcessor
from tidemark.training.recomputing import Recomputer

TEXT = (Path(__file__).parents[2] / "pipelines" / "fraud.toml").read_text()
ROWS = 500
MEAN = 'name = "customer_mean_7d"\nkey = "customer_id"\naggregate = "mean"\ncolumn = "amount"\nsize = '
RATE = 'name = "terminal_count_1d"\nkey = "terminal_id"\naggregate = "count"\nsize = '
CENTS = '[[features]]\nname = "cents"\nsql = "amount - FLOOR(amount)"\n\n# ---- what the customer'


def fraud(name: str, raw: str, *edits: tuple[str, str]) -> Pipeline:
    text = TEXT
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    text = text.replace('name = "fraud"', f'name = "{name}"\nfeatures_topic = true')
    return parse(
        text.replace('topic = "fraud.raw"', f'topic = "{raw}"').replace("partitions = 4", "partitions = 2"), "x"
    )


class Bench:
    """One Kafka topic of payments, and flows of pipeline files over it."""

    def __init__(self, kafka: Settings, unique: str, home: Path) -> None:
        self.kafka = kafka.model_copy(update={"state_dir": home})
        self.raw = f"{unique}.raw"
        self.name = unique
        self.sessions: list[Session] = []

    def feed(self, rows: pl.DataFrame) -> None:
        producer = feeder(self.kafka)
        for key, value in zip(rows["customer_id"], rows.write_ndjson().encode().splitlines(), strict=True):
            producer.produce(self.raw, value, str(key).encode())
        assert producer.flush(60) == 0

    def session(self, flow: str, pipeline: Pipeline, processor: Processor) -> Session:
        config = EngineConfig(
            f"{pipeline.name}.{flow}",
            self.kafka,
            commit_interval=0.0,
            deadletter=pipeline.topics.deadletter,
            fixed_partitions={pipeline.topics.labels: 1} if flow == "retrain" else {},
        )
        session = Session(config, processor, Stop())
        self.sessions.append(session)
        session.start()
        return session

    def streamed(self, pipeline: Pipeline, watcher: ModelWatcher, events: int) -> list[Prediction]:
        """Predictions after the stream flow has seen so many events, under this file."""
        session = self.session("stream", pipeline, StreamProcessor(pipeline, watcher))
        topic = pipeline.topics.predictions
        pump(session, lambda: len(read_all(self.kafka, topic)) >= events, "the events were not predicted", 60)
        session.finish()
        return [decode(Prediction, message.value()) for message in read_settled(self.kafka, topic)]

    def features(self, pipeline: Pipeline) -> pl.DataFrame:
        frames = [from_ipc(m.value(), "features") for m in read_settled(self.kafka, pipeline.topics.features)]
        return pl.concat(frames, how="diagonal").sort("event_id")

    def retrained(self, pipeline: Pipeline, models: int) -> list[ModelManifest]:
        """Manifests after the retrain flow has published so many models."""
        processor = RetrainProcessor(
            pipeline,
            read_registry=lambda: read_registry(self.kafka, pipeline.topics.models),
            recomputing=Recomputer(pipeline, self.kafka),
        )
        session = self.session("retrain", pipeline, processor)
        pump(session, lambda: len(self.manifests(pipeline)) >= models, "no model was trained", 120)
        session.finish()
        wait_settled(self.kafka, pipeline.topics.models)
        return self.manifests(pipeline)

    def manifests(self, pipeline: Pipeline) -> list[ModelManifest]:
        keys = [(m.key() or b"", m.value()) for m in read_all(self.kafka, pipeline.topics.models)]
        return [decode(ModelManifest, value) for key, value in keys if key.startswith(b"v") and b"/" not in key]

    def answer(self, pipeline: Pipeline, rows: pl.DataFrame) -> None:
        """Answers to events as they were scored: dear payments are fraud."""
        producer = feeder(self.kafka)
        names, ids = pipeline.feature_names, feature_ids(pipeline)
        for row in rows.to_dicts():
            values = {name: None if row[name] is None or math.isnan(row[name]) else row[name] for name in names}
            label = Label(
                event_id=row["event_id"], business_id=row["business_id"], key=row["key"], time=row["time"],
                status="answered", label="fraud" if row["amount"] > 60 else "legitimate", annotator="ada",
                known_at=row["time"], answered_at=row["time"], reason="uncertain", inclusion_probability=None, tile=0,
                tile_count=1, policy="1", features=values, probabilities=None, uncertainty=None, model="none",
                definitions=ids,
            )  # fmt: skip
            producer.produce(pipeline.topics.labels, encode(label))
        assert producer.flush(60) == 0


@pytest.fixture
def bench(kafka: Settings, unique: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, unique, tmp_path)
    yield bench
    for session in bench.sessions:
        session.abandon()


@pytest.mark.timeout(300)
def test_an_edit_keeps_labels_and_the_champion_and_the_next_one_learns_from_all_of_them(bench: Bench) -> None:
    events = simulate("fraud", 1, 2 * ROWS).events.head(2 * ROWS)
    old = fraud(bench.name, bench.raw)
    prepare(old, bench.kafka)
    bench.feed(events.head(ROWS))
    with ModelWatcher(bench.kafka, old) as watcher:
        watcher.wait_ready()
        bench.streamed(old, watcher, ROWS)
        labeled = bench.features(old).sort("time").tail(120)
        bench.answer(old, labeled.head(100))
        first = bench.retrained(old, 1)
        wait_until(lambda: watcher.current() is not None, "the champion is not in force")

    # A feature more, and the old champion goes on.
    wider = fraud(bench.name, bench.raw, ("# ---- what the customer", CENTS))
    bench.feed(events[ROWS : ROWS + 200])
    with ModelWatcher(bench.kafka, wider) as watcher:
        in_force = watcher.wait_ready()
        assert in_force is not None
        assert in_force.version == bench.manifests(old)[-1].version
        predicted = bench.streamed(wider, watcher, ROWS + 200)
    assert {each.model for each in predicted[-100:]} == {in_force.version}

    # Two windows are others: it is refused, and the next one is trained at once, from all labels there are.
    edits = (("# ---- what the customer", CENTS), (f'{MEAN}"7d"', f'{MEAN}"5d"'), (f'{RATE}"1d"', f'{RATE}"2d"'))
    changed = fraud(bench.name, bench.raw, *edits)
    with ModelWatcher(bench.kafka, changed) as watcher:
        assert watcher.wait_ready() is None
        assert "customer_mean_7d" in "".join(watcher.refused.values())
        count = len(bench.manifests(old))
        bench.answer(old, labeled.tail(20))  # cases that were asked before the edits, answered after them
        found = bench.retrained(changed, count + 1)
        wait_until(lambda: watcher.current() is not None, "the new champion is not in force")
        bench.feed(events[ROWS + 200 :])
        predicted = bench.streamed(changed, watcher, 2 * ROWS)
    assert found[count].decision == "first champion of the changed pipeline"
    assert found[-1].used > 100 > first[0].used
    assert set(found[-1].definitions.values()) == set(feature_ids(changed).values())
    assert len({each.event_id for each in predicted}) == len(predicted) == 2 * ROWS
    assert read_settled(bench.kafka, old.topics.deadletter) == []

    # What was recomputed of the labeled events is what the stream computes that has the later file from the first row.
    always = fraud(f"{bench.name}-b", bench.raw, *edits)
    prepare(always, bench.kafka)
    with ModelWatcher(bench.kafka, always) as watcher:
        watcher.wait_ready()
        bench.streamed(always, watcher, 2 * ROWS)
    expected = {row["event_id"]: row for row in bench.features(always).to_dicts()}
    ids = {identity: name for name, identity in feature_ids(changed).items()}
    stored = [decode(LabelFeatures, m.value()) for m in read_settled(bench.kafka, changed.topics.label_features)]
    assert len({record.event_id for record in stored}) >= found[-1].used
    for record in stored:
        ours = {ids[identity]: value for identity, value in record.values.items()}
        assert {"cents", "customer_mean_7d", "terminal_count_1d", "amount_to_customer_mean_7d"} <= ours.keys()
        for name in ("cents", "customer_mean_7d", "amount_to_customer_mean_7d"):
            theirs = expected[record.event_id][name]
            assert ours[name] == (None if math.isnan(theirs) else theirs), (record.event_id, name)
    assert msgspec.json.decode(encode(stored[0]), type=LabelFeatures) == stored[0]


def test_what_is_deployed_is_recorded_once_and_an_edit_is_told_against_it(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fraud(bench.name, bench.raw)
    prepare(old, bench.kafka)
    assert list(costs(old, bench.kafka)) == []
    for _ in range(2):
        record_deployed(bench.kafka, old)
    assert len(read_all(bench.kafka, old.topics.models)) == 1
    read_registry(bench.kafka, old.topics.models)
    assert list(costs(old, bench.kafka)) == ["no feature, window or class differs from what the flows ran with last"]
    file = tmp_path / "edited.toml"
    text = TEXT.replace('name = "fraud"', f'name = "{bench.name}"').replace(f'{MEAN}"7d"', f'{MEAN}"8d"')
    file.write_text(text)
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", str(bench.kafka.bootstrap_servers))
    monkeypatch.setenv("COLUMNS", "300")
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 0
    assert (
        "changed  customer_mean_7d (was mean of amount over 7d by customer_id, is mean of amount over 8d" in done.output
    )
    assert (
        "changed  amount_to_customer_mean_7d (amount / customer_mean_7d: what it is made of has changed)" in done.output
    )
    assert f"labels   all stay (0 records in {bench.name}.labels)" in done.output

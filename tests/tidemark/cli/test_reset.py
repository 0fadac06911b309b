"""Offsets that an operator sets: refused where they say too little, and set rightly by `tidemark reset`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition
from feeding import feeder
from models import small_model, small_pipeline
from sessions import pump
from streaming import PIPELINE, SECOND_KEY, START, MemoryEngine, Models, load_rows, purchases
from typer.testing import CliRunner

import dataflows.monitor
import dataflows.retrain
import dataflows.select
import dataflows.stream
from dataflows.engine.config import EngineConfig
from dataflows.engine.lost_offsets import check_offsets
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from support import wait_until
from tidemark.cli.app import app
from tidemark.cli.up import prepare
from tidemark.errors import TopicError
from tidemark.kafka import admin, consumer_config, read_all, topic_incarnation, wait_settled
from tidemark.monitoring import MonitorProcessor
from tidemark.pipeline import Pipeline, load
from tidemark.records import Candidate, LabelRange, Metric, ModelManifest, Prediction, decode, encode
from tidemark.registry.codec import Registry
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Processor
from tidemark.runtime.settings import Settings
from tidemark.selection import SelectProcessor
from tidemark.stream import StreamProcessor
from tidemark.training import RetrainProcessor

YEAR_9998 = 253_339_228_800_000_000


def stream_metric(name: str) -> Metric:
    return Metric(name=name, value=1.0, low=None, high=None, n=1, at=START, model="none", source="stream")


class Bench:
    """A pipeline of one partition a topic, its file, and sessions of its flows."""

    def __init__(self, kafka: Settings, name: str, home: Path, keys: int) -> None:
        named = json.dumps(["who", "place"][:keys])
        text = PIPELINE.format(keys=named, second=SECOND_KEY if keys == 2 else "")
        text = text.replace('name = "shop"', f'name = "{name}"').replace("shop.raw", f"{name}.raw")
        self.file = home / "shop.toml"
        self.file.write_text(text.replace("partitions = 3", "partitions = 1"), encoding="utf-8")
        self.pipeline: Pipeline = load(self.file)
        self.settings = kafka.model_copy(update={"state_dir": home})
        prepare(self.pipeline, kafka)

    @contextmanager
    def running(self, flow: str) -> Iterator[Session]:
        processor: Processor
        match flow:
            case "stream":
                processor = StreamProcessor(self.pipeline, Models())
            case "select":
                processor = SelectProcessor(self.pipeline)
            case "monitor":
                processor = MonitorProcessor(self.pipeline)
            case _:
                processor = RetrainProcessor(self.pipeline, read_registry=Registry)
        config = EngineConfig(f"{self.pipeline.name}.{flow}", self.settings, commit_interval=0.02)
        session = Session(config, processor, Stop())
        session.start()
        try:
            yield session
        finally:
            session.finish()

    def feed(self, rows: list[dict[str, object]]) -> None:
        producer = feeder(self.settings)
        for row in rows:
            producer.produce(self.pipeline.raw_topics[0], json.dumps(row).encode(), str(row["who"]).encode())
        assert producer.flush(60) == 0

    def produce(self, topic: str, value: bytes) -> None:
        producer = feeder(self.settings)
        producer.produce(topic, value, b"key")
        assert producer.flush(60) == 0

    def predictions(self) -> list[Prediction]:
        return [decode(Prediction, m.value()) for m in read_all(self.settings, self.pipeline.topics.predictions)]

    def asked(self) -> list[Candidate]:
        return [decode(Candidate, m.value()) for m in read_all(self.settings, self.pipeline.topics.candidates)]

    def predict(self, rows: int) -> None:
        with self.running("stream") as session:
            pump(session, lambda: len(self.predictions()) >= rows, lambda: f"{len(self.predictions())} predictions")
        wait_settled(self.settings, self.pipeline.topics.predictions)

    def select(self, cases: int) -> None:
        with self.running("select") as session:
            pump(session, lambda: len(self.asked()) >= cases, lambda: f"{len(self.asked())} cases")
        wait_settled(self.settings, self.pipeline.topics.candidates)

    def set_offsets(self, flow: str, topics: list[str], *, latest: bool) -> None:
        """As kafka-consumer-groups --reset-offsets does: offsets without a word of ours."""
        consumer = Consumer(consumer_config(self.settings, group=f"{self.pipeline.name}.{flow}"))
        places = [TopicPartition(topic, 0) for topic in topics]
        ends = [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
        moved = [TopicPartition(p.topic, 0, end if latest else 0) for p, end in zip(places, ends, strict=True)]
        consumer.commit(offsets=moved, asynchronous=False)
        consumer.close()

    def committed(self, flow: str) -> list[tuple[str, int, str | None]]:
        """What a flow has committed, with its metadata."""
        topics = self.source if flow == "stream" else [self.pipeline.topics.proposals]
        consumer = Consumer(consumer_config(self.settings, group=f"{self.pipeline.name}.{flow}"))
        held = consumer.committed([TopicPartition(topic, 0) for topic in topics], timeout=10)
        consumer.close()
        return [(place.topic, place.offset, place.metadata) for place in held]

    def delete_group(self, flow: str) -> None:
        """As Kafka does a week after the last member has left."""
        group = f"{self.pipeline.name}.{flow}"
        client = admin(self.settings)  # must outlive the answer
        client.delete_consumer_groups([group])[group].result(60)

    def run(self, *arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments])
        return f"{result.exit_code} {result.output}"

    @property
    def source(self) -> list[str]:
        return [*self.pipeline.raw_topics, *self.pipeline.hop_topics]


@pytest.fixture(params=[1, 2], ids=["one key", "two keys"])
def bench(
    request: pytest.FixtureRequest, kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    for name, value in kafka.environment().items():
        monkeypatch.setenv(name, value)
    return Bench(kafka, unique[-20:].lstrip("-"), tmp_path, request.param)


def expected(bench: Bench, rows: list[dict[str, object]]) -> dict[str, list[float] | None]:
    """Probabilities of each purchase, by an engine in memory that was never interrupted."""
    engine = MemoryEngine(bench.pipeline)
    load_rows(engine, rows)
    engine.drain()
    told = [decode(Prediction, line) for lines in engine.predictions().values() for line in lines]
    return {one.business_id or "": one.probabilities for one in told}


@pytest.mark.parametrize("latest", [True, False], ids=["to the end", "to the beginning"])
def test_offsets_set_by_something_else_are_refused_and_a_reset_goes_on_without_doubling(
    bench: Bench, *, latest: bool
) -> None:
    rows = purchases(3, 90, disorder=0)
    bench.feed(rows[:60])
    bench.predict(60)
    bench.set_offsets("stream", bench.source, latest=latest)
    with bench.running("stream") as session, pytest.raises(TopicError, match=r"tidemark reset .* stream --to"):
        pump(session, lambda: len(bench.predictions()) > 60, "it goes on")
    committed = bench.committed("stream")
    dry = bench.run("reset", str(bench.file), "stream", "--to", "earliest", "--dry-run")
    assert bench.committed("stream") == committed
    done = bench.run("reset", str(bench.file), "stream", "--to", "earliest")
    assert done.startswith("0 ")
    assert dry.replace("would go on", "goes on") == done
    bench.feed(rows[60:])
    bench.predict(90)
    told = bench.predictions()
    assert Counter(one.event_id for one in told).most_common(1)[0][1] == 1, "an event was predicted twice"
    assert {one.business_id: one.probabilities for one in told} == expected(bench, rows), "windows were not rebuilt"


def test_offsets_that_are_gone_are_refused_and_a_reset_goes_on_without_doubling(bench: Bench) -> None:
    rows = purchases(8, 90, disorder=0)
    bench.feed(rows[:60])
    check_offsets(bench.pipeline, bench.settings, "stream")  # nothing is published: begins as ever
    bench.predict(60)
    check_offsets(bench.pipeline, bench.settings, "stream")
    bench.delete_group("stream")
    with pytest.raises(TopicError, match=r"have expired .* `tidemark reset .* stream --to earliest`"):
        dataflows.stream.over(bench.pipeline, bench.settings, Stop())[1].start(0)
    assert bench.run("reset", str(bench.file), "stream", "--to", "earliest").startswith("0 ")
    check_offsets(bench.pipeline, bench.settings, "stream")
    bench.feed(rows[60:])
    bench.predict(90)
    told = bench.predictions()
    assert Counter(one.event_id for one in told).most_common(1)[0][1] == 1, "an event was predicted twice"
    assert {one.business_id: one.probabilities for one in told} == expected(bench, rows), "windows were not rebuilt"


@pytest.mark.parametrize("bench", [2], indirect=True)
def test_offsets_of_a_hop_alone_that_are_gone_are_refused(bench: Bench) -> None:
    bench.feed(purchases(9, 30, disorder=0))
    bench.predict(30)
    group = f"{bench.pipeline.name}.stream"
    consumer = Consumer(consumer_config(bench.settings, group=group))
    held = consumer.committed([TopicPartition(topic, 0) for topic in bench.source], timeout=10)
    bench.delete_group("stream")
    consumer.commit(offsets=[tp for tp in held if tp.topic in bench.pipeline.raw_topics], asynchronous=False)
    consumer.close()
    with pytest.raises(TopicError, match=r"by-place"):
        check_offsets(bench.pipeline, bench.settings, "stream")


@pytest.mark.parametrize("bench", [1], indirect=True)
def test_selection_whose_offsets_are_gone_is_refused_where_it_has_asked_for_cases(bench: Bench) -> None:
    rows = purchases(10, 120, disorder=0)
    bench.feed(rows[:80])
    bench.predict(80)
    check_offsets(bench.pipeline, bench.settings, "select")
    bench.select(6)
    before = bench.asked()
    bench.delete_group("select")
    with pytest.raises(TopicError, match=r"have expired .* `tidemark reset .* select --to earliest`"):
        dataflows.select.over(bench.pipeline, bench.settings, Stop())[1].start(0)
    assert bench.run("reset", str(bench.file), "select", "--to", "earliest").startswith("0 ")
    bench.feed(rows[80:])
    bench.predict(120)
    bench.select(len(before) + 2)
    assert bench.asked()[: len(before)] == before
    assert Counter(case.event_id for case in bench.asked()).most_common(1)[0][1] == 1, "a case was asked twice"


@pytest.mark.parametrize("bench", [1], indirect=True)
@pytest.mark.parametrize("flow", ["monitor", "retrain"])
def test_a_flow_that_begins_anew_is_refused_where_its_offsets_are_gone_or_set_by_something_else(
    bench: Bench, flow: str
) -> None:
    topics = bench.pipeline.topics
    told: Metric | ModelManifest
    if flow == "monitor":
        bench.feed(purchases(13, 30, disorder=0))
        bench.predict(30)
        read, topic = [topics.predictions], topics.metrics
        told = stream_metric("prediction_rate")
    else:
        bench.produce(topics.labels, b"{}")
        read, topic = [topics.labels], topics.models
        incarnation = topic_incarnation(bench.settings, topics.labels)
        _, made = small_model(ModelSchema.of(small_pipeline()))
        learnt = LabelRange(topic=topics.labels, partition=0, start=0, end=1, incarnation=incarnation)
        told = msgspec.structs.replace(made, trained_on=[learnt])
    check_offsets(bench.pipeline, bench.settings, flow)  # nothing is published: begins as ever
    bench.produce(topic, encode(told))
    over = {"monitor": dataflows.monitor.over, "retrain": dataflows.retrain.over}[flow]
    sentence = rf"have expired .* `tidemark reset .* {flow} --to earliest --publish-again`"
    with pytest.raises(TopicError, match=sentence):
        over(bench.pipeline, bench.settings, Stop())[1].start(0)
    assert "can only begin anew" in bench.run("reset", str(bench.file), flow, "--to", "latest")
    again = "reset", str(bench.file), flow, "--to", "earliest", "--publish-again"
    assert bench.run(*again).startswith("0 ")
    check_offsets(bench.pipeline, bench.settings, flow)
    bench.set_offsets(flow, read, latest=True)
    refused = rf"committed by something else .* {flow} --to earliest --publish-again`"
    with bench.running(flow) as session, pytest.raises(TopicError, match=refused):
        pump(session, lambda: False, "it goes on")
    assert bench.run(*again).startswith("0 ")
    with bench.running(flow) as session:
        pump(session, lambda: session.lanes and all(lane.at_end for lane in session.lanes.values()), "it waits")


@pytest.mark.parametrize("bench", [1], indirect=True)
def test_a_raw_topic_that_was_made_anew_begins_as_ever(bench: Bench) -> None:
    bench.feed(purchases(11, 30, disorder=0))
    bench.predict(30)
    bench.delete_group("stream")
    (topic,) = bench.pipeline.raw_topics
    client = admin(bench.settings)
    client.delete_topics([topic])[topic].result(60)
    wait_until(lambda: topic not in client.list_topics(timeout=10).topics, "the topic is still there")
    prepare(bench.pipeline, bench.settings)
    bench.feed(purchases(12, 30, disorder=0))
    check_offsets(bench.pipeline, bench.settings, "stream")


def test_a_reset_to_the_end_skips_what_was_not_read_and_keeps_it_in_the_windows(bench: Bench) -> None:
    rows = purchases(4, 60, disorder=0)
    bench.feed(rows[:20])
    bench.predict(20)
    bench.feed(rows[20:40])
    assert bench.run("reset", str(bench.file), "stream", "--to", "latest").startswith("0 ")
    bench.feed(rows[40:])
    bench.predict(40)
    told = {one.business_id: one.probabilities for one in bench.predictions()}
    assert list(told) == [row["id"] for row in rows[:20] + rows[40:]]
    if len(bench.pipeline.keys) == 1:  # rows that are skipped go through no hop, so a further key does not see them
        whole = expected(bench, rows)
        assert told == {name: whole[str(name)] for name in told}


def test_what_was_published_is_published_again_only_when_asked_for(bench: Bench) -> None:
    rows = purchases(5, 30, disorder=0)
    bench.feed(rows)
    bench.predict(30)
    assert bench.run("reset", str(bench.file), "stream", "--to", "earliest", "--publish-again").startswith("0 ")
    bench.predict(60)
    told = bench.predictions()
    assert set(Counter(one.event_id for one in told).values()) == {2}
    assert {one.business_id: one.probabilities for one in told} == expected(bench, rows)
    with bench.running("stream") as session:
        pump(session, lambda: session.lanes, "it has no partition")
        assert "run; stop them first" in bench.run("reset", str(bench.file), "stream", "--to", "latest")
    assert "is none of earliest, latest" in bench.run("reset", str(bench.file), "stream", "--to", "yesterday")
    assert "has offsets 0 to" in bench.run("reset", str(bench.file), "stream", "--to", "12345")


@pytest.mark.parametrize("bench", [1], indirect=True)
def test_selection_goes_on_with_its_ledger_after_offsets_were_set_by_something_else(bench: Bench) -> None:
    rows = purchases(6, 120, disorder=0)
    bench.feed(rows[:80])
    bench.predict(80)
    bench.select(6)
    before = bench.asked()
    bench.set_offsets("select", [bench.pipeline.topics.proposals], latest=False)
    with bench.running("select") as session, pytest.raises(TopicError, match=r"tidemark reset .* select --to"):
        pump(session, lambda: len(bench.asked()) > len(before), "it goes on")
    assert bench.run("reset", str(bench.file), "select", "--to", "earliest").startswith("0 ")
    bench.feed(rows[80:])
    bench.predict(120)
    bench.select(len(before) + 2)
    asked = bench.asked()
    assert asked[: len(before)] == before
    assert Counter(case.event_id for case in asked).most_common(1)[0][1] == 1, "a case was asked twice"
    most = bench.pipeline.selection.budget
    assert max(Counter(case.tile for case in asked).values()) <= most, "a tile's budget was spent twice"


def test_a_watermark_that_was_let_far_ahead_is_reset_and_selection_goes_on(bench: Bench) -> None:
    """The state is as an earlier version left it that took a row of the year 9998: its watermark stands there."""
    rows = purchases(7, 120, disorder=0)
    bench.feed(rows[:40])
    bench.predict(40)
    bench.select(2)
    group = f"{bench.pipeline.name}.stream"
    consumer = Consumer(consumer_config(bench.settings, group=group))
    held = consumer.committed([TopicPartition(topic, 0) for topic in bench.source], timeout=10)
    far = json.dumps({"rewind": None, "watermark": YEAR_9998})
    moved = [TopicPartition(p.topic, 0, p.offset, (p.metadata or "").partition("{")[0] + far) for p in held]
    consumer.commit(offsets=moved, asynchronous=False)
    consumer.close()
    bench.feed(rows[40:80])
    bench.predict(80)
    assert all(one.late for one in bench.predictions()[40:]), "the watermark is not far ahead"
    with bench.running("select") as session:
        pump(session, lambda: session.lanes, "it has no partition")
    committed = [bench.committed(flow) for flow in ("stream", "select")]
    assert "would be taken up" in bench.run("watermark", "reset", str(bench.file), "--dry-run")
    assert [bench.committed(flow) for flow in ("stream", "select")] == committed
    assert bench.run("watermark", "reset", str(bench.file)).startswith("0 ")
    before = bench.asked()
    bench.feed(rows[80:])
    bench.predict(120)
    told = bench.predictions()
    assert Counter(one.event_id for one in told).most_common(1)[0][1] == 1
    assert not any(one.late for one in told[80:])
    whole = expected(bench, rows)
    assert {one.business_id: one.probabilities for one in told[80:]} == {
        row["id"]: whole[str(row["id"])] for row in rows[80:]
    }, "windows were not rebuilt"
    bench.select(len(before) + 2)
    assert Counter(case.event_id for case in bench.asked()).most_common(1)[0][1] == 1, "a case was asked twice"
    assert max(case.time for case in bench.asked()) > START

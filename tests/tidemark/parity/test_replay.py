"""Replays on a real Kafka: the past once more, compared with what was recorded."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import ConfigResource
from lineage_world import LineageWorld, run, run_shop
from offsets import read_settled
from streaming import DAY, NOW_MS, START, purchases, shop

from tidemark.errors import ConfigError, ModelError, TopicError
from tidemark.features.raw_records import Records
from tidemark.formats.arrow import from_ipc, to_ipc
from tidemark.kafka import admin, headers_of
from tidemark.parity.replay import CHAMPION, Replay, Wanted
from tidemark.parity.report import ReplayReport
from tidemark.parity.shadow import Shadow, listed
from tidemark.pipeline import Pipeline, load
from tidemark.pipeline.model import Deduplicate
from tidemark.records import NO_MODEL, Prediction, ShadowPrediction, decode, encode
from tidemark.records.background import DEFINITIONS
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings
from tidemark.simulators import UseCase, simulate
from tidemark.times.places import Place

PIPELINES = Path(__file__).parents[3] / "pipelines"
ALL = Place("earliest"), Place("latest")
LATER = NOW_MS * 1_000 + 10_000 * DAY


@pytest.fixture(scope="module")
def its(kafka: Settings, tmp_path_factory: pytest.TempPathFactory) -> LineageWorld:
    """A pipeline over two keys that has run: its events are late, out of order, and some of its records are none."""
    return run_shop(kafka, f"rep-{tmp_path_factory.mktemp('rep').name}", 240)


def replayed(its: LineageWorld, wanted: Wanted, pipeline: Pipeline | None = None) -> ReplayReport:
    return Replay(pipeline or its.pipeline, its.settings, clock=lambda: LATER).run(wanted)


def predictions(its: LineageWorld) -> list[Prediction]:
    return [decode(Prediction, value) for value in its.values(its.pipeline.topics.predictions)]


def shadow(its: LineageWorld, name: str) -> list[ShadowPrediction]:
    return [decode(ShadowPrediction, value) for value in its.values(its.pipeline.topics.shadow(name))]


def test_every_event_comes_out_as_it_was_recorded_and_is_in_the_shadow_topic_once(its: LineageWorld) -> None:
    report = replayed(its, Wanted(*ALL, name="whole"))
    told = predictions(its)
    assert {each.late for each in told} == {False, True}
    assert {each.model for each in told} == {NO_MODEL, "v000001-0000000a"}
    assert report.differences == []
    assert report.reasons == []
    assert (report.events, report.equal) == (len(told), len(told))
    assert report.refused == its.refused
    assert report.agrees
    assert report.incomplete == 0
    assert report.compared > len(told) * (4 + len(its.pipeline.feature_names))
    assert report.models == Counter(each.model for each in told)
    own = {each.event_id: each for each in shadow(its, "whole")}
    assert len(own) == len(shadow(its, "whole")) == len(told)
    for each in told:
        ours = own[each.event_id]
        assert (ours.key, ours.time, ours.business_id, ours.late, ours.model) == (
            each.key, each.time, each.business_id, each.late, each.model,
        )  # fmt: skip
        assert (ours.probabilities is None) is (each.probabilities is None)
        if each.probabilities is not None:
            assert ours.probabilities == pytest.approx(each.probabilities, rel=1e-9)
            assert ours.uncertainty == pytest.approx(each.uncertainty)
        assert list(ours.features) == its.pipeline.feature_names
        assert ours.incomplete == []


def test_an_event_of_the_shadow_topic_is_in_the_partition_of_its_key(its: LineageWorld) -> None:
    replayed(its, Wanted(*ALL, name="placed"))
    of_key = {
        topic: {message.key(): message.partition() for message in read_settled(its.settings, topic)}
        for topic in (its.pipeline.topics.predictions, its.pipeline.topics.shadow("placed"))
    }
    first, second = of_key.values()
    assert first == second


def test_what_was_recorded_otherwise_is_named_with_the_largest_difference(
    kafka: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    its = run_shop(kafka, f"bad-{tmp_path_factory.mktemp('bad').name}", 90)
    topics = its.pipeline.topics
    scored = next(each for each in predictions(its) if each.probabilities is not None)
    false = msgspec.structs.replace(scored, probabilities=[0.875, 0.125])
    record = next(m for m in read_settled(kafka, topics.features) if m.value())
    frame = from_ipc(record.value(), "features")
    tampered = frame.with_columns(who_count=pl.col("who_count") + pl.Series(np.arange(len(frame)) == 0) * 75.0)
    headers = tuple((each[0], each[1]) for each in headers_of(record) or [] if each[1] is not None)
    assert [each[0] for each in headers] == [DEFINITIONS]
    its.produce(
        [
            Output(topics.predictions, encode(false), str(false.key).encode()),
            Output(topics.features, to_ipc(tampered, portable=True), partition=record.partition(), headers=headers),
        ]
    )
    report = replayed(its, Wanted(*ALL))
    assert not report.agrees
    found = {each.what: each for each in report.differences}
    assert set(found) == {"feature who_count", "probability of good", "probability of bad"}
    feature = found["feature who_count"]
    assert (feature.events, feature.where, feature.largest) == (1, topics.features, 75.0)
    assert feature.example == tampered["event_id"][0]
    assert found["probability of bad"].example == scored.event_id
    assert report.differing == len({feature.example, scored.event_id})
    assert report.equal == report.events - report.differing


def test_what_is_defined_otherwise_by_now_is_not_comparable_and_not_different(its: LineageWorld) -> None:
    windows = [
        window.model_copy(update={"size": window.size // 2, "span": "10s"}) if window.name == "who_count" else window
        for window in its.pipeline.windows
    ]
    edited = its.pipeline.model_copy(update={"windows": windows})
    report = replayed(its, Wanted(*ALL), edited)
    assert report.differences == []
    assert report.agrees
    assert (report.not_comparable, report.equal) == (report.events, 0)
    reasons = " ".join(each.reason for each in report.reasons)
    assert "who_count was defined otherwise" in reasons
    assert "model v000001-0000000a" in reasons


def test_a_prediction_that_was_never_written_is_missing(
    kafka: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    its = run_shop(kafka, f"lost-{tmp_path_factory.mktemp('lost').name}", 90, lost=40)
    report = replayed(its, Wanted(*ALL))
    assert (report.missing, report.differing, report.equal) == (1, 0, report.events - 1)
    assert not report.agrees
    fresh = Replay(its.pipeline, kafka, clock=lambda: 0).run(Wanted(*ALL))
    assert (fresh.missing, fresh.not_held) == (0, 1)  # a record that has just come may still be on its way


@pytest.fixture(scope="module")
def live(kafka: Settings, tmp_path_factory: pytest.TempPathFactory) -> LineageWorld:
    """The same, but that records come when their events happen, and none is far ahead: so warm-ups are short."""
    its = run_shop(kafka, f"live-{tmp_path_factory.mktemp('live').name}", 240, stamped=True)
    time = its.pipeline.time.model_copy(update={"max_ahead": 1_000_000})
    its.pipeline = its.pipeline.model_copy(update={"time": time})
    return its


def test_a_range_by_offset_has_full_windows_from_its_first_event_on(live: LineageWorld) -> None:
    whole = {each.partition: each.end for each in replayed(live, Wanted(*ALL)).spans}
    report = replayed(live, Wanted(Place("offset", 30), Place("offset", 70)))
    assert {each.partition: (each.start, each.end) for each in report.spans} == {
        index: (30, min(end, 70)) for index, end in whole.items()
    }
    assert (report.equal, report.incomplete) == (report.events, 0)
    assert report.events > 60


def test_a_range_by_time_is_of_the_records_that_came_then(live: LineageWorld) -> None:
    messages = read_settled(live.settings, live.pipeline.raw_topics[0])
    came = sorted(message.timestamp()[1] for message in messages)
    middle = came[len(came) // 2]
    before = replayed(live, Wanted(Place("earliest"), Place("time", middle * 1_000)))
    after = replayed(live, Wanted(Place("time", middle * 1_000), Place("latest")))
    for report in (before, after):
        assert (report.equal, report.incomplete) == (report.events, 0)
        assert report.events > 60
    # Where records come out of order, the first of a partition that is not before the time begins the second part.
    assert before.events + after.events == len(predictions(live))
    assert [each.end for each in before.spans] == [each.start for each in after.spans]


def test_a_model_that_is_named_scores_all_events(its: LineageWorld) -> None:
    for name in (CHAMPION, "v000001"):
        report = replayed(its, Wanted(*ALL, name=f"by-{name}", model=name))
        assert report.models == {"v000001-0000000a": report.events}
        assert report.differences == []
        assert {each.reason for each in report.reasons} == {"it was scored by another model than v000001-0000000a"}
        assert all(each.probabilities is not None for each in shadow(its, f"by-{name}"))
    with pytest.raises(ModelError, match="there is no model"):
        replayed(its, Wanted(*ALL, model="v9"))


def test_a_second_replay_of_a_name_is_refused_or_takes_the_place_of_the_first(its: LineageWorld) -> None:
    part = Wanted(Place("offset", 0), Place("offset", 10), name="again")
    first = replayed(its, part)
    with pytest.raises(TopicError, match="there is a replay 'again' already"):
        replayed(its, part)
    assert len(shadow(its, "again")) == first.events
    second = replayed(its, Wanted(Place("offset", 10), Place("offset", 30), name="again", replace=True))
    assert len(shadow(its, "again")) == second.events != first.events
    assert "again" in {each.name for each in listed(its.pipeline, its.settings)}
    Shadow(its.pipeline, its.settings, "again").remove()
    assert "again" not in {each.name for each in listed(its.pipeline, its.settings)}
    with pytest.raises(TopicError, match="there is no replay 'again'"):
        Shadow(its.pipeline, its.settings, "again").remove()


def test_a_shadow_topic_is_kept_for_a_week_at_most(its: LineageWorld) -> None:
    replayed(its, Wanted(Place("offset", 0), Place("offset", 3), name="forgets"))
    topic = ConfigResource(ConfigResource.Type.TOPIC, its.pipeline.topics.shadow("forgets"))
    client = admin(its.settings)
    (found,) = client.describe_configs([topic]).values()
    assert 0 < int(found.result(60)["retention.ms"].value) <= 7 * 86_400_000


def replay_until_killed(pipeline: Pipeline, settings: Settings, wanted: Wanted) -> None:
    """In a process of its own: it ends when all records are in Kafka, and their transaction is open."""
    Replay(pipeline, settings, hook=lambda _moment: os.kill(os.getpid(), signal.SIGKILL)).run(wanted)


def test_a_replay_that_is_killed_while_it_writes_leaves_nothing_and_the_next_writes_all_once(its: LineageWorld) -> None:
    whole = Wanted(*ALL, name="killed")
    process = multiprocessing.get_context("spawn").Process(
        target=replay_until_killed, args=(its.pipeline, its.settings, whole)
    )
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    report = replayed(its, whole)
    assert report.agrees
    counts = Counter(each.event_id for each in shadow(its, "killed"))
    assert set(counts.values()) == {1}
    assert len(counts) == report.events == len(predictions(its))


def test_features_whose_rows_retention_has_removed_are_not_compared_and_it_is_said(
    kafka: Settings, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.stream.past._ROWS", 5)  # windows are known to be full by the first rows that are read
    its = run_shop(kafka, f"cut-{tmp_path_factory.mktemp('cut').name}", 240)
    (raw,) = its.pipeline.raw_topics
    cut = [TopicPartition(raw, index, 25) for index in range(its.pipeline.partitions)]
    client = admin(kafka)
    for future in client.delete_records(cut).values():
        future.result(60)
    report = replayed(its, Wanted(*ALL, name="cut"))
    assert report.differences == []
    assert 0 < report.incomplete < report.events
    assert report.not_comparable == report.incomplete
    assert report.equal == report.events - report.incomplete > 0
    assert report.full_from is not None
    assert report.full_from > START
    assert sum(bool(each.incomplete) for each in shadow(its, "cut")) == report.incomplete
    asked = replayed(its, Wanted(Place("offset", 3), Place("latest")))
    assert any("what was before is gone" in note for note in asked.notes)


@pytest.mark.parametrize("keys", [1, 2])
def test_records_keyed_by_something_else_and_sent_twice_replay_to_what_was_predicted(
    kafka: Settings, unique: str, keys: int
) -> None:
    pipeline = shop(keys=keys, features_topic=True)
    raw = pipeline.raw[0].model_copy(update={"topic": f"{unique}.raw", "key": "other"})
    drops = Deduplicate.model_validate({"key": "id", "within": "30s"})
    pipeline = pipeline.model_copy(update={"name": unique, "raw": [raw], "deduplicate": drops})
    rows = [row for number, row in enumerate(purchases(3, 120)) for _ in range(1 + (number % 7 == 0))]
    its = run(kafka, pipeline, [(str(row["place"]).encode(), json.dumps(row).encode()) for row in rows])
    predicted = len(predictions(its))  # of late rows some are not known to be there twice
    assert 120 <= predicted < len(rows) - 5
    report = replayed(its, Wanted(*ALL, name="dropped"))
    assert report.differences == []
    assert report.reasons == []
    assert (report.equal, report.events, report.refused) == (predicted, predicted, len(rows) - predicted)
    assert report.agrees
    assert len(shadow(its, "dropped")) == predicted


@pytest.mark.parametrize("use_case", ["fraud", "maintenance", "customer", "healthcare"])
def test_the_example_pipelines_replay_to_what_they_predicted(kafka: Settings, unique: str, use_case: UseCase) -> None:
    pipeline = load(PIPELINES / f"{use_case}.toml")
    own = [raw.model_copy(update={"topic": f"{unique}.raw"}) for raw in pipeline.raw]
    pipeline = pipeline.model_copy(update={"name": unique, "raw": own, "features_topic": True})
    rows = simulate(use_case, 3, 400).events
    records = Records(pipeline).records(rows.write_ndjson().encode().splitlines())
    its = run(kafka, pipeline, [(each.key, each.value) for each in records])
    report = replayed(its, Wanted(*ALL, name="examples"))
    assert report.differences == []
    assert report.reasons == []
    assert report.equal == report.events == len(predictions(its)) == 400
    assert len(shadow(its, "examples")) == 400


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(Place("offset", 900_000), Place("latest")), "there are no records between"),
        (Wanted(*ALL, most=10), "10 are replayed at once at most"),
        (Wanted(*ALL, name="No Name"), "is no name of a replay"),
    ],
)
def test_what_cannot_be_replayed_is_said(its: LineageWorld, wanted: Wanted, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replayed(its, wanted)

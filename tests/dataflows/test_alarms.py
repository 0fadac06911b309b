"""An alarm reaches those who follow it through Kafka, and a watch finds what it saved there."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from benchmarks.labels.proposal_streams import pipeline
from dataflows.alarms import AlarmFollower, announcing
from support import wait_until
from tidemark.drift import saved
from tidemark.drift.detector import Detector
from tidemark.kafka import ensure_topics, producer_config
from tidemark.monitoring.read_back import read_sample
from tidemark.pipeline.model import Drift, Pipeline
from tidemark.records.topics import TopicSpec
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings

SECRET = b"sixteen bytes or more"


@pytest.fixture
def reacting(kafka: Settings, unique: str) -> Pipeline:
    plain = pipeline(budget=8, explore=1)
    drift = Drift.model_validate({"reaction": {}})
    pipe = plain.model_copy(update={"name": unique, "drift": drift})
    ensure_topics(kafka, [TopicSpec(topic, 1, {}) for topic in (pipe.topics.models, pipe.topics.sample)])
    return pipe


@pytest.fixture
def producer(kafka: Settings) -> Producer:
    return Producer(producer_config(kafka))


def produce(producer: Producer, output: Output) -> None:
    producer.produce(output.topic, output.value, output.key, headers=list(output.headers))
    producer.flush()


def test_who_follows_hears_of_the_newest_alarm_that_is_signed(
    kafka: Settings, reacting: Pipeline, producer: Producer
) -> None:
    announce, forge = announcing(reacting, lambda: SECRET), announcing(reacting, lambda: None)
    produce(producer, announce("labels_changed", 5_000))
    produce(producer, forge("quality_fell", 9_000))
    follower = AlarmFollower(reacting, kafka, lambda: SECRET)
    assert follower.at() == 5_000
    produce(producer, announce("quality_fell", 7_000))
    wait_until(lambda: follower.at() == 7_000, err_msg="the alarm was not heard of")
    produce(producer, announce("quality_fell", 6_000))
    follower.close()
    assert follower.at() == 7_000


def test_a_pipeline_that_follows_nothing_asks_nothing_of_kafka() -> None:
    follower = AlarmFollower(pipeline(budget=8, explore=1), Settings(bootstrap_servers="127.0.0.1:1"))
    assert follower.at() is None
    follower.close()


def test_what_was_saved_last_is_found_wherever_it_stands(
    kafka: Settings, reacting: Pipeline, producer: Producer
) -> None:
    sample = reacting.topics.sample
    state = Detector([], alarms=1.0).state()
    for through in (3, 600):
        kept = saved.Saved(through=through, first=0, columns=[], model="", inputs=state, predictions=state)
        for place in (1, 2, 9_999):
            produce(producer, Output(sample, b"{}", b"%d" % place))
        value = saved.pack(kept)
        assert value is not None
        produce(producer, Output(sample, value, saved.KEY))
    produce(producer, Output(sample, b"junk", saved.KEY))
    found = read_sample(kafka, sample, 4_096)
    assert [each.through for each in found.states] == [3, 600]
    assert found.places == {1, 2}
    newest = found.newest(599)
    assert newest is not None
    assert newest.through == 3

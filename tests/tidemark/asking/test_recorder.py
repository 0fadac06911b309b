"""Events that were asked about are recorded in a real Kafka, or their callers are told why they can't be."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from streaming import shop

from support import wait_until
from tidemark.asking import Answer, Recorder, Refusal
from tidemark.asking.answerer import Why
from tidemark.kafka import ensure_topics, read_all
from tidemark.records.raw_record import RawRecord
from tidemark.records.topics import TopicSpec
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings


@pytest.fixture
def recorder(kafka: Settings) -> Iterator[Recorder]:
    made = Recorder(kafka, shop())
    yield made
    made.close()


def of_event(topic: str, value: bytes) -> Answer:
    return Answer(
        record=RawRecord(b"key" * 20, value),
        place=Partition(topic, 0, "0000aaaa"),
        business_id=None,
        key="k",
        time=0,
        model="none",
        probabilities=None,
        uncertainty=None,
        shadow=None,
        features={},
        late=False,
        known=False,
        windows=[],
        lag=0.0,
    )


def told(recorder: Recorder, answer: Answer) -> str | Refusal:
    found: list[str | Refusal] = []
    recorder.record(answer, found.append)
    wait_until(lambda: len(found) == 1, "nobody says what became of the event")
    return found[0]


def test_an_event_of_nearly_a_megabyte_is_recorded(kafka: Settings, unique: str, recorder: Recorder) -> None:
    """Kafka's clients refuse a record of 1,000,000 bytes by themselves, which its topics take."""
    ensure_topics(kafka, [TopicSpec(unique, 1, {})])
    value = os.urandom(1_000_000)
    assert told(recorder, of_event(unique, value)) == f"{unique}-0-0-0000aaaa"
    assert [message.value() for message in read_all(kafka, unique)] == [value]


def test_who_asks_about_an_event_that_its_topic_does_not_take_is_told_to_make_it_smaller(
    kafka: Settings, unique: str, recorder: Recorder
) -> None:
    ensure_topics(kafka, [TopicSpec(unique, 1, {"max.message.bytes": "20000"})])
    for size in (30_000, 5_000_000):
        refusal = told(recorder, of_event(unique, os.urandom(size)))
        assert isinstance(refusal, Refusal)
        assert refusal.why is Why.EVENT
        assert f"it has {size + 60:,} bytes, more than Kafka takes in topic {unique}" in refusal.reason
    assert told(recorder, of_event(unique, b"small")) == f"{unique}-0-0-0000aaaa"

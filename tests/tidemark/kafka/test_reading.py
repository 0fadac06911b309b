from __future__ import annotations

import pytest
from confluent_kafka import Producer

from tidemark.errors import TopicError
from tidemark.kafka import ensure_topics, producer_config, read_all
from tidemark.settings import Settings
from tidemark.topics import TopicSpec


@pytest.fixture
def topic(kafka: Settings, unique: str) -> str:
    ensure_topics(kafka, [TopicSpec(unique, 2, {})])
    return unique


@pytest.fixture
def producer(kafka: Settings, unique: str) -> Producer:
    producer = Producer(producer_config(kafka, transactional_id=unique))
    producer.init_transactions()
    return producer


def transaction(
    producer: Producer, topic: str, values: list[bytes], *, partition: int = 0, commit: bool = True
) -> None:
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=partition)
    producer.flush()
    if commit:
        producer.commit_transaction()
    else:
        producer.abort_transaction()


def test_an_empty_topic_is_read_at_once(kafka: Settings, topic: str) -> None:
    assert read_all(kafka, topic) == []


def test_every_committed_record_comes_by_partition_and_offset(kafka: Settings, topic: str, producer: Producer) -> None:
    transaction(producer, topic, [b"x"], partition=1)
    transaction(producer, topic, [b"a", b"b"])
    transaction(producer, topic, [b"y"], partition=1)
    transaction(producer, topic, [b"c"])

    found = [(message.partition(), message.offset(), message.value()) for message in read_all(kafka, topic)]

    # A transaction's marker takes an offset: 2 and 4 in partition 0, 1 and 3 in partition 1.
    assert found == [(0, 0, b"a"), (0, 1, b"b"), (0, 3, b"c"), (1, 0, b"x"), (1, 2, b"y")]


def test_aborted_records_are_left_out_even_at_the_end(kafka: Settings, topic: str, producer: Producer) -> None:
    transaction(producer, topic, [b"kept"])
    transaction(producer, topic, [b"lost", b"lost"], commit=False)

    assert [message.value() for message in read_all(kafka, topic)] == [b"kept"]


def test_a_topic_of_nothing_but_aborted_records_is_read_to_its_end(
    kafka: Settings, topic: str, producer: Producer
) -> None:
    transaction(producer, topic, [b"lost"] * 100, commit=False)

    assert read_all(kafka, topic) == []


def test_an_open_transaction_is_not_waited_for(kafka: Settings, topic: str, producer: Producer) -> None:
    transaction(producer, topic, [b"kept"])
    producer.begin_transaction()
    producer.produce(topic, b"pending", partition=0)
    producer.flush()

    assert [message.value() for message in read_all(kafka, topic, timeout=5)] == [b"kept"]
    producer.abort_transaction()


def test_a_topic_that_does_not_exist_is_named(kafka: Settings, unique: str) -> None:
    with pytest.raises(TopicError, match=f"no topic '{unique}'"):
        read_all(kafka, unique)

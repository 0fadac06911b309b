from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for

import pytest
from confluent_kafka import Producer

from tidemark.errors import BrokerError, TopicError
from tidemark.kafka import ensure_topics, producer_config, read_all, read_spans, wait_settled
from tidemark.kafka.reading import each_record
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings


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
    kafka: Settings, producer: Producer, topic: str, values: list[bytes], *, partition: int = 0, commit: bool = True
) -> None:
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=partition)
    producer.flush()
    if commit:
        producer.commit_transaction()
    else:
        producer.abort_transaction()
    wait_settled(kafka, topic)


def test_an_empty_topic_is_read_at_once(kafka: Settings, topic: str) -> None:
    assert read_all(kafka, topic) == []


def test_every_committed_record_comes_by_partition_and_offset(kafka: Settings, topic: str, producer: Producer) -> None:
    transaction(kafka, producer, topic, [b"x"], partition=1)
    transaction(kafka, producer, topic, [b"a", b"b"])
    transaction(kafka, producer, topic, [b"y"], partition=1)
    transaction(kafka, producer, topic, [b"c"])

    found = [(message.partition(), message.offset(), message.value()) for message in read_all(kafka, topic)]

    # A transaction's marker takes an offset: 2 and 4 in partition 0, 1 and 3 in partition 1.
    assert found == [(0, 0, b"a"), (0, 1, b"b"), (0, 3, b"c"), (1, 0, b"x"), (1, 2, b"y")]


def test_aborted_records_are_left_out_even_at_the_end(kafka: Settings, topic: str, producer: Producer) -> None:
    transaction(kafka, producer, topic, [b"kept"])
    transaction(kafka, producer, topic, [b"lost", b"lost"], commit=False)

    assert [message.value() for message in read_all(kafka, topic)] == [b"kept"]


def test_a_topic_of_nothing_but_aborted_records_is_read_to_its_end(
    kafka: Settings, topic: str, producer: Producer
) -> None:
    transaction(kafka, producer, topic, [b"lost"] * 100, commit=False)

    assert read_all(kafka, topic) == []


def test_an_open_transaction_is_not_waited_for(kafka: Settings, topic: str, producer: Producer) -> None:
    transaction(kafka, producer, topic, [b"kept"])
    producer.begin_transaction()
    producer.produce(topic, b"pending", partition=0)
    producer.flush()

    assert [message.value() for message in read_all(kafka, topic, timeout=5)] == [b"kept"]
    producer.abort_transaction()


def test_a_settled_reading_waits_for_what_is_open_at_the_call_and_for_nothing_later(
    kafka: Settings, topic: str, producer: Producer, unique: str
) -> None:
    transaction(kafka, producer, topic, [b"kept"])
    producer.begin_transaction()
    producer.produce(topic, b"committed", partition=0)
    producer.flush()
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read_all, kafka, topic, settled=True)
        assert not wait_for([reading], 0.5).done, "it did not wait"
        later = Producer(producer_config(kafka, transactional_id=f"{unique}.later"))
        later.init_transactions()
        later.begin_transaction()
        later.produce(topic, b"pending", partition=0)
        later.flush()
        producer.commit_transaction()
        assert [message.value() for message in reading.result(30)] == [b"kept", b"committed"]
    later.abort_transaction()


def test_a_transaction_that_stays_open_is_named_with_what_to_do(
    kafka: Settings, topic: str, producer: Producer
) -> None:
    transaction(kafka, producer, topic, [b"kept"])
    producer.begin_transaction()
    producer.produce(topic, b"pending", partition=0)
    producer.flush()
    with pytest.raises(BrokerError, match=r"\[0\]: a transaction that begins at offset 2 .* 0.2 s.*operations.md"):
        wait_settled(kafka, topic, patience=0.2)
    producer.abort_transaction()


def test_a_topic_that_does_not_exist_is_named(kafka: Settings, unique: str) -> None:
    with pytest.raises(TopicError, match=f"no topic '{unique}'"):
        read_all(kafka, unique)


def test_spans_of_several_partitions_are_read_up_to_their_ends_and_no_further(
    kafka: Settings, topic: str, producer: Producer
) -> None:
    transaction(kafka, producer, topic, [b"a", b"b", b"c"])
    transaction(kafka, producer, topic, [b"x", b"y"], partition=1)

    spans = {(topic, 0): (1, 3), (topic, 1): (0, 1), (f"{topic}-none", 0): (5, 5)}
    batches = read_spans(kafka, spans, group="g", timeout=30, most=1)
    found = sorted((message.partition(), message.value()) for batch in batches for message in batch)

    assert found == [(0, b"b"), (0, b"c"), (1, b"x")]


def test_an_end_that_is_not_reached_is_an_error_that_names_the_partition(
    kafka: Settings, topic: str, producer: Producer
) -> None:
    transaction(kafka, producer, topic, [b"a"])

    with pytest.raises(BrokerError, match=rf"the end of {topic}\[0\] was not reached within 0\.5 s, after 1 records"):
        list(read_spans(kafka, {(topic, 0): (0, 100)}, group="g", timeout=0.5))


def test_the_end_of_a_topic_is_read_alone_where_that_is_asked_for(
    kafka: Settings, topic: str, producer: Producer
) -> None:
    for number in range(4):
        transaction(kafka, producer, topic, [b"%d" % number])
    transaction(kafka, producer, topic, [b"other"], partition=1)

    def read(last: int) -> set[bytes | None]:
        return {message.value() for message in each_record(kafka, topic, settled=True, last=last)}

    assert read(4) == {b"2", b"3", b"other"}  # a marker behind each
    assert read(1_000) == {b"0", b"1", b"2", b"3", b"other"}
    assert read(0) == set()

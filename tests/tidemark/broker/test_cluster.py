"""Three nodes: what one of them does to the others by dying."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Producer

from support import wait_until
from tidemark.broker import EmbeddedKafka
from tidemark.kafka import connect, ensure_topics, producer_config, read_all
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

RECORDS = 200


@pytest.fixture
def topic(kafka_cluster3: EmbeddedKafka, unique: str) -> str:
    ensure_topics(settings(kafka_cluster3), [TopicSpec(unique, 3, {})])
    return unique


def settings(kafka: EmbeddedKafka) -> Settings:
    return Settings.from_environment({}).at(kafka.bootstrap_servers)


def in_sync(kafka: EmbeddedKafka, topic: str) -> list[int]:
    partitions = connect(settings(kafka)).list_topics(topic).topics[topic].partitions
    return sorted(len(partition.isrs) for partition in partitions.values())


def test_a_topic_has_three_replicas_each_on_another_node(kafka_cluster3: EmbeddedKafka, topic: str) -> None:
    found = connect(settings(kafka_cluster3)).list_topics(topic).topics[topic]

    assert all(sorted(partition.replicas) == [1, 2, 3] for partition in found.partitions.values())


def test_with_one_node_killed_everything_acknowledged_is_kept_and_writing_goes_on(
    kafka_cluster3: EmbeddedKafka, topic: str
) -> None:
    acknowledged: set[bytes] = set()
    refused: list[KafkaError] = []
    producer = Producer(producer_config(settings(kafka_cluster3), transactional_id=topic))
    producer.init_transactions()

    def note(error: KafkaError | None, _: object) -> None:
        if error is not None:
            refused.append(error)

    def write(first: int) -> None:
        producer.begin_transaction()
        for number in range(first, first + RECORDS):
            producer.produce(topic, b"%d" % number, partition=number % 3, on_delivery=note)
        producer.commit_transaction()
        acknowledged.update(b"%d" % number for number in range(first, first + RECORDS))

    write(0)
    kafka_cluster3.kill(2)
    write(RECORDS)
    kafka_cluster3.start_node(2)
    write(2 * RECORDS)

    assert refused == []
    assert len(acknowledged) == 3 * RECORDS

    def kept() -> list[bytes]:
        return sorted(message.value() or b"" for message in read_all(settings(kafka_cluster3), topic))

    # A commit is acknowledged before its markers are in every partition, and until then hides what lies behind them.
    wait_until(lambda: kept() == sorted(acknowledged), lambda: f"{len(kept())} of {len(acknowledged)} are kept")
    wait_until(lambda: in_sync(kafka_cluster3, topic) == [3, 3, 3], "node 2 never caught up")

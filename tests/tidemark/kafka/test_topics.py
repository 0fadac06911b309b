from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType

from support import wait_until
from tidemark.errors import BrokerError, TopicError
from tidemark.kafka import admin, ensure_topics, topic_incarnation
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings


def test_topics_are_there_with_their_settings_when_the_call_returns(kafka: Settings, unique: str) -> None:
    spec = TopicSpec(unique, 3, {"cleanup.policy": "compact"})

    created = ensure_topics(kafka, [spec])

    client = admin(kafka)
    found = client.list_topics(unique).topics[unique]
    assert created == [unique]
    assert sorted(found.partitions) == [0, 1, 2]
    resource = ConfigResource(ResourceType.TOPIC, unique)
    config = client.describe_configs([resource])[resource].result(60)
    assert config["cleanup.policy"].value == "compact"


def test_topics_that_exist_are_left_as_they_are(kafka: Settings, unique: str) -> None:
    ensure_topics(kafka, [TopicSpec(unique, 2, {})])
    before = topic_incarnation(kafka, unique)

    assert ensure_topics(kafka, [TopicSpec(unique, 2, {})]) == []
    assert topic_incarnation(kafka, unique) == before


def test_another_number_of_partitions_is_refused(kafka: Settings, unique: str) -> None:
    ensure_topics(kafka, [TopicSpec(unique, 2, {})])

    with pytest.raises(TopicError, match=f"'{unique}' has 2 partitions where 3 are configured"):
        ensure_topics(kafka, [TopicSpec(unique, 3, {})])


def test_a_topic_that_kafka_refuses_is_named_with_kafkas_reason(kafka: Settings) -> None:
    with pytest.raises(TopicError, match=r"'no spaces, please'"):
        ensure_topics(kafka, [TopicSpec("no spaces, please", 1, {})])


def test_several_processes_may_create_the_same_topics_at_once(kafka: Settings, unique: str) -> None:
    specs = [TopicSpec(f"{unique}-{number}", 2, {}) for number in range(4)]

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(ensure_topics, kafka, specs) for _ in range(4)]
    for run in runs:
        run.result()

    present = admin(kafka).list_topics().topics
    assert all(len(present[spec.name].partitions) == 2 for spec in specs)


def test_a_topic_created_again_has_another_incarnation(kafka: Settings, unique: str) -> None:
    client = admin(kafka)
    ensure_topics(kafka, [TopicSpec(unique, 1, {})])
    first = topic_incarnation(kafka, unique)
    assert topic_incarnation(client, unique) == first
    client.delete_topics([unique])[unique].result(60)
    wait_until(lambda: created_again(kafka, unique), "the topic could not be created again")

    second = topic_incarnation(kafka, unique)

    assert second != first
    assert len(first) == len(second) == 8
    assert int(first, 16) >= 0


def created_again(kafka: Settings, topic: str) -> bool:
    try:
        return ensure_topics(kafka, [TopicSpec(topic, 1, {})]) == [topic]
    except (TopicError, KafkaException):  # the broker is still deleting it
        return False


def test_the_incarnation_of_no_topic_is_an_error_that_names_it(kafka: Settings, unique: str) -> None:
    with pytest.raises(TopicError, match=f"no topic '{unique}'"):
        topic_incarnation(kafka, unique)


def test_asking_a_kafka_that_does_not_answer_is_a_brokers_error() -> None:
    nowhere = Settings.from_environment({}).at("127.0.0.1:1")

    with pytest.raises(BrokerError, match="can't describe topic 'any'"):
        topic_incarnation(nowhere, "any", timeout=0.5)
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1 does not answer"):
        ensure_topics(nowhere, [TopicSpec("any", 1, {})], timeout=0.5)

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from support import wait_until
from tidemark.errors import BrokerError, ConfigError
from tidemark.kafka import (
    admin,
    connect,
    consumer,
    consumer_config,
    ensure_topics,
    producer,
    producer_config,
    read_all,
)
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

NOWHERE = Settings.from_environment({}).at("127.0.0.1:1")


def test_a_kafka_that_does_not_answer_is_named_with_what_to_do() -> None:
    with pytest.raises(BrokerError, match=r"Kafka at 127\.0\.0\.1:1 does not answer.*tidemark broker up"):
        connect(NOWHERE, timeout=0.5)


def test_a_command_gives_up_a_kafka_that_refuses_it_long_before_the_timeout() -> None:
    begin = time.monotonic()
    with pytest.raises(BrokerError, match=r"does not answer .*refused"):
        connect(NOWHERE, timeout=120.0, down=1.0)
    assert time.monotonic() - begin < 60


def test_a_kafka_that_answers_at_once_is_asked_by_the_client_that_is_returned(
    kafka: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[AdminClient] = []

    def making(config: dict[str, str | int | float | bool]) -> AdminClient:
        made.append(AdminClient(config))
        return made[-1]

    monkeypatch.setattr("tidemark.kafka.clients.AdminClient", making)

    def at_once() -> bool:
        made.clear()
        return [connect(kafka)] == made

    wait_until(at_once, "a further client is made")


def test_without_a_named_kafka_no_client_is_made() -> None:
    with pytest.raises(BrokerError, match="no Kafka is named"):
        consumer_config(Settings.from_environment({}), group="g")


def test_a_property_that_librdkafka_does_not_know_is_refused_by_name() -> None:
    settings = NOWHERE.model_copy(update={"kafka": {"no.such.property": "1"}})

    with pytest.raises(ConfigError, match=r"no\.such\.property"):
        admin(settings)


def test_security_settings_reach_the_client(kafka: Settings) -> None:
    """A client that speaks TLS to a plaintext port fails in the handshake, so the setting did reach it."""
    settings = kafka.model_copy(update={"kafka": {"security.protocol": "SSL"}})

    with pytest.raises(BrokerError, match=r"(?i)ssl"):
        connect(settings, timeout=3)


def test_more_properties_may_be_given_with_underscores() -> None:
    config = consumer_config(NOWHERE, group="g", max_poll_interval_ms=60_000, log_level=0)

    assert config["max.poll.interval.ms"] == 60_000
    assert config["log_level"] == 0


def test_a_position_that_is_gone_is_an_error_and_not_a_jump(kafka: Settings, unique: str) -> None:
    ensure_topics(kafka, [TopicSpec(unique, 1, {})])
    consumer = Consumer(consumer_config(kafka, group=unique))
    codes: list[int] = []

    def met_the_error() -> bool:
        message = consumer.poll(0.1)
        error = None if message is None else message.error()
        if error is not None:
            codes.append(error.code())
        return bool(codes)

    try:
        consumer.assign([TopicPartition(unique, 0, 1_000)])
        wait_until(met_the_error, "no error for an offset that does not exist")
    finally:
        consumer.close()
    assert codes == [KafkaError._AUTO_OFFSET_RESET]


def test_a_producer_puts_a_key_where_the_java_clients_put_it(kafka: Settings, unique: str) -> None:
    """Expected partitions: murmur2 of Kafka's Java client, masked to 31 bits, modulo 7."""
    ensure_topics(kafka, [TopicSpec(unique, 7, {})])
    keys = [f"customer-{number}".encode() for number in range(50)]
    producer = Producer(producer_config(kafka))
    for key in keys:
        producer.produce(unique, b"", key=key)
    producer.flush()

    found = {message.key(): message.partition() for message in read_all(kafka, unique)}

    assert found == {key: (murmur2(key) & 0x7FFFFFFF) % 7 for key in keys}


def murmur2(data: bytes) -> int:
    """`org.apache.kafka.common.utils.Utils.murmur2`, as a 32-bit unsigned integer."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


@pytest.mark.parametrize("make", [admin, partial(consumer, group="g"), producer], ids=["admin", "consumer", "producer"])
def test_whichever_client_is_made_a_property_that_librdkafka_does_not_know_is_refused_by_name(
    make: Callable[[Settings], object],
) -> None:
    settings = NOWHERE.model_copy(update={"kafka": {"no.such.property": "1"}})
    with pytest.raises(ConfigError, match=r"no\.such\.property"):
        make(settings)


def test_clients_are_made_in_one_place_and_offsets_are_not_asked_for_in_the_way_that_ends_the_process() -> None:
    root = Path(__file__).parents[3]
    found = {
        f"{path.relative_to(root)} {call.func.id if isinstance(call.func, ast.Name) else call.func.attr}"
        for package in ("tidemark", "dataflows", "labeling_grpc")
        for path in (root / package).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name | ast.Attribute)
        and (call.func.id if isinstance(call.func, ast.Name) else call.func.attr)
        in {"Consumer", "Producer", "AdminClient", "list_consumer_group_offsets"}
    }
    # A transactional producer is made again and again from the same configuration, which has callbacks.
    assert found == {"dataflows/engine/transactional_producer.py Producer"}

"""Reading a topic to its end: every committed record there is at the time of the call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tidemark.errors import BrokerError, TopicError
from tidemark.kafka.clients import connect, consumer_config, unreachable
from tidemark.kafka.passing import asked_until
from tidemark.settings import Settings

_BATCH: Final = 10_000
_CONSUME_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 5.0  # librdkafka's own time-out comes first, and says why


def read_all(settings: Settings, topic: str, *, timeout: float = 60.0) -> list[Message]:
    """Every committed record of `topic` up to its end at the time of the call, by partition and offset.

    The end of a partition is its last stable offset: records of a transaction that is still open, and what
    lies behind them, are not waited for. Transaction markers and compacted records count as passed.

    timeout: seconds for the whole reading.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer, or the end is not reached in time.

    """
    return sorted(each_record(settings, topic, timeout=timeout), key=_position)


def each_record(settings: Settings, topic: str, *, timeout: float = 60.0) -> Iterator[Message]:
    """As `read_all`, record by record as they come: of each partition in order, and no more held than was fetched.

    Args:
        settings: that name the Kafka.
        topic: its name.
        timeout: seconds for the whole reading.

    Yields:
        The records.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer, or the end is not reached in time.

    """
    client = connect(settings, timeout=timeout)
    deadline = time.monotonic() + timeout
    ends = _offsets(client, settings, topic, OffsetSpec.latest(), deadline)
    starts = _offsets(client, settings, topic, OffsetSpec.earliest(), deadline)
    open_ends = {index: end for index, end in ends.items() if end > starts[index]}
    consumer = Consumer(consumer_config(settings, group="tidemark-read-all", enable_partition_eof=True))
    count = 0
    try:
        consumer.assign([TopicPartition(topic, index, starts[index]) for index in open_ends])
        while open_ends:
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"topic {topic!r}: the end was not reached within {timeout:g} s; partitions left: "
                    f"{sorted(open_ends)}, records read: {count}"
                )
            messages: list[Message] = []
            for message in consumer.consume(_BATCH, _CONSUME_SECONDS):
                _take(message, ends, open_ends, messages)
            count += len(messages)
            yield from messages
    finally:
        consumer.close()


def read_record(
    settings: Settings, topic: str, partition: int, offset: int, *, timeout: float = 10.0
) -> Message | None:
    """The committed record at a position; None where there is none (any more).

    Args:
        settings: that name the Kafka.
        topic: its name.
        partition: its partition's number.
        offset: the record's.
        timeout: seconds.

    Returns:
        The record, or None: the position is gone, not written yet, a transaction's marker or an aborted record.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer.

    """
    client = connect(settings, timeout=timeout)
    deadline = time.monotonic() + timeout
    ends = _offsets(client, settings, topic, OffsetSpec.latest(), deadline)
    starts = _offsets(client, settings, topic, OffsetSpec.earliest(), deadline)
    if partition not in ends or not starts[partition] <= offset < ends[partition]:
        return None
    consumer = Consumer(consumer_config(settings, group="tidemark-read-record", enable_partition_eof=True))
    try:
        consumer.assign([TopicPartition(topic, partition, offset)])
        while time.monotonic() < deadline:
            for message in consumer.consume(1, _CONSUME_SECONDS):
                found: list[Message] = []
                _take(message, {partition: ends[partition]}, {}, found)
                if not found and message.error() is None:
                    return None
                if found:
                    return found[0] if _position(found[0])[1] == offset else None
                if message.error() is not None:  # the end: nothing but markers lie behind the position
                    return None
    finally:
        consumer.close()
    raise BrokerError(f"topic {topic!r}[{partition}]: offset {offset} was not read within {timeout:g} s; try it again")


def _take(message: Message, ends: dict[int, int], open_ends: dict[int, int], messages: list[Message]) -> None:
    index, offset = _position(message)
    error = message.error()
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 librdkafka's own code has no public name
            raise BrokerError(f"reading {message.topic()}[{index}] at offset {offset}: {error.str()}")
        if offset >= ends[index]:
            open_ends.pop(index, None)
        return
    if offset < ends[index]:
        messages.append(message)
    if offset >= ends[index] - 1:
        open_ends.pop(index, None)


def _position(message: Message) -> tuple[int, int]:
    index, offset = message.partition(), message.offset()
    return (-1 if index is None else index), (-1 if offset is None else offset)


def _offsets(client: AdminClient, settings: Settings, topic: str, spec: OffsetSpec, deadline: float) -> dict[int, int]:
    """Offset of `spec` in each partition, as a reader of committed records sees it."""
    left = max(deadline - time.monotonic(), 0.1)
    try:
        found = client.list_topics(topic, timeout=left).topics[topic]
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error
    if found.error is not None:
        raise TopicError(f"there is no topic {topic!r} ({found.error.str()}); create it, or correct its name")
    asked = {TopicPartition(topic, index): spec for index in found.partitions}

    def ask() -> dict[int, int]:
        futures = client.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=left)
        return {where.partition: future.result(left + _GRACE_SECONDS).offset for where, future in futures.items()}

    try:
        return asked_until(deadline, ask)
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error

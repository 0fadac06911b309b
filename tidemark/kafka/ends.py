"""Where topics begin and end: the first offset that is kept of each partition, and how many were ever written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tidemark.kafka.passing import asked_until

Partitions = Mapping[str, Iterable[int]]


def ends(
    client: AdminClient, partitions: Partitions, *, timeout: float = 10.0, committed: bool = False
) -> dict[str, list[int]]:
    """The end of each partition, markers of transactions among what was written.

    Args:
        client: asks Kafka.
        partitions: indices, by topic.
        timeout: seconds.
        committed: the end for a reader of committed records: before transactions that are still open.

    Returns:
        By topic, in the order of its partitions.

    Raises:
        KafkaException: Kafka does not answer.

    """
    isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    return _offsets(client, partitions, OffsetSpec.latest(), timeout, isolation)


def beginnings(client: AdminClient, partitions: Partitions, *, timeout: float = 10.0) -> dict[str, list[int]]:
    """The first offset that is kept of each partition; arguments, result and errors are those of `ends`."""
    return _offsets(client, partitions, OffsetSpec.earliest(), timeout)


def at_time(
    client: AdminClient, partitions: Partitions, milliseconds: int, *, timeout: float = 10.0
) -> dict[str, list[int]]:
    """The first offset of each partition whose Kafka timestamp is not before a time, -1 where there is none.

    Arguments, result and errors are those of `ends`. milliseconds: since 1970.
    """
    return _offsets(client, partitions, OffsetSpec.for_timestamp(milliseconds), timeout)


def _offsets(
    client: AdminClient,
    partitions: Partitions,
    spec: OffsetSpec,
    timeout: float,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[str, list[int]]:
    asked = {TopicPartition(topic, index): spec for topic, all_ in partitions.items() for index in all_}

    def ask() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {topic: [] for topic in partitions}
        if asked:
            for partition, answer in client.list_offsets(
                asked, isolation_level=isolation, request_timeout=timeout
            ).items():
                found[partition.topic].append(answer.result(timeout).offset)
        return found

    return asked_until(time.monotonic() + timeout, ask)

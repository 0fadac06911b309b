"""Where topics end: how many offsets were ever written to each partition."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tidemark.kafka.passing import asked_until


def ends(
    client: AdminClient, partitions: Mapping[str, Sequence[int]], *, timeout: float = 10.0
) -> dict[str, list[int]]:
    """The end of each partition, markers of transactions among what was written.

    Args:
        client: asks Kafka.
        partitions: indices, by topic.
        timeout: seconds.

    Returns:
        By topic, in the order of its partitions.

    Raises:
        KafkaException: Kafka does not answer.

    """
    asked = {TopicPartition(topic, index): OffsetSpec.latest() for topic, all_ in partitions.items() for index in all_}

    def ask() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {topic: [] for topic in partitions}
        if asked:
            for partition, answer in client.list_offsets(asked, request_timeout=timeout).items():
                found[partition.topic].append(answer.result(timeout).offset)
        return found

    return asked_until(time.monotonic() + timeout, ask)

"""Committed offsets of a group, as a test asks for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec

from support import wait_until
from tidemark.kafka import admin, consumer_config, read_all
from tidemark.runtime.settings import Settings


class GroupOffsets:
    """Committed offset and metadata of a group's partitions of a topic.

    stable: wait for pending transactions; not to be asked for by the thread that has to commit them.
    """

    def __init__(self, settings: Settings, group: str, topic: str, partitions: int, *, stable: bool = False) -> None:
        isolation = "read_committed" if stable else "read_uncommitted"
        self._consumer = Consumer(consumer_config(settings, group=group, isolation_level=isolation, log_level=2))
        self._asked = [TopicPartition(topic, i) for i in range(partitions)]

    def committed(self, timeout: float = 30.0) -> dict[int, TopicPartition]:
        """By partition; asked again while the broker is away."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return {tp.partition: tp for tp in self._consumer.committed(self._asked, 2.0)}
            except KafkaException:
                if time.monotonic() > deadline:
                    raise

    def handled(self) -> int:
        """Rows below the committed offsets of a topic without gaps."""
        return sum(max(tp.offset, 0) for tp in self.committed().values())

    def close(self) -> None:
        """Let the client go."""
        self._consumer.close()


def read_settled(settings: Settings, topic: str) -> list[Message]:
    """Every committed record of a topic in which no transaction is open any more.

    A commit is answered before its markers are in every partition, and until then hides what it committed.
    """
    client = admin(settings)
    asked = [TopicPartition(topic, index) for index in client.list_topics(topic, timeout=30).topics[topic].partitions]

    def ends(isolation: IsolationLevel) -> dict[int, int]:
        request = dict.fromkeys(asked, OffsetSpec.latest())
        futures = client.list_offsets(request, isolation_level=isolation, request_timeout=30)
        return {where.partition: future.result(30).offset for where, future in futures.items()}

    wait_until(
        lambda: ends(IsolationLevel.READ_UNCOMMITTED) == ends(IsolationLevel.READ_COMMITTED),
        f"a transaction stays open in {topic}",
        70,
    )
    return read_all(settings, topic)


@contextmanager
def group_offsets(
    settings: Settings, group: str, topic: str, partitions: int, *, stable: bool = False
) -> Iterator[GroupOffsets]:
    """The same, closed with the block."""
    offsets = GroupOffsets(settings, group, topic, partitions, stable=stable)
    try:
        yield offsets
    finally:
        offsets.close()

"""Committed offsets of a group, as a test asks for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tidemark.kafka import consumer_config
from tidemark.settings import Settings


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

"""When records of a topic became visible to readers of committed records, without reading them meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import numpy as np
from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from numpy.typing import NDArray

from tidemark.kafka import consumer_config
from tidemark.kafka.passing import PASSING
from tidemark.runtime.settings import Settings

_TIMEOUT: Final = 10.0
_AT_ONCE: Final = 10_000


def committed(settings: Settings, topic: str, partitions: int) -> Iterator[tuple[int, int, bytes]]:
    """Partition, offset and value of each committed record of a topic."""
    consumer = Consumer(
        consumer_config(settings, group="bench-read", enable_partition_eof=True, queued_max_messages_kbytes=65_536)
    )
    try:
        consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
        unread = set(range(partitions))
        while unread:
            for message in consumer.consume(_AT_ONCE, 0.2):
                partition = message.partition() or 0
                if message.error() is None:
                    yield partition, message.offset() or 0, message.value() or b""
                else:
                    unread.discard(partition)
    finally:
        consumer.close()


class Visibility:
    """Ends of a topic, as readers of committed records see them, at some moments.

    Offsets count the markers of transactions too; `counts` knows, once the topic was read, which are records.
    """

    def __init__(self, admin: AdminClient, topic: str, partitions: int) -> None:
        self._admin = admin
        self._asked = {TopicPartition(topic, index): OffsetSpec.latest() for index in range(partitions)}
        self.times: list[float] = []
        self._ends: list[list[int]] = []

    def look(self) -> int:
        """Note where the topic ends now; the sum of the ends."""
        answer = self._admin.list_offsets(
            self._asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT
        )
        try:
            ends = [max(0, answer[each].result(_TIMEOUT * 2).offset) for each in self._asked]
        except KafkaException as error:
            if error.args[0].code() not in PASSING:  # not all of them are retriable to librdkafka
                raise
            return 0  # a partition that was just made has no leader
        self.times.append(time.time())
        self._ends.append(ends)
        return sum(ends)

    def forget(self) -> None:
        """Begin anew."""
        self.times.clear()
        self._ends.clear()

    def counts(self, offsets: list[NDArray[np.int64]]) -> list[int]:
        """Records that were visible at each look.

        Args:
            offsets: of the topic's records by partition, rising.

        Returns:
            As many numbers as there were looks.

        """
        return [
            sum(int(np.searchsorted(known, end)) for known, end in zip(offsets, ends, strict=True))
            for ends in self._ends
        ]

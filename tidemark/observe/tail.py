"""Follows a small topic from its beginning without a consumer group."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message, TopicPartition

from tidemark import kafka
from tidemark.errors import BrokerError
from tidemark.runtime.settings import Settings

_MOST: Final = 10_000
_SECONDS: Final = 0.05
_NOTHING_MORE: Final = {
    KafkaError._PARTITION_EOF,  # noqa: SLF001 librdkafka's own codes have no public names
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 as above
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 as above
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}


class Tail:
    """Committed records of the one-partition topics given, oldest first, as they come."""

    def __init__(self, settings: Settings, topics: list[str]) -> None:
        self._consumer = kafka.consumer(
            settings,
            group="tidemark-observe",
            auto_offset_reset="earliest",
            enable_partition_eof=True,
            # The first look waits for the topics' ends, which are told by fetches that find no records.
            fetch_wait_max_ms=100,
        )
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in topics])

    def catch_up(self, topics: Collection[str], timeout: float = 15.0) -> list[Message]:
        """Everything up to the topics' ends.

        Args:
            topics: those that exist. Of others Kafka's client tells after half a minute that they do not.
            timeout: seconds.

        Returns:
            The records.

        Raises:
            BrokerError: an end was not reached in time.

        """
        left, deadline = set(topics), time.monotonic() + timeout
        messages: list[Message] = []
        while left:
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"the end of {', '.join(sorted(left))} was not reached within {timeout:g} s; is Kafka overloaded?"
                )
            for message in self._consumer.consume(_MOST, _SECONDS):
                error = message.error()
                if error is None:
                    messages.append(message)
                elif error.code() in _NOTHING_MORE:
                    left.discard(message.topic() or "")
        return messages

    def poll(self) -> list[Message]:
        """Records that have come since the last call."""
        messages: list[Message] = []
        while more := self._consumer.consume(_MOST, 0):
            messages += more
        return [message for message in messages if message.error() is None]

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

"""Follows a small topic from its beginning without a consumer group."""

from __future__ import annotations

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from tidemark.kafka import consumer_config
from tidemark.settings import Settings

_MOST = 10_000


class Tail:
    """Committed records of the one-partition topics given, oldest first, as they come."""

    def __init__(self, settings: Settings, topics: list[str]) -> None:
        self._consumer = Consumer(consumer_config(settings, group="tidemark-observe", auto_offset_reset="earliest"))
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in topics])

    def poll(self, wait: float = 0.0) -> list[Message]:
        """Records that have come since the last call; waits `wait` seconds for the first."""
        messages = self._consumer.consume(1, wait) if wait else []
        while more := self._consumer.consume(_MOST, 0):
            messages += more
        return [message for message in messages if message.error() is None]

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

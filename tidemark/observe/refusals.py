"""On which edges of the loop records end as dead letters: how many in the last day, by the topic they came from."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import Consumer, Message, TopicPartition

from tidemark import kafka
from tidemark.replay import Letter
from tidemark.runtime.settings import Settings

MOST: Final = 10_000
"""Newest dead letters of a partition that are counted: a loop that refuses everything has millions."""
_DAY_MS: Final = 86_400_000
_AT_ONCE: Final = 500
_LOOKS: Final = 4
"""Times that more is asked for in one look: what is left is counted by the next one."""
_QUEUED_KBYTES: Final = 8_192
_LONGEST: Final = 249
"""Letters of a topic's name, by Kafka: what is longer is a stranger's."""


class Refusals:
    """Counts the dead letters of one topic. Used by one thread; `close` it.

    settings: that name the Kafka.  topic: of the dead letters.
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings, self._topic = settings, topic
        self._consumer: Consumer | None = None
        self._assigned: frozenset[int] = frozenset()
        self._known: deque[tuple[int, str]] = deque(maxlen=MOST)

    def look(self, ends: Mapping[int, int], now: float) -> dict[str, int]:
        """Dead letters of the last 24 hours, by the topic of the record that each is about.

        Args:
            ends: end offset of each partition of the topic.
            now: seconds since 1970.

        Returns:
            How many, at most `MOST` in all. A letter that is about no record, as those of sources, is of no topic.

        """
        if any(ends.values()):
            self._follow(ends)
        since = now * 1_000 - _DAY_MS
        return dict(Counter(topic for at, topic in self._known if at >= since))

    def close(self) -> None:
        """Leave."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _follow(self, ends: Mapping[int, int]) -> None:
        if self._consumer is None:
            self._consumer = kafka.consumer(
                self._settings,
                group="tidemark-console",
                auto_offset_reset="earliest",
                fetch_wait_max_ms=100,
                queued_max_messages_kbytes=_QUEUED_KBYTES,
            )
        if new := ends.keys() - self._assigned:
            places = [TopicPartition(self._topic, index, max(ends[index] - MOST, 0)) for index in sorted(new)]
            self._consumer.incremental_assign(places)
            self._assigned |= new
        for _ in range(_LOOKS):
            messages = self._consumer.consume(_AT_ONCE, 0)
            self._take(message for message in messages if message.error() is None)
            if len(messages) < _AT_ONCE:
                return

    def _take(self, messages: Iterable[Message]) -> None:
        for message in messages:
            source = Letter.of(message).source
            if source is not None and len(source.topic) <= _LONGEST:
                self._known.append((message.timestamp()[1], source.topic))

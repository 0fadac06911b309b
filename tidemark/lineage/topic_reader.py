"""Short readings at any place of a topic: by offset, by time, by search. One client for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from tidemark.errors import BrokerError, TopicError
from tidemark.kafka.clients import connect, consumer, unreachable
from tidemark.kafka.topics import topic_incarnation
from tidemark.runtime.settings import Settings

T = TypeVar("T")
Found = Callable[[Message], bool]
Place = Callable[[Message], int | None]
"""Where a record stands in an order that its partition keeps; None: it has no place in it."""
_SLICE: Final = 0.01
"""Seconds after which what has come is looked at, though more was asked for."""
_MANY: Final = 10_000
_PROBE: Final = 100
"""Records that are looked at where a search halves."""
_NEAR: Final = 200
"""Offsets within which a search need not halve any more."""
_RINGS: Final = (500, 3_000, 20_000, 200_000)
"""Offsets before and after a place within which a record is looked for, nearest first."""


class TopicReader:
    """Reads committed records. Used by one thread at a time."""

    def __init__(self, settings: Settings, *, timeout: float = 20.0, rings: Sequence[int] = _RINGS) -> None:
        """Connect to Kafka.

        Args:
            settings: that name it.
            timeout: seconds for each reading.
            rings: offsets before and after a place within which `near` looks, the nearest first.

        Raises:
            BrokerError: Kafka does not answer.

        """
        self._client = connect(settings, timeout=timeout)
        self._settings = settings
        self._timeout = timeout
        self._rings = rings
        self._partitions: dict[str, list[int]] = {}
        self._bounds: dict[tuple[str, int], tuple[int, int]] = {}
        # As `tidemark.kafka.spans` has it: an end behind a marker is told without waiting.
        self._consumer = consumer(settings, group="tidemark-lineage", enable_partition_eof=True, fetch_wait_max_ms=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def look(self) -> None:
        """Look anew at where topics begin and end; until the next look, what comes behind these ends is not seen."""
        self._partitions.clear()
        self._bounds.clear()

    def incarnation(self, topic: str) -> str:
        """Digits that tell a topic from one re-created under its name, "" where there is none."""
        try:
            return topic_incarnation(self._client, topic, timeout=self._timeout)
        except TopicError:
            return ""

    def partitions(self, topic: str) -> list[int]:
        """Numbers of a topic's partitions, none where there is no such topic."""
        if not self._partitions:
            found = self._asked(lambda: self._consumer.list_topics(timeout=self._timeout)).topics
            self._partitions = {name: sorted(each.partitions) for name, each in found.items() if each.error is None}
        return self._partitions.get(topic, [])

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that is kept, and the end."""
        known = self._bounds.get((topic, partition))
        if known is None:
            place = TopicPartition(topic, partition)
            low, high = self._asked(lambda: self._consumer.get_watermark_offsets(place, self._timeout))
            known = self._bounds[topic, partition] = int(low), int(high)
        return known

    def at_time(self, topic: str, partition: int, milliseconds: int) -> int | None:
        """Offset of the first record with a timestamp from a time on; None: there is none."""
        asked = [TopicPartition(topic, partition, max(milliseconds, 0))]
        (found,) = self._asked(lambda: self._consumer.offsets_for_times(asked, self._timeout))
        return int(found.offset) if found.offset >= 0 else None

    def read(self, topic: str, partition: int, begin: int, end: int) -> Iterator[Message]:
        """Records of offsets `begin` to before `end`, as far as the partition reaches.

        Yields:
            They, in order.

        Raises:
            BrokerError: the partition can't be read.

        """
        low, high = self.bounds(topic, partition)
        begin, end = max(begin, low), min(end, high)
        if end <= begin:
            return
        deadline = time.monotonic() + self._timeout
        self._consumer.assign([TopicPartition(topic, partition, begin)])
        while time.monotonic() < deadline:
            for message in self._consumer.consume(min(_MANY, end - begin), _SLICE):
                if message.topic() != topic or message.partition() != partition:
                    continue
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 librdkafka's code has no public name
                        return
                    raise BrokerError(f"reading {topic}[{partition}]: {error.str()}")
                offset = offset_of(message)
                if offset >= end:
                    return
                yield message
                if offset == end - 1:
                    return
        raise BrokerError(
            f"{topic}[{partition}] was not read within {self._timeout:g} s; is Kafka overloaded? Try again"
        )

    def one(self, topic: str, partition: int, offset: int) -> Message | None:
        """The record at an offset; None: there is none (any more)."""
        return next((m for m in self.read(topic, partition, offset, offset + 1) if offset_of(m) == offset), None)

    def search(self, topic: str, partition: int, place: Place, wanted: int) -> int:
        """About where a record stands in a partition whose records have rising places.

        Args:
            topic: its name.
            partition: its number.
            place: of a record.
            wanted: the place that is looked for.

        Returns:
            An offset near it.

        """
        low, high = self.bounds(topic, partition)
        while high - low > _NEAR:
            middle = (low + high) // 2
            known = self._first_place(topic, partition, middle, min(middle + _PROBE, high), place)
            if known is not None and known <= wanted:
                low = middle
            else:
                high = middle
        return low

    def near(self, topic: str, partition: int, around: int, found: Found) -> Message | None:
        """A record near an offset, looked for in wider and wider rings around it.

        Args:
            topic: its name.
            partition: its number.
            around: offset.
            found: whether a record is the one.

        Returns:
            It, or None: it is not within the widest ring.

        """
        low, high = self.bounds(topic, partition)
        first, last = min(max(around, low), high), min(max(around, low), high)
        for ring in self._rings:
            begin, end = max(low, around - ring), min(high, around + ring)
            for start, stop in ((last, end), (begin, first)):
                for message in self.read(topic, partition, start, stop):
                    if found(message):
                        return message
            first, last = min(first, begin), max(last, end)
            if first <= low and last >= high:
                break
        return None

    def _first_place(self, topic: str, partition: int, begin: int, end: int, place: Place) -> int | None:
        for message in self.read(topic, partition, begin, end):
            known = place(message)
            if known is not None:
                return known
        return None

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except KafkaException as error:
            raise unreachable(self._settings, error.args[0].str()) from error


def offset_of(message: Message) -> int:
    """Offset of a consumed record."""
    offset = message.offset()
    return -1 if offset is None else offset


def milliseconds(message: Message) -> int:
    """Kafka's timestamp of a record, ms since 1970; negative where there is none."""
    return int(message.timestamp()[1])


def value_of(message: Message) -> bytes:
    """Value of a record, b"" where it has none."""
    return message.value() or b""

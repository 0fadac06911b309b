"""Where records about each event stand, in topics that hold no more than people and the world say of events."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from tidemark.lineage.topic_reader import TopicReader, offset_of, value_of

MOST: Final = 300_000
"""Records that are kept track of, the newest."""


class _Named(msgspec.Struct):
    """As much of a record as names its event."""

    event_id: str | None = None
    business_id: str | int | float | None = None


_decode = msgspec.json.Decoder(_Named).decode


class EventIndex:
    """Follows one topic. Looked at again, it reads what has come since."""

    def __init__(self, topic: str, most: int = MOST) -> None:
        self.topic = topic
        self.complete = True
        """Whether all is known that the topic holds: not where it holds more than is kept track of."""
        self._most = most
        self._next: dict[int, int] = {}
        self._places: OrderedDict[str, list[tuple[int, int]]] = OrderedDict()
        self._count = 0

    def of(self, *names: str | None) -> list[tuple[int, int]]:
        """Partition and offset of each record that names an event by one of its names, in order."""
        found = {place for name in names if name is not None for place in self._places.get(name, ())}
        return sorted(found)

    def follow(self, reader: TopicReader) -> None:
        """Take in what is new.

        Raises:
            BrokerError: the topic can't be read.

        """
        partitions = reader.partitions(self.topic)
        for partition in partitions:
            low, high = reader.bounds(self.topic, partition)
            start = self._next.get(partition)
            if start is None or start > high:  # never looked at, or re-created under its name
                start = max(low, high - self._most // len(partitions))
                self.complete = self.complete and start == low
            for message in reader.read(self.topic, partition, start, high):
                self._take(partition, offset_of(message), value_of(message))
            self._next[partition] = high

    def _take(self, partition: int, offset: int, value: bytes) -> None:
        try:
            named = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # a stranger's: whoever processes the topic says so
        for name in {named.event_id, None if named.business_id is None else str(named.business_id)} - {None}:
            self._places.setdefault(str(name), []).append((partition, offset))
            self._places.move_to_end(str(name))
            self._count += 1
        while self._count > 2 * self._most:
            _, forgotten = self._places.popitem(last=False)
            self._count -= len(forgotten)
            self.complete = False

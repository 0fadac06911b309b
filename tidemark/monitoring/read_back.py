"""What the sample's topic holds when it is taken up: the newest of what the watch over it has saved there.

It is read here and not where it stands among the events. Whoever saves writes at the topic's end, so behind all of a
backlog, and compaction keeps the newest record of a key alone: what was read of the topic may hold none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tidemark.drift import saved
from tidemark.drift.saved import Saved
from tidemark.errors import RecordError
from tidemark.kafka import as_bytes, each_record
from tidemark.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What was found. states: that were saved, the newest last.  places: of the sample, that are taken."""

    states: tuple[Saved, ...] = ()
    places: frozenset[int] = frozenset()

    def newest(self, last: int) -> Saved | None:
        """The newest that reaches no further than the offset `last`, which was read."""
        return next((each for each in reversed(self.states) if each.through <= last), None)


def read_back(records: Iterable[tuple[bytes | None, bytes | None]], size: int) -> ReadBack:
    """What keys and values of the topic tell, in its order.

    Args:
        records: of the topic.
        size: places of the sample.

    Returns:
        What was saved, and which places are taken. What is of neither kind is passed over: whoever watches says so.

    """
    states: list[Saved] = []
    places: set[int] = set()
    for key, value in records:
        if key == saved.KEY:
            try:
                states = [*states[-1:], saved.unpack(value)]
            except RecordError:
                continue
        elif key is not None and value is not None and len(key) <= len(str(size)) and key.isdigit():
            places.add(int(key))
    return ReadBack(tuple(states), frozenset(place for place in places if place < size))


def read_sample(settings: Settings, topic: str, size: int) -> ReadBack:
    """What the topic holds, once every transaction has ended that was open.

    Args:
        settings: that name the Kafka.
        topic: the sample's.
        size: its places.

    Returns:
        What was found.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer in time, or a transaction stays open.

    """
    messages = each_record(settings, topic, timeout=120.0, settled=True)
    return read_back(((as_bytes(each.key()), as_bytes(each.value())) for each in messages), size)

"""Identity of an event: where its raw record stands in Kafka."""

from __future__ import annotations

from dataclasses import dataclass

from tidemark.errors import RecordError


@dataclass(frozen=True, slots=True)
class EventPosition:
    """Position of a raw record. `incarnation`: 8 hex digits from the topic's id (KIP-516)."""

    topic: str
    partition: int
    offset: int
    incarnation: str


def event_id(topic: str, partition: int, offset: int, incarnation: str) -> str:
    """`TOPIC-PARTITION-OFFSET-INCARNATION`: the same on every replay, another when the topic is re-created."""
    return f"{topic}-{partition}-{offset}-{incarnation}"


def parse_event_id(text: str) -> EventPosition:
    """Position that an event id names.

    Raises:
        RecordError: the text is no event id.

    """
    parts = text.rsplit("-", 3)
    if len(parts) != 4 or not parts[1].isdecimal() or not parts[2].isdecimal():
        raise RecordError("event id", f"{text!r} is not TOPIC-PARTITION-OFFSET-INCARNATION")
    return EventPosition(parts[0], int(parts[1]), int(parts[2]), parts[3])

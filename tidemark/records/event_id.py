"""Identity of an event: where its raw record stands in Kafka."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tidemark.errors import RecordError

_EVENT_ID: Final = re.compile(r"(.*)-([0-9]{1,9})-([0-9]{1,18})-([^-]*)", re.DOTALL)
_SHOWN: Final = 200


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
    match = _EVENT_ID.fullmatch(text)
    if match is None:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        raise RecordError("event id", f"{shown!r} is not TOPIC-PARTITION-OFFSET-INCARNATION")
    topic, partition, offset, incarnation = match.groups()
    return EventPosition(topic, int(partition), int(offset), incarnation)

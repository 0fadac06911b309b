"""Records of `P.deadletter`, read back like a stranger's: anybody may write there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from confluent_kafka import Message

from tidemark.kafka import each_record, headers_of
from tidemark.records.dead_letter import OWN_HEADER
from tidemark.records.raw_record import POSITION_HEADER, SOURCE_HEADER, TOLD_HEADER
from tidemark.runtime.settings import Settings

_LARGEST: Final = 2**63 - 1


class State(StrEnum):
    """What became of a dead letter."""

    open = "open"
    replayed = "replayed"
    resolved = "resolved"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the record of a dead letter was. timestamp: Kafka's, ms since 1970; None where it is not known."""

    topic: str
    partition: int
    offset: int
    incarnation: str
    timestamp: int | None

    @property
    def name(self) -> str:
        """`TOPIC-PARTITION-OFFSET-INCARNATION`: the same for the dead letters of two flows about one record."""
        return f"{self.topic}-{self.partition}-{self.offset}-{self.incarnation}"


@dataclass(frozen=True, slots=True)
class Sender:
    """A source of the pipeline that refused what it read, before there was a record.

    name: of the source.  topic: raw topic that it is for.  position: where it stood there.  told: attributes, as JSON.
    """

    name: str
    topic: str
    position: str
    told: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    partition, offset: in the dead-letter topic.  source: None where it names no record (a gap, or another's record).
    sender: of one that a source made; it names no record.
    at: when it was made, µs since 1970; None if it does not tell.  key, value, headers: the record's own.
    size: bytes of the record's value.  sha256: of the whole value, where the value was cut.
    """

    partition: int
    offset: int
    source: Source | None
    step: str
    reason: str
    at: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    truncated: bool
    size: int
    sha256: str | None
    sender: Sender | None = None

    @property
    def origin(self) -> str:
        """Where its record was, for a person."""
        if self.sender is not None:
            return f"{self.sender.name}: {self.sender.position}"
        if self.source is None:
            return "–"
        return f"{self.source.topic}[{self.source.partition}] {self.source.offset}"

    @classmethod
    def of(cls, message: Message) -> Letter:
        """The dead letter in a record."""
        pairs = headers_of(message) or []
        said: dict[str, str] = {}
        for name, value in pairs:
            if not name.startswith(OWN_HEADER):
                said.setdefault(name, (value or b"").decode(errors="replace"))
        value = message.value()
        size = _number(said.get("size"))
        source = _source(said)
        own = tuple((n.removeprefix(OWN_HEADER), v) for n, v in pairs if n.startswith(OWN_HEADER))
        return cls(
            partition=_position(message.partition()),
            offset=_position(message.offset()),
            source=source,
            step=said.get("step", ""),
            reason=said.get("reason", "" if said else "(no dead letter of Tidemark's: it has no headers)"),
            at=_number(said.get("at")),
            key=message.key(),
            value=value,
            headers=own,
            truncated="truncated" in said,
            size=len(value or b"") if size is None else size,
            sha256=said.get("sha256"),
            sender=None if source is not None else _sender(said, dict(own)),
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which dead letters are meant; what is not set chooses all.

    offsets: in the dead-letter topic.  reason: a part of it.  step: the whole.  topic: of the source.
    since, until: when the dead letter was made, µs since 1970; `until` itself does not count.
    """

    offsets: frozenset[int] | None = None
    reason: str = ""
    step: str = ""
    topic: str = ""
    since: int | None = None
    until: int | None = None

    def __contains__(self, letter: Letter) -> bool:
        """Whether a dead letter is meant."""
        at = -1 if letter.at is None else letter.at
        return (
            (self.offsets is None or letter.offset in self.offsets)
            and self.reason in letter.reason
            and self.step in {"", letter.step}
            and self.topic in {"", letter.source.topic if letter.source else None}
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )


def letters(settings: Settings, topic: str, chosen: Chosen | None = None) -> Iterator[Letter]:
    """The dead letters of a topic that are chosen, by all that is committed now.

    Args:
        settings: that name the Kafka.
        topic: the dead-letter topic.
        chosen: which; None for all.

    Yields:
        Dead letters, of each partition in order.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer.

    """
    for message in each_record(settings, topic, settled=True):
        letter = Letter.of(message)
        if chosen is None or letter in chosen:
            yield letter


def _source(said: dict[str, str]) -> Source | None:
    topic, incarnation = said.get("source_topic"), said.get("source_incarnation", "")
    partition, offset = _number(said.get("source_partition")), _number(said.get("source_offset"))
    if not topic or partition is None or partition >= 2**31 or offset is None:
        return None
    timestamp = _number(said.get("source_timestamp"))
    return Source(topic, partition, offset, incarnation, timestamp)


def _sender(said: dict[str, str], own: dict[str, bytes | None]) -> Sender | None:
    name = (own.get(SOURCE_HEADER) or b"").decode(errors="replace")
    if not name or said.get("step") != f"source {name}":
        return None
    position = (own.get(POSITION_HEADER) or b"").decode(errors="replace")
    return Sender(name, said.get("source_topic", ""), position, own.get(TOLD_HEADER) or b"")


def _number(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > 19 or int(text) > _LARGEST:
        return None
    return int(text)


def _position(number: int | None) -> int:
    return -1 if number is None else number

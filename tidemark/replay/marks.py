"""Marks of dead letters: records of the compacted topic `P.deadletter-marks` that say what became of each.

A topic of its own, to which `tidemark deadletter` alone writes under one transactional id: once `init_transactions` has
returned, no transaction is open in it, so that all that was ever marked can be read. In the dead-letter topic itself an
open transaction of a flow would hide the marks behind it.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec
from confluent_kafka import Message

from tidemark.errors import RecordError, TidemarkError, TopicError
from tidemark.kafka import each_record, topic_incarnation
from tidemark.records import Record, decode, encode
from tidemark.records.topics import Topics
from tidemark.replay.letters import Letter, State
from tidemark.runtime.settings import Settings

_KEY: Final = re.compile(rb"([0-9a-f]{8})/([0-9]{1,10})/([0-9]{1,19})")


class Mark(Record, frozen=True, kw_only=True):
    """What became of one dead letter.

    source: of its record (`Source.name`), by which another dead letter about the same record counts too.
    to: where the record is again, `TOPIC-PARTITION-OFFSET`.  edited: repaired before.
    """

    state: Literal["replayed", "resolved"]
    at: int
    by: str
    source: str | None = None
    to: str | None = None
    edited: bool = False
    note: str | None = None


class Marks:
    """All marks of one incarnation of the dead-letter topic."""

    def __init__(self, incarnation: str) -> None:
        self._incarnation = incarnation
        self._marks: dict[bytes, Mark] = {}
        self._sources: dict[str, Mark] = {}
        self.sent_to: set[str] = set()
        """Where records are again, `TOPIC-PARTITION-OFFSET`."""

    @classmethod
    def read(cls, settings: Settings, topic: str, incarnation: str) -> Marks:
        """The marks in a topic, by all that is committed now.

        Args:
            settings: that name the Kafka.
            topic: `P.deadletter-marks`.
            incarnation: of the dead-letter topic; marks of another one's letters are passed over.

        Returns:
            The marks.

        Raises:
            TidemarkError: a mark can't be read; nothing may be sent again before that is cleared up.
            BrokerError: Kafka does not answer.

        """
        marks = cls(incarnation)
        newest: dict[bytes, Message] = {}
        for message in each_record(settings, topic, settled=True):
            key = message.key() or b""
            if key.startswith(f"{incarnation}/".encode()):
                newest[key] = message
        for key, message in newest.items():
            value = message.value()
            if value is not None:  # a tombstone takes a mark back
                marks.add(key, _mark(message, value))
        return marks

    @classmethod
    def now(cls, settings: Settings, topics: Topics) -> Marks:
        """The marks of a pipeline's dead letters as they are now; none where nothing was ever marked.

        Args:
            settings: that name the Kafka.
            topics: of the pipeline.

        Returns:
            The marks.

        Raises:
            TidemarkError: as of `read`, or there is no dead-letter topic.

        """
        incarnation = topic_incarnation(settings, topics.deadletter)
        try:
            return cls.read(settings, topics.deadletter_marks, incarnation)
        except TopicError:  # its topic comes with the first mark
            return cls(incarnation)

    def add(self, key: bytes, mark: Mark) -> None:
        """Take a mark in."""
        self._marks[key] = mark
        if mark.to is not None:
            self.sent_to.add(mark.to)
        if mark.source is not None and mark.state == "replayed":
            self._sources[mark.source] = mark

    def key(self, letter: Letter) -> bytes:
        """Key of a dead letter's mark."""
        return f"{self._incarnation}/{letter.partition}/{letter.offset}".encode()

    def of(self, letter: Letter) -> Mark | None:
        """The mark of a dead letter, None if it is open."""
        return self._marks.get(self.key(letter))

    def of_record(self, letter: Letter) -> Mark | None:
        """The mark of any dead letter about the same record that was sent again."""
        return None if letter.source is None else self._sources.get(letter.source.name)

    def state(self, letter: Letter) -> State:
        """What became of a dead letter."""
        mark = self.of(letter)
        return State.open if mark is None else State(mark.state)


def letter_of(key: bytes) -> tuple[str, int, int] | None:
    """Which dead letter a mark's key names.

    Args:
        key: of a record of the topic of marks.

    Returns:
        Incarnation of the dead-letter topic, partition and offset; None where it names none.

    """
    found = _KEY.fullmatch(key)
    return None if found is None else (found[1].decode(), int(found[2]), int(found[3]))


def packed(mark: Mark) -> bytes:
    """Value of a mark's record."""
    return encode(msgspec.structs.replace(mark, note=None if mark.note is None else mark.note[:4_000]))


def _mark(message: Message, value: bytes) -> Mark:
    try:
        return decode(Mark, value)
    except RecordError as error:
        raise TidemarkError(
            f"{message.topic()} at offset {message.offset()} holds what is no mark of a dead letter ({error.reason}): "
            "find out who wrote it, and put a tombstone under its key before you replay"
        ) from error

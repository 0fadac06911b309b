"""Sends dead letters again, exactly once: record and mark are in one transaction.

`init_transactions` under one id for the whole pipeline ends what an earlier replay left, and fences one that still
runs. Only then are the marks read, so whatever was ever sent is known; what was not committed was never sent.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message

from tidemark import kafka
from tidemark.errors import BrokerError, TidemarkError, TopicError
from tidemark.kafka import admin, ensure_topics, headers_of, read_record, topic_incarnation
from tidemark.kafka.passing import topic_metadata
from tidemark.records.topics import Topics, TopicSpec
from tidemark.replay.letters import Letter, Source
from tidemark.replay.marks import Mark, Marks, packed
from tidemark.runtime.processor import Headers, Output
from tidemark.runtime.settings import Settings

REPLAYED_FROM: Final = "replayed_from"
"""Header that a record sent again has behind its own: offset of its dead letter."""
_OF_THE_PUBLISHER: Final = {"seq", "publisher"}
"""Headers by which a labeling service knows what it has published itself; not what is sent again."""
_LETTERS: Final = 500
_BYTES: Final = 16_000_000
_SECONDS: Final = 30.0
_COMMIT_SECONDS: Final = 8.0
_FULL_SECONDS: Final = 0.1


@dataclass(slots=True)
class Report:
    """What came of a replay. known: dealt with before.  refused: those that can't be sent, and why."""

    sent: list[Letter] = field(default_factory=list)
    known: list[tuple[Letter, Mark]] = field(default_factory=list)
    refused: list[tuple[Letter, str]] = field(default_factory=list)


class Replay:
    """The one process that deals with a pipeline's dead letters; a later one ends it.

    by: who does it, for the marks.  again: makes the records of what a source refused, in place of one that never was;
    it raises ValueError with the reason where it can't.  clock: seconds since 1970.  hook: called with a moment's name,
    for tests.

    Raises:
        BrokerError: Kafka does not answer, or refuses the transactional id.

    """

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        by: str,
        *,
        again: Callable[[Letter], Sequence[Output]] | None = None,
        clock: Callable[[], float] = time.time,
        hook: Callable[[str], None] = lambda _moment: None,
    ) -> None:
        self._settings = settings
        self._by = by
        self._again = again
        self._clock = clock
        self._hook = hook
        self._topics = topics
        # A pipeline that was set up by an earlier version has no such topic yet.
        ensure_topics(settings, [TopicSpec(topics.deadletter_marks, 1, {"cleanup.policy": "compact"})])
        self._producer = kafka.producer(
            settings, transactional_id=f"{topics.deadletter}.replay", message_max_bytes=4_000_000
        )
        try:
            self._producer.init_transactions(_SECONDS)
        except KafkaException as error:
            raise _failed("Kafka gives the replay no transactions", error) from error
        incarnation = topic_incarnation(settings, topics.deadletter)
        self.marks = Marks.read(settings, topics.deadletter_marks, incarnation)
        self._partitions: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.purge()

    def send(self, chosen: Sequence[Letter], *, edited: bool = False) -> Report:
        """Send each record once more to where it came from, unless it was before.

        Args:
            chosen: whole dead letters (see `whole`).
            edited: their values or keys were repaired.

        Returns:
            What was sent, what had been, and what can't be.

        Raises:
            BrokerError: a transaction failed; what was committed before is marked, and the same call again goes on.

        """
        report = Report()
        waiting: dict[str, list[Letter]] = {}
        for letter in chosen:
            mark = self.marks.of(letter)
            if mark is not None:
                report.known.append((letter, mark))
                continue
            name = f"letter {letter.partition}-{letter.offset}" if letter.source is None else letter.source.name
            why = self._refusal(letter) or (self._otherwise(letter, waiting.get(name)) if edited else None)
            if why is not None:
                report.refused.append((letter, why))
            else:
                waiting.setdefault(name, []).append(letter)
        for group in _chunks(list(waiting.values())):
            self._transaction(group, edited=edited)
            report.sent += [letter for alike in group for letter in alike]
        return report

    def resolve(self, chosen: Sequence[Letter], note: str) -> Report:
        """Mark dead letters as needing nothing more, without sending anything.

        Args:
            chosen: the dead letters.
            note: why, for whoever lists them.

        Returns:
            Those that were marked (`sent`), and those that had been dealt with before.

        Raises:
            BrokerError: the transaction failed: nothing is marked.

        """
        report = Report()
        for letter in chosen:
            mark = self.marks.of(letter)
            if mark is None:
                report.sent.append(letter)
            else:
                report.known.append((letter, mark))
        for begin in range(0, len(report.sent), _LETTERS):
            chunk = report.sent[begin : begin + _LETTERS]
            self._commit([(self.marks.key(each), self._mark("resolved", each, note=note)) for each in chunk])
        return report

    def _refusal(self, letter: Letter) -> str | None:
        """Why a dead letter can't be sent; None if it can."""
        source = letter.source
        if source is None and (letter.sender is None or self._again is None):
            return "it names no record that could be sent again"
        if letter.truncated:
            return f"it holds only a part of its record ({letter.size:,} bytes): send the whole from its origin"
        if source is None:
            return self._refusal_of_sender(letter)
        count = self._partitions_of(source.topic)
        if count == 0:
            return f"there is no topic {source.topic!r} any more"
        if source.partition >= count:
            return f"topic {source.topic!r} has no partition {source.partition} any more"
        return None

    def _otherwise(self, letter: Letter, alike: Sequence[Letter] | None) -> str | None:
        """Why a repair would not be sent: of the dead letters of several flows about a record, one is."""
        mark = self.marks.of_record(letter)
        if mark is not None:
            return (
                f"its record was sent once more already, to {mark.to}, for another dead letter about it: repair what "
                "came back of that, or resolve this one"
            )
        if alike and (alike[0].key, alike[0].value, alike[0].headers) != (letter.key, letter.value, letter.headers):
            return f"dead letter {alike[0].offset} is about the same record, and is repaired otherwise"
        return None

    def _refusal_of_sender(self, letter: Letter) -> str | None:
        """The same of what a source refused."""
        try:
            self._records(letter)
        except ValueError as error:
            return str(error)
        return None

    def _partitions_of(self, topic: str) -> int:
        """Number of a topic's partitions, 0 if there is no such topic."""
        if topic not in self._partitions:
            try:
                found = topic_metadata(admin(self._settings), topic, _SECONDS)
            except KafkaException as error:
                raise _failed(f"topic {topic!r} can't be looked at", error) from error
            self._partitions[topic] = 0 if found.error is not None else len(found.partitions)
        return self._partitions[topic]

    def _transaction(self, group: list[list[Letter]], *, edited: bool) -> None:
        """Send the first of each list, and mark all of them."""
        again = [self.marks.of_record(alike[0]) for alike in group]
        records = [alike[0] for alike, mark in zip(group, again, strict=True) if mark is None]
        begun, placed = self._produce(records) if records else (False, {})
        entries = []
        for alike, mark in zip(group, again, strict=True):
            to = mark.to if mark is not None else placed[alike[0].offset, alike[0].partition]
            entries += [(self.marks.key(each), self._mark("replayed", each, to=to, edited=edited)) for each in alike]
        self._commit(entries, begun=begun)

    def _produce(self, records: list[Letter]) -> tuple[bool, dict[tuple[int, int], str]]:
        """Begin a transaction and produce the records; where each is, by its dead letter's offset and partition."""
        placed: dict[tuple[int, int], str] = {}
        failures: list[str] = []

        def delivered(letter: Letter, error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(f"dead letter {letter.offset}: {error.str()}")
            else:
                place = f"{message.topic()}-{message.partition()}-{message.offset()}"
                placed.setdefault((letter.offset, letter.partition), place)  # of several the first

        def report(letter: Letter) -> Callable[[KafkaError | None, Message], None]:
            return lambda error, message: delivered(letter, error, message)

        try:
            self._producer.begin_transaction()
            for letter in records:
                for record in self._records(letter):
                    self._put(record, report(letter))
            left = self._producer.flush(_SECONDS)
        except (KafkaException, BufferError) as error:
            self._abort()
            raise _failed("a record can't be sent", error) from error
        if failures or left:
            self._abort()
            raise BrokerError(
                f"nothing was sent: {failures[0] if failures else f'{left} records were not acknowledged'}; what was "
                "sent before is marked, so that the same command goes on where it stopped"
            )
        self._hook("produced")
        return True, placed

    def _put(self, record: dict[str, Any], report: Callable[[KafkaError | None, Message], None]) -> None:
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                self._producer.produce(**record, on_delivery=report)
            except BufferError:  # a letter may hold more rows than the client's queue has room for
                if time.monotonic() > deadline:
                    raise
                self._producer.poll(_FULL_SECONDS)
                continue
            self._producer.poll(0)
            return

    def _records(self, letter: Letter) -> list[dict[str, Any]]:
        """What to produce: one record, or those that a source would have made.

        Raises:
            ValueError: it can't be made; says why.

        """
        replayed = (REPLAYED_FROM, str(letter.offset).encode())
        if letter.source is not None:
            return [self._record(letter, letter.source)]
        made = [] if self._again is None else self._again(letter)
        if not made:
            raise ValueError("nothing is in it that could be sent")
        return [
            {"topic": each.topic, "key": each.key, "value": each.value, "headers": [*each.headers, replayed]}
            for each in made
        ]

    def _record(self, letter: Letter, source: Source) -> dict[str, Any]:
        own = letter.headers
        if source.topic == self._topics.labels:
            own = tuple((name, value) for name, value in own if name not in _OF_THE_PUBLISHER)
        headers: Headers = [*own, (REPLAYED_FROM, str(letter.offset).encode())]
        return {
            "topic": source.topic,
            "partition": source.partition,
            "key": letter.key,
            "value": letter.value,
            "headers": headers,
            # To librdkafka 0 is "now", and so it is to Kafka where a record has none.
            "timestamp": source.timestamp or 0,
        }

    def _commit(self, entries: list[tuple[bytes, Mark]], *, begun: bool = False) -> None:
        try:
            if not begun:
                self._producer.begin_transaction()
            for key, mark in entries:
                self._producer.produce(self._topics.deadletter_marks, packed(mark), key)
                self._producer.poll(0)
            self._hook("marked")
            self._producer.commit_transaction(_COMMIT_SECONDS)
        except (KafkaException, BufferError) as error:
            raise _failed("the transaction failed", error) from error
        self._hook("committed")
        for key, mark in entries:
            self.marks.add(key, mark)

    def _mark(self, state: str, letter: Letter, **more: Any) -> Mark:  # noqa: ANN401 fields of the mark
        source = None if letter.source is None else letter.source.name
        return msgspec.convert(
            {"state": state, "at": int(self._clock() * 1e6), "by": self._by, "source": source, **more}, Mark
        )

    def _abort(self) -> None:
        try:
            self._producer.abort_transaction(_SECONDS)
        except KafkaException as error:
            raise _failed("the transaction can't be aborted", error) from error


def whole(settings: Settings, letter: Letter) -> Letter:
    """A dead letter with its whole record: one that was cut is read again where its record came from.

    Args:
        settings: that name the Kafka.
        letter: the dead letter.

    Returns:
        The dead letter itself if it is whole, or if its record can't be had any more; it is `truncated` then.

    Raises:
        BrokerError: Kafka does not answer.

    """
    source = letter.source
    if not letter.truncated or source is None:
        return letter
    try:
        if topic_incarnation(settings, source.topic) != source.incarnation:
            return letter
        message = read_record(settings, source.topic, source.partition, source.offset)
    except TopicError:
        return letter
    if message is None:
        return letter
    value = message.value()
    if letter.sha256 is not None and (value is None or hashlib.sha256(value).hexdigest() != letter.sha256):
        return letter
    headers = tuple(headers_of(message) or ())
    return replace(letter, key=message.key(), value=value, headers=headers, truncated=False)


def _chunks(groups: list[list[Letter]]) -> list[list[list[Letter]]]:
    """Groups in transactions that are short enough to be committed in time."""
    chunks: list[list[list[Letter]]] = []
    count = size = 0
    for group in groups:
        bytes_of = len(group[0].value or b"") + len(group[0].key or b"")
        if not chunks or count + len(group) > _LETTERS or size + bytes_of > _BYTES:
            chunks.append([])
            count = size = 0
        chunks[-1].append(group)
        count, size = count + len(group), size + bytes_of
    return chunks


def _failed(what: str, error: BaseException) -> TidemarkError:
    cause = error.args[0] if error.args else error
    why = cause.str() if isinstance(cause, KafkaError) else str(error)
    if isinstance(cause, KafkaError) and cause.code() in {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH}:  # noqa: SLF001 librdkafka's own code has no public name
        why = "another replay of this pipeline has begun meanwhile"
    return BrokerError(f"{what}: {why}; what was sent before is marked: the same command goes on where it stopped")

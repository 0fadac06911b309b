"""A pipeline's dead letters, as the console reads, repairs, replays and resolves them in a person's name."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tidemark.errors import ConfigError
from tidemark.kafka import read_record
from tidemark.pipeline import Pipeline
from tidemark.replay import Group, Kinds, Letter, Mark, Marks, Replay, Report, State, grouped, letters, whole
from tidemark.replay.grouping import kind
from tidemark.runtime.settings import Settings

MOST: Final = 10_000
"""Letters that one act deals with."""
MOST_BYTES: Final = 200_000_000
"""Of their records, which are held meanwhile."""
LISTED: Final = 50
"""Newest letters of a kind that are listed."""
MOST_REPAIRED: Final = 1_000
"""Letters that one repair deals with: SQL is computed over each by itself."""


def name_of_kind(step: str, topic: str, reason: str) -> str:
    """Digits that name a group of letters: of a step and a source, whose reasons are of one kind."""
    return hashlib.sha256(msgspec.json.encode((step, topic, reason))).hexdigest()[:16]


def kind_of(letter: Letter) -> str:
    """The group of a letter."""
    return name_of_kind(letter.step, letter.source.topic if letter.source else "", kind(letter.reason))


@dataclass(frozen=True, slots=True)
class Kind:
    """The letters of a kind.

    reason: with `…` for what tells one from another.  newest: the newest, oldest first.  open: the oldest of those that
    nobody has dealt with, as many as are dealt with at once.  count, open_count: how many there are.
    back: partition and offset of the dead letter about a record.
    """

    reason: str
    newest: Sequence[Letter]
    open: list[Letter]
    count: int
    open_count: int
    marks: Marks
    back: dict[str, tuple[int, int]]

    def came_back(self, letter: Letter) -> tuple[int, int] | None:
        """Partition and offset of the dead letter that a replayed one has become, if it has."""
        mark = self.marks.of(letter)
        return None if mark is None or mark.to is None else self.back.get(mark.to)


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair would do.

    changed: letters as they came and as they would be sent.  looked_at: how many were open.  left: of these, how many
    more there are than one repair deals with.  wrong: those that would come back, and why.  barred: those that can't be
    repaired so, and why.
    """

    changed: list[tuple[Letter, Letter]] = field(default_factory=list)
    looked_at: int = 0
    left: int = 0
    wrong: list[tuple[Letter, str]] = field(default_factory=list)
    barred: list[tuple[Letter, str]] = field(default_factory=list)

    @property
    def together(self) -> int:
        """How many are repaired at once."""
        return self.looked_at - self.left

    @property
    def right(self) -> list[Letter]:
        """Those that would be sent."""
        wrong = {(letter.partition, letter.offset) for letter, _ in self.wrong}
        return [after for _, after in self.changed if (after.partition, after.offset) not in wrong]

    @property
    def digest(self) -> str:
        """Digits that change with anything that would be sent."""
        told = [(each.partition, each.offset, each.key, each.value) for each in self.right]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Of one pipeline. by: who deals with them."""

    settings: Settings
    pipeline: Pipeline
    by: str

    @property
    def topic(self) -> str:
        """Where they are."""
        return self.pipeline.topics.deadletter

    def marks(self) -> Marks:
        """What became of each."""
        return Marks.now(self.settings, self.pipeline.topics)

    def groups(self) -> list[Group]:
        """All, by what was wrong."""
        marks = self.marks()
        return grouped((letter, marks.state(letter)) for letter in letters(self.settings, self.topic))

    def of_kind(self, wanted: str) -> Kind:
        """The letters of a kind."""
        marks = self.marks()
        newest: deque[Letter] = deque(maxlen=LISTED)
        left: list[Letter] = []
        back: dict[str, tuple[int, int]] = {}
        count = open_count = size = 0
        reason, kinds = "", Kinds()
        for letter in letters(self.settings, self.topic):
            source = letter.source
            if source is not None:
                name = f"{source.topic}-{source.partition}-{source.offset}"
                if name in marks.sent_to:
                    back[name] = letter.partition, letter.offset
            group = kinds.of(letter)
            apart = kind_of(letter) == wanted  # a letter's own page leads here even where its kind is not kept apart
            if name_of_kind(*group) != wanted and not apart:
                continue
            reason = kind(letter.reason) if apart else group[2]
            newest.append(letter)
            count += 1
            if marks.state(letter) is State.open:
                open_count += 1
                if open_count == 1 or (len(left) == open_count - 1 < MOST and size < MOST_BYTES):  # none is passed over
                    left.append(letter)
                    size += len(letter.value or b"") + len(letter.key or b"")
        return Kind(reason, newest, left, count, open_count, marks, back)

    def one(self, partition: int, offset: int) -> tuple[Letter, Mark | None] | None:
        """A letter and what became of it; None: there is none at this place."""
        message = read_record(self.settings, self.topic, partition, offset)
        if message is None:
            return None
        letter = Letter.of(message)
        return letter, self.marks().of(letter)

    def whole(self, letter: Letter) -> Letter:
        """A letter with its whole record, where that can still be had."""
        return whole(self.settings, letter)

    def replay(self, chosen: Sequence[Letter]) -> Report:
        """Send letters once more, exactly once."""
        with self._dealing() as dealing:
            return dealing.send([each if dealing.marks.of(each) else self.whole(each) for each in chosen])

    def resolve(self, chosen: Sequence[Letter], note: str) -> Report:
        """Mark letters as needing nothing more."""
        with self._dealing() as dealing:
            return dealing.resolve(chosen, note)

    def look(self, chosen: Sequence[Letter], repair: Callable[[Letter], Letter]) -> Repaired:
        """What a repair would do to open letters; nothing is sent."""
        from tidemark.sources.repaired import in_format, still_wrong  # noqa: PLC0415 as in _dealing

        written = in_format(self.pipeline)
        repaired = Repaired(looked_at=len(chosen), left=max(len(chosen) - MOST_REPAIRED, 0))
        for letter in chosen[:MOST_REPAIRED]:
            before = self.whole(letter)
            if before.truncated:
                repaired.barred.append((letter, "only the beginning of its record is here"))
                continue
            try:
                after = written(before, repair(before))
            except ConfigError as error:
                repaired.barred.append((letter, str(error)))
                continue
            if after != before:
                repaired.changed.append((before, after))
        repaired.wrong.extend(still_wrong(self.pipeline, [after for _, after in repaired.changed]))
        return repaired

    def send(self, repaired: Repaired) -> Report:
        """Send what was repaired once more, exactly once; what would come back is left as it is."""
        with self._dealing() as dealing:
            return dealing.send(repaired.right, edited=True)

    def _dealing(self) -> Replay:
        from tidemark.sources.resending import Resending  # noqa: PLC0415 half a second, which the start does not wait for

        return Replay(self.settings, self.pipeline.topics, self.by, again=Resending(self.pipeline))

"""What a candidate says of whom its case is for: whether it explores, its segment, its skill."""

from __future__ import annotations

from typing import Final

from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.text import storable
from labeling_grpc.queue import sql
from labeling_grpc.queue.unit_of_work import UnitOfWork
from tidemark.records import Candidate

MAX_SEGMENTS: Final = 64
"""Segments that take turns; cases of further ones share a turn, that of the segment ""."""
MAX_NAME: Final = 100
"""Characters of a segment's or a skill's name; the rest is cut off."""


def explores(candidate: Candidate) -> bool:
    """An event drawn with a known chance estimates without bias, whatever else it was chosen for."""
    return candidate.inclusion_probability is not None


def segment_of(candidate: Candidate, rules: QueueRules) -> str:
    """Value of the column of segments, "" where there is none, as for exploration."""
    return "" if explores(candidate) else named(candidate, rules.segment)


def skill_of(candidate: Candidate, rules: QueueRules) -> str | None:
    """What an annotator must be skilled in; None: nothing, as for exploration."""
    return None if explores(candidate) else named(candidate, rules.skill) or None


def due_within(candidate: Candidate, rules: QueueRules) -> int | None:
    """Time in which a case is to be answered, µs, exploration's by its segment as others'; None: it is never due."""
    return None if rules.due is None else rules.due.within(named(candidate, rules.segment))


class Segments:
    """Segments of the cases that one transaction takes in: a bounded number of values, the others share one."""

    def __init__(self, work: UnitOfWork) -> None:
        self._rules = work.rules
        split = self._rules.segment is not None
        self._known = set(work.connection.execute(sql.SEGMENTS).scalars()) - {""} if split else set[str]()

    def of(self, candidate: Candidate) -> str:
        """Segment of a case, "" where it has none."""
        value = segment_of(candidate, self._rules)
        if value and len(self._known) < MAX_SEGMENTS:
            self._known.add(value)
        return value if value in self._known else ""


def named(candidate: Candidate, column: str | None) -> str:
    """Value of a context column as a name: its text on one line, "" where there is none."""
    value = None if column is None else candidate.context.get(column)
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return storable(" ".join(text.split())[:MAX_NAME], 4 * MAX_NAME)

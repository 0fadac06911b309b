"""What became of a case, from its annotations: whether it is closed, how, and which one a newer verdict supersedes.

A case that was put back into the queue has an annotation `requeued`, later than all before it; the verdict that closes
it again is later still and supersedes the one that stood. Amendments supersede too, and close nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tidemark.records import ENDING

Row: TypeAlias = Mapping[Any, Any]
"""A row of the annotations' table, by the names of its columns."""

ENDS: Final = ENDING - {"retracted"}
"""Statuses of the annotations that close a case."""

TELLING: Final = ENDING | {"requeued"}
"""Statuses that say where a case stands; the others are about it, and change nothing."""


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """Where a case stands.

    closing: status of the annotation that closed the case, None while it is open.  verdict: the annotation (a row of
    the table) that stands, None where there is none.  last: latest `answered_at` of what tells, µs, 0 if nothing does.
    """

    closing: str | None
    verdict: Row | None
    last: int


NOTHING: Final = CaseOutcome(None, None, 0)
"""Of a case that was never closed."""


def case_outcome(annotations: Iterable[Row]) -> CaseOutcome:
    """Where a case stands by all of its annotations, in any order."""
    telling = [row for row in annotations if row["status"] in TELLING]
    if not telling:  # nearly always: this is asked at each answer
        return NOTHING
    superseded = {row["supersedes"] for row in telling}
    verdicts = [row for row in telling if row["status"] != "requeued"]
    since = current(telling)
    own = {row["id"] for row in since}
    closing = next((row["status"] for row in since if row["supersedes"] not in own), None)
    newest = max((row for row in verdicts if row["id"] not in superseded), key=_when, default=None)
    return CaseOutcome(closing, newest, max(row["answered_at"] for row in telling))


def current(annotations: Iterable[Row]) -> list[Row]:
    """What was said since the case was last put back; all of it, if it never was."""
    rows = list(annotations)
    reopened = max((row["answered_at"] for row in rows if row["status"] == "requeued"), default=-1)
    return [row for row in rows if row["answered_at"] > reopened]


def counted(annotations: Sequence[Row]) -> str | None:
    """As which status a case is among the numbers of closed ones: an amendment alone does not count."""
    stood = case_outcome(annotations)
    reopened = any(row["status"] == "requeued" for row in annotations)
    first = any(row["supersedes"] is None and row["status"] == stood.closing for row in annotations)
    return stood.closing if first or reopened else None


def _when(row: Row) -> int:
    at: int = row["answered_at"]
    return at

"""Which of the cases that are due about the same time somebody is given: what their error would cost.

The cost of errors over all cases, each person's share of wrong answers times what a wrong answer to their case costs,
is least where who errs least has the dearest cases: by the rearrangement inequality, Hardy, Littlewood and Pólya 1934,
"Inequalities", section 10.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from labeling_grpc.tables.schema import confusion
from tidemark.records.messages import decode_candidate

WINDOW: Final = 16
"""Cases, the first by due time, among which one is chosen: nothing waits behind more dear ones than so many."""

KNOWN_FROM: Final = 20_000_000
"""Answers whose truth is (nearly) known, in millionths, from which on somebody's share of errors counts as known."""

_RIGHT: Final = sa.func.sum(sa.case((confusion.c.truth == confusion.c.said, confusion.c.weight), else_=0))
_KNOWN: Final = (
    sa.select(confusion.c.annotator, _RIGHT.label("right"), sa.func.sum(confusion.c.weight).label("all"))
    .where(confusion.c.annotator != "")
    .group_by(confusion.c.annotator)
)


def careful(connection: sa.Connection) -> dict[str, bool]:
    """Who errs no more than all annotators together, and who does more often.

    Args:
        connection: of the queue's database.

    Returns:
        By name; who is not known well enough is missing.

    """
    known = [(row.annotator, int(row.right), int(row.all)) for row in connection.execute(_KNOWN)]
    right, every = sum(each[1] for each in known), sum(each[2] for each in known)
    return {name: own * every >= right * answers for name, own, answers in known if answers >= KNOWN_FROM}


def cost_of(candidate: bytes, column: str) -> float:
    """What a wrong answer to a case costs; 0 where the column has no number of at least 0.

    Args:
        candidate: the case, as it came.
        column: of its context.

    """
    value: Any = decode_candidate(candidate).context.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return max(float(value), 0.0)


def choose(costs: Sequence[float], *, is_careful: bool) -> int:
    """The place of the case that is given.

    Args:
        costs: of an error, of cases in the order of their due times.
        is_careful: whether the one who asks is.

    Returns:
        Of the dearest for who is careful, else of the cheapest; of several alike the first.

    """
    return min(range(len(costs)), key=lambda place: -costs[place] if is_careful else costs[place])

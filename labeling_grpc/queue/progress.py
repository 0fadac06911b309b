"""How far an annotator is: read with each case that is given out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

import sqlalchemy as sa

from labeling_grpc.commands.administration import AnnotatorRow
from labeling_grpc.queue.annotator_access import DAY_US, annotator
from labeling_grpc.tables.schema import answers, gold_leases, queue

_RECENT: Final = 100
"""Answers over which the median time is taken."""

_WHO: Final[sa.BindParameter[str]] = sa.bindparam("who")
_GIVEN = (
    sa.select(
        answers.c.status,
        sa.func.count().label("ever"),
        sa.func.sum(sa.case((answers.c.answered_at >= sa.bindparam("today"), 1), else_=0)).label("since"),
    )
    .where(answers.c.annotator == _WHO, answers.c.supersedes.is_(None) | answers.c.token.is_not(None))
    .group_by(answers.c.status)
)
_TIMED = (
    sa.select(answers.c.answered_at - answers.c.leased_at)
    .where(answers.c.annotator == _WHO, answers.c.leased_at.is_not(None), answers.c.bulk.is_(None))
    .order_by(answers.c.answered_at.desc())
    .limit(_RECENT)
)
# Gold cases among them: a number that leaves them out would tell which they are.
_HELD = sa.select(
    sa.select(sa.func.count()).where(queue.c.annotator == _WHO).scalar_subquery()
    + sa.select(sa.func.count())
    .where(gold_leases.c.annotator == _WHO, gold_leases.c.lease_until > sa.bindparam("now"))
    .scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an annotator is. median_ms: of the last answers, from lease to answer, 0 if none is known."""

    answered_today: int
    skipped_today: int
    answered: int
    leased: int
    median_ms: int
    row: AnnotatorRow
    known: bool


def progress(connection: sa.Connection, name: str, wall: int, now: int) -> Progress:
    """How far an annotator is. wall: µs; today is the day (UTC) in which it is.  now: queue time, µs."""
    asked = {"who": name, "today": wall - wall % DAY_US, "now": now}
    numbers = connection.execute(_GIVEN, asked).all()
    ever = {row.status: row.ever for row in numbers}
    since = {row.status: row.since for row in numbers}
    times = [int(time) for time in connection.execute(_TIMED, asked).scalars()]
    row = annotator(connection, name)
    leased: int = connection.execute(_HELD, asked).scalar_one()
    return Progress(
        answered_today=_answered(since),
        skipped_today=since.get("skipped", 0),
        answered=_answered(ever),
        leased=leased,
        median_ms=round(median(times) / 1_000) if times else 0,
        row=row,
        known=bool(ever or leased or row.since or row.quota or row.skills is not None),
    )


def _answered(numbers: Mapping[str, int]) -> int:
    return sum(numbers.get(status, 0) for status in ("answered", "vote", "gold"))

"""What was said about cases, for whoever is given them. Looked up only once something was said about any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from msgspec.structs import replace

from labeling_grpc.commands.labeling import Comment, LeasedCase
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.queue.sql import PART
from labeling_grpc.tables.schema import answers

COMMENTS: Final = frozenset({"commented", "escalated"})
"""Statuses of annotations that say something to the next who is given the case."""

MOST: Final = 50
"""Comments of one case that are read at once."""

_SPEAKS = (answers.c.status.in_(sorted(COMMENTS)), answers.c.comment.is_not(None))
_ranked = (
    sa.select(
        answers.c.event_id,
        answers.c.annotator,
        answers.c.comment,
        answers.c.answered_at,
        answers.c.id,
        sa.func.row_number()
        .over(partition_by=answers.c.event_id, order_by=(answers.c.answered_at.desc(), answers.c.id.desc()))
        .label("place"),
        sa.func.count().over(partition_by=answers.c.event_id).label("number"),
    )
    .where(answers.c.event_id.in_(PART), *_SPEAKS)
    .subquery()
)
_SAID = (
    sa.select(_ranked).where(_ranked.c.place <= MOST).order_by(_ranked.c.event_id, _ranked.c.answered_at, _ranked.c.id)
)
_BEFORE = (
    sa.select(answers.c.annotator, answers.c.comment, answers.c.answered_at, answers.c.id)
    .where(
        answers.c.event_id == sa.bindparam("event"),
        *_SPEAKS,
        sa.or_(
            answers.c.answered_at < sa.bindparam("at"),
            sa.and_(answers.c.answered_at == sa.bindparam("at"), answers.c.id < sa.bindparam("id")),
        ),
    )
    .order_by(answers.c.answered_at.desc(), answers.c.id.desc())
    .limit(MOST + 1)
)


def comments_of(connection: sa.Connection, event_ids: Iterable[str]) -> dict[str, tuple[tuple[Comment, ...], int]]:
    """What was said about cases: the newest, oldest first, and how many were said before those."""
    by_event: defaultdict[str, list[Comment]] = defaultdict(list)
    number: dict[str, int] = {}
    for row in connection.execute(_SAID, {"part": sorted(set(event_ids))}):
        by_event[row.event_id].append(Comment(row.annotator, row.comment, row.answered_at, row.id))
        number[row.event_id] = row.number
    return {event_id: (tuple(newest), number[event_id] - len(newest)) for event_id, newest in by_event.items()}


def before(connection: sa.Connection, event_id: str, at: int, annotation_id: str) -> tuple[tuple[Comment, ...], bool]:
    """What was said about a case before an annotation.

    Args:
        connection: To the queue's database.
        event_id: The case.
        at: When the annotation was given, µs.
        annotation_id: Its id.

    Returns:
        The newest of it, oldest first, and whether there is more before.

    """
    rows = connection.execute(_BEFORE, {"event": event_id, "at": at, "id": annotation_id}).all()
    newest = [Comment(row.annotator, row.comment, row.answered_at, row.id) for row in rows[:MOST]]
    return tuple(reversed(newest)), len(rows) > MOST


def with_comments(
    connection: sa.Connection, results: Sequence[list[LeasedCase] | RefusedError], golden: Container[str]
) -> list[list[LeasedCase] | RefusedError]:
    """Leased cases with what was said about them. golden: tokens of gold cases, of which it would tell too much."""
    leased = (cases for cases in results if not isinstance(cases, RefusedError))
    by_event = comments_of(connection, (case.event_id for cases in leased for case in cases))
    return [
        cases
        if isinstance(cases, RefusedError)
        else [case if case.token in golden else _with(case, by_event) for case in cases]
        for cases in results
    ]


def _with(case: LeasedCase, by_event: Mapping[str, tuple[tuple[Comment, ...], int]]) -> LeasedCase:
    newest, earlier = by_event.get(case.event_id, ((), 0))
    return replace(case, comments=newest, earlier=earlier) if newest else case

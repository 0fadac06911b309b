"""What was said about cases, for whoever is given them. Looked up only once something was said about any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from typing import Final

import sqlalchemy as sa
from msgspec.structs import replace

from labeling_grpc.commands import LeasedCase, Remark
from labeling_grpc.queue.statements import PART
from labeling_grpc.refusals import RefusedError
from labeling_grpc.schema import answers

REMARKS: Final = frozenset({"commented", "escalated"})
"""Statuses of annotations that say something to the next who is given the case."""

KEY: Final = "remarked"
"""Key of the table `meta`, there once something was said about a case."""

_SAID = (
    sa.select(answers.c.event_id, answers.c.annotator, answers.c.comment, answers.c.answered_at)
    .where(answers.c.event_id.in_(PART), answers.c.status.in_(sorted(REMARKS)), answers.c.comment.is_not(None))
    .order_by(answers.c.answered_at, answers.c.id)
)


def remarks(connection: sa.Connection, event_ids: Iterable[str]) -> dict[str, tuple[Remark, ...]]:
    """What was said about cases, oldest first."""
    found: defaultdict[str, list[Remark]] = defaultdict(list)
    for event_id, annotator, text, at in connection.execute(_SAID, {"part": sorted(set(event_ids))}):
        found[event_id].append(Remark(annotator, text, at))
    return {event_id: tuple(its) for event_id, its in found.items()}


def with_remarks(
    connection: sa.Connection, given: Sequence[list[LeasedCase] | RefusedError], golden: Container[str]
) -> list[list[LeasedCase] | RefusedError]:
    """Leased cases with what was said about them. golden: tokens of gold cases, of which it would tell too much."""
    leased = (cases for cases in given if not isinstance(cases, RefusedError))
    said = remarks(connection, (case.event_id for cases in leased for case in cases))
    return [
        cases
        if isinstance(cases, RefusedError)
        else [case if case.token in golden else replace(case, remarks=said.get(case.event_id, ())) for case in cases]
        for cases in given
    ]

"""The queue's statements, for every store. `FOR UPDATE .. SKIP LOCKED` is PostgreSQL's alone: SQLite has one writer.

What a call is about is locked by waiting (`LOCK`, in one order, so that nobody waits in a circle); what is looked for
(a case to give out, a lease that ran out) passes over what another replica holds.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from labeling_grpc.queue.bulk_sql import BulkStatement
from labeling_grpc.tables.schema import (
    Lane,
    State,
    Tier,
    annotators,
    answers,
    cases,
    gold_leases,
    numbers,
    outbox,
    queue,
)

SWEEP: Final = 1_000
"""Cases that one statement of a sweep looks up."""


def _kinds(*columns: sa.Column[Any], where: tuple[sa.ColumnElement[bool], ...] = ()) -> sa.CTE:
    """One case id of each kind of open case: some look-ups in `queue_order` a kind, however many cases there are.

    columns: what tells kinds apart, first columns of the index but those that `where` fixes.
    """
    first = sa.select(queue.c.case_id).where(*where).order_by(*columns).limit(1).scalar_subquery()
    first_of_kinds = sa.select(first.label("case_id")).cte("found", recursive=True)
    of = queue.alias("of")
    # The next value of the last column, else of the one before it, ..: SQLite looks up no more than one range at once.
    following = [
        sa.select(queue.c.case_id)
        .where(*where, *(same == of.c[same.name] for same in columns[:place]), column > of.c[column.name])
        .order_by(*columns[place:])
        .limit(1)
        .correlate(of)
        .scalar_subquery()
        for place, column in reversed([*enumerate(columns)])
    ]
    step = sa.select(sa.func.coalesce(*following)).select_from(
        first_of_kinds.join(of, of.c.case_id == first_of_kinds.c.case_id)
    )
    return first_of_kinds.union_all(step)


PART: Final[sa.BindParameter[Any]] = sa.bindparam("part", expanding=True)
LOAD = (
    sa.select(
        cases.c.id,
        cases.c.event_id,
        cases.c.candidate,
        queue.c.lane,
        queue.c.state,
        queue.c.token,
        queue.c.annotator,
        queue.c.lease_until,
        queue.c.expires_at,
        queue.c.tier,
        queue.c.leased_at,
        queue.c.assignee,
    )
    .select_from(cases.outerjoin(queue, queue.c.case_id == cases.c.id))
    .where(cases.c.event_id.in_(PART))
)
KEYS = sa.select(
    answers.c.event_id,
    answers.c.client_key,
    answers.c.id,
    answers.c.token,
    answers.c.status,
    answers.c.label,
    answers.c.confidence,
    answers.c.comment,
    answers.c.known_at,
    answers.c.supersedes,
    answers.c.annotator,
    answers.c.answered_at,
    answers.c.consensus,
    answers.c.bulk,
).where(answers.c.event_id.in_(PART))
_WAITS = (
    queue.c.case_id,
    queue.c.rank,
    queue.c.size,
    queue.c.leases,
    queue.c.seen,
    queue.c.passed_by,
    queue.c.passed_until,
    queue.c.due_at,
    queue.c.assignee,
    cases.c.event_id,
    cases.c.candidate,
)
_OF_STACK = (
    queue.c.state == int(State.WAITING),
    queue.c.lane == sa.bindparam("in_lane"),
    queue.c.tier == sa.bindparam("in_tier"),
    queue.c.segment == sa.bindparam("in_segment"),
    queue.c.audience == sa.bindparam("in_audience"),
)
HEAD = (
    sa.select(*_WAITS)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(*_OF_STACK)
    .order_by(queue.c.rank, queue.c.case_id)
    .limit(sa.bindparam("most"))
    .with_for_update(of=queue, skip_locked=True)
)
HEAD_AFTER = HEAD.where(
    sa.tuple_(queue.c.rank, queue.c.case_id)
    > sa.tuple_(sa.bindparam("after_rank", type_=sa.Float(53)), sa.bindparam("after_case", type_=sa.BigInteger))
)
_BY_DUE_TIME = (queue.c.due_at, queue.c.rank, queue.c.case_id)
DUE = (
    sa.select(*_WAITS)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(*_OF_STACK, queue.c.due_at <= sa.bindparam("due_by"))
    .order_by(*_BY_DUE_TIME)
    .limit(sa.bindparam("most"))
    .with_for_update(of=queue, skip_locked=True)
)
"""Of a stack those that are due by some time, the earliest first."""

DUE_AFTER = DUE.where(
    sa.tuple_(*_BY_DUE_TIME)
    > sa.tuple_(
        sa.bindparam("after_due", type_=sa.BigInteger),
        sa.bindparam("after_rank", type_=sa.Float(53)),
        sa.bindparam("after_case", type_=sa.BigInteger),
    )
)
ALIKE = (
    sa.select(*_WAITS, queue.c.segment, queue.c.skill)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(
        queue.c.state == int(State.WAITING),
        queue.c.lane == int(Lane.ACTIVE),
        queue.c.tier == int(Tier.ANYONE),
        cases.c.event_id.in_(PART),
    )
    .with_for_update(of=queue, skip_locked=True)
)
"""Of some cases those that wait for anyone and were not drawn at random."""

WAITING = sa.select(sa.func.count()).select_from(
    sa.select(queue.c.case_id).where(*_OF_STACK).limit(sa.bindparam("most")).subquery()
)
HAD_TODAY = sa.select(
    sa.select(sa.func.count())
    .where(
        answers.c.annotator == sa.bindparam("asker"),
        answers.c.answered_at >= sa.bindparam("since"),
        answers.c.status.in_(["answered", "skipped", "vote", "gold", "escalated"]),
        answers.c.supersedes.is_(None),
    )
    .scalar_subquery()
    + sa.select(sa.func.count())
    .where(queue.c.lease_until.is_not(None), queue.c.annotator == sa.bindparam("asker"))
    .scalar_subquery()
    + sa.select(sa.func.count())
    .where(gold_leases.c.annotator == sa.bindparam("asker"), gold_leases.c.lease_until > sa.bindparam("now"))
    .scalar_subquery()
)
"""Cases that somebody had since a time, those in their hands with them."""

LEASE = BulkStatement(
    queue.update()
    .where(queue.c.case_id == sa.bindparam("case"))
    .values(
        state=sa.literal_column(str(int(State.LEASED))),
        token=sa.bindparam("new_token"),
        annotator=sa.bindparam("asker"),
        lease_until=sa.bindparam("until"),
        leased_at=sa.bindparam("at"),
        leases=queue.c.leases + sa.literal_column("1"),
    )
)
RENEW = BulkStatement(
    queue.update().where(queue.c.case_id == sa.bindparam("case")).values(lease_until=sa.bindparam("until"))
)
RETURN = BulkStatement(
    queue.update()
    .where(queue.c.case_id == sa.bindparam("case"))
    .values(
        state=sa.literal_column(str(int(State.WAITING))),
        token=sa.null(),
        annotator=sa.null(),
        lease_until=sa.null(),
        leased_at=sa.null(),
        passed_by=sa.bindparam("passer"),
        passed_until=sa.bindparam("hold"),
    )
)
PLACE = BulkStatement(
    queue.update()
    .where(queue.c.case_id == sa.bindparam("case"))
    .values(tier=sa.bindparam("its_tier"), votes=sa.bindparam("number"), seen=sa.bindparam("seen_by"))
)
ASSIGN = BulkStatement(
    queue.update()
    .where(queue.c.case_id == sa.bindparam("case"))
    .values(assignee=sa.bindparam("to"), assigned_until=sa.bindparam("until"))
)
UNASSIGN = BulkStatement(
    queue.update().where(queue.c.case_id == sa.bindparam("case")).values(assignee=sa.null(), assigned_until=sa.null())
)
ASSIGNABLE = sa.select(queue.c.case_id, queue.c.lane, queue.c.skill, queue.c.seen, queue.c.due_at).where(
    queue.c.case_id.in_(PART)
)
ASSIGNED_TO = (
    sa.select(queue.c.case_id, queue.c.skill)
    .where(queue.c.assignee == sa.bindparam("who"))
    .order_by(queue.c.case_id)
    .with_for_update()
)
ENDED_ASSIGNMENTS = (
    sa.select(queue.c.case_id)
    .where(queue.c.assigned_until <= sa.bindparam("at"))
    .order_by(queue.c.assigned_until)
    .limit(SWEEP)
    .with_for_update(skip_locked=True)
)
DROP = BulkStatement(queue.delete().where(queue.c.case_id == sa.bindparam("case")))
ANNOTATE = BulkStatement(answers.insert(), *answers.c.keys())
PUBLISH = BulkStatement(outbox.insert(), *(column.name for column in outbox.c if column.name != "seq"))
ENQUEUE = BulkStatement(
    queue.insert(),
    *("case_id", "state", "lane", "tier", "segment", "skill", "rank", "size", "expires_at", "due_at"),
    *("leases", "votes", "seen"),
)
ENDED = (
    sa.select(cases.c.event_id)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(queue.c.lease_until <= sa.bindparam("at"))
    .order_by(queue.c.lease_until)
    .limit(SWEEP)
    .with_for_update(of=queue, skip_locked=True)
)
EXPIRED = (
    sa.select(cases.c.event_id)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(queue.c.expires_at <= sa.bindparam("at"), queue.c.state == int(State.WAITING))
    .order_by(queue.c.expires_at)
    .limit(SWEEP)
    .with_for_update(of=queue, skip_locked=True)
)
_stacks = _kinds(
    queue.c.lane, queue.c.tier, queue.c.segment, queue.c.audience, where=(queue.c.state == int(State.WAITING),)
)
STACKS = sa.select(
    *(queue.c.lane, queue.c.tier, queue.c.segment, queue.c.audience, queue.c.skill, queue.c.seen, queue.c.assignee)
).select_from(queue.join(_stacks, _stacks.c.case_id == queue.c.case_id))
"""Kinds of waiting cases."""

_segments = _kinds(queue.c.state, queue.c.lane, queue.c.tier, queue.c.segment)
SEGMENTS = (
    sa.select(queue.c.segment).distinct().select_from(queue.join(_segments, _segments.c.case_id == queue.c.case_id))
)
"""Segments of open cases."""

_RANKED = (
    queue.c.lane == int(Lane.ACTIVE),
    queue.c.tier == int(Tier.ANYONE),
    queue.c.votes == 0,
    queue.c.assignee.is_(None),
)
ACTIVE_AFTER = (
    sa.select(queue.c.case_id, cases.c.candidate)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(*_RANKED, queue.c.case_id > sa.bindparam("after"))
    .order_by(queue.c.case_id)
    .limit(sa.bindparam("most"))
)
"""Cases that a model ranks, in the order in which they came."""

RANKABLE = (
    sa.select(queue.c.case_id, queue.c.state)
    .where(queue.c.case_id.in_(PART), *_RANKED)
    .with_for_update(skip_locked=True)
)
RANK = BulkStatement(
    queue.update().where(queue.c.case_id == sa.bindparam("case")).values(rank=sa.bindparam("its_rank"))
)
LEAST_URGENT = (
    sa.select(queue.c.rank, queue.c.case_id, cases.c.event_id)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(*_OF_STACK)
    .order_by(queue.c.rank.desc(), queue.c.case_id.desc())
    .limit(sa.bindparam("most"))
    .with_for_update(of=queue, skip_locked=True)
)
LOCK = (
    sa.select(queue.c.case_id)
    .where(queue.c.case_id.in_(sa.select(cases.c.id).where(cases.c.event_id.in_(PART))))
    .order_by(queue.c.case_id)
    .with_for_update()
)
LOCK_CLOSED = sa.select(cases.c.id).where(cases.c.event_id.in_(PART)).order_by(cases.c.id).with_for_update()
"""For what is done to cases that may have no row in the queue."""

AMENDED = (
    sa.select(
        *(answers.c.id, answers.c.event_id, answers.c.annotator, answers.c.status, answers.c.consensus),
        answers.c.bulk,
        *(cases.c.candidate, queue.c.case_id),
    )
    .select_from(
        answers.outerjoin(cases, cases.c.event_id == answers.c.event_id).outerjoin(queue, queue.c.case_id == cases.c.id)
    )
    .where(answers.c.id.in_(PART))
    .order_by(answers.c.id)
    .with_for_update(of=answers)
)
QUARANTINED = sa.select(annotators.c.name).where(annotators.c.state == "quarantined")
EVENTS = sa.select(answers.c.event_id).where(answers.c.id.in_(PART))
_named = answers.alias()
OF_BULKS = (
    sa.select(answers.c.event_id, answers.c.bulk)
    .where(answers.c.bulk.in_(sa.select(_named.c.bulk).where(_named.c.id.in_(PART), _named.c.bulk.is_not(None))))
    .distinct()
    .order_by(answers.c.event_id)
)
"""Events of the bulks that some annotations are of."""

UNSEEN = sa.select(cases.c.event_id).where(cases.c.event_id.in_(PART))
PUBLISHED = outbox.delete().where(outbox.c.annotation_id.in_(PART))
UP_TO = outbox.delete().where(outbox.c.seq <= sa.bindparam("upto"))
UP_TO_NUMBER = outbox.delete().where(
    outbox.c.seq.in_(sa.select(numbers.c.seq).where(numbers.c.number <= sa.bindparam("upto")))
)
"""Where several replicas write the outbox; `UP_TO` where one does."""

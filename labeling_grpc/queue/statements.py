"""The queue's statements, for every store. `FOR UPDATE .. SKIP LOCKED` is PostgreSQL's alone: SQLite has one writer.

What a call is about is locked by waiting (`LOCK`, in one order, so that nobody waits in a circle); what is looked for
(a case to give out, a lease that ran out) passes over what another replica holds.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from labeling_grpc.queue.many import Many
from labeling_grpc.schema import Lane, State, answers, cases, meta, numbers, outbox, queue

SWEEP: Final = 1_000
"""Cases that one statement of a sweep looks up."""

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
).where(answers.c.event_id.in_(PART))
HEAD = (
    sa.select(
        queue.c.case_id,
        queue.c.size,
        queue.c.leases,
        queue.c.passed_by,
        queue.c.passed_until,
        queue.c.expires_at,
        cases.c.event_id,
        cases.c.candidate,
    )
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(queue.c.state == int(State.WAITING), queue.c.lane == sa.bindparam("in_lane"))
    .order_by(queue.c.rank, queue.c.case_id)
    .limit(sa.bindparam("most"))
    .with_for_update(of=queue, skip_locked=True)
)
HEAD_FOR = HEAD.where(
    sa.or_(
        queue.c.passed_by.is_(None),
        queue.c.passed_by != sa.bindparam("asker"),
        queue.c.passed_until <= sa.bindparam("at"),
    )
)
LEASE = Many(
    queue.update()
    .where(queue.c.case_id == sa.bindparam("case"))
    .values(
        state=sa.literal_column(str(int(State.LEASED))),
        token=sa.bindparam("new_token"),
        annotator=sa.bindparam("asker"),
        lease_until=sa.bindparam("until"),
        leases=queue.c.leases + sa.literal_column("1"),
    )
)
RENEW = Many(queue.update().where(queue.c.case_id == sa.bindparam("case")).values(lease_until=sa.bindparam("until")))
RETURN = Many(
    queue.update()
    .where(queue.c.case_id == sa.bindparam("case"))
    .values(
        state=sa.literal_column(str(int(State.WAITING))),
        token=sa.null(),
        annotator=sa.null(),
        lease_until=sa.null(),
        passed_by=sa.bindparam("passer"),
        passed_until=sa.bindparam("hold"),
    )
)
DROP = Many(queue.delete().where(queue.c.case_id == sa.bindparam("case")))
ANNOTATE = Many(answers.insert(), *answers.c.keys())
PUBLISH = Many(outbox.insert(), *(column.name for column in outbox.c if column.name != "seq"))
ENQUEUE = Many(
    queue.insert(),
    *("case_id", "state", "lane", "tier", "segment", "skill", "rank", "size", "expires_at", "leases", "votes"),
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
LEAST_URGENT = (
    sa.select(cases.c.event_id)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(queue.c.state == int(State.WAITING), queue.c.lane == int(Lane.ACTIVE))
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

LOCK_KAFKA = sa.select(meta.c.value).where(meta.c.key == "kafka").with_for_update()
"""What comes from Kafka, and what is marked as being in it, changes in one replica at a time."""

AMENDED = (
    sa.select(
        answers.c.id, answers.c.event_id, answers.c.annotator, answers.c.status, cases.c.candidate, queue.c.case_id
    )
    .select_from(
        answers.outerjoin(cases, cases.c.event_id == answers.c.event_id).outerjoin(queue, queue.c.case_id == cases.c.id)
    )
    .where(answers.c.id.in_(PART))
    .order_by(answers.c.id)
    .with_for_update(of=answers)
)
SUPERSEDED = sa.select(answers.c.supersedes).where(answers.c.supersedes.in_(PART))

UNSEEN = sa.select(cases.c.event_id).where(cases.c.event_id.in_(PART))
PUBLISHED = outbox.delete().where(outbox.c.annotation_id.in_(PART))
UP_TO = outbox.delete().where(outbox.c.seq <= sa.bindparam("upto"))
UP_TO_NUMBER = outbox.delete().where(
    outbox.c.seq.in_(sa.select(numbers.c.seq).where(numbers.c.number <= sa.bindparam("upto")))
)
"""Where several replicas write the outbox; `UP_TO` where one does."""

"""The rules of the queue (docs/labeling.md), in SQL that every store runs.

A `Queue` applies a group of commands inside one transaction of its caller's. Commands of a group are outstanding
together, so none of them is before another: the queue takes what makes room first (intake, answers, releases,
leases that ran out) and gives out last. It holds no state that the database does not hold, but the counts and
whose turn it is among the two lanes.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from labeling_grpc.commands import (
    Accepted,
    AdoptLabels,
    Answer,
    Applied,
    Arrival,
    CaseEvent,
    Command,
    Counts,
    EventKind,
    LeaseCases,
    LeasedCase,
    LeaseRef,
    MarkPublished,
    Message,
    ReleaseLeases,
    RenewLeases,
    Result,
    Source,
    SubmitAnswers,
    TakeIdentity,
    TakeIn,
    TakenIn,
)
from labeling_grpc.refusals import Reason, RefusedError
from labeling_grpc.schema import Lane, State, answers, cases, meta, outbox, positions, queue
from tidemark.records import Candidate, Label, LabelStatus, encode
from tidemark.topics import Topics

NOBODY: Final = ""
"""Annotator of an annotation that no person made (an expiry)."""

_SLACK: Final = 16
_SWEEP: Final = 1_000
_BIND_LIMIT: Final = 10_000
_decode = msgspec.json.Decoder(Candidate).decode


@dataclass(frozen=True, slots=True)
class QueueRules:
    """What a pipeline's queue is held to.

    max_open: cases waiting or leased, never more.  release_hold_us: how long a released case is kept from the one
    who released it.  max_bytes: of the candidates of one lease call.
    """

    classes: tuple[str, ...]
    max_open: int = 100_000
    release_hold_us: int = 300_000_000
    max_bytes: int = 3_000_000


@dataclass(slots=True)
class _Open:
    """A case as the transaction sees it."""

    case_id: int
    event_id: str
    candidate: bytes
    lane: int
    state: int
    token: str | None
    annotator: str | None
    lease_until: int | None
    expires_at: int | None
    in_queue: bool
    change: Literal["renewed", "returned"] | None = None
    passed_by: str | None = None


@dataclass(slots=True)
class _Head:
    """The first waiting cases of a lane, in order. `whole`: there are no others."""

    rows: deque[sa.Row[*tuple[Any, ...]]]
    whole: bool


_PART: Final[sa.BindParameter[Any]] = sa.bindparam("part", expanding=True)
_LOAD = (
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
    .where(cases.c.event_id.in_(_PART))
)
_KEYS = sa.select(
    answers.c.event_id,
    answers.c.client_key,
    answers.c.id,
    answers.c.token,
    answers.c.status,
    answers.c.label,
    answers.c.confidence,
    answers.c.comment,
    answers.c.known_at,
).where(answers.c.event_id.in_(_PART))
_HEAD = (
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
)
_HEAD_FOR = _HEAD.where(
    sa.or_(
        queue.c.passed_by.is_(None),
        queue.c.passed_by != sa.bindparam("asker"),
        queue.c.passed_until <= sa.bindparam("at"),
    )
)
_LEASE = (
    queue.update()
    .where(queue.c.case_id == sa.bindparam("case"))
    .values(
        state=int(State.LEASED),
        token=sa.bindparam("new_token"),
        annotator=sa.bindparam("asker"),
        lease_until=sa.bindparam("until"),
        leases=queue.c.leases + 1,
    )
)
_RENEW = queue.update().where(queue.c.case_id == sa.bindparam("case")).values(lease_until=sa.bindparam("until"))
_RETURN = (
    queue.update()
    .where(queue.c.case_id == sa.bindparam("case"))
    .values(
        state=int(State.WAITING),
        token=None,
        annotator=None,
        lease_until=None,
        passed_by=sa.bindparam("passer"),
        passed_until=sa.bindparam("hold"),
    )
)
_DROP = queue.delete().where(queue.c.case_id == sa.bindparam("case"))
_ENDED = (
    sa.select(cases.c.event_id)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(queue.c.lease_until <= sa.bindparam("at"))
    .order_by(queue.c.lease_until)
    .limit(_SWEEP)
)
_EXPIRED = (
    sa.select(cases.c.event_id)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(queue.c.expires_at <= sa.bindparam("at"), queue.c.state == int(State.WAITING))
    .order_by(queue.c.expires_at)
    .limit(_SWEEP)
)
_LEAST_URGENT = (
    sa.select(cases.c.event_id)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(queue.c.state == int(State.WAITING), queue.c.lane == int(Lane.ACTIVE))
    .order_by(queue.c.rank.desc(), queue.c.case_id.desc())
    .limit(sa.bindparam("most"))
)


class Queue:
    """Applies commands to the database of one pipeline.

    Not safe to share: one thread applies at a time, and calls `adopt` after each commit.
    """

    def __init__(self, topics: Topics, rules: QueueRules, connection: sa.Connection) -> None:
        """Read the counts; `connection` is used for that only."""
        self._topics = topics
        self._rules = rules
        self._explore_next = True
        self.counts = _count(connection)
        self.next_lease_end = _next_lease_end(connection)

    @property
    def rules(self) -> QueueRules:
        """What this queue is held to."""
        return self._rules

    def adopt(self, applied: Applied) -> None:
        """Take over the counts of a group that was committed. A group that was rolled back leaves no trace."""
        self.counts = applied.counts
        self.next_lease_end = applied.next_lease_end

    def apply(self, connection: sa.Connection, commands: Sequence[Command], now: int, wall: int) -> Applied:
        """Results of the commands, in their order; what they change is in `connection`'s transaction.

        now, wall: queue time and wall clock, µs.
        """
        work = _Work(connection, self._topics, self._rules, replace(self.counts), now, wall)
        results: list[Result] = [work.from_kafka(command) for command in commands]
        held = [c for c in commands if isinstance(c, SubmitAnswers | RenewLeases | ReleaseLeases)]
        if held:
            work.load(_event_ids(held))
            for index, command in enumerate(commands):
                if isinstance(command, SubmitAnswers | RenewLeases | ReleaseLeases):
                    results[index] = work.from_holder(command)
            work.flush()
        if self.next_lease_end is not None and self.next_lease_end <= now:
            work.end_leases()
        asked = [(index, c) for index, c in enumerate(commands) if isinstance(c, LeaseCases)]
        if asked:
            given, self._explore_next = work.lease([c for _, c in asked], explore_next=self._explore_next)
            for (index, _), tasks in zip(asked, given, strict=True):
                results[index] = tasks
        return Applied(results, work.counts, work.events, self._lease_end_after(work, now))

    def _lease_end_after(self, work: _Work, now: int) -> int | None:
        """No later than the end of the first lease that ends: swept too early is harmless, too late is not."""
        known = self.next_lease_end
        if known is not None and known <= now:
            return _next_lease_end(work.connection)
        ends = [end for end in (known, work.first_lease_end) if end is not None]
        return min(ends, default=None)


class _Work:
    """One transaction. Reads what it needs in few statements, changes rows in memory, writes them in few."""

    def __init__(
        self,
        connection: sa.Connection,
        topics: Topics,
        rules: QueueRules,
        counts: Counts,
        now: int,
        wall: int,
    ) -> None:
        self.connection = connection
        self.counts = counts
        self.events: list[CaseEvent] = []
        self.first_lease_end: int | None = None
        self._topics = topics
        self._rules = rules
        self._now = now
        self._wall = wall
        self._open: dict[str, _Open] = {}
        self._keyed: dict[tuple[str, str], dict[str, Any]] = {}
        self._dropped: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._outbox: list[dict[str, Any]] = []

    # --- reading and writing

    def load(self, event_ids: Iterable[str]) -> None:
        """Read the cases and the answers that they have."""
        for part in _parts(sorted(set(event_ids))):
            for row in self.connection.execute(_LOAD, {"part": part}):
                self._open[row[1]] = _Open(*row, in_queue=row[4] is not None)
            for answer in self.connection.execute(_KEYS, {"part": part}).mappings():
                if answer["client_key"] is not None:
                    self._keyed[answer["event_id"], answer["client_key"]] = dict(answer)

    def flush(self) -> None:
        """Write what was decided since the last time."""
        renewed, returned = [], []
        for case in self._open.values():
            if case.in_queue and case.change == "renewed":
                renewed.append({"case": case.case_id, "until": case.lease_until})
            elif case.in_queue and case.change == "returned":
                hold = None if case.passed_by is None else self._now + self._rules.release_hold_us
                returned.append({"case": case.case_id, "passer": case.passed_by, "hold": hold})
            case.change = None
        for statement, rows in (
            (_RENEW, renewed),
            (_RETURN, returned),
            (_DROP, self._dropped),
            (answers.insert(), self._annotations),
            (outbox.insert(), self._outbox),
        ):
            if rows:
                self.connection.execute(statement, rows)
        self._dropped, self._annotations, self._outbox = [], [], []
        self._open, self._keyed = {}, {}

    # --- what holders of leases ask

    def from_holder(self, command: SubmitAnswers | RenewLeases | ReleaseLeases) -> Result:
        """Apply what somebody who holds leases asks for; `load` came before."""
        match command:
            case SubmitAnswers(given):
                return [self.answer(answer) for answer in given]
            case RenewLeases(leases, lease_us):
                return [self.renew(lease, lease_us) for lease in leases]
            case ReleaseLeases(leases):
                return sum(self.release(lease) for lease in leases)

    def answer(self, answer: Answer) -> Accepted | RefusedError:
        """Close a leased case with an answer or a skip."""
        if answer.status == "answered" and answer.label not in self._rules.classes:
            classes = ", ".join(self._rules.classes)
            return RefusedError(
                Reason.UNKNOWN_CLASS,
                f"{answer.label!r} is none of the classes: {classes}",
                field="label",
                event_id=answer.event_id,
            )
        key = answer.key or answer.token
        if (earlier := self._keyed.get((answer.event_id, key))) is not None:
            return _again(answer, earlier)
        case = self._leased(answer.event_id, answer.token)
        if isinstance(case, RefusedError):
            return case
        candidate = _decode(case.candidate)
        if answer.known_at is not None and answer.known_at < candidate.time:
            return RefusedError(
                Reason.INVALID_FIELD,
                f"known_at ({answer.known_at}) is before the event itself ({candidate.time}): give the event time "
                "from which the answer may be used, in µs",
                field="known_at_us",
                event_id=answer.event_id,
            )
        known_at = self._wall if answer.known_at is None else answer.known_at
        annotation_id = self._close(
            case, candidate, answer.status, case.annotator or NOBODY, known_at, answer=answer, key=key
        )
        return Accepted(annotation_id, duplicate=False)

    def renew(self, lease: LeaseRef, lease_us: int) -> int | RefusedError:
        """Let a lease end `lease_us` from now; gives that time."""
        case = self._leased(lease.event_id, lease.token)
        if isinstance(case, RefusedError):
            return case
        until = case.lease_until = self._now + lease_us
        case.change = "renewed"
        self._ends(until)
        return until

    def release(self, lease: LeaseRef) -> int:
        """Give a case back; 0 when the lease had ended before."""
        case = self._leased(lease.event_id, lease.token)
        if isinstance(case, RefusedError):
            return 0
        self._return(case, passed_by=case.annotator)
        return 1

    def _leased(self, event_id: str, token: str) -> _Open | RefusedError:
        case = self._open.get(event_id)
        if case is None:
            return RefusedError(Reason.UNKNOWN_CASE, f"there is no case {event_id!r} in this queue", event_id=event_id)
        if not case.in_queue:
            return RefusedError(
                Reason.CASE_CLOSED, f"case {event_id!r} is closed: lease the next one", event_id=event_id
            )
        if case.state != State.LEASED or case.token != token or (case.lease_until or 0) <= self._now:
            return RefusedError(
                Reason.STALE_LEASE,
                f"the lease of case {event_id!r} has ended, or is another's: lease again, and renew in time",
                event_id=event_id,
            )
        return case

    # --- what time brings

    def end_leases(self) -> None:
        """Return the cases of leases that ran out; those that expired meanwhile are closed."""
        while ended := self.connection.execute(_ENDED, {"at": self._now}).scalars().all():
            self.load(ended)
            for event_id in ended:
                self._return(self._open[event_id], passed_by=None)
            self.flush()

    def _return(self, case: _Open, *, passed_by: str | None) -> None:
        holder = case.annotator or NOBODY
        if case.expires_at is not None and case.expires_at <= self.counts.event_clock:
            self._expire(case, "its event's usefulness ended while it was leased")
            return
        case.state, case.token, case.annotator, case.lease_until = State.WAITING, None, None, None
        case.change, case.passed_by = "returned", passed_by
        self.counts.leased -= 1
        self._waiting(case.lane, 1)
        self._tell("returned", case.event_id, holder)

    def _expire(self, case: _Open, why: str) -> None:
        candidate = _decode(case.candidate)
        known_at = max(self.counts.event_clock, candidate.time)
        self._close(case, candidate, "expired", NOBODY, known_at, comment=why)

    def _close(
        self,
        case: _Open,
        candidate: Candidate,
        status: LabelStatus,
        annotator: str,
        known_at: int,
        *,
        answer: Answer | None = None,
        key: str | None = None,
        comment: str | None = None,
    ) -> str:
        annotation_id = uuid.uuid4().hex
        label = None if answer is None else answer.label
        confidence = None if answer is None else answer.confidence
        token = None if answer is None else answer.token
        comment = comment if answer is None else answer.comment
        stored = {
            "id": annotation_id,
            "event_id": case.event_id,
            "client_key": key,
            "token": token,
            "annotator": annotator,
            "status": status,
            "label": label,
            "confidence": confidence,
            "comment": comment,
            "known_at": known_at,
            "answered_at": self._wall,
        }
        self._annotations.append(stored)
        if key is not None:
            self._keyed[case.event_id, key] = stored
        record = Label(
            event_id=candidate.event_id,
            business_id=candidate.business_id,
            key=candidate.key,
            time=candidate.time,
            status=status,
            label=label,
            annotator=annotator,
            known_at=known_at,
            answered_at=self._wall,
            reason=candidate.reason,
            inclusion_probability=candidate.inclusion_probability,
            tile=candidate.tile,
            tile_count=candidate.tile_count,
            policy=candidate.policy,
            features=candidate.features,
            probabilities=candidate.probabilities,
            uncertainty=candidate.uncertainty,
            model=candidate.model,
            confidence=confidence,
            comment=comment,
            annotation_id=annotation_id,
        )
        self._publish(Message(self._topics.labels, case.event_id.encode(), encode(record)), annotation_id)
        self._dropped.append({"case": case.case_id})
        case.in_queue = False
        if case.state == State.LEASED:
            self.counts.leased -= 1
        else:
            self._waiting(case.lane, -1)
        kind = cast("EventKind", status)
        setattr(self.counts, status, getattr(self.counts, status) + 1)
        self._tell(kind, case.event_id, annotator, label)
        return annotation_id

    def _publish(self, message: Message, annotation_id: str | None = None) -> None:
        headers = [[name, base64.b64encode(value).decode()] for name, value in message.headers]
        self._outbox.append(
            {
                "topic": message.topic,
                "key": message.key,
                "value": message.value,
                "annotation_id": annotation_id,
                "headers": msgspec.json.encode(headers),
            }
        )
        self.counts.unpublished += 1

    # --- giving out

    def lease(self, asked: Sequence[LeaseCases], *, explore_next: bool) -> tuple[list[list[LeasedCase]], bool]:
        """Cases for each request, in its order, and whose turn it is after that.

        While both lanes have cases, they take turns: one exploration case, one other.
        """
        total = sum(request.count for request in asked)
        lanes = {
            Lane.EXPLORE: self._head(Lane.EXPLORE, total, self.counts.waiting_explore),
            Lane.ACTIVE: self._head(Lane.ACTIVE, total, self.counts.waiting_active),
        }
        given: list[list[LeasedCase]] = []
        updates: list[dict[str, Any]] = []
        for request in asked:
            taken: list[LeasedCase] = []
            size = 0
            while len(taken) < request.count:
                heads = {lane: self._next(lane, head, request, updates) for lane, head in lanes.items()}
                both = all(heads.values())
                lane = Lane.EXPLORE if (explore_next if both else heads[Lane.EXPLORE]) else Lane.ACTIVE
                found = heads[lane]
                if found is None or (taken and size + found[1].size > self._rules.max_bytes):
                    break
                if both:
                    explore_next = not explore_next
                index, row = found
                if index is not None:
                    del lanes[lane].rows[index]
                size += row.size
                taken.append(self._give(row, request, lane, updates))
            given.append(taken)
        if updates:
            self.connection.execute(_LEASE, updates)
        return given, explore_next

    def _head(self, lane: Lane, total: int, waiting: int) -> _Head:
        if not waiting:
            return _Head(deque(), whole=True)
        most = total + _SLACK
        rows = deque(self.connection.execute(_HEAD, {"in_lane": int(lane), "most": most}))
        return _Head(rows, whole=len(rows) < most)

    def _next(
        self, lane: Lane, head: _Head, request: LeaseCases, updates: list[dict[str, Any]]
    ) -> tuple[int | None, sa.Row[*tuple[Any, ...]]] | None:
        """First case of the lane that this annotator did not just release, and its place in the head."""
        for index, row in enumerate(head.rows):
            if row.passed_by != request.annotator or row.passed_until <= self._now:
                return index, row
        if head.whole:
            return None
        if updates:  # the statement below must not see cases that were given in this group
            self.connection.execute(_LEASE, updates)
            updates.clear()
        asker = {"in_lane": int(lane), "most": 1, "asker": request.annotator, "at": self._now}
        found = self.connection.execute(_HEAD_FOR, asker).first()
        return None if found is None else (None, found)

    def _give(
        self, row: sa.Row[*tuple[Any, ...]], request: LeaseCases, lane: Lane, updates: list[dict[str, Any]]
    ) -> LeasedCase:
        token = secrets.token_urlsafe(16)
        until = self._now + request.lease_us
        updates.append({"case": row.case_id, "new_token": token, "asker": request.annotator, "until": until})
        self._ends(until)
        self._waiting(lane, -1)
        self.counts.leased += 1
        self._tell("leased", row.event_id, request.annotator)
        return LeasedCase(row.event_id, row.candidate, token, until, row.leases + 1)

    # --- intake and what Kafka holds

    def from_kafka(self, command: Command) -> Result:
        """Apply a command of intake's or of the publisher's; any other is left for later."""
        match command:
            case TakeIn():
                return self.take_in(command)
            case AdoptLabels():
                self.adopt_labels(command)
            case MarkPublished():
                self.mark_published(command)
            case TakeIdentity(publisher):
                self.take_identity(publisher)
            case _:
                pass
        return None

    def take_in(self, command: TakeIn) -> TakenIn:
        """Put candidates into the queue, each once, as far as there is room; move the position with them."""
        held = self._position("intake", command.source)
        if held != command.start:
            return TakenIn(0, held or 0, moved=True)
        fresh = self._unseen(command.arrivals)
        accepted, position = self._room(command, fresh)
        added: dict[str, Arrival] = {}
        for arrival in command.arrivals[:accepted]:
            candidate = arrival.candidate
            if candidate is None:
                if arrival.dead_letter is not None:
                    self._publish(arrival.dead_letter)
                self.counts.rejected += 1
                continue
            self.counts.event_clock = max(self.counts.event_clock, candidate.time)
            if candidate.event_id in fresh:
                added.setdefault(candidate.event_id, arrival)
        if added:
            self._enqueue(added)
        self._write_meta("event_clock", str(self.counts.event_clock))
        self._write_meta("rejected", str(self.counts.rejected))
        self._move("intake", command.source, position)
        self.flush()
        self._expire_waiting()
        self._displace()
        return TakenIn(accepted, position)

    def _unseen(self, arrivals: Sequence[Arrival]) -> set[str]:
        ids = {a.candidate.event_id for a in arrivals if a.candidate is not None}
        for part in _parts(sorted(ids)):
            ids -= set(
                self.connection.execute(
                    sa.select(cases.c.event_id).where(cases.c.event_id.in_(_PART)), {"part": part}
                ).scalars()
            )
        return ids

    def _room(self, command: TakeIn, fresh: set[str]) -> tuple[int, int]:
        """How many arrivals fit: cases that others may displace always do, exploration cases up to the bound."""
        fixed = self.counts.waiting_explore + self.counts.leased
        for index, arrival in enumerate(command.arrivals):
            candidate = arrival.candidate
            if candidate is None or candidate.event_id not in fresh or not _explores(candidate):
                continue
            fixed += 1
            if fixed > self._rules.max_open:
                return index, arrival.offset
        return len(command.arrivals), command.end

    def _enqueue(self, added: dict[str, Arrival]) -> None:
        closed = {row["event_id"] for row in self._closed_elsewhere(list(added))}
        rows = []
        inserted = self.connection.execute(
            cases.insert().returning(cases.c.id, cases.c.event_id, sort_by_parameter_order=True),
            [{"event_id": event_id, "candidate": arrival.value} for event_id, arrival in added.items()],
        )
        for case_id, event_id in inserted:
            candidate = added[event_id].candidate
            if candidate is None or event_id in closed:
                continue
            lane = Lane.EXPLORE if _explores(candidate) else Lane.ACTIVE
            rows.append(
                {
                    "case_id": case_id,
                    "state": int(State.WAITING),
                    "lane": int(lane),
                    "rank": 0.0 if lane is Lane.EXPLORE else -candidate.priority,
                    "size": len(added[event_id].value),
                    "expires_at": candidate.expires_at,
                    "leases": 0,
                }
            )
            self._waiting(lane, 1)
            self._tell("added", event_id, NOBODY)
        if rows:
            self.connection.execute(queue.insert(), rows)

    def _closed_elsewhere(self, event_ids: list[str]) -> list[sa.RowMapping]:
        found: list[sa.RowMapping] = []
        for part in _parts(event_ids):
            found += self.connection.execute(_KEYS, {"part": part}).mappings().all()
        return found

    def _expire_waiting(self) -> None:
        clock = {"at": self.counts.event_clock}
        while expired := self.connection.execute(_EXPIRED, clock).scalars().all():
            self.load(expired)
            for event_id in expired:
                self._expire(self._open[event_id], "nobody answered while its event was of use")
            self.flush()

    def _displace(self) -> None:
        while (excess := self.counts.open - self._rules.max_open) > 0:
            least = self.connection.execute(_LEAST_URGENT, {"most": min(excess, _SWEEP)}).scalars().all()
            self.load(least)
            for event_id in least:
                self._expire(self._open[event_id], "displaced: the queue was full of more urgent cases")
            self.flush()

    def adopt_labels(self, command: AdoptLabels) -> None:
        """Close cases that labels in Kafka close, and remember those whose candidates are yet to come.

        A label that this database has too leaves the outbox, if it is there: Kafka holds it.
        """
        by_id = {label.event_id: label for label in command.labels}
        known = {row["id"] for row in self._closed_elsewhere(sorted(by_id))}
        published: list[str] = []
        self.load(by_id)
        for label in command.labels:
            annotation_id = label.annotation_id or uuid.uuid5(uuid.NAMESPACE_OID, label.event_id).hex
            if annotation_id in known:
                published.append(annotation_id)
                continue
            known.add(annotation_id)
            self._annotations.append(
                {
                    "id": annotation_id,
                    "event_id": label.event_id,
                    "client_key": None,
                    "token": None,
                    "annotator": label.annotator,
                    "status": label.status,
                    "label": label.label,
                    "confidence": label.confidence,
                    "comment": label.comment,
                    "known_at": label.known_at,
                    "answered_at": label.answered_at,
                }
            )
            if label.status in {"answered", "skipped", "expired"}:
                setattr(self.counts, label.status, getattr(self.counts, label.status) + 1)
            case = self._open.get(label.event_id)
            if case is not None and case.in_queue:
                self._dropped.append({"case": case.case_id})
                case.in_queue = False
                if case.state == State.LEASED:
                    self.counts.leased -= 1
                else:
                    self._waiting(case.lane, -1)
        for part in _parts(published):
            gone = self.connection.execute(outbox.delete().where(outbox.c.annotation_id.in_(_PART)), {"part": part})
            self.counts.unpublished -= gone.rowcount
        self.flush()

    def mark_published(self, command: MarkPublished) -> None:
        """Drop from the outbox what Kafka holds."""
        gone = self.connection.execute(outbox.delete().where(outbox.c.seq <= command.seq)).rowcount
        self.counts.unpublished -= gone
        self._write_meta("published", str(command.seq))
        for source, offset in command.tails:
            self._move("tail", source, offset)

    def take_identity(self, publisher: str) -> None:
        """Publish as somebody else, who has read no tail."""
        self._write_meta("publisher", publisher)
        self.connection.execute(positions.delete().where(positions.c.reader == "tail"))

    def _position(self, reader: str, source: Source) -> int | None:
        query = sa.select(positions.c.offset).where(*_is_position(reader, source))
        return self.connection.execute(query).scalar_one_or_none()

    def _move(self, reader: str, source: Source, offset: int) -> None:
        moved = self.connection.execute(
            positions.update().where(*_is_position(reader, source)).values(offset=offset)
        ).rowcount
        if not moved:
            self.connection.execute(
                positions.insert().values(
                    reader=reader,
                    topic=source.topic,
                    partition=source.partition,
                    incarnation=source.incarnation,
                    offset=offset,
                )
            )

    def _write_meta(self, key: str, value: str) -> None:
        insert = sqlite.insert if self.connection.dialect.name == "sqlite" else postgresql.insert
        statement = insert(meta).values(key=key, value=value)
        self.connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))

    # --- bookkeeping

    def _waiting(self, lane: int, change: int) -> None:
        if lane == Lane.EXPLORE:
            self.counts.waiting_explore += change
        else:
            self.counts.waiting_active += change

    def _ends(self, until: int) -> None:
        self.first_lease_end = until if self.first_lease_end is None else min(self.first_lease_end, until)

    def _tell(self, kind: EventKind, event_id: str, annotator: str, label: str | None = None) -> None:
        self.events.append(CaseEvent(kind, event_id, annotator, label, self._now))


def _again(answer: Answer, earlier: dict[str, Any]) -> Accepted | RefusedError:
    same = (
        earlier["token"] == answer.token
        and earlier["status"] == answer.status
        and earlier["label"] == answer.label
        and earlier["confidence"] == answer.confidence
        and earlier["comment"] == answer.comment
        and (answer.known_at is None or earlier["known_at"] == answer.known_at)
    )
    if same:
        return Accepted(earlier["id"], duplicate=True)
    return RefusedError(
        Reason.KEY_REUSED,
        f"another answer to case {answer.event_id!r} was taken under this idempotency key or lease",
        field="idempotency_key",
        event_id=answer.event_id,
    )


def _explores(candidate: Candidate) -> bool:
    """An event drawn with a known chance estimates without bias, whatever else it was chosen for."""
    return candidate.inclusion_probability is not None


def _event_ids(commands: Iterable[SubmitAnswers | RenewLeases | ReleaseLeases]) -> Iterable[str]:
    for command in commands:
        refs = command.answers if isinstance(command, SubmitAnswers) else command.leases
        yield from (ref.event_id for ref in refs)


def _parts(values: Sequence[str]) -> Iterable[list[str]]:
    for start in range(0, len(values), _BIND_LIMIT):
        yield list(values[start : start + _BIND_LIMIT])


def _is_position(reader: str, source: Source) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        positions.c.reader == reader,
        positions.c.topic == source.topic,
        positions.c.partition == source.partition,
        positions.c.incarnation == source.incarnation,
    )


def _count(connection: sa.Connection) -> Counts:
    counts = Counts()
    by_state = sa.select(queue.c.state, queue.c.lane, sa.func.count()).group_by(queue.c.state, queue.c.lane)
    for state, lane, number in connection.execute(by_state):
        if state == State.LEASED:
            counts.leased += number
        elif lane == Lane.EXPLORE:
            counts.waiting_explore = number
        else:
            counts.waiting_active = number
    by_status = sa.select(answers.c.status, sa.func.count()).group_by(answers.c.status)
    for status, number in connection.execute(by_status):
        if status in {"answered", "skipped", "expired"}:
            setattr(counts, status, number)
    counts.unpublished = connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()
    stored = dict(connection.execute(sa.select(meta.c.key, meta.c.value)).all())
    counts.event_clock = int(stored.get("event_clock", "0"))
    counts.rejected = int(stored.get("rejected", "0"))
    return counts


def _next_lease_end(connection: sa.Connection) -> int | None:
    end: int | None = connection.execute(sa.select(sa.func.min(queue.c.lease_until))).scalar_one()
    return end

"""Gold cases: closed ones whose class is known, given out again among the others to see who answers them rightly.

Nothing that an annotator is told tells them apart. A gold case may be in several hands at once and is no open case, so
its leases are in a table of their own; one that ended stays there, for its case is not given to the same person again.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from labeling_grpc.commands.labeling import (
    Accepted,
    AddGold,
    Answer,
    Escalate,
    GoldAdded,
    LeaseCases,
    LeasedCase,
    LeaseRef,
    RemoveGold,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.queue import sql
from labeling_grpc.queue.answer_checks import known_too_early, no_answer
from labeling_grpc.queue.consensus import GoldAnswer, ended
from labeling_grpc.queue.open_cases import GoldLease
from labeling_grpc.queue.routing import due_within, explores, segment_of, skill_of
from labeling_grpc.queue.stacks import Waiting
from labeling_grpc.queue.unit_of_work import UnitOfWork, parts
from labeling_grpc.security.caller import act
from labeling_grpc.tables.schema import answers, cases, gold, gold_leases, queue
from tidemark.consensus.scales import Scale
from tidemark.records import Candidate
from tidemark.records.messages import decode_candidate

_REMEMBERED: Final = 10_000
"""Annotators whose place among their cases is known; one who is forgotten begins anew."""

_CHOICE: Final = 64
"""Gold cases among which one is drawn."""

_ENDED: Final = 0
"""`lease_until` of a lease that was given back."""

_UNSEEN = (
    sa.select(gold.c.event_id, gold.c.label, cases.c.candidate)
    .select_from(gold.join(cases, cases.c.event_id == gold.c.event_id))
    .where(
        ~sa.exists().where(queue.c.case_id == cases.c.id),
        ~sa.exists().where(answers.c.event_id == gold.c.event_id, answers.c.annotator == sa.bindparam("asker")),
        ~sa.exists().where(gold_leases.c.event_id == gold.c.event_id, gold_leases.c.annotator == sa.bindparam("asker")),
    )
    .order_by(gold.c.event_id)
)
_FRESH = _UNSEEN.where(gold.c.event_id > sa.bindparam("after")).limit(_CHOICE)
_FRESH_ALIKE = _UNSEEN.where(gold.c.event_id.in_(sql.PART))
_HELD = (
    sa.select(*gold_leases.c, gold.c.label)
    .select_from(gold_leases.outerjoin(gold, gold.c.event_id == gold_leases.c.event_id))
    .where(gold_leases.c.token.in_(sql.PART))
    .order_by(gold_leases.c.token)
    .with_for_update(of=gold_leases)
)


class GoldTurns:
    """Which of the cases that an annotator is given are gold: one in every `every`, at a place that a secret draws."""

    def __init__(self, secret: str, every: int) -> None:
        """secret: nothing that annotators know, 1 to 64 bytes."""
        self._secret = secret.encode()
        self._every = every
        self._given: dict[str, int] = {}

    def take(
        self, work: UnitOfWork, request: LeaseCases, skills: tuple[str, ...] | None, beside: Waiting
    ) -> LeasedCase | None:
        """The gold case that comes before the next true one; None: it is a true one's turn. Called once for each.

        beside: the next true one.  skills: of who asks, None for every one. What they would not be given of true cases
        they are not given of these: it would tell them apart. So would one that is not like the others, where cases
        like another one are asked for, and one that is not assigned to them among those that are.
        """
        if not self._every:
            return None
        who = request.annotator
        number = self._given.pop(who, 0)
        self._given[who] = number + 1
        if len(self._given) > _REMEMBERED:
            del self._given[next(iter(self._given))]
        block, place = divmod(number, self._every)
        if place != self._drawn(who, block) % self._every:
            return None
        fresh = _fresh(work, request, skills)
        if not fresh:
            return None
        if request.alike:
            row = min(fresh, key=lambda row: request.alike.index(row.event_id))
        else:
            row = fresh[self._drawn(who, ~number) % len(fresh)]
        token = base64.urlsafe_b64encode(work.entropy.draw(18)).decode()
        until = work.now + request.lease_us
        candidate = decode_candidate(row.candidate)
        seems = _seems_due(work, candidate, beside.due_at, self._drawn(who, ~number) >> 32)
        lease = {"token": token, "event_id": row.event_id, "annotator": who, "lease_until": until, "due_at": seems}
        work.connection.execute(gold_leases.insert().values(**lease, leased_at=work.wall))
        work.golden.add(token)
        work.tell("leased", row.event_id, who, gold=True)
        segment, skill = segment_of(candidate, work.rules), skill_of(candidate, work.rules) or ""
        assigned = beside.assignee is not None
        return LeasedCase(
            row.event_id,
            row.candidate,
            token,
            until,
            1,
            segment=segment,
            skill=skill,
            due=seems,
            assigned=assigned,
        )

    def give_again(self, annotator: str) -> None:
        """A case went back, gold or not, and its annotator has not passed on it: the same ones come again in its place.

        Of a page that is loaded anew the gold case would be the one that does not come back.
        """
        if number := self._given.get(annotator, 0):
            self._given[annotator] = number - 1

    def _drawn(self, annotator: str, number: int) -> int:
        text = f"{number} {annotator}".encode()
        return int.from_bytes(hashlib.blake2b(text, key=self._secret, digest_size=8).digest())


def _fresh(work: UnitOfWork, request: LeaseCases, skills: tuple[str, ...] | None) -> list[sa.Row[str, str, bytes]]:
    """Gold cases that who asks has not had and may have: all that are alike, else the first page that has some."""

    def fitting(rows: Sequence[sa.Row[str, str, bytes]]) -> list[sa.Row[str, str, bytes]]:
        # What is known of a case may be an answer that there was before the pipeline's file was changed.
        known = (row for row in rows if work.rules.scale.holds(row.label))
        return [row for row in known if _is_for(decode_candidate(row.candidate), work.rules, request, skills)]

    if request.alike:
        return fitting(work.connection.execute(_FRESH_ALIKE, {"asker": request.annotator, "part": request.alike}).all())
    after = ""
    while True:
        page_of = work.connection.execute(_FRESH, {"asker": request.annotator, "after": after}).all()
        if (found := fitting(page_of)) or len(page_of) < _CHOICE:
            return found
        after = page_of[-1].event_id


def _seems_due(work: UnitOfWork, candidate: Candidate, beside: int | None, drawn: int) -> int | None:
    """When a gold case seems due, which never is: shortly before the true one `beside` it."""
    within = due_within(candidate, work.rules)
    if within is None:
        return None
    latest = work.wall + within
    return (latest if beside is None else min(beside, latest)) - drawn % max(within // 100, 1)


def _is_for(candidate: Candidate, rules: QueueRules, request: LeaseCases, skills: tuple[str, ...] | None) -> bool:
    if explores(candidate):
        return True
    skill = skill_of(candidate, rules)
    known = not request.segments or segment_of(candidate, rules) in request.segments
    return known and (skill is None or skills is None or skill in skills)


def load(work: UnitOfWork, refs: Iterable[Answer | Escalate | LeaseRef]) -> None:
    """Read the gold leases among these, which are no lease of the queue's."""
    if not work.rules.gold_every:
        return
    tokens = set()
    for ref in refs:
        case = work.cases.get(ref.event_id)
        if case is not None and case.token != ref.token:
            tokens.add(ref.token)
    for part in parts(sorted(tokens)):
        for row in work.connection.execute(_HELD, {"part": part}).mappings():
            work.gold[row["event_id"], row["token"]] = GoldLease(**row)


def answer(work: UnitOfWork, lease: GoldLease, reply: Answer | Escalate, key: str) -> Accepted | RefusedError:
    """Take what is said of a gold case; it changes nothing for the case."""
    if (refused := _stale(work, lease)) is not None:
        return refused
    candidate = decode_candidate(work.cases[lease.event_id].candidate)
    if isinstance(reply, Answer) and (refused := known_too_early(reply, candidate, "answer")) is not None:
        return refused
    known_at = work.wall if reply.known_at is None else reply.known_at
    scale = work.rules.scale
    truth = scale.known(lease.label) if lease.label is not None and scale.holds(lease.label) else ()
    bulk = reply.bulk if isinstance(reply, Answer) else ""
    gold_answer = GoldAnswer(reply.label, reply.confidence, reply.comment, truth, bulk)
    stored = work.record(candidate, "gold", lease.annotator, known_at, gold_answer, key=key, token=reply.token)
    work.connection.execute(gold_leases.delete().where(gold_leases.c.token == lease.token))
    work.tell("skipped" if reply.label is None else "answered", lease.event_id, lease.annotator, reply.label, gold=True)
    return Accepted(stored, duplicate=False)


def renew(work: UnitOfWork, lease: GoldLease, lease_us: int) -> int | RefusedError:
    """Let a gold lease end `lease_us` from now; gives that time."""
    refused = _stale(work, lease)
    if refused is None:
        lease.lease_until = work.now + lease_us
        _end(work, lease, lease.lease_until)
    return refused or lease.lease_until


def release(work: UnitOfWork, lease: GoldLease, *, passed: bool) -> int:
    """Give a gold case back, for good where its annotator has passed on it; 0 when the lease had ended before."""
    if _stale(work, lease) is not None:
        return 0
    lease.lease_until = _ENDED
    if passed:
        _end(work, lease, _ENDED)
    else:
        work.connection.execute(gold_leases.delete().where(gold_leases.c.token == lease.token))
        work.to_give_again.append(lease.annotator)
    return 1


def add(work: UnitOfWork, command: AddGold) -> GoldAdded | RefusedError:
    """Make closed cases gold; one that is already gets the new label."""
    for _, label in command.answers:
        if (refused := no_answer(label, work.rules.scale, field="answers")) is not None:
            return refused
    work.load(event_id for event_id, _ in command.answers)
    added: list[str] = []
    left: list[str] = []
    for event_id, label in dict(command.answers).items():
        case = work.cases.get(event_id)
        if case is None or case.in_queue or ended(work.annotations_by_event[event_id]) is None:
            left.append(event_id)
            continue
        row = work.insert(gold).values(event_id=event_id, label=label, added_at=work.wall)
        work.connection.execute(row.on_conflict_do_update(index_elements=["event_id"], set_={"label": label}))
        added.append(event_id)
    work.flush()
    work.acts.append(act(command.by, "AddGold", work.topics.pipeline, {"cases": added}))
    return GoldAdded(len(added), tuple(left))


def remove(work: UnitOfWork, command: RemoveGold) -> int:
    """Give a gold case out no more; 0 when it was none. Who has it answers it, and is not measured by it."""
    removed = work.connection.execute(gold.delete().where(gold.c.event_id == command.event_id)).rowcount
    if removed:
        work.acts.append(act(command.by, "RemoveGold", command.event_id, {}))
    return removed


@dataclass(frozen=True, slots=True)
class GoldRecord:
    """A gold case and how it was answered."""

    event_id: str
    label: str
    right: int
    wrong: int


def page(connection: sa.Connection, scale: Scale, after: str, most: int) -> list[GoldRecord]:
    """Gold cases with an event id above `after`, in the order of the ids. scale: what an answer is."""
    newer = answers.alias()
    shown = sa.select(gold).where(gold.c.event_id > after).order_by(gold.c.event_id).limit(most).subquery()
    told = connection.execute(
        sa.select(shown.c.event_id, shown.c.label, answers.c.label, sa.func.count(answers.c.id))
        .select_from(
            shown.outerjoin(
                answers,
                sa.and_(
                    answers.c.event_id == shown.c.event_id,
                    answers.c.status == "gold",
                    answers.c.label.is_not(None),
                    ~sa.exists().where(newer.c.supersedes == answers.c.id),
                ),
            )
        )
        .group_by(shown.c.event_id, shown.c.label, answers.c.label)
        .order_by(shown.c.event_id)
    )
    records: dict[str, GoldRecord] = {}
    for event_id, label, answer_given, count in told:
        known = records.get(event_id, GoldRecord(event_id, label, 0, 0))
        if answer_given is not None:
            right = count if scale.agree(answer_given, label) else 0
            known = GoldRecord(event_id, label, known.right + right, known.wrong + count - right)
        records[event_id] = known
    return list(records.values())


def _end(work: UnitOfWork, lease: GoldLease, until: int) -> None:
    work.connection.execute(gold_leases.update().where(gold_leases.c.token == lease.token).values(lease_until=until))


def _stale(work: UnitOfWork, lease: GoldLease) -> RefusedError | None:
    if lease.lease_until > work.now:
        return None
    return RefusedError(
        Reason.STALE_LEASE,
        f"the lease of case {lease.event_id!r} has ended, or is another's: lease again, and renew in time",
        event_id=lease.event_id,
    )

"""What holders of leases ask for: to answer, to skip, to renew, to give back."""

from __future__ import annotations

from collections.abc import Sequence

from labeling_grpc.commands.labeling import (
    Accepted,
    Answer,
    Escalate,
    LeaseRef,
    ReleaseLeases,
    RenewLeases,
    Result,
    SubmitAnswers,
)
from labeling_grpc.contract.errors import Reason, RefusedError, unknown_case
from labeling_grpc.queue import gold
from labeling_grpc.queue.answer_checks import known_too_early, no_answer, repeated
from labeling_grpc.queue.open_cases import OpenCase
from labeling_grpc.queue.unit_of_work import NOBODY, UnitOfWork
from labeling_grpc.queue.voting import put_back, vote
from labeling_grpc.security.audit import Act
from labeling_grpc.tables.schema import State, Tier
from tidemark.records.messages import decode_candidate

Held = SubmitAnswers | Escalate | RenewLeases | ReleaseLeases


def leases_of(command: Held) -> Sequence[Answer | Escalate | LeaseRef]:
    """The leases that a command names."""
    match command:
        case SubmitAnswers(refs) | RenewLeases(refs) | ReleaseLeases(refs):
            return refs
        case Escalate():
            return (command,)


def apply_held(work: UnitOfWork, command: Held) -> Result:
    """Apply what somebody who holds leases asks for; `work.load` came before."""
    match command:
        case SubmitAnswers(given):
            outcomes = [_answer(work, answer) for answer in given]
            _write_down_bulks(work, command, outcomes)
            return list(outcomes)
        case Escalate():
            return _escalate(work, command)
        case RenewLeases(leases, lease_us):
            return [_renew(work, lease, lease_us) for lease in leases]
        case ReleaseLeases(leases, passed):
            return sum(_release(work, lease, passed=passed) for lease in leases)


def _write_down_bulks(work: UnitOfWork, command: SubmitAnswers, outcomes: Sequence[Accepted | RefusedError]) -> None:
    """Leave in the audit trail which cases were answered together."""
    bulks: dict[str, dict[str, str | None]] = {}
    holders = set()
    for answer, outcome in zip(command.answers, outcomes, strict=True):
        if answer.bulk and isinstance(outcome, Accepted) and not outcome.duplicate:
            bulks.setdefault(answer.bulk, {})[answer.event_id] = answer.label
            holders.add(work.annotations_by_event[answer.event_id][-1]["annotator"])
    for bulk, labels in bulks.items():
        by = command.by
        name = by.name or ", ".join(sorted(holders))
        work.acts.append(Act(name, by.role.value, "SubmitLabels", bulk, {"bulk": bulk, "labels": labels}))


def _answer(work: UnitOfWork, answer: Answer) -> Accepted | RefusedError:
    """Close a leased case with an answer or a skip; or keep that as a vote, where a case has several."""
    if (refused := no_answer(answer.label, work.rules.scale, answer.event_id, status=answer.status)) is not None:
        return refused
    key = answer.key or answer.token
    if (earlier := work.keyed.get((answer.event_id, key))) is not None:
        reused = f"another answer to case {answer.event_id!r} was taken under this idempotency key or lease"
        return repeated(answer, earlier, {"token": answer.token}, reused)
    if (lease := work.gold.get((answer.event_id, answer.token))) is not None:
        return gold.answer(work, lease, answer, key)
    case = _leased(work, answer.event_id, answer.token)
    if isinstance(case, RefusedError):
        return case
    candidate = decode_candidate(case.candidate)
    if (refused := known_too_early(answer, candidate, "answer")) is not None:
        return refused
    known_at = work.wall if answer.known_at is None else answer.known_at
    who = case.annotator or NOBODY
    if case.tier == Tier.ANYONE and (work.rules.several or work.audit.draws(case.event_id, who)):
        annotation_id = vote(work, case, candidate, who, known_at, answer, key)
    else:
        annotation_id = work.close(case, candidate, answer.status, who, known_at, answer=answer, key=key)
    return Accepted(annotation_id, duplicate=False)


def _escalate(work: UnitOfWork, command: Escalate) -> Accepted | RefusedError:
    """Give a leased case to the reviewers; one of theirs, to another of them."""
    key = command.key or command.token
    if (earlier := work.keyed.get((command.event_id, key))) is not None:
        reused = f"something else was said of case {command.event_id!r} under this idempotency key or lease"
        return repeated(command, earlier, {"token": command.token}, reused)
    if (lease := work.gold.get((command.event_id, command.token))) is not None:
        return gold.answer(work, lease, command, key)
    case = _leased(work, command.event_id, command.token)
    if isinstance(case, RefusedError):
        return case
    candidate, who = decode_candidate(case.candidate), case.annotator or NOBODY
    annotation_id = work.record(candidate, "escalated", who, work.wall, command, key=key, token=command.token)
    work.tell("escalated", case.event_id, who)
    put_back(work, case, passed_by=who)
    return Accepted(annotation_id, duplicate=False)


def _renew(work: UnitOfWork, lease: LeaseRef, lease_us: int) -> int | RefusedError:
    """Let a lease end `lease_us` from now; gives that time."""
    if (held := work.gold.get((lease.event_id, lease.token))) is not None:
        return gold.renew(work, held, lease_us)
    case = _leased(work, lease.event_id, lease.token)
    if isinstance(case, RefusedError):
        return case
    until = case.lease_until = work.now + lease_us
    case.change = "renewed"
    work.lease_ends(until)
    return until


def _release(work: UnitOfWork, lease: LeaseRef, *, passed: bool) -> int:
    """Give a case back; 0 when the lease had ended before."""
    if (held := work.gold.get((lease.event_id, lease.token))) is not None:
        return gold.release(work, held, passed=passed)
    case = _leased(work, lease.event_id, lease.token)
    if isinstance(case, RefusedError):
        return 0
    if not passed and case.annotator is not None:
        work.to_give_again.append(case.annotator)
    work.give_back(case, passed_by=case.annotator if passed else None)
    return 1


def _leased(work: UnitOfWork, event_id: str, token: str) -> OpenCase | RefusedError:
    case = work.cases.get(event_id)
    if case is None:
        return unknown_case(event_id)
    if not case.in_queue:
        return RefusedError(Reason.CASE_CLOSED, f"case {event_id!r} is closed: lease the next one", event_id=event_id)
    if case.state != State.LEASED or case.token != token or (case.lease_until or 0) <= work.now:
        return RefusedError(
            Reason.STALE_LEASE,
            f"the lease of case {event_id!r} has ended, or is another's: lease again, and renew in time",
            event_id=event_id,
        )
    return case

"""What administrators do to the queue, labels from elsewhere, and comments, which need no lease.

Whatever an administrator changes is written to the audit trail in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, cast

import msgspec

from labeling_grpc.commands.administration import (
    AddComment,
    Administer,
    AnnotatorRow,
    AssignCases,
    Changed,
    ExpireCases,
    ImportedLabel,
    ImportLabels,
    PauseQueue,
    RequeueCases,
    UpdateAnnotator,
    WriteDown,
    event_ids,
)
from labeling_grpc.commands.labeling import Accepted, Answer, Result
from labeling_grpc.contract.errors import Reason, RefusedError, unknown_case
from labeling_grpc.contract.text import lookup
from labeling_grpc.queue import sql
from labeling_grpc.queue.annotator_access import annotator
from labeling_grpc.queue.answer_checks import known_too_early, no_answer, repeated
from labeling_grpc.queue.case_state import case_outcome
from labeling_grpc.queue.comments import COMMENTS
from labeling_grpc.queue.handlers.assignments import assign, return_assigned, return_unskilled
from labeling_grpc.queue.handlers.intake import waiting_row
from labeling_grpc.queue.open_cases import OpenCase
from labeling_grpc.queue.routing import Segments
from labeling_grpc.queue.unit_of_work import NOBODY, UnitOfWork
from labeling_grpc.security.caller import act
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import State, annotators, cases, meta
from tidemark.records import Candidate, encode
from tidemark.records.messages import decode_candidate

MAX_COMMENTS: Final = 1_000
"""Of one case. Whatever is done to a case reads what was said of it."""


def administer(work: UnitOfWork, command: Administer) -> Result:
    """Apply a command."""
    work.lock_closed(event_ids(command))  # which have no row in the queue that could be locked
    work.load(event_ids(command))
    result = _applied(work, command)
    work.flush()
    return result


def _applied(work: UnitOfWork, command: Administer) -> Result:
    result: Result = None
    match command:
        case AddComment():
            result = _comment(work, command)
        case UpdateAnnotator():
            result = _update(work, command)
        case AssignCases():
            result = assign(work, command)
        case PauseQueue():
            _pause(work, command)
        case RequeueCases():
            result = _requeue(work, command)
        case ExpireCases():
            result = _expire(work, command)
        case ImportLabels():
            result = _import(work, command)
        case WriteDown():
            work.acts += command.acts
    return result


def _comment(work: UnitOfWork, command: AddComment) -> Accepted | RefusedError:
    case = work.cases.get(command.event_id)
    if case is None:
        return unknown_case(command.event_id)
    content = Answer(command.event_id, "", "commented", comment=command.text)
    if (earlier := work.keyed.get((command.event_id, command.key))) is not None:
        reused = f"something else was said of case {command.event_id!r} under this idempotency key"
        return repeated(content, earlier, {"annotator": command.annotator}, reused)
    if sum(row["status"] in COMMENTS for row in work.annotations_by_event[command.event_id]) >= MAX_COMMENTS:
        return RefusedError(
            Reason.INVALID_FIELD,
            f"{MAX_COMMENTS:,} things were said about case {command.event_id!r}: no more are taken",
            field="event_id",
            event_id=command.event_id,
        )
    candidate = decode_candidate(case.candidate)
    annotation_id = work.record(
        candidate, "commented", command.annotator, _now_of(work, candidate), content, key=command.key
    )
    work.tell("commented", command.event_id, command.annotator)
    return Accepted(annotation_id, duplicate=False)


def _update(work: UnitOfWork, command: UpdateAnnotator) -> AnnotatorRow:
    before = annotator(work.connection, command.name)
    after = before
    if command.state is not None and (command.state, command.why) != (before.state, before.why):
        after = replace(after, state=command.state, why=command.why, since=work.wall)
    if command.any_skill:
        after = replace(after, skills=None)
    elif command.skills is not None:
        after = replace(after, skills=command.skills)
    if command.quota is not None:
        after = replace(after, quota=command.quota)
    if command.absent_until is not None:
        after = replace(after, absent_until=command.absent_until)
    values = {
        "state": after.state,
        "why": after.why,
        "since": after.since,
        "skills": None if after.skills is None else msgspec.json.encode(after.skills).decode(),
        "quota": after.quota,
        "absent_until": after.absent_until,
    }
    insert = work.insert(annotators).values(name=command.name, **values)
    work.connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))
    work.note_annotators_changed()
    if not after.works(work.wall):
        return_assigned(work, command.name)
    elif after.skills != before.skills:
        return_unskilled(work, command.name, after.skills)
    detail = {"why": command.why, "before": _told(before), "after": _told(after)}
    work.acts.append(act(command.by, "UpdateAnnotator", command.name, detail))
    return after


def _told(row: AnnotatorRow) -> dict[str, Any]:
    return {"state": row.state, "skills": row.skills, "quota": row.quota, "absent_until": row.absent_until}


def _pause(work: UnitOfWork, command: PauseQueue) -> None:
    if command.why:
        work.write_meta(meta_keys.PAUSED, command.why)
    else:
        work.connection.execute(meta.delete().where(meta.c.key == meta_keys.PAUSED))
    work.note_annotators_changed()
    action = "PauseQueue" if command.why else "ResumeQueue"
    work.acts.append(act(command.by, action, work.topics.pipeline, {"why": command.why}))


def _requeue(work: UnitOfWork, command: RequeueCases) -> Changed:
    done: list[str] = []
    left: list[str] = []
    rows: list[dict[str, Any]] = []
    for event_id in dict.fromkeys(command.event_ids):
        case = work.cases.get(event_id)
        row = None if case is None else _reopened(work, case, command)
        (left if row is None else done).append(event_id)
        rows += [row] if row else []
    work.flush()
    sql.ENQUEUE.execute(work.connection, rows)
    work.acts.append(act(command.by, "RequeueCases", work.topics.pipeline, {"why": command.why, "cases": done}))
    return Changed(tuple(done), tuple(left))


def _reopened(work: UnitOfWork, case: OpenCase, command: RequeueCases) -> dict[str, Any] | None:
    """Row of the queue for a case that is asked again, empty if it has one; None: it is left as it is."""
    candidate = decode_candidate(case.candidate)
    if candidate.expires_at is not None and candidate.expires_at <= work.counts.asked_clock:
        return None
    if case.in_queue:
        if case.state != State.LEASED:
            return None
        work.give_back(case, passed_by=None)
        return {}
    stood = case_outcome(work.annotations_by_event.get(case.event_id, ()))
    if stood.closing is None or work.counts.open >= work.rules.max_open:
        return None
    content = Answer(case.event_id, "", "requeued", comment=command.why)
    known_at = _now_of(work, candidate)
    work.record(candidate, "requeued", NOBODY, known_at, content, key=None)
    row = waiting_row(
        work, case.case_id, candidate, len(case.candidate), work.annotations_by_event[case.event_id], Segments(work)
    )
    work.ended(stood.closing, -1)
    work.waiting(row["lane"], 1)
    work.tell("requeued", case.event_id, NOBODY)
    return row


def _expire(work: UnitOfWork, command: ExpireCases) -> Changed:
    done: list[str] = []
    left: list[str] = []
    for event_id in dict.fromkeys(command.event_ids):
        case = work.cases.get(event_id)
        if case is None or not case.in_queue:
            left.append(event_id)
            continue
        work.expire(case, command.why)
        done.append(event_id)
    work.acts.append(act(command.by, "ExpireCases", work.topics.pipeline, {"why": command.why, "cases": done}))
    return Changed(tuple(done), tuple(left))


def _import(work: UnitOfWork, command: ImportLabels) -> list[Accepted | RefusedError]:
    brought = {
        imported.event_id: imported
        for imported in command.labels
        if imported.event_id not in work.cases and imported.candidate
    }
    _bring(
        work,
        [
            imported
            for imported in brought.values()
            if _refused(work, imported, cast("Candidate", imported.candidate)) is None
        ],
    )
    outcomes = [_imported(work, label) for label in command.labels]
    taken = sum(isinstance(outcome, Accepted) and not outcome.duplicate for outcome in outcomes)
    detail = {"taken": taken, "refused": sum(isinstance(outcome, RefusedError) for outcome in outcomes)}
    work.acts.append(act(command.by, "ImportLabels", work.topics.pipeline, detail))
    return outcomes


def _bring(work: UnitOfWork, labels: Sequence[ImportedLabel]) -> None:
    """Make events known that no candidate was ever of; they were never open."""
    if labels:
        rows = [
            {
                "event_id": label.event_id,
                "candidate": encode(label.candidate),
                "key": None if label.candidate.key is None else lookup(label.candidate.key),
            }
            for label in labels
            if label.candidate is not None
        ]
        work.connection.execute(work.insert(cases).on_conflict_do_nothing(index_elements=["event_id"]), rows)
        work.load(label.event_id for label in labels)


def _imported(work: UnitOfWork, label: ImportedLabel) -> Accepted | RefusedError:
    case = work.cases.get(label.event_id)
    if case is None:
        refused = None if label.candidate is None else _refused(work, label, label.candidate)
        return refused or unknown_case(label.event_id)
    candidate = decode_candidate(case.candidate)
    if (refused := _refused(work, label, candidate)) is not None:
        return refused
    answer = _said(label)
    key = f"import:{label.annotator}"
    if (earlier := work.keyed.get((label.event_id, key))) is not None:
        return repeated(answer, earlier, {}, f"{label.annotator!r} was imported with another label for this event")
    known_at = work.wall if label.known_at is None else label.known_at
    if case.in_queue:
        annotation_id = work.close(case, candidate, "answered", label.annotator, known_at, answer=answer, key=key)
        return Accepted(annotation_id, duplicate=False)
    stood = case_outcome(work.annotations_by_event.get(label.event_id, ()))
    if stood.verdict is not None and stood.verdict["status"] == "answered":
        return RefusedError(
            Reason.CASE_CLOSED,
            f"case {label.event_id!r} was answered: amend the answer, or put the case back into the queue",
            event_id=label.event_id,
        )
    supersedes = None if stood.verdict is None else stood.verdict["id"]
    annotation_id = work.record(
        candidate, "answered", label.annotator, known_at, answer, key=key, supersedes=supersedes
    )
    if supersedes is None:
        work.ended("answered")
    work.tell("answered" if supersedes is None else "amended", label.event_id, label.annotator, label.label)
    return Accepted(annotation_id, duplicate=False)


def _said(label: ImportedLabel) -> Answer:
    return Answer(
        label.event_id,
        "",
        "answered",
        label=label.label,
        known_at=label.known_at,
        confidence=label.confidence,
        asked=label.asked,
    )


def _refused(work: UnitOfWork, label: ImportedLabel, candidate: Candidate) -> RefusedError | None:
    refused = no_answer(label.label, work.rules.scale, label.event_id)
    return refused or known_too_early(_said(label), candidate, "label")


def _now_of(work: UnitOfWork, candidate: Candidate) -> int:
    """Event time at which something is known that nobody gave a time for."""
    return max(work.counts.event_clock, candidate.time)

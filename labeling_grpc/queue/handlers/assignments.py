"""Assigned cases: offered to one person alone, until they have answered, are away, or the case is due."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from labeling_grpc.commands.administration import AssignCases, Changed
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.queue import sql
from labeling_grpc.queue.annotator_access import absent, annotator
from labeling_grpc.queue.open_cases import OpenCase
from labeling_grpc.queue.unit_of_work import UnitOfWork, parts
from labeling_grpc.security.caller import act
from labeling_grpc.tables.schema import Lane, Tier


def assign(work: UnitOfWork, command: AssignCases) -> Changed | RefusedError:
    """Offer open cases to one person alone, or to everybody again; `work.load` came before."""
    skills: tuple[str, ...] | None = None
    if command.annotator:
        person = annotator(work.connection, command.annotator)
        if person.absent_until > work.wall:
            return absent(person, work.wall)
        if person.state != "active":
            return RefusedError(
                Reason.ANNOTATOR_STOPPED,
                f"{person.name!r} is {person.state}: {person.why}; nothing is assigned to them",
            )
        skills = person.skills
    rows: dict[int, sa.Row[Any]] = {}
    for part in parts(sorted(case.case_id for case in work.cases.values() if case.in_queue)):
        rows |= {row.case_id: row for row in work.connection.execute(sql.ASSIGNABLE, {"part": part})}
    done: list[str] = []
    left: list[str] = []
    changes: list[dict[str, Any]] = []
    for event_id in dict.fromkeys(command.event_ids):
        case = work.cases.get(event_id)
        row = None if case is None else rows.get(case.case_id)
        if case is None or row is None or not _can_be(case, row, command.annotator, skills):
            left.append(event_id)
            continue
        if command.annotator:
            until = row.due_at if row.due_at is not None and row.due_at > work.wall else None
            changes.append({"case": case.case_id, "to": command.annotator, "until": until})
        else:
            changes.append({"case": case.case_id})
        done.append(event_id)
    (sql.ASSIGN if command.annotator else sql.UNASSIGN).execute(work.connection, changes)
    if done:
        work.note_annotators_changed()
    detail = {"annotator": command.annotator, "why": command.why, "cases": done}
    work.acts.append(act(command.by, "AssignCases", command.annotator or work.topics.pipeline, detail))
    return Changed(tuple(done), tuple(left))


def _can_be(case: OpenCase, row: sa.Row[Any], name: str, skills: tuple[str, ...] | None) -> bool:
    """Whether a case may be assigned to somebody ("": is assigned, and may be offered to others again)."""
    if not name:
        return case.assignee is not None
    if row.lane == Lane.EXPLORE:  # who answers it, and when, must not follow from what it is
        return False
    if case.tier == Tier.REVIEWERS:  # nobody else would be offered it, and who reviews is not known here
        return False
    answered = row.seen is not None and name in msgspec.json.decode(row.seen, type=list[str])
    return not answered and _skilled(row.skill, skills)


def return_assigned(work: UnitOfWork, name: str) -> None:
    """Offer what is assigned to somebody to others again."""
    _return(work, [row.case_id for row in work.connection.execute(sql.ASSIGNED_TO, {"who": name})])


def return_unskilled(work: UnitOfWork, name: str, skills: tuple[str, ...] | None) -> None:
    """Offer what is assigned to somebody, and asks for a skill that they have no longer, to others again."""
    held = work.connection.execute(sql.ASSIGNED_TO, {"who": name}).all()
    _return(work, [row.case_id for row in held if not _skilled(row.skill, skills)])


def _return(work: UnitOfWork, held: list[int]) -> None:
    sql.UNASSIGN.execute(work.connection, [{"case": case} for case in held])
    if held:
        work.note_annotators_changed()


def _skilled(asked: str | None, skills: tuple[str, ...] | None) -> bool:
    """Whether one of these skills (None: all) is what a case asks for, if it asks for any."""
    return asked is None or skills is None or asked in skills


def end_assignments(work: UnitOfWork) -> bool:
    """Offer assigned cases that are due by now to others again; whether there were any."""
    some = False
    while ended := work.connection.execute(sql.ENDED_ASSIGNMENTS, {"at": work.wall}).scalars().all():
        sql.UNASSIGN.execute(work.connection, [{"case": case} for case in ended])
        some = True
    return some

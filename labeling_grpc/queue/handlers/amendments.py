"""Corrections and retractions: annotations that supersede others. Nothing that was published is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from labeling_grpc.commands.labeling import Accepted, Amend, Command
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.queue import sql
from labeling_grpc.queue.answer_checks import known_too_early, repeated, unknown_class
from labeling_grpc.queue.case_state import ENDS
from labeling_grpc.queue.consensus import GoldAnswer, read
from labeling_grpc.queue.unit_of_work import UnitOfWork, parts
from labeling_grpc.queue.voting import reconsidered
from labeling_grpc.security.audit import Act
from tidemark.records.messages import decode_candidate

_AMENDABLE: Final = frozenset({"answered", "skipped", "vote", "gold"})


def amend(work: UnitOfWork, commands: Sequence[Amend]) -> list[Accepted | RefusedError]:
    """Supersede annotations, in the order of the commands."""
    wanted = sorted({command.annotation_id for command in commands})
    rows: dict[str, sa.Row[Any]] = {}
    for part in parts(wanted):
        rows |= {row.id: row for row in work.connection.execute(sql.AMENDED, {"part": part}).all()}
    events = {row.event_id for row in rows.values()}
    if work.rules.several:
        work.load(events)  # what comes of votes may end a case
    else:
        work.load_keys(events)
    outcomes = [_amended(work, command, rows.get(command.annotation_id)) for command in commands]
    work.flush()
    return outcomes


def voted_on(work: UnitOfWork, commands: Sequence[Command]) -> list[str]:
    """Events of which another replica must amend nothing meanwhile, for a verdict follows from several annotations."""
    amended = {command.annotation_id for command in commands if isinstance(command, Amend)}
    if not (amended and work.shared and work.rules.several):
        return []
    event_ids: set[str] = set()
    for part in parts(sorted(amended)):
        event_ids |= set(work.connection.execute(sql.EVENTS, {"part": part}).scalars())
    return sorted(event_ids)


def _amended(work: UnitOfWork, command: Amend, row: sa.Row[Any] | None) -> Accepted | RefusedError:
    if row is None:
        return RefusedError(
            Reason.UNKNOWN_ANNOTATION, f"there is no annotation {command.annotation_id!r}", field="annotation_id"
        )
    key = command.key or command.annotation_id
    if (earlier := work.keyed.get((row.event_id, key))) is not None:
        reused = f"another amendment of annotation {command.annotation_id!r} was taken under this idempotency key"
        return repeated(command, earlier, {"supersedes": command.annotation_id}, reused)
    if (refused := _refused(work, command, row)) is not None:
        return refused
    candidate = decode_candidate(row.candidate)
    if (refused := known_too_early(command, candidate, "amendment")) is not None:
        return refused
    known_at = work.wall if command.known_at is None else command.known_at
    who = command.annotator or row.annotator
    # What is no verdict stays none: an amended vote is a vote, a retracted one is one without a class.
    status = row.status if row.status in {"vote", "gold"} else command.status
    content: Amend | GoldAnswer = command
    if status == "gold":
        content = GoldAnswer(command.label, command.confidence, command.comment, read(row.consensus))
    annotation_id = work.record(candidate, status, who, known_at, content, key=key, supersedes=row.id)
    work.tell("amended", row.event_id, who, command.label, gold=status == "gold")
    if who != row.annotator:
        detail = {"annotation": row.id, "of": row.annotator, "becomes": annotation_id, "in_the_name_of": who}
        actor = command.by.name or who
        work.acts.append(Act(actor, command.by.role.value, "AmendLabel", row.event_id, detail))
    if status == "vote":
        reconsidered(work, row.event_id, candidate)
    return Accepted(annotation_id, duplicate=False)


def _refused(work: UnitOfWork, command: Amend, row: sa.Row[Any]) -> RefusedError | None:
    if (refused := unknown_class(command, work.rules, row.event_id)) is not None:
        return refused
    superseded = any(annotation["supersedes"] == row.id for annotation in work.annotations_by_event[row.event_id])
    if superseded or row.status not in _AMENDABLE:
        why = "was superseded before: amend the newest" if superseded else f"is {row.status}"
        return RefusedError(Reason.NOT_AMENDABLE, f"annotation {row.id!r} {why}", event_id=row.event_id)
    if row.case_id is not None and row.status in ENDS:
        return RefusedError(
            Reason.NOT_AMENDABLE, f"case {row.event_id!r} is asked again: answer it", event_id=row.event_id
        )
    if row.candidate is None:
        return RefusedError(
            Reason.UNKNOWN_CASE, f"the candidate of {row.event_id!r} is no longer kept", event_id=row.event_id
        )
    return None

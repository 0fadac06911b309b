"""Corrections and retractions: annotations that supersede others. Nothing that was published is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from labeling_grpc.commands.labeling import Accepted, Amend, Command
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.queue import sql
from labeling_grpc.queue.answer_checks import known_too_early, no_answer, repeated
from labeling_grpc.queue.case_state import ENDS
from labeling_grpc.queue.consensus import GoldAnswer, read
from labeling_grpc.queue.unit_of_work import UnitOfWork, parts
from labeling_grpc.queue.voting import reconsidered
from labeling_grpc.security.audit import Act
from tidemark.records.messages import decode_candidate

_AMENDABLE: Final = frozenset({"answered", "skipped", "vote", "gold"})


def amend(work: UnitOfWork, commands: Sequence[Amend]) -> list[Accepted | RefusedError]:
    """Supersede annotations, in the order of the commands."""
    rows = _rows(work, {command.annotation_id for command in commands})
    bulks = _bulks(work, commands)
    events = {row.event_id for row in rows.values()} | {event for events in bulks.values() for event in events}
    if work.rules.several:
        work.load(events)  # what comes of votes may end a case
    else:
        work.load_keys(events)
    outcomes = [
        _amended_with(work, command, rows.get(command.annotation_id), bulks)
        if command.bulk
        else _amended(work, command, rows.get(command.annotation_id))
        for command in commands
    ]
    work.flush()
    return outcomes


def _rows(work: UnitOfWork, ids: Iterable[str]) -> dict[str, sa.Row[Any]]:
    rows: dict[str, sa.Row[Any]] = {}
    for part in parts(sorted(ids)):
        rows |= {row.id: row for row in work.connection.execute(sql.AMENDED, {"part": part}).all()}
    return rows


def _bulks(work: UnitOfWork, commands: Iterable[Command]) -> dict[str, list[str]]:
    """Events of the bulks that are amended as a whole, by bulk."""
    ids = sorted({command.annotation_id for command in commands if isinstance(command, Amend) and command.bulk})
    events: dict[str, list[str]] = {}
    for part in parts(ids):
        for row in work.connection.execute(sql.OF_BULKS, {"part": part}).all():
            events.setdefault(row.bulk, []).append(row.event_id)
    return events


def _amended_with(
    work: UnitOfWork, command: Amend, row: sa.Row[Any] | None, bulks: Mapping[str, Sequence[str]]
) -> Accepted | RefusedError:
    """Amend an annotation and what the same person said in the same bulk, in one transaction."""
    first = _amended(work, command, row)
    if row is None or row.bulk is None or isinstance(first, RefusedError):
        return first
    ids = [
        annotation_id
        for event_id in bulks.get(row.bulk, ())
        if event_id != row.event_id
        and (annotation_id := _of_bulk(work, event_id, row, command, again=first.duplicate)) is not None
    ]
    others = _rows(work, ids)
    outcomes = tuple(
        (others[other].event_id, _amended(work, replace(command, annotation_id=other), others[other]))
        for other in ids
        if other in others
    )
    who = command.annotator or row.annotator
    if not first.duplicate:
        cases = [row.event_id, *(event for event, outcome in outcomes if isinstance(outcome, Accepted))]
        detail = {"bulk": row.bulk, "of": row.annotator, "label": command.label, "cases": cases}
        work.acts.append(Act(command.by.name or who, command.by.role.value, "AmendLabel", row.bulk, detail))
    return Accepted(first.annotation_id, first.duplicate, outcomes)


def _of_bulk(work: UnitOfWork, event_id: str, row: sa.Row[Any], command: Amend, *, again: bool) -> str | None:
    """The annotation of an event that an amendment of its bulk is about; None: it has none there that stands.

    again: the amendment was made before: then that which it was about.
    """
    annotations = work.annotations_by_event[event_id]
    own = [each for each in annotations if each["bulk"] == row.bulk and each["annotator"] == row.annotator]
    if again:
        for each in own:
            made = work.keyed.get((event_id, command.key or each["id"]))
            if made is not None and (made["supersedes"], made["bulk"], made["label"]) == (
                each["id"],
                row.bulk,
                command.label,
            ):
                return str(each["id"])
        return None
    superseded = {each["supersedes"] for each in annotations}
    standing = [each for each in own if each["id"] not in superseded and each["label"] is not None]
    return str(standing[-1]["id"]) if standing else None


def voted_on(work: UnitOfWork, commands: Sequence[Command]) -> list[str]:
    """Events of which another replica must amend nothing meanwhile, for a verdict follows from several annotations."""
    amended = {command.annotation_id for command in commands if isinstance(command, Amend)}
    if not (amended and work.shared and work.rules.several):
        return []
    event_ids = {event for events in _bulks(work, commands).values() for event in events}
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
        bulk = row.bulk or "" if command.bulk else ""
        content = GoldAnswer(command.label, command.confidence, command.comment, read(row.consensus), bulk)
    annotation_id = work.record(candidate, status, who, known_at, content, key=key, supersedes=row.id)
    work.tell("amended", row.event_id, who, command.label, gold=status == "gold")
    if who != row.annotator and not (command.bulk and row.bulk is not None):  # that of a bulk is told as a whole
        detail = {"annotation": row.id, "of": row.annotator, "becomes": annotation_id, "in_the_name_of": who}
        actor = command.by.name or who
        work.acts.append(Act(actor, command.by.role.value, "AmendLabel", row.event_id, detail))
    if status == "vote":
        reconsidered(work, row.event_id, candidate)
    return Accepted(annotation_id, duplicate=False)


def _refused(work: UnitOfWork, command: Amend, row: sa.Row[Any]) -> RefusedError | None:
    if (refused := no_answer(command.label, work.rules.scale, row.event_id, status=command.status)) is not None:
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

"""Corrections and retractions: annotations that supersede others. Nothing that was published is changed."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from labeling_grpc.commands import Accepted, Amend
from labeling_grpc.queue import statements as sql
from labeling_grpc.queue.closings import ENDS
from labeling_grpc.queue.said import known_too_early, repeated, unknown_class
from labeling_grpc.queue.work import Work, decode_candidate, parts
from labeling_grpc.refusals import Reason, RefusedError
from labeling_grpc.security.audit import Act


def amend(work: Work, commands: Sequence[Amend]) -> list[Accepted | RefusedError]:
    """Supersede annotations, in the order of the commands."""
    wanted = sorted({command.annotation_id for command in commands})
    found: dict[str, sa.Row[str, str, str, str, bytes, int]] = {}
    superseded: set[str] = set()
    for part in parts(wanted):
        found |= {row.id: row for row in work.connection.execute(sql.AMENDED, {"part": part}).all()}
        superseded |= set(work.connection.execute(sql.SUPERSEDED, {"part": part}).scalars())
    work.load_keys({row.event_id for row in found.values()})
    outcomes = [_amended(work, command, found.get(command.annotation_id), superseded) for command in commands]
    work.flush()
    return outcomes


def _amended(
    work: Work, command: Amend, row: sa.Row[str, str, str, str, bytes, int] | None, superseded: set[str]
) -> Accepted | RefusedError:
    if row is None:
        return RefusedError(
            Reason.UNKNOWN_ANNOTATION, f"there is no annotation {command.annotation_id!r}", field="annotation_id"
        )
    key = command.key or command.annotation_id
    if (earlier := work.keyed.get((row.event_id, key))) is not None:
        reused = f"another amendment of annotation {command.annotation_id!r} was taken under this idempotency key"
        return repeated(command, earlier, {"supersedes": command.annotation_id}, reused)
    if (refused := _refused(work, command, row, superseded)) is not None:
        return refused
    candidate = decode_candidate(row.candidate)
    if (refused := known_too_early(command, candidate, "amendment")) is not None:
        return refused
    known_at = work.wall if command.known_at is None else command.known_at
    who = command.annotator or row.annotator
    superseded.add(row.id)
    given = work.record(candidate, command.status, who, known_at, command, key=key, supersedes=row.id)
    work.tell("amended", row.event_id, who, command.label)
    if who != row.annotator:
        detail = {"annotation": row.id, "of": row.annotator, "becomes": given, "in_the_name_of": who}
        actor = command.by.name or who
        work.acts.append(Act(actor, command.by.role.value, "AmendLabel", row.event_id, detail))
    return Accepted(given, duplicate=False)


def _refused(
    work: Work, command: Amend, row: sa.Row[str, str, str, str, bytes, int], superseded: set[str]
) -> RefusedError | None:
    if (refused := unknown_class(command, work.rules, row.event_id)) is not None:
        return refused
    if row.id in superseded or row.status not in {"answered", "skipped"}:
        why = "was superseded before: amend the newest" if row.id in superseded else f"is {row.status}"
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

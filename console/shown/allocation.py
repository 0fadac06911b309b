"""Who is to answer what by when, as the Review page shows and takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from console.shown.formatting import Times, due_in
from labeling_grpc.client import CaseRecord
from labeling_grpc.client.administration import Annotator


@dataclass(frozen=True, slots=True)
class Allotted:
    """An open case that is overdue or assigned. due: in words, "" where it never is.  late: it is overdue."""

    event_id: str
    name: str
    due: str
    late: bool
    holder: str
    assignee: str


@dataclass(frozen=True, slots=True)
class Abilities:
    """What somebody may do, as the form has it. skills: "any", or names.  absent: until when, "" for who is there.

    field: the same as the form's field has it.
    """

    skills: str
    quota: int
    absent: str
    field: str


def allotted(records: Sequence[CaseRecord], now: int) -> list[Allotted]:
    """Overdue and assigned cases, what is due first at the top. now: wall clock, µs."""
    first = {record.case.event_id: record for record in records}
    ordered = sorted(first.values(), key=lambda record: (record.due is None, record.due or 0, record.case.event_id))
    return [
        Allotted(
            record.case.event_id,
            record.case.business_id or record.case.event_id,
            "" if record.due is None else due_in((record.due - now) / 1_000_000),
            record.due is not None and record.due <= now,
            record.annotator,
            record.assignee,
        )
        for record in ordered
    ]


def abilities(person: Annotator, times: Times, now: int) -> Abilities:
    """What a person may do. now: wall clock, µs."""
    skills = "any" if person.skills is None else "\n".join(person.skills)
    away = person.absent_until > now
    until = times.at(person.absent_until) if away else None
    return Abilities(
        skills,
        person.quota,
        times.minute(person.absent_until) if away else "",
        "" if until is None else f"{until:%Y-%m-%dT%H:%M}",
    )


def moment_of(text: str, times: Times) -> int | None:
    """A time of the pipeline's zone as a form's field has it, µs; None: it is none."""
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=times.zone).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None

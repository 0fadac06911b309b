"""Who is to answer what by when, as the Work page shows and takes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from console.shown.formatting import Times, due_in
from console.shown.review_view import name_of
from labeling_grpc.client import CaseRecord
from labeling_grpc.client.administration import Annotator


@dataclass(frozen=True, slots=True)
class Allotted:
    """An open case. due: in words, "" where it never is.  late: it is overdue.  holder: who has it in hand, or ""."""

    event_id: str
    name: str
    due: str
    when: str
    late: bool
    segment: str
    skill: str
    review: bool
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


@dataclass(frozen=True, slots=True)
class Worker:
    """Somebody who labels. today: answers and skips since midnight UTC, and what is in their hands; None: not known.

    left: cases that they still take today, None without a bound, or where `today` is not known.  assigned: open cases,
    of those that were looked at.
    """

    name: str
    state: str
    why: str
    able: Abilities
    today: int | None
    left: int | None
    assigned: int

    @property
    def takes(self) -> bool:
        """Whether cases can be assigned to them."""
        return self.state == "active" and not self.able.absent


def in_order(records: Iterable[CaseRecord]) -> list[CaseRecord]:
    """Each case once, what is due first at the top, what is never due behind it in the order in which it came."""
    once = {record.case.event_id: record for record in records}
    return sorted(once.values(), key=lambda record: (record.due is None, record.due or 0, record.case.time))


def allotted(records: Sequence[CaseRecord], times: Times, now: int) -> list[Allotted]:
    """Open cases as the page shows them. now: wall clock, µs."""
    return [
        Allotted(
            record.case.event_id,
            name_of(record),
            "" if record.due is None else due_in((record.due - now) / 1_000_000),
            "" if record.due is None else times.moment(record.due),
            record.due is not None and record.due <= now,
            record.case.segment,
            record.case.skill,
            record.review,
            record.annotator,
            record.assignee,
        )
        for record in records
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


def worker(person: Annotator, today: int | None, assigned: Mapping[str, int], times: Times, now: int) -> Worker:
    """Somebody with what they have done and can do today.

    Args:
        person: who.
        today: as `Worker`'s.
        assigned: how many open cases are assigned, by name.
        times: of the pipeline's zone.
        now: wall clock, µs.

    Returns:
        What the page shows of them.

    """
    left = None if today is None or not person.quota else max(person.quota - today, 0)
    able = abilities(person, times, now)
    return Worker(person.name, person.state, person.why, able, today, left, assigned.get(person.name, 0))


def moment_of(text: str, times: Times) -> int | None:
    """A time of the pipeline's zone as a form's field has it, µs; None: it is none."""
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=times.zone).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None

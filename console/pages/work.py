"""The Work page: by when what is to be answered, what each person takes today, and who is given what.

All of it is asked of the labeling service with the person's own token: it rules what they may see and do.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, Response

from console.pages.common import Visit, first_cases, first_people, frame, needed, verified
from console.rendering import rendered
from console.security.requests import RejectedError, fields_of
from console.shown.allocation import allotted, in_order, moment_of, worker
from labeling_grpc.client import CaseRecord, Reason, RefusedError
from labeling_grpc.client.administration import Annotator

_READ: Final = 500
"""Open cases that are put in the order of their due times, in that in which they came; overdue and assigned ones apart.
"""
_SHOWN: Final = 50
_PEOPLE: Final = 200
_ASKED_AT_ONCE: Final = 8
_LONGEST: Final = 2_000
_DIGITS: Final = 9
_FIELDS: Final = _SHOWN + 10
_KINDS: Final = {"": "all open", "overdue": "overdue", "assigned": "assigned", "free": "assigned to nobody"}


async def show(visit: Visit) -> Response:
    """Cases by when they are due, then people."""
    await verified(visit)
    return visit.page("work.html", "work", inner=await _inner(visit, ""))


async def act(visit: Visit) -> Response:
    """Assign cases, or say what somebody can: what the service lets this person do."""
    await verified(visit)
    pairs = await fields_of(visit.request, _FIELDS)
    fields = dict(pairs)
    why = fields.get("why", "").strip()
    if len(why) > _LONGEST:
        raise RejectedError(400, f"write at most {_LONGEST:,} characters")
    bad = False
    try:
        match fields.get("do", ""):
            case "assign":
                told = await _assigned(visit, [value for name, value in pairs if name == "event"], fields, needed(why))
            case "abilities":
                told = await _able(visit, fields.get("name", ""), fields)
            case _:
                raise RejectedError(400, "this is none of the things that are done here")
    except RefusedError as refusal:
        told, bad = str(refusal), True
    return HTMLResponse(await _inner(visit, told, bad=bad))


async def _assigned(visit: Visit, events: list[str], fields: dict[str, str], why: str) -> str:
    """Offer cases to one person alone, or (name "") to whoever may have them."""
    name = fields.get("name", "")
    if not events:
        raise RejectedError(400, "tick the cases first")
    async with visit.site.connections.administration(visit.session) as admin:
        changed = await admin.assign(events, name, why)
    to = f"{name} alone" if name else "whoever may have it"
    told = [f"{changed.number:,} of {len(events):,} offered to {to}."] if changed.number else []
    if changed.left:
        because = "closed, drawn at random, before the reviewers, or not for this person"
        told.append(f"{len(changed.left):,} left as {'it is' if len(changed.left) == 1 else 'they are'}: {because}.")
    return " ".join(told)


async def _able(visit: Visit, name: str, fields: dict[str, str]) -> str:
    """Say what somebody is skilled in, how many cases a day they take, and until when they are absent."""
    skills, quota, absent = (fields.get(key, "").strip() for key in ("skills", "quota", "absent"))
    if not quota.isdecimal() or len(quota) > _DIGITS:
        raise RejectedError(400, "cases a day are a whole number; 0 for no bound")
    until = moment_of(absent, visit.site.times) if absent else 0
    if until is None or until < 0:
        raise RejectedError(400, "write until when as a day and a time")
    able = "any" if skills == "any" else [each.strip() for each in skills.splitlines() if each.strip()]
    async with visit.site.connections.administration(visit.session) as admin:
        await admin.update(name, skills=able, quota=int(quota), absent_until=until)
    away = until > time.time() * 1e6
    return f"{name} is absent; what was assigned to them is offered to others." if away else f"Noted for {name}."


async def _inner(visit: Visit, told: str, *, bad: bool = False) -> str:
    query = visit.request.query_params
    segment = query.get("segment", "")
    kind = query.get("show", "") if query.get("show", "") in _KINDS else ""
    number = int(asked) if (asked := query.get("page", "")).isdecimal() and len(asked) <= _DIGITS else 1
    records, more = await _open(visit, segment, kind)
    people = await first_people(visit, _PEOPLE)
    now = time.time_ns() // 1_000
    pages = max(-(-len(records) // _SHOWN), 1)
    number = min(max(number, 1), pages)
    times = visit.site.times
    counted = Counter(record.assignee for record in records)
    today = await _today(visit, people)
    workers = [worker(person, today.get(person.name), counted, times, now) for person in people]
    due = visit.site.pipeline.labeling.due
    named = {record.case.segment for record in records} | set((due.segments or {}) if due else ()) | {segment}
    return rendered(
        "work_list.html",
        **frame(visit.site, visit.session, "work"),
        cases=allotted(records[(number - 1) * _SHOWN : number * _SHOWN], times, now),
        people=workers,
        kinds=list(_KINDS.items()),
        kind=kind,
        segment=segment,
        segments=sorted(named - {""}),
        split=visit.site.pipeline.labeling.segment is not None,
        here=urlencode({"segment": segment, "show": kind, "page": number}),
        pages=[(at, urlencode({"segment": segment, "show": kind, "page": at})) for at in (number - 1, number + 1)],
        number=number,
        count=pages,
        total=len(records),
        more=more,
        more_people=len(people) >= _PEOPLE,
        zone=times.name,
        told=told,
        bad=bad,
    )


async def _open(visit: Visit, segment: str, kind: str) -> tuple[list[CaseRecord], bool]:
    """Open cases in the order of their due times, and whether there are more than were looked at."""
    where: dict[str, Any] = {"segments": [segment] if segment else []}
    asked = {
        "": ({"states": ("waiting", "leased")}, {"overdue": True}, {"assigned": True}),
        "free": ({"states": ("waiting", "leased")}, {"overdue": True}),
        "overdue": ({"overdue": True},),
        "assigned": ({"assigned": True},),
    }[kind]
    found = await asyncio.gather(*(first_cases(visit, _READ, **where, **each) for each in asked))
    records = in_order(record for part in found for record in part)
    if kind == "free":
        records = [record for record in records if not record.assignee]
    return records, any(len(part) >= _READ for part in found)


async def _today(visit: Visit, people: list[Annotator]) -> dict[str, int]:
    """What each person has had today or has in hand, which counts against the quota, where the service tells."""
    turns = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def one(name: str) -> int | None:
        async with turns:
            try:
                told = await visit.client.progress(name)
            except RefusedError as refusal:  # another reason, too many calls say: the page shows what it knows
                return 0 if refusal.reason is Reason.UNKNOWN_ANNOTATOR else None
            return told.answered_today + told.skipped_today + told.leased

    found = await asyncio.gather(*(one(person.name) for person in people))
    return {person.name: each for person, each in zip(people, found, strict=True) if each is not None}

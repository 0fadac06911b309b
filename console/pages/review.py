"""The Review page: what people disagree about, how well each labels, and what reviewers and administrators do about it.

All of it is asked of the labeling service with the person's own token: it rules what they may see and do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import HTMLResponse, Response, StreamingResponse

from console.pages.common import Visit, first_cases, first_people, frame, needed, verified
from console.rendering import rendered
from console.security.requests import RejectedError, form
from console.shown.agreement import Agreements
from console.shown.answers import AnswerBook
from console.shown.formatting import share
from console.shown.review_view import contested, name_of, person_of
from labeling_grpc.client import Annotation, CaseDetails, CaseRecord, Reason, RefusedError, Task
from labeling_grpc.client.administration import AuditEntry
from tidemark.consensus.scales import scale_of
from tidemark.errors import LabelingError
from tidemark.pipeline.numbers import answer_text
from tidemark.records import encode

ADMIN: Final = "admin"
_CASES: Final = 20
_CLOSED: Final = 50
_PEOPLE: Final = 200
_ENTRIES: Final = 100_000
"""Lines of the audit trail that are read to come to the newest, for its chain is checked from the first on; of a longer
one the page says that it shows no newest."""
_PAGE: Final = 500
_SHOWN_ENTRIES: Final = 100
_COUNTED: Final = 500_000
_HELD: Final = 100
"""Cases that are taken into hand to find the one that is adjudicated; the others are given back at once."""
_LEASE_SECONDS: Final = 30.0
_LONGEST: Final = 2_000


async def show(visit: Visit) -> Response:
    """Cases for reviewers first, then people."""
    role = await verified(visit)
    return visit.page("review.html", "review", inner=await _inner(visit, role, ""))


async def closed(visit: Visit) -> Response:
    """Cases that have a verdict: asked again, or made gold."""
    role = await verified(visit)
    return visit.page("review_closed.html", "review", inner=await _closed(visit, role, ""))


async def audit(visit: Visit) -> Response:
    """The audit trail, its newest lines first."""
    await verified(visit)
    newest: deque[AuditEntry] = deque(maxlen=_SHOWN_ENTRIES)
    problem, count, more = "", 0, False
    async with visit.site.connections.administration(visit.session) as admin:
        try:
            async for entry in admin.audit(_PAGE):
                if count == _ENTRIES:
                    more = True
                    break
                newest.append(entry)
                count += 1
        except RefusedError:
            raise
        except LabelingError as error:  # the chain of hashes is broken: the lines before it stand
            problem = str(error)
    times = visit.site.times
    rows = [(entry, times.moment(entry.at)) for entry in reversed(newest)]
    return visit.page("review_audit.html", "review", rows=rows, count=count, more=more, problem=problem)


async def agreement(visit: Visit) -> Response:
    """How often each two people agree, counted from all that was said."""
    await verified(visit)
    spec = visit.site.pipeline.label
    counted, count = Agreements(scale_of(spec.classes, spec if spec.is_number else None).agree), 0
    async with visit.site.connections.administration(visit.session) as admin:
        async for label in admin.export():
            counted.take(label)
            count += 1
            if count >= _COUNTED:
                break
    names, matrix = counted.matrix()
    rows = [
        (
            name,
            [
                None
                if cell is None
                else (share(cell.share), f"{share(cell.low)} to {share(cell.high)}", f"{cell.cases:,}")
                for cell in cells
            ],
        )
        for name, cells in zip(names, matrix, strict=True)
    ]
    return visit.page("review_agreement.html", "review", names=names, rows=rows, count=count, more=count >= _COUNTED)


async def export(visit: Visit) -> Response:
    """The final label of each event, one JSON record a line."""
    await verified(visit)

    async def lines() -> AsyncIterator[bytes]:
        async with visit.site.connections.administration(visit.session) as admin:
            async for label in admin.export(verdicts=True):
                yield encode(label) + b"\n"

    name = f"{visit.site.name}-labels.ndjson"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines(), media_type="application/x-ndjson", headers=headers)


async def act(visit: Visit) -> Response:
    """Adjudicate, pause, resume, ask again, make gold: what the service lets this person do."""
    role = await verified(visit)
    fields = await form(visit.request)
    what, why = fields.get("do", ""), fields.get("why", "").strip()
    if len(why) > _LONGEST:
        raise RejectedError(400, f"write at most {_LONGEST:,} characters")
    try:
        told = await _done(visit, what, fields, why)
        bad = False
    except RefusedError as refusal:
        told, bad = str(refusal), True
    if what in {"requeue", "gold"}:
        return HTMLResponse(await _closed(visit, role, told, bad=bad))
    paused = None if bad else {"pause_queue": why, "resume_queue": ""}.get(what)
    return HTMLResponse(await _inner(visit, role, told, bad=bad, paused=paused))


async def _done(visit: Visit, what: str, fields: dict[str, str], why: str) -> str:
    event_id, name = fields.get("event_id", ""), fields.get("name", "")
    if what == "adjudicate":
        return await _adjudicated(visit, event_id, fields.get("label", ""), why)
    async with visit.site.connections.administration(visit.session) as admin:
        match what:
            case "pause" | "activate":
                await admin.update(name, state="paused" if what == "pause" else "active", why=needed(why))
                return f"{name} is {'given no cases' if what == 'pause' else 'given cases again'}."
            case "pause_queue":
                await admin.pause(needed(why))
                return "The queue is paused: no case is given out."
            case "resume_queue":
                await admin.resume()
                return "The queue gives cases out again."
            case "requeue":
                changed = await admin.requeue([event_id], needed(why))
                return "It is asked again." if changed.number else "It is left as it is: it is not closed, or gone."
            case "gold":
                changed = await admin.add_gold([(event_id, fields.get("label", ""))])
                return "It is a gold case now." if changed.number else "It is left as it is: it is open, gone, or gold."
    raise RejectedError(400, "this is none of the things that are done here")


async def _adjudicated(visit: Visit, event_id: str, label: str, why: str) -> str:
    """Answer one of the reviewers' cases, in the person's name."""
    try:
        answer_text(visit.site.pipeline.label, label)
    except ValueError as error:  # before the case is taken: given back, it would be kept from them for a while
        raise RefusedError(Reason.UNKNOWN_CLASS, str(error), field="label", event_id=event_id) from error
    client = visit.client
    tasks = await client.lease(_HELD, review=True, lease=_LEASE_SECONDS)
    mine = next((task for task in tasks if task.event_id == event_id), None)
    others: list[Task] = [task for task in tasks if task is not mine]
    try:
        if mine is None:
            return "It is in somebody's hands, was decided, or is not for you: load the page again."
        (outcome,) = await client.submit_many([Annotation(mine, label, comment=why)])
        if isinstance(outcome, RefusedError):
            others.append(mine)
            raise outcome
        return f"Decided: {AnswerBook(visit.site.pipeline.label).words(label)}."
    finally:
        await client.release(others, again=True)  # none of them was passed on


async def _inner(visit: Visit, role: str, told: str, *, bad: bool = False, paused: str | None = None) -> str:
    """The page's inside. paused: why the queue is paused, where that was changed just now: its figures come later."""
    records = await first_cases(visit, _CASES, review=True, states=("waiting", "leased"))
    details = await asyncio.gather(*(_details(visit, record) for record in records))
    people = await first_people(visit, _PEOPLE)
    if paused is None:
        paused = (await visit.client.stats()).paused
    return rendered(
        "review_list.html",
        **frame(visit.site, visit.session, "review"),
        cases=[contested(visit.site.pipeline, record, known) for record, known in zip(records, details, strict=True)],
        people=[person_of(person) for person in people],
        classes=visit.site.pipeline.label.classes,
        number=AnswerBook(visit.site.pipeline.label).number,
        paused=paused,
        more_cases=len(records) >= _CASES,
        more_people=len(people) >= _PEOPLE,
        admin=role == ADMIN,
        told=told,
        bad=bad,
    )


async def _closed(visit: Visit, role: str, told: str, *, bad: bool = False) -> str:
    records = await first_cases(visit, _CLOSED, states=("answered",), newest_first=True)
    times = visit.site.times
    written = AnswerBook(visit.site.pipeline.label).words
    rows = [
        (record, name_of(record), times.minute(record.case.time), written(record.label or "")) for record in records
    ]
    return rendered(
        "review_closed_list.html",
        **frame(visit.site, visit.session, "review"),
        rows=rows,
        more=len(rows) >= _CLOSED,
        admin=role == ADMIN,
        told=told,
        bad=bad,
    )


async def _details(visit: Visit, record: CaseRecord) -> CaseDetails | None:
    try:
        return await visit.client.case(record.case.event_id, most=1)
    except RefusedError:  # closed meanwhile
        return None

"""The Label page: cases given out and answered. What the labeling service refuses, it refuses here too."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final, Literal

import msgspec
from starlette.responses import JSONResponse, Response

from console.pages.common import Visit, attended
from console.rendering import rendered
from console.security.requests import RejectedError, said
from console.shown.alike import listing
from console.shown.answers import AnswerBook
from console.shown.case_view import CaseLayout
from labeling_grpc.client import (
    Annotation,
    AsyncLabelingClient,
    CaseDetails,
    Held,
    Progress,
    Reason,
    RefusedError,
    Task,
    UnreachableError,
)
from tidemark.errors import LabelingError

LEASE_SECONDS: Final = 300.0
"""Renewed by the page for as long as it is open; a closed lid gives the cases to others after this time."""
_MOST_AHEAD: Final = 5
_MOST_ALIKE: Final = 19
"""Cases beside the one that is shown which one look is for: what fits into a list that a person reads."""
_LONGEST_WAIT: Final = 10.0
_HISTORY: Final = 60
_SIMILAR: Final = 5
_STATES: Final = {
    Reason.QUEUE_PAUSED: "paused",
    Reason.ANNOTATOR_STOPPED: "stopped",
    Reason.QUOTA_REACHED: "quota",
    Reason.ANNOTATOR_ABSENT: "stopped",
}


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A case that the page holds."""

    event_id: str
    token: str

    @property
    def held(self) -> Held:
        """As the client takes it."""
        return Held(self.event_id, self.token)


class Next(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for cases. wait: seconds, where the page has none to show."""

    count: int
    wait: float = 0.0


class Leases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cases to keep."""

    leases: list[Lease]


class Returned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cases that are given back. again: the person did not pass on them, and may be given them again at once."""

    leases: list[Lease]
    again: bool = False


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the person decided. text: a comment, why it is skipped, or what makes it hard.

    others: cases that are answered together with it.  bulk: names them all.
    """

    event_id: str
    token: str
    kind: Literal["answer", "skip", "escalate", "release"]
    label: str = ""
    text: str = ""
    others: list[Lease] = []
    bulk: str = ""


class Amendment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision corrected, or (label null) taken back. bulk: with all that was answered together with it."""

    annotation_id: str
    label: str | None
    text: str = ""
    bulk: bool = False


class Looked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A case that is looked back at."""

    event_id: str


class Remark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something said of a case. key: repeated with it, it stands there once."""

    event_id: str
    text: str
    key: str


async def show(visit: Visit) -> Response:
    """The page, to which its script brings the cases."""
    label = visit.site.pipeline.label
    book = AnswerBook(label)
    question = label.question or ("Which number is it?" if book.number else "Which is it?")
    return visit.page("label.html", "label", question=question, classes=book.choices, number=book.number)


async def following(visit: Visit) -> Response:
    """Lease cases, with all that helps to decide them."""
    wanted: Next = await said(visit.request, Next)
    count = min(max(wanted.count, 1), _MOST_AHEAD)
    wait = min(max(wanted.wait, 0.0), _LONGEST_WAIT)
    client = visit.client
    try:
        asked = client.lease_with_details(count, wait=wait, lease=LEASE_SECONDS, most=_HISTORY, similar=_SIMILAR)
        given = await attended(visit.request, asked)
    except RefusedError as refusal:
        state = _STATES.get(refusal.reason)
        if state is None:
            raise
        return JSONResponse({"cases": [], "state": state, "why": str(refusal), "progress": await _figures(visit)})
    tasks = given.tasks
    details = await asyncio.gather(*map(partial(_details, visit), tasks, given.details))
    if tasks and await visit.request.is_disconnected():  # else nobody is given them until the lease ends
        await client.release(tasks, again=True)
    cases = [_case(visit.site.layout, task, known) for task, known in zip(tasks, details, strict=True)]
    progress = await _figures(visit) if given.progress is None else _told(given.progress)
    return JSONResponse({"cases": cases, "state": "", "why": "", "progress": progress})


async def alike(visit: Visit) -> Response:
    """Lease waiting cases that are much like the one in hand, listed for a look at all of them."""
    asked: Looked = await said(visit.request, Looked)
    client = visit.client
    tasks = await client.lease(_MOST_ALIKE, lease=LEASE_SECONDS, like=asked.event_id)
    if not tasks:
        return JSONResponse({"cases": [], "html": ""})
    details = await client.case(asked.event_id, most=1)
    listed = listing(visit.site.pipeline, details.record.case, tasks)
    cases = [
        {"event_id": task.event_id, "token": task.token, "name": row.name}
        for task, row in zip(tasks, listed.rows, strict=True)
    ]
    return JSONResponse({"cases": cases, "html": rendered("bulk.html", listed=listed)})


async def decide(visit: Visit) -> Response:
    """Take an answer, a skip or an escalation, or give a case back. Safe to repeat."""
    made: Decision = await said(visit.request, Decision)
    held, client = Held(made.event_id, made.token), visit.client
    annotation, refused = "", 0
    match made.kind:
        case "answer":
            annotation, refused = await _answer(client, made)
        case "skip":
            annotation = await client.skip(held, made.text)
        case "escalate":
            annotation = await client.escalate(held, made.text)
        case "release":
            await client.release([held])
    return JSONResponse({"annotation_id": annotation, "refused": refused})


async def _answer(client: AsyncLabelingClient, made: Decision) -> tuple[str, int]:
    """Answer a case, and those that go with it: the id of the first annotation, and how many were not taken."""
    if len(made.others) > _MOST_ALIKE or (made.others and not made.bulk):
        raise RejectedError(400, "more cases are answered at once than were shown")
    cases = [Held(made.event_id, made.token), *(each.held for each in made.others)]
    bulk = made.bulk if made.others else ""
    outcomes = await client.submit_many([Annotation(held, made.label, comment=made.text, bulk=bulk) for held in cases])
    taken = [outcome for outcome in outcomes if not isinstance(outcome, RefusedError)]
    if not taken:
        raise next(outcome for outcome in outcomes if isinstance(outcome, RefusedError))
    return taken[0].annotation_id, len(outcomes) - len(taken)


async def amend(visit: Visit) -> Response:
    """Correct a decision, or take it back."""
    made: Amendment = await said(visit.request, Amendment)
    if made.label is None:
        outcome = await visit.client.retract(made.annotation_id, made.text, bulk=made.bulk)
    else:
        outcome = await visit.client.amend(made.annotation_id, made.label, comment=made.text, bulk=made.bulk)
    refused = sum(isinstance(other, RefusedError) for other in outcome.others.values())
    return JSONResponse({"annotation_id": outcome.annotation_id, "refused": refused})


async def remark(visit: Visit) -> Response:
    """Say something of a case to whoever is given it."""
    made: Remark = await said(visit.request, Remark)
    await visit.client.comment(made.event_id, made.text, key=made.key)
    return JSONResponse({})


async def opinion(visit: Visit) -> Response:
    """What the model thinks of a case that the person has answered, where it is hidden before."""
    asked: Looked = await said(visit.request, Looked)
    details = await visit.client.case(asked.event_id, most=1)
    mine = [each for each in details.answers if each.annotator == visit.session.name and each.label is not None]
    if visit.site.layout.blind and not mine:
        raise RejectedError(403, "what the model thinks is hidden until the case is answered")
    found = visit.site.layout.opinion(details)
    return JSONResponse({"html": "" if found is None else rendered("opinion.html", opinion=found)})


async def renew(visit: Visit) -> Response:
    """Keep cases; those that are no longer the person's are named."""
    asked: Leases = await said(visit.request, Leases)
    if not asked.leases:
        return JSONResponse({"lost": []})
    outcomes = await visit.client.renew([lease.held for lease in asked.leases], LEASE_SECONDS)
    lost = [
        lease.event_id
        for lease, outcome in zip(asked.leases, outcomes, strict=True)
        if isinstance(outcome, RefusedError)
    ]
    return JSONResponse({"lost": lost})


async def release(visit: Visit) -> Response:
    """Give cases back."""
    asked: Returned = await said(visit.request, Returned)
    held = [lease.held for lease in asked.leases]
    return JSONResponse({"released": await visit.client.release(held, again=asked.again)})


async def _details(visit: Visit, task: Task, known: CaseDetails | None) -> CaseDetails | None:
    if known is not None:
        return known
    try:
        return await visit.client.case(task.event_id, most=_HISTORY, similar=_SIMILAR)
    except UnreachableError:
        raise
    except LabelingError:  # the case can be answered without them; the page says that they are missing
        return None


def _case(layout: CaseLayout, task: Task, details: CaseDetails | None) -> dict[str, object]:
    view = layout.of(task, details, time.time_ns() // 1_000)
    return {
        "event_id": task.event_id,
        "token": task.token,
        "name": view.name,
        "html": rendered("case.html", case=view),
        "usual": _usual(task),
    }


def _usual(task: Task) -> dict[str, object] | None:
    """Where most answers lie, where an answer is a number and that is known."""
    if task.number is None or task.number.usual is None:
        return None
    low, high = task.number.usual
    return {"low": low, "high": high, "text": task.number.usually}


async def _figures(visit: Visit) -> dict[str, int | str] | None:
    """How far the person is; None where the service knows nothing of them yet."""
    try:
        progress = await visit.client.progress()
    except RefusedError as refusal:
        if refusal.reason is not Reason.UNKNOWN_ANNOTATOR:
            raise
        return None
    return _told(progress)


def _told(progress: Progress) -> dict[str, int | str]:
    return {
        "today": progress.answered_today,
        "skipped": progress.skipped_today,
        "quota": progress.quota,
        "waiting": progress.waiting,
        "median_ms": progress.median_answer_ms,
        "agreement": progress.agreed,
    }

"""What every page of a pipeline begins with: which pipeline, who asks, and whether they may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.rendering import page
from console.security.access import TITLES, may, menu
from console.security.requests import CSRF_HEADER, RejectedError, check_csrf, check_origin
from console.security.sessions import Session, Sessions
from console.site import Site
from labeling_grpc.client import AsyncLabelingClient, CaseRecord
from labeling_grpc.client.administration import Annotator

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of somebody who is signed in. name: of the page, as in `console.security.access`."""

    request: Request
    site: Site
    session: Session
    name: str

    @property
    def client(self) -> AsyncLabelingClient:
        """The labeling service, asked as this person."""
        return self.site.connections.of(self.session)

    def page(self, template: str, current: str, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401
        """A page with the pipeline's head and menu. current: name of the page in the menu."""
        return page(template, status, **frame(self.site, self.session, current), **values)


def frame(site: Site, session: Session | None, current: str = "") -> dict[str, Any]:
    """What the frame of every page is made of."""
    role = "" if session is None else session.role
    return {
        "site": site,
        "base": f"/p/{site.name}",
        "session": session,
        "menu": [(name, TITLES[name]) for name in menu(role)],
        "current": current,
    }


async def verified(visit: Visit) -> str:
    """The role that the service says the person has now: before what the console itself reads of Kafka is shown.

    Raises:
        RefusedError: the token is no longer valid.
        RejectedError: the role is another by now, and does not see the page.
        UnreachableError: the service does not answer.

    """
    caller = await visit.client.caller()
    role = caller.role
    if not may(role, visit.name):
        raise RejectedError(403, f"this page is not for the role {role}")
    return role


def needed(why: str) -> str:
    """A reason that was given.

    Raises:
        RejectedError: none was.

    """
    if not why:
        raise RejectedError(400, "say why: whoever is concerned reads it")
    return why


async def first_cases(visit: Visit, most: int, **asked: Any) -> list[CaseRecord]:  # noqa: ANN401 as `cases` takes it
    """The first cases that the service lists.

    Args:
        visit: whose page they are for.
        most: how many at most.
        asked: as `AsyncLabelingClient.cases` takes it.

    Returns:
        Them.

    Raises:
        RefusedError: the role may not list cases, or not look for these.
        UnreachableError: the service does not answer.

    """
    records: list[CaseRecord] = []
    async for record in visit.client.cases(page=most, **asked):
        records.append(record)
        if len(records) >= most:
            break
    return records


async def first_people(visit: Visit, most: int) -> list[Annotator]:
    """The first annotators that the service lists.

    Args:
        visit: whose page they are for.
        most: how many at most.

    Returns:
        Them.

    Raises:
        RefusedError: the role may not list them.
        UnreachableError: the service does not answer.

    """
    people: list[Annotator] = []
    async with visit.site.connections.administration(visit.session) as admin:
        async for person in admin.annotators():
            people.append(person)
            if len(people) >= most:
                break
    return people


async def attended(request: Request, call: Coroutine[Any, Any, T]) -> T:
    """What a call that may take long comes to; it is cancelled when nobody is there any more to be told.

    Args:
        request: that it is made for, whose body was read.
        call: to the labeling service.

    Returns:
        Its result.

    Raises:
        RejectedError: the page has closed, or the console is asked to stop.

    """
    stopping: asyncio.Event = request.app.state.stopping
    task = asyncio.ensure_future(call)
    ends = [asyncio.ensure_future(_closed(request)), asyncio.ensure_future(stopping.wait())]
    try:
        await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return await task
        raise RejectedError(503, "the console is stopping: this page looks again by itself", "AWAY")
    finally:
        for each in (task, *ends):
            each.cancel()
        await asyncio.gather(task, *ends, return_exceptions=True)


async def _closed(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


Endpoint = Callable[[Visit], Awaitable[Response]]


def site_of(request: Request) -> Site:
    """The pipeline of a request's path.

    Raises:
        RejectedError: there is none of this name here.

    """
    site: Site | None = request.app.state.sites.get(request.path_params.get("pipeline", ""))
    if site is None:
        raise RejectedError(404, "there is no such page here")
    return site


def sessions_of(request: Request) -> Sessions:
    """The cookies."""
    sessions: Sessions = request.app.state.sessions
    return sessions


def visited(name: str, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """A page for those whose role sees it; others are led to sign in, or told.

    Args:
        name: of the page, a row of `console.security.access`.
        endpoint: answers.

    Returns:
        For Starlette. What changes something must come from a page of ours and bring the session's CSRF token.

    """

    async def answer(request: Request) -> Response:
        site = site_of(request)
        changes = request.method not in {"GET", "HEAD"}
        if changes:
            check_origin(request)
        session = sessions_of(request).of(request, site.name)
        if session is None:
            if changes or "application/json" in request.headers.get("accept", ""):
                raise RejectedError(401, "your session has ended: sign in again")
            return RedirectResponse(f"/p/{site.name}/sign-in", 303)
        if changes:
            check_csrf(session, request.headers.get(CSRF_HEADER, ""))
        if not may(session.role, name):
            raise RejectedError(403, f"this page is not for the role {session.role}")
        return await endpoint(Visit(request, site, session, name))

    return answer

"""Pages of what went wrong: what it was and what to do, and never how the program is made."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from console.api.problems import STATUS, is_call, problem, problem_of
from console.pages.common import sessions_of
from console.rendering import page
from console.security.requests import RejectedError
from labeling_grpc.client import Reason, RefusedError, UnreachableError
from tidemark.errors import LabelingError, TidemarkError

log = logging.getLogger(__name__)

_TITLES: Final = {
    400: "This request can't be read",
    401: "Your session has ended",
    403: "Not for you",
    404: "There is no such page",
    405: "There is no such page",
    413: "Too large",
    503: "The labeling service is away",
}
_STATUS: Final = STATUS | {Reason.TOO_MANY_CALLS: 503, Reason.UNKNOWN_PIPELINE: 409}
"""HTTP status of a refusal, as a program is told it. But to a person a service that has too much to do is away, and one
that has another pipeline than the console is a conflict."""


async def rejected(request: Request, error: Exception) -> Response:
    """A request that was not taken."""
    status, reason = (error.status, error.reason) if isinstance(error, RejectedError) else (400, "")
    return _told(request, status, str(error), reason)


async def refused(request: Request, error: Exception) -> Response:
    """A refusal of the labeling service."""
    if not isinstance(error, RefusedError):
        raise error
    if is_call(request):
        return problem_of(error)
    if error.reason is Reason.UNAUTHENTICATED and not _scripted(request):
        pipeline = request.path_params.get("pipeline", "")
        response = RedirectResponse(f"/p/{pipeline}/sign-in", 303)
        sessions_of(request).take(response, pipeline)
        return response
    return _told(request, _STATUS.get(error.reason, 409), str(error), error.reason.value)


async def unreachable(request: Request, _error: Exception) -> Response:
    """The labeling service does not answer."""
    return _told(request, 503, "The labeling service does not answer. This page works again when it does.", "AWAY")


async def failed(request: Request, error: Exception) -> Response:
    """Another expected error: its sentence is for people. Where the labeling service failed, it has refused nothing."""
    return _told(request, 503 if isinstance(error, LabelingError) else 409, str(error), "")


async def unknown(request: Request, error: Exception) -> Response:
    """What Starlette refuses: no such page, no such method."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    response = _told(request, status, "Look at the address, or begin at the first page.", "")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["allow"] = ", ".join(sorted(set(_methods(request.app.routes, request.scope["path"]))))
    return response


def _methods(routes: Iterable[BaseRoute], path: str) -> Iterator[str]:
    """Methods that an address has, of all routes that lead there."""
    for route in routes:
        if isinstance(route, Mount) and path.startswith(route.path):
            yield from _methods(route.routes, path.removeprefix(route.path))
        elif isinstance(route, Route) and route.path_regex.match(path):
            yield from route.methods or ()


async def broken(request: Request, error: Exception) -> Response:
    """A bug: told by its kind in the log, and to the person without its words."""
    log.error("a page failed: %s at %s", type(error).__name__, request.url.path, exc_info=error)
    return _told(request, 500, "The console failed to make this page. Its log says where.", "")


def _scripted(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def _told(request: Request, status: int, text: str, reason: str) -> Response:
    if is_call(request):
        return problem(status, text, reason)
    if _scripted(request):
        return JSONResponse({"error": {"status": status, "reason": reason, "text": text}}, status)
    title = _TITLES.get(status, HTTPStatus(status).phrase)
    return page("problem.html", status, title=title, text=text, status_code=status)


HANDLERS: Final = {
    RejectedError: rejected,
    RefusedError: refused,
    UnreachableError: unreachable,
    TidemarkError: failed,
    HTTPException: unknown,
    Exception: broken,
}

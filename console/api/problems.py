"""Errors for programs: application/problem+json (RFC 9457)."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse

from labeling_grpc.client import Reason, RefusedError

PREFIX: Final = "/api/"
STATUS: Final = {
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.UNKNOWN_PIPELINE: 404,
    Reason.UNKNOWN_CASE: 404,
    Reason.UNKNOWN_ANNOTATION: 404,
    Reason.UNKNOWN_ANNOTATOR: 404,
    Reason.INVALID_FIELD: 400,
    Reason.UNKNOWN_CLASS: 400,
    Reason.KEY_REUSED: 400,
    Reason.TOO_MANY_CALLS: 429,
    Reason.STOPPING: 503,
    Reason.STORE_UNAVAILABLE: 503,
}
"""Of a refusal; of others it is 409: what was asked does not fit the state that the case or the queue is in."""
_AWAY_SECONDS: Final = 1.0


def is_call(request: Request) -> bool:
    """Whether a request is a program's."""
    return request.url.path.startswith(PREFIX)


def problem(
    status: int, text: str, reason: str = "", *, field: str = "", event_id: str = "", retry_after: float = 0.0
) -> JSONResponse:
    """What went wrong.

    Args:
        status: of HTTP.
        text: for the person who reads the program's log.
        reason: for the program, one of the contract's `ErrorReason`; "" where there is none.
        field: of the request, that is at fault.
        event_id: the case that it is about.
        retry_after: seconds after which the same call may pass.

    Returns:
        The response.

    """
    members: dict[str, object] = {
        "type": f"urn:tidemark:problem:{reason}" if reason else "about:blank",
        "title": reason.replace("_", " ").capitalize() if reason else HTTPStatus(status).phrase,
        "status": status,
        "detail": text,
    }
    members |= {name: value for name, value in (("reason", reason), ("field", field), ("event_id", event_id)) if value}
    headers = {"www-authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    wait = retry_after or (_AWAY_SECONDS if status == HTTPStatus.SERVICE_UNAVAILABLE else 0.0)
    if wait:
        headers["retry-after"] = str(math.ceil(wait))
    return JSONResponse(members, status, headers, "application/problem+json")


def problem_of(refusal: RefusedError) -> JSONResponse:
    """A refusal of the labeling service."""
    return problem(
        STATUS.get(refusal.reason, 409),
        str(refusal),
        refusal.reason.value,
        field=refusal.field,
        event_id=refusal.event_id,
        retry_after=refusal.retry_after,
    )

"""Requests that change something come from our own pages, and are of bounded size."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.requests import ClientDisconnect, Request

from console.security.sessions import Session, brought_back

MOST_BYTES: Final = 64 * 1024
CSRF_HEADER: Final = "x-csrf-token"
EARLIER_SIGN_IN: Final = "EARLIER_SIGN_IN"
"""Reason of a refusal: the page's session is over, and what it brought may be brought again by the page loaded anew."""
_SITES: Final = {"same-origin", "none"}


class RejectedError(Exception):
    """A request is not taken. status: of HTTP.  reason: for our scripts, where they do more than show the text.

    The text is for the person.
    """

    def __init__(self, status: int, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason


def is_foreign(request: Request, origin: str) -> bool:
    """Whether an origin is another than ours, or none at all."""
    try:
        return urlsplit(origin).netloc != request.headers.get("host", "")
    except ValueError:
        return True


def check_origin(request: Request) -> None:
    """Refuse what another site's page sends.

    Raises:
        RejectedError: the browser says that it does, or does not say where it comes from.

    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site not in _SITES:
        raise RejectedError(403, "this request came from another site's page")
    if origin is not None and is_foreign(request, origin):
        raise RejectedError(403, "this request came from another site's page")
    if site is None and origin is None:
        raise RejectedError(403, "this request does not say which page it comes from")


def check_csrf(session: Session, given: str) -> None:
    """Refuse what does not bring the session's secret back.

    Raises:
        RejectedError: it does not.

    """
    if not brought_back(session, given):
        raise RejectedError(403, "this page is of an earlier sign-in: load it again", EARLIER_SIGN_IN)


def media_type(request: Request) -> str:
    """What a request says that its body is, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body(request: Request, most: int = MOST_BYTES) -> bytes:
    """The body of a request, of at most so many bytes.

    Raises:
        RejectedError: it is too large, or breaks off.

    """
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise RejectedError(413, f"a request has at most {most:,} bytes")
            parts.append(part)
    except ClientDisconnect as error:
        raise RejectedError(400, "the request broke off") from error
    return b"".join(parts)


async def fields_of(request: Request, most: int = 50) -> list[tuple[str, str]]:
    """Fields of a form, in its order, those that come more than once too. most: of them.

    Raises:
        RejectedError: it is no form.

    """
    if media_type(request) != "application/x-www-form-urlencoded":
        raise RejectedError(415, "a form is sent as application/x-www-form-urlencoded")
    try:
        return parse_qsl((await body(request)).decode(), keep_blank_values=True, max_num_fields=most)
    except ValueError as error:
        raise RejectedError(400, "the form can't be read") from error


async def form(request: Request) -> dict[str, str]:
    """Fields of a form, the last of each name.

    Raises:
        RejectedError: it is no form.

    """
    return dict(await fields_of(request))


async def said(request: Request, kind: type[Any]) -> Any:  # noqa: ANN401 of the kind that is asked for
    """What a script of ours says, as JSON.

    Args:
        request: that brings it.
        kind: a msgspec structure.

    Returns:
        One of the kind.

    Raises:
        RejectedError: it is none.

    """
    if media_type(request) != "application/json":
        raise RejectedError(415, "write JSON")
    try:
        return msgspec.json.decode(await body(request), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RejectedError(400, f"the request can't be read: {error}") from error

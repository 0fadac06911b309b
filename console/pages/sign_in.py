"""Signing in: by access token, or, where the service asks for none and only this machine reaches it, by name.

By an identity provider: `console.pages.provider`.
"""

from __future__ import annotations

import getpass
from contextlib import suppress
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from console.pages.common import frame, sessions_of, site_of
from console.rendering import page
from console.security.access import menu
from console.security.requests import RejectedError, check_csrf, check_origin, form
from console.security.sessions import begun
from console.site import Site
from labeling_grpc.client import Reason, RefusedError, UnreachableError
from tidemark.errors import LabelingError

_NAME: Final = 128
_TOKEN: Final = 512


async def asks_for_tokens(site: Site) -> bool:
    """Whether the labeling service wants an access token.

    Raises:
        UnreachableError: it does not answer.

    """
    try:
        return (await site.connections.client("tidemark-console", "").caller()).known
    except RefusedError as refusal:
        if refusal.reason is not Reason.UNAUTHENTICATED:
            raise
        return True


async def show(request: Request) -> Response:
    """The form."""
    site = site_of(request)
    session = sessions_of(request).of(request, site.name)
    if session is not None:
        return RedirectResponse(first_page(site, session.role), 303)
    return await form_page(request, site, "", 200)


async def sign_in(request: Request) -> Response:
    """Take the form: the service says who the token is of."""
    site = site_of(request)
    check_origin(request)
    fields = await form(request)
    if await asks_for_tokens(site):
        token = fields.get("token", "").strip()
        if not token or len(token) > _TOKEN or not (token.isascii() and token.isprintable()):
            return await form_page(request, site, "Paste the access token that you were given.", 400)
        try:
            async with site.connections.introduced("", token) as (_, caller):
                session = begun(caller.name, caller.role, token)
        except RefusedError as refusal:
            if refusal.reason is not Reason.UNAUTHENTICATED:
                raise
            return await form_page(request, site, "This token is unknown, has expired, or was revoked.", 403)
    else:
        if not request.app.state.options.local:
            raise RejectedError(403, "without access tokens the console signs in on this machine alone")
        name = fields.get("name", "").strip()
        if not name or len(name) > _NAME or not name.isprintable():
            return await form_page(request, site, f"Write your name, in at most {_NAME} characters.", 400)
        session = begun(name, "admin", "")
    if not menu(session.role):
        return await form_page(request, site, f"The role {session.role} has no pages here.", 403)
    response = RedirectResponse(first_page(site, session.role), 303)
    sessions_of(request).give(response, site.name, session)
    return response


async def sign_out(request: Request) -> Response:
    """Forget the cookie, and end the token of who came by the identity provider: nobody else has it."""
    site = site_of(request)
    check_origin(request)
    sessions = sessions_of(request)
    session = sessions.of(request, site.name)
    after = "sign-in"
    if session is not None:
        check_csrf(session, (await form(request)).get("csrf", ""))
        if session.by_provider:
            with suppress(LabelingError):  # away, or ended before: without its cookie the token is in nobody's hands
                await site.connections.of(session).end_session()
            after = "signed-out" if request.app.state.provider is not None else after
    response = RedirectResponse(f"/p/{site.name}/{after}", 303)
    sessions.take(response, site.name)
    return response


async def start(request: Request) -> Response:
    """The pipeline's first page."""
    site = site_of(request)
    session = sessions_of(request).of(request, site.name)
    return RedirectResponse(f"/p/{site.name}/sign-in" if session is None else first_page(site, session.role), 303)


async def home(request: Request) -> Response:
    """The pipelines, or the only one's first page."""
    sites = request.app.state.sites
    if len(sites) == 1:
        return RedirectResponse(f"/p/{next(iter(sites))}/", 303)
    return page("home.html", sites=sites.values())


def first_page(site: Site, role: str) -> str:
    """Where a role begins."""
    return f"/p/{site.name}/{menu(role)[0]}"


async def form_page(request: Request, site: Site, problem: str, status: int) -> Response:
    """The form, with what was wrong, "" for nothing."""
    try:
        tokens = await asks_for_tokens(site)
        away = ""
    except (UnreachableError, LabelingError) as error:
        tokens, away = True, str(error)
        status = 503
    provider = request.app.state.provider
    by_name = not tokens and request.app.state.options.local
    return page(
        "sign_in.html",
        status,
        **frame(site, None),
        problem=problem,
        away=away,
        by_name=by_name,
        provider=provider.title if provider is not None and tokens else "",
        name=_own_name() if by_name else "",
    )


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""

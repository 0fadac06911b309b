"""Signing in and out by the identity provider: a browser sent there, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from console.pages.common import frame, sessions_of, site_of
from console.pages.sign_in import asks_for_tokens, form_page
from console.rendering import page
from console.security.access import menu
from console.security.attempts import Attempts, SignInError, attempt
from console.security.requests import RejectedError
from console.security.sessions import begun
from console.site import Site
from labeling_grpc.client import Reason, RefusedError

if TYPE_CHECKING:
    from console.security.provider import ProviderClient


def provider_of(request: Request) -> ProviderClient:
    """The provider.

    Raises:
        RejectedError: none is set.

    """
    provider: ProviderClient | None = request.app.state.provider
    if provider is None:
        raise RejectedError(404, "nobody signs in here by an identity provider")
    return provider


async def begin(request: Request) -> Response:
    """Send a browser to the provider; from the address that the provider sends it back to, for cookies are of one."""
    site, provider = site_of(request), provider_of(request)
    if not request.app.state.options.public and request.headers.get("host", "") != provider.public.partition("//")[2]:
        return RedirectResponse(f"{provider.public}/p/{site.name}/sign-in/provider", 303)
    if not await asks_for_tokens(site):
        raise RejectedError(409, "the labeling service asks for no tokens, so nobody needs to sign in by a provider")
    started = attempt(site.name)
    try:
        response = RedirectResponse(await provider.address(started), 303)
    except SignInError as problem:
        return await form_page(request, site, str(problem), 503)
    _attempts(request).give(response, started)
    return response


async def callback(request: Request) -> Response:
    """Take a browser back. The cookie of the session is strict: a page of ours leads on, and the browser sends it."""
    attempts, started = _attempts(request), _attempts(request).take(request)
    if started is None or started.pipeline not in request.app.state.sites:
        response: Response = page(
            "problem.html",
            400,
            title="Sign in again",
            text="This sign-in was not begun in this browser, was ended before, or took longer than 10 minutes.",
            status_code=400,
        )
    else:
        site = request.app.state.sites[started.pipeline]
        try:
            id_token = await provider_of(request).id_token(started, request.query_params)
            response = await _signed_in(request, site, id_token, started.nonce)
        except SignInError as problem:
            response = await form_page(request, site, str(problem), 403)
    attempts.forget(response)
    return response


async def _signed_in(request: Request, site: Site, id_token: str, nonce: str) -> Response:
    try:
        given = await site.connections.exchange(id_token, nonce)
    except RefusedError as refusal:
        if refusal.reason is Reason.UNAUTHENTICATED:
            raise SignInError(f"{_sentence(refusal)} Sign in again, or tell the operator.") from refusal
        if refusal.reason in {Reason.FORBIDDEN, Reason.PROVIDER_UNAVAILABLE, Reason.TOO_MANY_CALLS}:
            raise SignInError(_sentence(refusal)) from refusal
        raise
    pages = menu(given.caller.role)
    if not pages:
        raise SignInError(f"The role {given.caller.role} has no pages here.")
    session = begun(given.caller.name, given.caller.role, given.token, by_provider=True)
    response = page("signed_in.html", site=site, base=f"/p/{site.name}", name=session.name, first=pages[0])
    sessions_of(request).give(response, site.name, session)
    return response


def _sentence(refusal: RefusedError) -> str:
    text = str(refusal)
    return f"{text[:1].upper()}{text[1:]}."


async def signed_out(request: Request) -> Response:
    """Say that somebody is signed out here, and where they sign out of the provider too."""
    site, provider = site_of(request), provider_of(request)
    elsewhere = bool(await provider.end_session())
    return page("signed_out.html", **frame(site, None), title=provider.title, elsewhere=elsewhere)


async def signed_out_there(request: Request) -> Response:
    """Send a browser to where the provider signs people out."""
    site, provider = site_of(request), provider_of(request)
    return RedirectResponse(await provider.end_session() or f"/p/{site.name}/signed-out", 303)


def _attempts(request: Request) -> Attempts:
    attempts: Attempts = request.app.state.attempts
    return attempts

"""The console's pages, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from console.api import calls
from console.options import Options
from console.pages import label, letters, loop, models, provider, repairs, review, sign_in, why, work
from console.pages.common import visited
from console.pages.problems import HANDLERS
from console.rendering import STATIC, static_version
from console.security.attempts import Attempts
from console.security.headers import SecurityHeaders
from console.security.sessions import Sessions
from console.site import Site
from labeling_grpc.security.oidc.settings import CALLBACK, lacking

if TYPE_CHECKING:
    from console.security.provider import ProviderClient

_FOR_EVER: Final = "public, max-age=31536000, immutable"


class _Static(StaticFiles):
    """Static files under an address that changes with them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, kept by browsers for ever."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = _FOR_EVER
        return response


def routes() -> list[BaseRoute]:
    """Every address of the console."""
    return [
        Route("/", sign_in.home),
        Route("/p/{pipeline}", sign_in.start),
        Route("/p/{pipeline}/", sign_in.start),
        Route("/p/{pipeline}/sign-in", sign_in.show, methods=["GET"]),
        Route("/p/{pipeline}/sign-in", sign_in.sign_in, methods=["POST"]),
        Route("/p/{pipeline}/sign-out", sign_in.sign_out, methods=["POST"]),
        Route("/p/{pipeline}/sign-in/provider", provider.begin, methods=["GET"]),
        Route("/p/{pipeline}/signed-out", provider.signed_out, methods=["GET"]),
        Route("/p/{pipeline}/signed-out/provider", provider.signed_out_there, methods=["GET"]),
        Route(CALLBACK, provider.callback, methods=["GET"]),
        Route("/p/{pipeline}/label", visited("label", label.show), methods=["GET"]),
        *(
            Route(f"/p/{{pipeline}}/label/{name}", visited("label", endpoint), methods=["POST"])
            for name, endpoint in (
                ("next", label.following),
                ("alike", label.alike),
                ("decide", label.decide),
                ("amend", label.amend),
                ("comment", label.remark),
                ("opinion", label.opinion),
                ("renew", label.renew),
                ("release", label.release),
            )
        ),
        Route("/p/{pipeline}/review", visited("review", review.show), methods=["GET"]),
        Route("/p/{pipeline}/review", visited("review", review.act), methods=["POST"]),
        Route("/p/{pipeline}/review/closed", visited("review", review.closed), methods=["GET"]),
        Route("/p/{pipeline}/review/agreement", visited("review", review.agreement), methods=["GET"]),
        Route("/p/{pipeline}/review/audit", visited("review", review.audit), methods=["GET"]),
        Route("/p/{pipeline}/review/export", visited("review", review.export), methods=["GET"]),
        Route("/p/{pipeline}/work", visited("work", work.show), methods=["GET"]),
        Route("/p/{pipeline}/work", visited("work", work.act), methods=["POST"]),
        Route("/metrics", loop.metrics, methods=["GET"]),
        Route("/p/{pipeline}/loop", visited("loop", loop.show), methods=["GET"]),
        Route("/p/{pipeline}/loop/events", visited("loop", loop.events), methods=["GET"]),
        Route("/p/{pipeline}/loop/series", visited("loop", loop.series), methods=["GET"]),
        Route("/p/{pipeline}/models", visited("models", models.show), methods=["GET"]),
        Route("/p/{pipeline}/models", visited("models", models.act), methods=["POST"]),
        Route("/p/{pipeline}/models/compare", visited("models", models.compare), methods=["GET"]),
        Route("/p/{pipeline}/why", visited("why", why.show), methods=["GET"]),
        Route("/p/{pipeline}/letters", visited("letters", letters.show), methods=["GET"]),
        Route("/p/{pipeline}/letters", visited("letters", letters.act), methods=["POST"]),
        Route("/p/{pipeline}/letters/repair", visited("letters", repairs.repair), methods=["POST"]),
        Route("/p/{pipeline}/letters/kind/{kind}", visited("letters", letters.of_kind), methods=["GET"]),
        Route("/p/{pipeline}/letters/{partition:int}/{offset:int}", visited("letters", letters.one), methods=["GET"]),
        Mount("/api", Router(calls.routes(), redirect_slashes=False)),
        Mount(f"/static/{static_version()}", GZipMiddleware(_Static(directory=STATIC)), name="static"),
    ]


def _provider(options: Options) -> ProviderClient | None:
    """The identity provider, if one is set."""
    if options.sign_in is None:
        return None
    try:
        from console.security.provider import ProviderClient  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise lacking(error) from error
    return ProviderClient(options.sign_in, options.origin)


def create_app(sites: Iterable[Site], options: Options, key: bytes) -> Starlette:
    """The console of some pipelines.

    Args:
        sites: the pipelines.
        options: how it is served.
        key: that cookies are signed with.

    Returns:
        An ASGI application.

    """
    by_name = {site.name: site for site in sites}

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        for site in by_name.values():
            await site.close()

    app = Starlette(
        routes=routes(),
        middleware=[
            Middleware(SecurityHeaders, secure=options.secure),
            Middleware(TrustedHostMiddleware, allowed_hosts=options.allowed_hosts, www_redirect=False),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = (
        False  # it names the scheme that a proxy speaks with us: a call would go on in the clear
    )
    app.state.sites = by_name
    app.state.stopping = asyncio.Event()
    app.state.options = options
    app.state.sessions = Sessions(key, secure=options.secure, port=options.port)
    app.state.attempts = Attempts(key, secure=options.secure, port=options.port)
    app.state.provider = _provider(options)
    return app

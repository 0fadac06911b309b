"""What the identity provider makes of Tidemark as its client, asked without anybody who signs in: `tidemark doctor`."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import msgspec

from labeling_grpc.security.oidc.kept import ProviderError
from labeling_grpc.security.oidc.provider import SECONDS, WELL_KNOWN, Discovery, bounded, settings_of
from labeling_grpc.security.oidc.settings import Provider

_REDIRECTS: Final = {301, 302, 303, 307, 308}
_LONGEST_CODE: Final = 60
_LONGEST_AGE: Final = 10
"""Digits of the seconds for which a cache may have kept an answer."""
_UNTOLD: Final = {401, 403, 405, 406, 429}
"""Answers of whatever stands before the provider, or to who is no browser: of the redirect address they say nothing."""


@dataclass(frozen=True, slots=True)
class Client:
    """Tidemark at the provider. secret: "" where it has none.  redirect: where browsers are sent back to."""

    provider: Provider
    secret: str = field(repr=False)
    redirect: str

    async def refusal(self, discovery: Discovery) -> str:
        """OAuth's word for why the provider takes no code that nobody has: `invalid_grant` where it knows the client.

        Raises:
            ProviderError: it does not answer, or not as it should.

        """
        method, client_id = discovery.method(self.secret), self.provider.client_id
        form = {
            "grant_type": "authorization_code",
            "code": secrets.token_urlsafe(24),
            "redirect_uri": self.redirect,
            "client_id": client_id,
            "code_verifier": secrets.token_urlsafe(48),
        }
        if method == "client_secret_post":
            form["client_secret"] = self.secret
        auth = httpx2.BasicAuth(client_id, self.secret) if method == "client_secret_basic" else None
        url = discovery.token
        async with _asked(self.provider, "POST", url, data=form, auth=auth) as response:
            try:
                told = msgspec.json.decode(await bounded(response), type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ProviderError(f"{url} answers {response.status_code}, and no JSON object") from error
        code = told.get("error")
        if not isinstance(code, str):
            raise ProviderError(f"{url} answers {response.status_code} to a code that nobody has, and names no error")
        return code[:_LONGEST_CODE]

    async def is_sent_back(self, discovery: Discovery) -> bool | None:
        """Whether the provider would send a browser back to where the console waits for it.

        Returns:
            None: that can't be told, for it asks whoever comes to sign in first.

        Raises:
            ProviderError: it does not answer.

        """
        query = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": self.redirect,
            "scope": "openid",
            "state": secrets.token_urlsafe(24),
            "nonce": secrets.token_urlsafe(24),
            "code_challenge": secrets.token_urlsafe(32),
            "code_challenge_method": "S256",
            "prompt": "none",
        }
        joint = "&" if urlsplit(discovery.authorization).query else "?"
        url = f"{discovery.authorization}{joint}{urlencode(query)}"
        async with _asked(self.provider, "GET", url) as response:
            status, location = response.status_code, response.headers.get("location", "")
        if status in _REDIRECTS:
            back = location.partition("?")[0] == self.redirect
            return True if back and parse_qs(urlsplit(location).query).get("state") == [query["state"]] else None
        return False if httpx2.codes.is_client_error(status) and status not in _UNTOLD else None


async def skew(provider: Provider, now: Callable[[], float] = time.time) -> float | None:
    """Seconds by which the provider's clock is ahead of ours, to a second; None: it does not tell the time.

    Raises:
        ProviderError: it does not answer.

    """
    async with _asked(provider, "GET", provider.issuer.rstrip("/") + WELL_KNOWN) as response:
        told, age = response.headers.get("date", ""), response.headers.get("age", "0").strip()
    # The date is that of the answer's making: since then a cache before the provider may have kept it (RFC 9111, 5.1).
    kept = int(age) if age.isascii() and age.isdecimal() and len(age) <= _LONGEST_AGE else 0
    try:
        return parsedate_to_datetime(told).timestamp() + kept - now()
    except (ValueError, OverflowError):
        return None


@asynccontextmanager
async def _asked(provider: Provider, method: str, url: str, **more: Any) -> AsyncIterator[httpx2.Response]:  # noqa: ANN401
    try:
        async with asyncio.timeout(SECONDS), httpx2.AsyncClient(**settings_of(provider)) as http:
            headers = {"accept": "application/json", "accept-encoding": "identity"}
            async with http.stream(method, url, headers=headers, **more) as response:
                yield response
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
        raise ProviderError(f"{url.partition('?')[0]} can't be read ({type(error).__name__})") from error

"""What the identity provider says of itself: its discovery document, and whatever else it serves as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import msgspec

from labeling_grpc.security.oidc.kept import ProviderError
from labeling_grpc.security.oidc.settings import Provider, checked_address
from tidemark.errors import ConfigError

MOST_BYTES: Final = 256 * 1024
"""Of an answer."""

SECONDS: Final = 8.0
"""For an answer, all in all."""

WELL_KNOWN: Final = "/.well-known/openid-configuration"
_MOST_NAMES: Final = 200
_USUAL: Final = "client_secret_basic"


@dataclass(frozen=True, slots=True)
class Discovery:
    """The provider's discovery document, as far as it is used. end_session: "" where it has none.

    scopes, claims, algorithms, methods: that it lists; empty: it lists none.  names_issuer: its answers do, by `iss`.
    """

    authorization: str
    token: str
    jwks: str
    end_session: str = ""
    scopes: frozenset[str] = frozenset()
    claims: frozenset[str] = frozenset()
    algorithms: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    names_issuer: bool = False

    def method(self, secret: str) -> str:
        """How a client with this secret tells who it is, by its name in OAuth."""
        if not secret:
            return "none"
        return _USUAL if not self.methods or _USUAL in self.methods else "client_secret_post"


async def discover(provider: Provider) -> Discovery:
    """Read the discovery document.

    Raises:
        ProviderError: it can't be read, is another issuer's, or names addresses that are not safe.

    """
    document = await answer(provider, provider.issuer.rstrip("/") + WELL_KNOWN)
    issuer = document.get("issuer")
    if issuer != provider.issuer:
        told = repr(issuer[:200]) if isinstance(issuer, str) else "none"
        raise ProviderError(f"its discovery document is of the issuer {told}, not of {provider.issuer!r}")
    return Discovery(
        authorization=_endpoint(provider, document, "authorization_endpoint"),
        token=_endpoint(provider, document, "token_endpoint"),
        jwks=_endpoint(provider, document, "jwks_uri"),
        end_session=_endpoint(provider, document, "end_session_endpoint") if "end_session_endpoint" in document else "",
        scopes=_names(document, "scopes_supported"),
        claims=_names(document, "claims_supported"),
        algorithms=_names(document, "id_token_signing_alg_values_supported"),
        methods=_names(document, "token_endpoint_auth_methods_supported"),
        names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


async def answer(provider: Provider, url: str) -> dict[str, Any]:
    """A JSON object that the provider serves.

    Raises:
        ProviderError: it does not, or leads elsewhere, or serves too much, or takes too long.

    """
    try:
        async with asyncio.timeout(SECONDS), httpx2.AsyncClient(**settings_of(provider)) as http:
            headers = {"accept": "application/json", "accept-encoding": "identity"}
            async with http.stream("GET", url, headers=headers) as response:
                if response.status_code != httpx2.codes.OK:
                    raise ProviderError(f"{url} answers {response.status_code}")
                content = await bounded(response)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
        raise ProviderError(f"{url} can't be read ({type(error).__name__})") from error
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderError(f"{url} is no JSON object") from error


def settings_of(provider: Provider) -> dict[str, Any]:
    """How the provider is reached: by the system's proxy where it is another machine, and never by a redirect."""
    return {
        "verify": provider.trust,
        "timeout": SECONDS,
        "follow_redirects": False,
        "trust_env": not provider.address.is_loopback,
    }


async def bounded(response: httpx2.Response) -> bytes:
    """What a response brings.

    Raises:
        ProviderError: it is more than `MOST_BYTES`, or packed, so that nobody knows how much it is.

    """
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ProviderError("its answer is packed, which nobody asked for")
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MOST_BYTES:
            raise ProviderError(f"its answer has more than {MOST_BYTES // 1024} KiB")
        parts.append(part)
    return b"".join(parts)


def _endpoint(provider: Provider, document: Mapping[str, Any], name: str) -> str:
    text = document.get(name)
    if not isinstance(text, str):
        raise ProviderError(f"its discovery document has no {name}")
    try:
        checked_address(name, text, loopback=provider.address.is_loopback)
    except ConfigError as error:
        raise ProviderError(f"its discovery document: {error}") from error
    return text


def _names(document: Mapping[str, Any], name: str) -> frozenset[str]:
    listed = document.get(name)
    if not isinstance(listed, list):
        return frozenset()
    return frozenset(each for each in listed[:_MOST_NAMES] if isinstance(each, str))

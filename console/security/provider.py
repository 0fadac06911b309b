"""The console as an identity provider's client: authorization code flow with PKCE, by Authlib."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from console.options import SignIn
from console.security.attempts import Attempt, SignInError
from labeling_grpc.security.oidc.kept import Kept, ProviderError
from labeling_grpc.security.oidc.provider import MOST_BYTES, Discovery, discover, settings_of
from labeling_grpc.security.oidc.settings import CALLBACK

_WANTED: Final = ("openid", "profile", "email", "groups")
_LONGEST_CODE: Final = 4_096


class ProviderClient:
    """The console as the provider's client. Lives in one event loop."""

    def __init__(self, settings: SignIn, public: str) -> None:
        """Sign in by a provider.

        Args:
            settings: which, and as what client.
            public: where browsers find the console, without a slash at the end: never what a request says.

        """
        self._settings = settings
        self.title = settings.title
        self.public = public
        provider = settings.provider

        async def read() -> Discovery:
            return await discover(provider)

        self._discovery = Kept(read)

    async def address(self, begun: Attempt) -> str:
        """Where a browser is sent to sign in.

        Raises:
            SignInError: the provider is away.

        """
        discovery = await self._discovered()
        async with self._client(discovery) as client:
            url, _ = client.create_authorization_url(
                discovery.authorization,
                state=begun.state,
                nonce=begun.nonce,
                code_verifier=begun.verifier,
            )
        return str(url)

    async def id_token(self, begun: Attempt, said: Mapping[str, str]) -> str:
        """The ID token of who has signed in.

        Args:
            begun: the attempt that this browser's cookie tells.
            said: parameters with which the provider sent the browser back.

        Raises:
            SignInError: they are another attempt's or another provider's, or the provider refuses.

        """
        if not hmac.compare_digest(begun.state.encode(), said.get("state", "").encode()):
            raise SignInError("This answer belongs to another sign-in than the one begun last in this browser.")
        discovery = await self._discovered()
        issuer = said.get("iss")
        if issuer != self._settings.provider.issuer and (issuer is not None or discovery.names_issuer):
            raise SignInError("This answer is not of the identity provider that you were sent to. Tell the operator.")
        if "error" in said:
            raise SignInError(_refusal(said["error"], self.title))
        code = said.get("code", "")
        if not 0 < len(code) <= _LONGEST_CODE:
            raise SignInError(f"{self.title} sent no code along.")
        try:
            async with self._client(discovery) as client:
                answer = await client.fetch_token(
                    discovery.token, grant_type="authorization_code", code=code, code_verifier=begun.verifier
                )
        except OAuthError as error:
            raise SignInError(_refusal(str(error.error), self.title)) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ProviderError, ValueError, OSError, RecursionError) as error:
            raise SignInError(f"{self.title} did not answer as it should. Try again in a moment.") from error
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise SignInError(f"{self.title} gave no ID token: the operator must allow the scope openid.")
        return token

    async def end_session(self) -> str:
        """Where a person signs out of the provider, "" where it has no such page or is away."""
        try:
            page = (await self._discovered()).end_session
        except SignInError:
            return ""
        query = urlencode({"client_id": self._settings.provider.client_id})
        return page and f"{page}{'&' if '?' in page else '?'}{query}"

    async def _discovered(self) -> Discovery:
        try:
            return await self._discovery.get()
        except ProviderError as error:
            raise SignInError(
                f"{self.title} can't be reached, so nobody can be signed in by it. Try again in a moment."
            ) from error

    def _client(self, discovery: Discovery) -> Any:  # noqa: ANN401 - Authlib's, without types
        settings = self._settings
        scopes = settings.scopes or [each for each in _WANTED if each == "openid" or each in discovery.scopes]
        return AsyncOAuth2Client(
            settings.provider.client_id,
            settings.secret or None,
            token_endpoint_auth_method=discovery.method(settings.secret),
            scope=" ".join(scopes),
            redirect_uri=self.public + CALLBACK,
            code_challenge_method="S256",
            headers={"accept-encoding": "identity"},
            event_hooks={"response": [_bounded]},
            **settings_of(settings.provider),
        )


class _Bounded(httpx2.AsyncByteStream):
    """What a response brings, up to so many bytes."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > MOST_BYTES:
                raise ProviderError(f"its answer has more than {MOST_BYTES // 1024} KiB")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bounded(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ProviderError("its answer is packed, which nobody asked for")
    if response.is_redirect:
        raise ProviderError("it leads elsewhere")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


def _refusal(error: str, title: str) -> str:
    """What a person reads of an error of OAuth's: our words for those that are known, the code of others."""
    known = {
        "access_denied": f"{title} did not let you in, or you went back. Try again, or ask its administrator.",
        "invalid_grant": "The sign-in took too long, or its code was used before. Try again.",
        "invalid_client": f"{title} does not take Tidemark's client id and secret. Tell the operator.",
        "unauthorized_client": f"{title} does not take Tidemark as a client. Tell the operator.",
        "invalid_scope": f"{title} does not know what Tidemark asks for. Tell the operator: TIDEMARK_OIDC_SCOPES.",
        "temporarily_unavailable": f"{title} is busy. Try again in a moment.",
        "server_error": f"{title} has failed. Try again in a moment.",
    }
    return known.get(error, f"{title} refuses the sign-in ({error[:60]}). Tell the operator.")

"""Sign-ins by the identity provider that are under way: each in a signed cookie, for ten minutes, ended once."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field
from typing import Final

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from labeling_grpc.security.oidc.settings import CALLBACK

SECONDS: Final = 600
"""That a sign-in may take at the provider."""

_LONGEST: Final = 2_000


class SignInError(Exception):
    """A sign-in did not come to its end; tells a person why, in a sentence or two."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in under way. state: that comes back.  nonce: of the ID token.  verifier: of PKCE's challenge."""

    pipeline: str
    state: str
    nonce: str
    verifier: str = field(repr=False)


def attempt(pipeline: str) -> Attempt:
    """A new one, of which nobody can know anything."""
    nonce = f"{pipeline}.{secrets.token_urlsafe(24)}"
    return Attempt(pipeline, secrets.token_urlsafe(24), nonce, secrets.token_urlsafe(48))


class Attempts:
    """Reads and writes the cookie. It is sent along when the provider sends the browser back, to that address alone."""

    def __init__(self, key: bytes, *, secure: bool, port: int = 0) -> None:
        self._signer = URLSafeTimedSerializer(key, salt="tidemark-console-sign-in")
        self._secure = secure
        self.cookie = f"{'__Secure-' if secure else ''}tidemark-sign-in-{port}"

    def give(self, response: Response, begun: Attempt) -> None:
        """Remember a sign-in; one that was begun before in this browser can't be ended any more."""
        response.set_cookie(
            self.cookie,
            self._signer.dumps(asdict(begun)),
            max_age=SECONDS,
            path=CALLBACK,
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )

    def take(self, request: Request) -> Attempt | None:
        """The sign-in that this browser has begun; None: none, or too long ago."""
        value = request.cookies.get(self.cookie, "")
        if not value or len(value) > _LONGEST:
            return None
        try:
            return Attempt(**self._signer.loads(value, max_age=SECONDS))
        except (BadData, TypeError):
            return None

    def forget(self, response: Response) -> None:
        """Take the cookie away: a sign-in is ended once."""
        response.delete_cookie(self.cookie, path=CALLBACK, secure=self._secure, httponly=True, samesite="lax")

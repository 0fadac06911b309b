"""The signed-in person, in a signed cookie: the console itself remembers nobody."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from tidemark.runtime.private_files import private_file, private_folder

SHIFT: Final = 12 * 3_600
"""Seconds after which a person signs in again."""
_KEY_BYTES: Final = 32
_LONGEST: Final = 3_500
"""Characters of a cookie's value; browsers drop cookies of more than 4 kB."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in to one pipeline.

    name: of the annotator.  role: as the service said at the sign-in; the service rules, and pages that read Kafka ask
    it again.  token: access token, "" where the service has none.  csrf: what a form must bring back.
    by_provider: the person came by the identity provider.
    """

    name: str
    role: str
    token: str
    csrf: str
    by_provider: bool = False


def begun(name: str, role: str, token: str, *, by_provider: bool = False) -> Session:
    """A new session, whose secret nobody could know before."""
    return Session(name, role, token, secrets.token_urlsafe(24), by_provider)


def signing_key(folder: Path) -> bytes:
    """The key that cookies are signed with, made at the first start; people stay signed in over a restart.

    Args:
        folder: of the installation's state.

    Returns:
        32 bytes or more.

    """
    path = private_file(private_folder(folder) / "console.key")
    with path.open("r+b") as file:
        key = file.read()
        if len(key) < _KEY_BYTES:
            key = secrets.token_bytes(_KEY_BYTES)
            file.seek(0)
            file.truncate()
            file.write(key)
    return key


class Sessions:
    """Reads and writes the cookie."""

    def __init__(self, key: bytes, *, secure: bool, port: int = 0) -> None:
        """Cookies signed with `key`.

        Args:
            key: the installation's.
            secure: pages are served over TLS.
            port: of the console. Browsers do not keep cookies of two ports apart.

        """
        self._signer = URLSafeTimedSerializer(key, salt="tidemark-console-session")
        self._secure = secure
        self.cookie = f"{'__Secure-' if secure else ''}tidemark-{port}"

    def of(self, request: Request, pipeline: str) -> Session | None:
        """Who asks, None: nobody that we signed, or too long ago."""
        value = request.cookies.get(self.cookie, "")
        if not value or len(value) > _LONGEST:
            return None
        try:
            told = self._signer.loads(value, max_age=SHIFT)
        except BadData:
            return None
        if not isinstance(told, dict) or told.pop("pipeline", None) != pipeline:
            return None
        try:
            return Session(**told)
        except TypeError:  # of another version
            return None

    def give(self, response: Response, pipeline: str, session: Session) -> None:
        """Sign in: whatever cookie the browser had before is replaced."""
        response.set_cookie(
            self.cookie,
            self._signer.dumps({**asdict(session), "pipeline": pipeline}),
            max_age=SHIFT,
            path=f"/p/{pipeline}",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )

    def take(self, response: Response, pipeline: str) -> None:
        """Sign out."""
        response.delete_cookie(
            self.cookie, path=f"/p/{pipeline}", secure=self._secure, httponly=True, samesite="strict"
        )


def brought_back(session: Session, given: str) -> bool:
    """Whether a request brings the session's CSRF token."""
    return hmac.compare_digest(session.csrf.encode(), given.encode())

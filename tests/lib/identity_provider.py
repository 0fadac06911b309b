"""A stand-in for an identity provider, for what a real one never does: `from identity_provider import providing`.

It speaks OpenID Connect over HTTP with real signatures, signs whoever a test names in without asking, and answers as a
test says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey
from receiving import Answer, Receiver, Request, receiving

from labeling_grpc.security.oidc.settings import Provider, SignInRules
from labeling_grpc.security.roles import Role

CLIENT = "tidemark"
SECRET = "s3cret of the client"  # noqa: S105 - the stand-in's
ROLES = (
    (Role.ADMIN, "tidemark-admins"),
    (Role.REVIEWER, "fraud-leads"),
    (Role.ANNOTATOR, "fraud-analysts"),
    (Role.VIEWER, "auditors"),
)
Key = RSAKey | ECKey | OKPKey | OctKey
_RSA = RSAKey.generate_key(2_048, {"kid": "rsa", "use": "sig", "alg": "RS256"})


def keys() -> dict[str, Key]:
    """A key of each kind."""
    return {
        "rsa": _RSA,
        "ec": ECKey.generate_key("P-256", {"kid": "ec", "use": "sig"}),
        "ed": OKPKey.generate_key("Ed25519", {"kid": "ed", "use": "sig"}),
    }


@lru_cache(maxsize=64)
def _imported(kind: type[Key], described: str) -> Key:
    """A key for one algorithm. To import one takes ten times as long as to sign with it."""
    return kind.import_key(json.loads(described))


def segment(content: object) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@dataclass
class IdentityProvider:
    """The stand-in. said: answers to paths that a test gives in the place of its own.

    person: claims of whoever signs in next.  claims: that every token has besides.  asked: requests of each path.
    document: entries of the discovery document, in the place of its own; None takes one out.
    """

    receiver: Receiver
    keys: dict[str, Key] = field(default_factory=keys)
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "groups": ["fraud-analysts"]})
    claims: dict[str, Any] = field(default_factory=dict)
    said: dict[str, Answer] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key: str = "rsa"
    refusal: str = ""
    """`error` with which it sends people back."""

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.receiver.port}"

    @property
    def provider(self) -> Provider:
        return Provider(self.issuer, CLIENT)

    def rules(self, **values: Any) -> SignInRules:  # noqa: ANN401 - any of the rules' own
        return SignInRules(self.provider, ROLES, **values)

    def token(self, nonce: str, /, *, key: str = "", headers: dict[str, Any] | None = None, **claims: Any) -> str:  # noqa: ANN401
        """An ID token of `person`; a claim that is None is left out."""
        now = int(time.time())
        told = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce}
        told |= self.person | self.claims | claims
        name = key or self.key
        algorithm = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}.get(name, "RS256")
        header = {"alg": algorithm, "kid": name} | (headers or {})
        header = {each: value for each, value in header.items() if value is not None}
        content = {each: value for each, value in told.items() if value is not None}
        signing = self.keys[name]
        unbound = _imported(type(signing), json.dumps({**signing.as_dict(private=True), "alg": header["alg"]}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of the older name of Ed25519, which providers use
            return jwt.encode(header, content, unbound, algorithms=[header["alg"]])

    def answer(self, request: Request) -> Answer:
        """What it says."""
        parts = urlsplit(request.path)
        self.asked[parts.path] += 1
        if parts.path in self.said:
            return self.said[parts.path]
        pages: dict[str, Callable[[Request], Answer]] = {
            "/.well-known/openid-configuration": lambda _: _json(self._discovery()),
            "/keys": lambda _: _json(KeySet(list(self.keys.values())).as_dict(private=False)),
            "/authorize": self._authorized,
            "/token": self._exchanged,
            "/logout": lambda _: (200, {"content-type": "text/html"}, b"<!doctype html><h1>Signed out</h1>"),
        }
        page = pages.get(parts.path)
        return (404, {}, b"") if page is None else page(request)

    def _discovery(self) -> dict[str, Any]:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/logout",
            "scopes_supported": ["openid", "profile", "groups"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "authorization_response_iss_parameter_supported": True,
        } | self.document
        return {name: value for name, value in document.items() if value is not None}

    def _authorized(self, request: Request) -> Answer:
        """Sent back at once, with a code."""
        query = {name: values[-1] for name, values in parse_qs(urlsplit(request.path).query).items()}
        told = {"state": query["state"], "iss": self.issuer}
        if self.refusal:
            told["error"] = self.refusal
        else:
            told["code"] = secrets.token_urlsafe(16)
            self.codes[told["code"]] = query
        return 302, {"location": f"{query['redirect_uri']}?{urlencode(told)}"}, b""

    def _exchanged(self, request: Request) -> Answer:
        """An ID token for a code, once, to the client that has the verifier of its challenge."""
        form = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
        asked = self.codes.pop(form.get("code", ""), None)
        client = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        if client != f"{CLIENT}:{SECRET}":
            return _json({"error": "invalid_client"}, 401)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return _json({"error": "invalid_grant"}, 400)
        token = self.token(asked["nonce"])
        return _json({"access_token": "at", "token_type": "Bearer", "id_token": token, "expires_in": 60})


def _json(content: object, status: int = 200) -> Answer:
    return status, {"content-type": "application/json"}, json.dumps(content).encode()


@contextmanager
def providing() -> Iterator[IdentityProvider]:
    """A stand-in that listens on this machine."""
    with receiving() as receiver:
        provider = IdentityProvider(receiver)
        receiver.say = provider.answer
        yield provider

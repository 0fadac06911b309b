"""ID tokens: whose they are, once their signature, their issuer, their audience and their times hold."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import time
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError, SecurityWarning

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.programs import is_program
from labeling_grpc.contract.text import is_name, is_reserved
from labeling_grpc.security.oidc.kept import ProviderError
from labeling_grpc.security.oidc.keys import ALGORITHMS, Keys
from labeling_grpc.security.oidc.person import Person
from labeling_grpc.security.oidc.settings import SignInRules

SKEW: Final = 60
"""Seconds by which the provider's clock may be another than ours."""

MOST_AGE: Final = 600
"""Seconds after its issue in which a token is exchanged: a sign-in takes no longer."""

LONGEST: Final = 64 * 1024
MOST_GROUPS: Final = 2_000
_NAME: Final = 128
_SUBJECT: Final = 255
_KINDS: Final = {None, "JWT", "jwt"}
"""`typ` of an ID token. An access token of the same provider has another, and the same signature."""


class Verifier:
    """Tells whose an ID token is. Lives in one event loop."""

    def __init__(self, rules: SignInRules, keys: Keys, now: Callable[[], float] = time.time) -> None:
        """Verify by `rules`. now: wall clock, seconds."""
        self._rules = rules
        self._keys = keys
        self._now = now

    async def person(self, token: str, nonce: str) -> Person:
        """Who has signed in.

        Args:
            token: the ID token.
            nonce: that the sign-in asked the provider to put into it.

        Returns:
            Them.

        Raises:
            RefusedError: the token does not hold, is not theirs, or they have no role here.

        """
        claims = await self._verified(token, nonce)
        role = self._rules.role(_groups(claims.get(self._rules.groups_claim)))
        subject = claims["sub"]
        if role is None:
            raise RefusedError(
                Reason.FORBIDDEN,
                f"you are signed in as {subject!r}, but none of your groups has a role here: ask for one of the groups "
                "that Tidemark's operator has named",
            )
        until = min(claims["exp"], claims["iat"] + MOST_AGE) + SKEW
        return Person(
            annotator=_annotator(claims, self._rules.name_claim),
            role=role,
            issuer=self._rules.provider.issuer,
            subject=subject,
            proof=hashlib.sha256(token.encode()).hexdigest(),
            proof_until=int(until * 1_000_000),
        )

    async def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        algorithm, key_id = _header(token)
        try:
            key = await self._keys.find(key_id, algorithm)
        except ProviderError as error:
            raise RefusedError(
                Reason.PROVIDER_UNAVAILABLE,
                "the identity provider's keys can't be read: try again in a moment, or tell the operator",
            ) from error
        if key is None:
            raise _refused("it is signed with a key that the identity provider does not have")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # of EdDSA, a name for several curves: `keys` has one
                claims = jwt.decode(token, key, algorithms=[algorithm]).claims
            self._check(claims, nonce)
        except ExpiredTokenError as error:
            raise _refused("it has expired") from error
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise _refused(f"it does not hold ({_told(error)})") from error
        return claims

    def _check(self, claims: dict[str, Any], nonce: str) -> None:
        client = self._rules.provider.client_id
        registry = jwt.JWTClaimsRegistry(
            now=int(self._now()),
            leeway=SKEW,
            iss={"essential": True, "value": self._rules.provider.issuer},
            aud={"essential": True},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        registry.validate(claims)
        audience = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
        party = claims.get("azp")
        if client not in audience or (len(audience) > 1 and party is None) or party not in (None, client):
            raise _refused("it is for another program than this one")
        if not (math.isfinite(claims["iat"]) and math.isfinite(claims["exp"])):
            raise _refused("its times are none")
        if claims["iat"] < self._now() - MOST_AGE - SKEW:
            raise _refused("it was issued too long ago")
        if not is_name(claims["sub"], _SUBJECT):
            raise _refused("its subject is no name")


def _header(token: str) -> tuple[str, str]:
    """Algorithm and key of a token that nobody has verified."""
    if len(token) > LONGEST:
        raise _refused(f"it has more than {LONGEST // 1024} KiB: let the provider put fewer groups into it")
    if not token.isascii() or token.count(".") != 2:
        raise _refused("it is none")
    text = token.partition(".")[0]
    try:
        header = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=dict[str, Any])
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _refused("it is none") from error
    algorithm, key_id = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _refused(f"it must be signed with one of {', '.join(ALGORITHMS)}")
    if not isinstance(key_id, str) or "crit" in header or header.get("typ") not in _KINDS:
        raise _refused("it is none")
    return algorithm, key_id


def _groups(claim: object) -> frozenset[str]:
    if claim is None:
        return frozenset()
    listed = [claim] if isinstance(claim, str) else claim
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise _refused("its groups are no list of names")
    if len(listed) > MOST_GROUPS:
        raise _refused(f"it has more than {MOST_GROUPS:,} groups: let the provider put fewer into it")
    return frozenset(listed)


def _annotator(claims: Mapping[str, Any], claim: str) -> str:
    """The annotator's id.

    Raises:
        RefusedError: there is none, or nobody may have it.

    """
    name = claims.get(claim)
    if not isinstance(name, str):
        raise RefusedError(Reason.FORBIDDEN, f"the provider tells no {claim!r} of you, which names you here")
    if claim == "email" and claims.get("email_verified") is not True:
        raise RefusedError(Reason.FORBIDDEN, "the provider has not verified your e-mail address, which names you here")
    fits = is_name(name, _NAME) and name == name.strip() and unicodedata.is_normalized("NFC", name)
    if not fits or is_reserved(name) or is_program(name):
        raise RefusedError(
            Reason.FORBIDDEN,
            f"nobody can have the name {name[:_NAME]!r} here: let the provider's administrator correct your {claim!r}",
        )
    return name


def _refused(why: str) -> RefusedError:
    return RefusedError(Reason.UNAUTHENTICATED, f"the identity provider's token is not taken: {why}", field="id_token")


def _told(error: Exception) -> str:
    """What of an error's words is a library's, never what the token says."""
    claim = getattr(error, "claim", "")
    return f"its {claim!r}" if isinstance(claim, str) and claim else "its signature or form"

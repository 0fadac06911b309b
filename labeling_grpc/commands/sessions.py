"""Access tokens of those who sign in by the identity provider: asked for, and given back."""

from __future__ import annotations

from dataclasses import dataclass

from labeling_grpc.security.caller import Caller
from labeling_grpc.security.oidc.person import Person


@dataclass(frozen=True, slots=True)
class StartSession:
    """Give somebody who has signed in an access token. digest: of its secret.  lifetime_us: from now."""

    person: Person
    digest: str
    lifetime_us: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """End the token that somebody calls with, if it came of a sign-in."""

    by: Caller


Session = StartSession | EndSession

"""Who has signed in by the identity provider."""

from __future__ import annotations

from dataclasses import dataclass

from labeling_grpc.security.roles import Role


@dataclass(frozen=True, slots=True)
class Person:
    """Who has signed in. subject: what the provider knows them by for good.

    proof: SHA-256 of their ID token, hex.  proof_until: when it can't be shown any more, wall clock, µs.
    """

    annotator: str
    role: Role
    issuer: str
    subject: str
    proof: str
    proof_until: int

"""Who makes the call that is under way."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from labeling_grpc.security.roles import Role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. name: an annotator id where there are tokens, else the machine.  known: there was a token."""

    name: str
    role: Role
    known: bool = True


SERVICE: Final = Caller("", Role.ADMIN, known=False)
"""The service itself."""

caller: Final[ContextVar[Caller]] = ContextVar("caller", default=SERVICE)
"""Set by `labeling_grpc.rpc` before a method runs, in the method's own task."""

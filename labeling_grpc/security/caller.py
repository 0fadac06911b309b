"""Who makes the call that is under way."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from labeling_grpc.security.audit import Act
from labeling_grpc.security.roles import Role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. name: an annotator id where there are tokens, else the machine.  known: there was a token.

    token: the token's public id, "" where there was none.
    """

    name: str
    role: Role
    known: bool = True
    token: str = ""


SERVICE: Final = Caller("", Role.ADMIN, known=False)
"""The service itself."""

STRANGER: Final = Caller("", Role.VIEWER, known=False)
"""Who makes a call that needs no token, where others do."""

caller: Final[ContextVar[Caller]] = ContextVar("caller", default=SERVICE)
"""Set by `labeling_grpc.api.interceptor` before a method runs, in the method's own task."""


def act(by: Caller, action: str, about: str, detail: Mapping[str, Any]) -> Act:
    """What somebody did, for the audit trail."""
    return Act(by.name, by.role.value, action, about, detail)

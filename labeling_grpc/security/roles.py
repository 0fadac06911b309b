"""Roles, and the table of what each may call: the authenticator and its tests are driven by it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from labeling_grpc.contract.http_rules import SERVICES
from tidemark.errors import ConfigError

__all__ = ["MATRIX", "OPEN", "SERVICES", "Role", "Scope", "check_matrix"]


class Role(StrEnum):
    """What the holder of a token is."""

    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    ADMIN = "admin"
    VIEWER = "viewer"
    PROGRAM = "program"


class Scope(StrEnum):
    """Which objects a call may touch.

    OWN: what is the caller's: leases, answers, figures, and cases that are or were in their hands.  ANY: everybody's.
    NONE: the call is refused. None but administrators act under another's name, whatever the scope.
    """

    NONE = "none"
    OWN = "own"
    ANY = "any"


def _row(annotator: Scope, reviewer: Scope, admin: Scope, viewer: Scope, program: Scope) -> dict[Role, Scope]:
    return {
        Role.ANNOTATOR: annotator,
        Role.REVIEWER: reviewer,
        Role.ADMIN: admin,
        Role.VIEWER: viewer,
        Role.PROGRAM: program,
    }


MATRIX: Final[dict[str, dict[Role, Scope]]] = {
    #                      annotator   reviewer    admin      viewer      program
    "LeaseTasks": _row(Scope.OWN, Scope.OWN, Scope.ANY, Scope.NONE, Scope.OWN),
    "RenewLease": _row(Scope.OWN, Scope.OWN, Scope.ANY, Scope.NONE, Scope.OWN),
    "SubmitLabels": _row(Scope.OWN, Scope.OWN, Scope.ANY, Scope.NONE, Scope.OWN),
    "Skip": _row(Scope.OWN, Scope.OWN, Scope.ANY, Scope.NONE, Scope.OWN),
    "Escalate": _row(Scope.OWN, Scope.OWN, Scope.ANY, Scope.NONE, Scope.OWN),
    "AddComment": _row(Scope.OWN, Scope.ANY, Scope.ANY, Scope.NONE, Scope.OWN),
    # An annotator sees the cases that are, or were, in their own hands.
    "GetCase": _row(Scope.OWN, Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY),
    "ListCases": _row(Scope.NONE, Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY),
    "GetProgress": _row(Scope.OWN, Scope.ANY, Scope.ANY, Scope.ANY, Scope.OWN),
    "AmendLabel": _row(Scope.OWN, Scope.ANY, Scope.ANY, Scope.NONE, Scope.OWN),
    "Release": _row(Scope.OWN, Scope.ANY, Scope.ANY, Scope.NONE, Scope.OWN),
    "Stats": _row(Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY),
    # It is about the token that it is made with, whoever's that is.
    "EndSession": _row(Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY),
    # Tells what each annotator does, so it is not for annotators.
    "Watch": _row(Scope.NONE, Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY),
    # LabelingAdminService
    "ListPipelines": _row(Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY),
    # How well each one labels: for those who decide on it.
    "ListAnnotators": _row(Scope.NONE, Scope.ANY, Scope.ANY, Scope.NONE, Scope.NONE),
    # Reviewers say who can what, how much and when; administrators alone stop somebody, or go on with them.
    "UpdateAnnotator": _row(Scope.NONE, Scope.ANY, Scope.ANY, Scope.NONE, Scope.NONE),
    "AssignCases": _row(Scope.NONE, Scope.ANY, Scope.ANY, Scope.NONE, Scope.NONE),
    "PauseQueue": _row(Scope.NONE, Scope.NONE, Scope.ANY, Scope.NONE, Scope.NONE),
    "ResumeQueue": _row(Scope.NONE, Scope.NONE, Scope.ANY, Scope.NONE, Scope.NONE),
    "RequeueCases": _row(Scope.NONE, Scope.ANY, Scope.ANY, Scope.NONE, Scope.NONE),
    "ExpireCases": _row(Scope.NONE, Scope.NONE, Scope.ANY, Scope.NONE, Scope.NONE),
    "ExportLabels": _row(Scope.NONE, Scope.ANY, Scope.ANY, Scope.NONE, Scope.ANY),
    "ImportLabels": _row(Scope.NONE, Scope.NONE, Scope.ANY, Scope.NONE, Scope.ANY),
    # The known answers: whoever is given gold cases must not read them.
    "AddGold": _row(Scope.NONE, Scope.NONE, Scope.ANY, Scope.NONE, Scope.NONE),
    "ListGold": _row(Scope.NONE, Scope.NONE, Scope.ANY, Scope.NONE, Scope.NONE),
    "RemoveGold": _row(Scope.NONE, Scope.NONE, Scope.ANY, Scope.NONE, Scope.NONE),
    "ListAudit": _row(Scope.NONE, Scope.NONE, Scope.ANY, Scope.NONE, Scope.NONE),
}

OPEN: Final[dict[str, str]] = {
    "ExchangeToken": "it is how a person gets a token; what it is shown instead is signed by the identity provider",
}
"""Calls without a row, which need no token, each with the reason. Each passes the throttle as a wrong token does."""


def check_matrix(matrix: dict[str, dict[Role, Scope]]) -> None:
    """Refuse a table that does not rule on each call of the contract for each role, those apart that are open.

    Raises:
        ConfigError: a call or a role is missing, or one is in the table that is not in the contract.

    """
    calls = {method.name for service in SERVICES for method in service.methods}
    ruled = set(matrix) | set(OPEN)
    wrong = calls ^ ruled | set(matrix) & set(OPEN) | {call for call, row in matrix.items() if set(row) != set(Role)}
    if wrong:
        raise ConfigError(
            f"labeling_grpc/security/roles.py: MATRIX and the contract disagree on {', '.join(sorted(wrong))}: give "
            "each call one row with a scope for each role"
        )

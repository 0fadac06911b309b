"""Roles, and the table of what each may call: the gate and its tests are driven by it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.errors import ConfigError


class Role(StrEnum):
    """What the holder of a token is."""

    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    ADMIN = "admin"
    VIEWER = "viewer"
    PROGRAM = "program"


class Scope(StrEnum):
    """Which objects a call may touch.

    OWN: leases of the caller's own annotator id.  ANY: everybody's.  NONE: the call is refused.
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
    # Tells what each annotator does, so it is not for annotators.
    "Watch": _row(Scope.NONE, Scope.ANY, Scope.ANY, Scope.ANY, Scope.ANY),
}


def check_matrix(matrix: dict[str, dict[Role, Scope]]) -> None:
    """Refuse a table that does not rule on each call of the contract for each role.

    Raises:
        ConfigError: a call or a role is missing, or one is in the table that is not in the contract.

    """
    calls = {method.name for method in pb.DESCRIPTOR.services_by_name["LabelingService"].methods}
    wrong = calls ^ set(matrix) | {call for call, row in matrix.items() if set(row) != set(Role)}
    if wrong:
        raise ConfigError(
            f"labeling_grpc/security/roles.py: MATRIX and the contract disagree on {', '.join(sorted(wrong))}: give "
            "each call of LabelingService one row with a scope for each role"
        )

"""Cases as a transaction sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labeling_grpc.queue.consensus import Placement


@dataclass(slots=True)
class OpenCase:
    """A case as the transaction sees it. `in_queue`: it is waiting or leased. `unassigned`: its assignment ends."""

    case_id: int
    event_id: str
    candidate: bytes
    lane: int
    state: int
    token: str | None
    annotator: str | None
    lease_until: int | None
    expires_at: int | None
    tier: int
    leased_at: int | None
    assignee: str | None
    in_queue: bool
    change: Literal["renewed", "returned"] | None = None
    passed_by: str | None = None
    place: Placement | None = None
    unassigned: bool = False


@dataclass(slots=True)
class GoldLease:
    """A gold case in somebody's hands. label: its known class, None where it is gold no more."""

    token: str
    event_id: str
    annotator: str
    lease_until: int
    leased_at: int
    due_at: int | None
    label: str | None

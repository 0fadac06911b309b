"""What happens to cases, for those who watch."""

from __future__ import annotations

from typing import Literal

import msgspec

EventKind = Literal[
    "added",
    "leased",
    "returned",
    "answered",
    "skipped",
    "expired",
    "amended",
    "withdrawn",
    "escalated",
    "voted",
    "commented",
    "requeued",
]


class CaseEvent(msgspec.Struct, frozen=True):
    """Something that happened to a case. `at`: queue time, µs.  gold: to a lease of a case whose answer is known."""

    kind: EventKind
    event_id: str
    annotator: str
    label: str | None
    at: int
    gold: bool = False

"""What clients of the labeling service are given, and give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labeling_grpc.refusals import RefusedError
from tidemark.records import Reason as CaseReason

Value = str | float | int | bool | None
EventKind = Literal["added", "leased", "returned", "answered", "skipped", "expired", "amended"]


@dataclass(frozen=True, slots=True)
class Task:
    """A leased case, and all that is needed to answer it. Times in µs since 1970.

    probabilities: one for each of `classes`, or empty.  time, expires_at: event time.  lease_expires_at: the service's
    clock.  leases: how often the case was leased, this time included.
    """

    event_id: str
    business_id: str | None
    key: str | None
    time: int
    reason: CaseReason
    priority: float
    context: dict[str, Value]
    features: dict[str, float | None]
    probabilities: tuple[float, ...]
    uncertainty: float | None
    model: str
    expires_at: int | None
    policy: str
    tile: int
    token: str
    lease_expires_at: int
    leases: int
    question: str
    classes: tuple[str, ...]
    positive: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """An answer to a task. key: idempotency key; "" lets the lease token serve.  known_at: event time, µs."""

    task: Task
    label: str
    known_at: int | None = None
    confidence: float | None = None
    comment: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """An acknowledged answer: on disk. duplicate: the service had it before."""

    annotation_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of answers, in their order, and the next tasks. refused: why none were given, where it was so."""

    outcomes: list[Submitted | RefusedError]
    tasks: list[Task]
    refused: RefusedError | None


@dataclass(frozen=True, slots=True)
class Stats:
    """The queue in numbers (see QueueStats in the contract). annotators: name to (answered, skipped)."""

    pipeline: str
    waiting_explore: int
    waiting_active: int
    leased: int
    answered: int
    skipped: int
    expired: int
    unpublished: int
    rejected: int
    event_clock: int
    now: int
    intake_problem: str
    publishing_problem: str
    question: str
    classes: tuple[str, ...]
    annotators: dict[str, tuple[int, int]]

    @property
    def waiting(self) -> int:
        """Cases that could be leased now."""
        return self.waiting_explore + self.waiting_active


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """Something that happened to a case. at: the service's clock, µs."""

    kind: EventKind
    event_id: str
    annotator: str
    label: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Update:
    """A message of `watch`. missed: events left out because they were read too slowly."""

    stats: Stats
    events: tuple[CaseEvent, ...]
    missed: int

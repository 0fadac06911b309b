"""What administrators ask of the queue, and what is said about cases without a lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from labeling_grpc.security.audit import Act
from labeling_grpc.security.caller import Caller
from tidemark.records import Candidate

AnnotatorState = Literal["active", "paused", "quarantined"]


@dataclass(frozen=True, slots=True)
class AddComment:
    """Say something about a case, open or closed. key: idempotency key."""

    event_id: str
    annotator: str
    text: str
    key: str


@dataclass(frozen=True, slots=True)
class UpdateAnnotator:
    """Change what an annotator may do; None: as it is. skills: () is none; `any_skill` gives all in their place.

    absent_until: wall clock, µs; 0, or a time that has passed: is there.
    """

    by: Caller
    name: str
    state: AnnotatorState | None
    why: str
    skills: tuple[str, ...] | None
    any_skill: bool
    quota: int | None
    absent_until: int | None = None


@dataclass(frozen=True, slots=True)
class AssignCases:
    """Offer open cases to one annotator alone; annotator "": to whoever may have them, again."""

    by: Caller
    event_ids: tuple[str, ...]
    annotator: str
    why: str


@dataclass(frozen=True, slots=True)
class PauseQueue:
    """Give nothing out any more; why "": give out again."""

    by: Caller
    why: str


@dataclass(frozen=True, slots=True)
class RequeueCases:
    """Ask again about closed cases, and take leased ones away from who has them."""

    by: Caller
    event_ids: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class ExpireCases:
    """Close open cases as expired."""

    by: Caller
    event_ids: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class ImportedLabel:
    """A label from elsewhere. known_at: event time, µs; None for the wall clock.  candidate: of an unknown event.

    asked: the annotator was asked about the case, elsewhere.
    """

    event_id: str
    label: str
    annotator: str
    known_at: int | None
    confidence: float | None
    candidate: Candidate | None
    asked: bool = False


@dataclass(frozen=True, slots=True)
class ImportLabels:
    """Take labels in, each on its own."""

    by: Caller
    labels: tuple[ImportedLabel, ...]


@dataclass(frozen=True, slots=True)
class WriteDown:
    """Put something that changes nothing in the queue into the audit trail."""

    acts: tuple[Act, ...]


Administer = (
    AddComment | UpdateAnnotator | AssignCases | PauseQueue | RequeueCases | ExpireCases | ImportLabels | WriteDown
)


@dataclass(frozen=True, slots=True)
class AnnotatorRow:
    """What an annotator may do.

    since: wall clock of the last change of state, µs, 0 for none.  skills: None for every one.  quota: 0 for no bound.
    absent_until: wall clock, µs; past: is there.
    """

    name: str
    state: AnnotatorState = "active"
    why: str = ""
    since: int = 0
    skills: tuple[str, ...] | None = None
    quota: int = 0
    absent_until: int = 0

    def works(self, wall: int) -> bool:
        """Whether they are given cases. wall: µs."""
        return self.state == "active" and self.absent_until <= wall


@dataclass(frozen=True, slots=True)
class Changed:
    """Event ids of cases that were changed, and of those that were left as they are."""

    done: tuple[str, ...]
    left: tuple[str, ...]


def event_ids(command: Administer) -> Sequence[str]:
    """The cases that a command is about."""
    match command:
        case AddComment():
            return (command.event_id,)
        case RequeueCases() | ExpireCases() | AssignCases():
            return command.event_ids
        case ImportLabels():
            return tuple(label.event_id for label in command.labels)
        case _:
            return ()

"""What can be asked of the queue, and what it answers. Commands carry no clock and no database.

What there is one of for each case is a struct of msgspec's: a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from labeling_grpc.commands.administration import Administer, AnnotatorRow, Changed
from labeling_grpc.commands.events import CaseEvent
from labeling_grpc.commands.sessions import Session
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.security.audit import Entry
from labeling_grpc.security.caller import SERVICE, Caller
from labeling_grpc.security.tokens import Token
from tidemark.records import Candidate, Label, LabelStatus


class LeaseRef(msgspec.Struct, frozen=True):
    """One lease: the case and the proof."""

    event_id: str
    token: str


@dataclass(frozen=True, slots=True)
class LeaseCases:
    """Give `annotator` up to `count` cases for `lease_us` microseconds.

    segments: active cases of these alone, () for all.  review: cases for reviewers too, those first.  alike: event ids
    of cases that are like another one, nearest first: these alone, active ones that anyone may have, in their order.
    """

    annotator: str
    count: int
    lease_us: int
    segments: tuple[str, ...] = ()
    review: bool = False
    alike: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RenewLeases:
    """Let the leases end `lease_us` microseconds from now."""

    leases: tuple[LeaseRef, ...]
    lease_us: int


@dataclass(frozen=True, slots=True)
class ReleaseLeases:
    """Give the cases back: those whom their annotator passed are held back from that person for a while."""

    leases: tuple[LeaseRef, ...]
    passed: bool = True


class Answer(msgspec.Struct, frozen=True):
    """The end of a leased case: answered with a label, or skipped without.

    key: idempotency key, "" for the token.  known_at: µs of event time, None for the wall clock.  bulk: names the bulk
    that it is part of, "" where the case is answered by itself.  asked: they were, though by no lease of theirs.
    """

    event_id: str
    token: str
    status: LabelStatus
    label: str | None = None
    key: str = ""
    known_at: int | None = None
    confidence: float | None = None
    comment: str | None = None
    bulk: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Escalate:
    """Hand a leased case on to the reviewers. key: as `Answer`'s.  comment: what makes it hard."""

    event_id: str
    token: str
    comment: str
    key: str = ""
    status: Literal["escalated"] = field(default="escalated", init=False)
    label: None = field(default=None, init=False)
    known_at: None = field(default=None, init=False)
    confidence: None = field(default=None, init=False)


@dataclass(frozen=True, slots=True)
class SubmitAnswers:
    """Take answers, each on its own. by: who calls, for the audit trail, where they are a bulk."""

    answers: tuple[Answer, ...]
    by: Caller = SERVICE


@dataclass(frozen=True, slots=True)
class Amend:
    """Supersede an annotation: with another label, or (`retracted`) with nothing.

    annotator: who amends, "" for whoever gave it.  key: idempotency key, "" for the annotation's id.  known_at: as
    `Answer`'s.  by: who calls, for the audit trail, where it is another's, or a bulk.  bulk: what else was said in the
    same bulk and still stands, too.
    """

    annotation_id: str
    status: Literal["answered", "retracted"]
    label: str | None = None
    annotator: str = ""
    key: str = ""
    known_at: int | None = None
    confidence: float | None = None
    comment: str | None = None
    by: Caller = SERVICE
    bulk: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A partition of one incarnation of a topic."""

    topic: str
    partition: int
    incarnation: str


@dataclass(frozen=True, slots=True)
class Message:
    """A record to publish. `topic` is its full name."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, Any], ...] = ()
    """bytes; None where a dead letter keeps one."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record of `P.candidates`: a candidate with its JSON, or the dead letter that it became.

    priority: by a newer model than the candidate's, None for the candidate's own.  at: when it was asked, by Kafka's
    timestamp of the record, µs; None for the event's own time.
    """

    offset: int
    candidate: Candidate | None
    value: bytes
    dead_letter: Message | None = None
    priority: float | None = None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class TakeIn:
    """Put arrivals into the queue and move the position of their partition from `start` to `end` (offsets)."""

    source: Source
    start: int | None
    end: int
    arrivals: tuple[Arrival, ...]


@dataclass(frozen=True, slots=True)
class Rescored:
    """What a newer model says of a waiting case: its priority, and whether it need be asked at all."""

    case_id: int
    event_id: str
    priority: float
    withdraw: bool


@dataclass(frozen=True, slots=True)
class Rescore:
    """Rank active cases by a newer model. done: these are the last of what waits."""

    model: str
    cases: tuple[Rescored, ...]
    done: bool


@dataclass(frozen=True, slots=True)
class AdoptLabels:
    """Close the cases of labels that another queue (or this one, before its database was lost) published.

    Does not move the tail's position: only `MarkPublished` does, with the number that was found up to there. Adopted
    twice is as adopted once.
    """

    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class MarkPublished:
    """Everything up to `seq` is in Kafka; the tail of `source` need be read again from the offsets only."""

    seq: int
    tails: tuple[tuple[Source, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TakeIdentity:
    """Publish under another identity from now on, and read the tails from their beginnings.

    For a database that is older than what it published: a copy that was put back.
    """

    publisher: str


@dataclass(frozen=True, slots=True)
class AddGold:
    """Make closed cases gold: (event id, known class) of each. by: who asks, for the audit trail."""

    answers: tuple[tuple[str, str], ...]
    by: Caller = SERVICE


@dataclass(frozen=True, slots=True)
class RemoveGold:
    """Give a gold case out no more. by: who asks, for the audit trail."""

    event_id: str
    by: Caller = SERVICE


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Give an annotator nothing more until an administrator says otherwise. One who is not active stays as they are."""

    annotator: str
    why: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """End leases that ran out. Every group of commands does so; this one alone is for when nobody asks."""


Command = (
    LeaseCases
    | RenewLeases
    | ReleaseLeases
    | SubmitAnswers
    | Escalate
    | Amend
    | TakeIn
    | Rescore
    | AdoptLabels
    | MarkPublished
    | TakeIdentity
    | AddGold
    | RemoveGold
    | Quarantine
    | Sweep
    | Administer
    | Session
)


@dataclass(frozen=True, slots=True)
class Comment:
    """Something said about a case. at: wall clock, µs.  id: of its annotation."""

    annotator: str
    text: str
    at: int
    id: str = ""


class LeasedCase(msgspec.Struct, frozen=True):
    """A case in somebody's hands. `until`: queue time, µs.

    comments: the newest of what was said about it.  earlier: how many were said before those.  due: by when it should
    be answered, wall clock, µs.  assigned: to who has it.
    """

    event_id: str
    candidate: bytes
    token: str
    until: int
    leases: int
    segment: str = ""
    skill: str = ""
    review: bool = False
    comments: tuple[Comment, ...] = ()
    earlier: int = 0
    due: int | None = None
    assigned: bool = False


class Accepted(msgspec.Struct, frozen=True):
    """An answer on disk. duplicate: it was there before.  others: of an amended bulk, what became of its others."""

    annotation_id: str
    duplicate: bool
    others: tuple[tuple[str, Accepted | RefusedError], ...] = ()


@dataclass(frozen=True, slots=True)
class GoldAdded:
    """How many cases are gold now; event ids without a closed case."""

    added: int
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TakenIn:
    """How far intake came: `position` is the next offset, `accepted` the arrivals before it.

    Fewer than were offered: the queue is full of cases that may not be displaced. `moved`: nothing was taken, for
    the position was not where the command said.
    """

    accepted: int
    position: int
    moved: bool = False


Result = (
    list[LeasedCase]
    | list[int | RefusedError]
    | list[Accepted | RefusedError]
    | Accepted
    | RefusedError
    | int
    | TakenIn
    | Token
    | Changed
    | AnnotatorRow
    | GoldAdded
    | None
)


@dataclass(slots=True)
class Counts:
    """The queue in numbers. has_comments: something was said about some case, so that leases look for it.

    event_clock: latest event time of a candidate, µs.  asked_clock: when the latest candidate was asked, by Kafka's
    clock, µs: what `expires_at` is compared with.
    """

    waiting_explore: int = 0
    waiting_active: int = 0
    leased: int = 0
    answered: int = 0
    skipped: int = 0
    expired: int = 0
    withdrawn: int = 0
    unpublished: int = 0
    rejected: int = 0
    event_clock: int = 0
    asked_clock: int = field(default=0, compare=False)
    has_comments: bool = False
    ranked_by: str = ""

    @property
    def waiting(self) -> int:
        """Cases that could be leased now."""
        return self.waiting_explore + self.waiting_active

    @property
    def open(self) -> int:
        """Waiting and leased."""
        return self.waiting + self.leased


@dataclass(slots=True)
class Applied:
    """What a group of commands came to: results in the order of the commands.

    contended: a lease found less than waits, for another replica looked at it; soon it may find more.  entries: of the
    audit trail.
    """

    results: list[Result]
    counts: Counts
    events: list[CaseEvent] = field(default_factory=list)
    next_lease_end: int | None = None
    contended: bool = False
    entries: list[Entry] = field(default_factory=list)

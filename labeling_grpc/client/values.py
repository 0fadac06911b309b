"""What clients of the labeling service are given, and give."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Literal

from labeling_grpc.client.history import History
from labeling_grpc.contract.errors import RefusedError
from tidemark.pipeline.numbers import DIGITS
from tidemark.records import LabelStatus
from tidemark.records import Reason as CaseReason

_OF_WIDTH: Final = 3
"""Digits of an interval's width to which a number that is foretold is rounded, and the interval's ends."""

Value = str | float | int | bool | None
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
CaseState = Literal["waiting", "leased", "answered", "skipped", "expired", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Comment:
    """Something said about a case. at: the service's clock, µs.  cut: the middle of the text is left out."""

    annotator: str
    text: str
    at: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number as a model foretells it. low, high: nine numbers of ten lie between them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Case:
    """An event that was asked about. Times in µs of event time.

    probabilities: one for each of the pipeline's classes, or empty.  segment, skill: "" where there are none.
    hidden_columns: columns that the caller's role may not see, and that `context` lacks.  categories: what the value of
    a categorical feature stands for, by the feature's name.  estimate: what the model said of a number.
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
    segment: str
    skill: str
    hidden_columns: tuple[str, ...]
    categories: dict[str, str] = field(default_factory=dict, kw_only=True)
    estimate: Estimate | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Held:
    """A lease of a case, by which it is answered, kept and given back: all of a `Task` that the service asks for."""

    event_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Task(Case):
    """A leased case, and all that is needed to answer it.

    lease_expires_at: the service's clock, µs.  leases: how often the case was leased, this time included.  review: it
    is given to reviewers alone.  comments: what others said about it, oldest first.  earlier_comments: how many older
    ones were left out; `LabelingClient.comments` reads them all.  due: by when it should be answered, µs, by the
    service's clock; None: there is no such time.  assigned: to this annotator, by a reviewer.
    """

    token: str
    lease_expires_at: int
    leases: int
    review: bool
    comments: tuple[Comment, ...]
    question: str
    classes: tuple[str, ...]
    positive: str
    earlier_comments: int = 0
    due: int | None = None
    assigned: bool = False
    number: NumberRange | None = None


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Which numbers can be an answer.

    unit: as it is written behind a number, or "".  tolerance: two answers that differ by no more agree.  usual: between
    which nine of ten of the newest answers lie; None while there are few, or where labeling is blind.
    """

    unit: str
    least: float
    greatest: float
    tolerance: float
    usual: tuple[float, float] | None = None

    def written(self, number: float) -> str:
        """A number with its unit, for people."""
        return f"{number:,.{DIGITS}g} {self.unit}".rstrip()

    def foretold(self, estimate: Estimate) -> str:
        """A number that is foretold, for people: no model knows as many digits as an answer has."""
        return f"{_rounded(estimate.value, estimate)} {self.unit}".rstrip()

    def between(self, estimate: Estimate) -> str:
        """Where a number lies nine times of ten, for people."""
        return f"{_rounded(estimate.low, estimate)} to {_rounded(estimate.high, estimate)} {self.unit}".rstrip()

    @property
    def bounds(self) -> str:
        """From where to where, for people."""
        return f"{self.least:,.{DIGITS}g} to {self.written(self.greatest)}"

    @property
    def usually(self) -> str:
        """Where most answers lie, for people; "" where that is not known."""
        return "" if self.usual is None else f"{self.usual[0]:,.{DIGITS}g} to {self.written(self.usual[1])}"


def _rounded(number: float, estimate: Estimate) -> str:
    """A number of an estimate, rounded by the width of its interval: so its ends differ as people are told them."""
    width = estimate.high - estimate.low
    if math.isfinite(width) and width > 0:
        number = round(number, _OF_WIDTH - 1 - math.floor(math.log10(width))) + 0.0  # of -0.0 the sign is gone
    return f"{number:,.{DIGITS}g}"


@dataclass(frozen=True, slots=True)
class Annotation:
    """An answer to a task. key: idempotency key; "" lets the lease token serve.  known_at: event time, µs.

    bulk: names the bulk of a case that is answered together with others, after a look; "" where it is by itself.
    """

    task: Task | Held
    label: str
    known_at: int | None = None
    confidence: float | None = None
    comment: str = ""
    key: str = ""
    bulk: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """An acknowledged answer: on disk. duplicate: the service had it before.

    others: of a bulk that was amended as a whole, what became of its other answers, by event id.
    """

    annotation_id: str
    duplicate: bool
    others: dict[str, Submitted | RefusedError] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of answers, in their order, and the next tasks. refused: why none were given, where it was so."""

    outcomes: list[Submitted | RefusedError]
    tasks: list[Task]
    refused: RefusedError | None


@dataclass(frozen=True, slots=True)
class Stats:
    """The queue in numbers (see QueueStats in the contract).

    annotators: name to (answered, skipped).  paused: why an administrator paused the queue, "" where it is open.
    ranked_by: version of the model that ranks what waits, "" before the first.  overdue: open cases whose due time has
    passed.  first_due: when the first open case is or was due, by the service's clock, µs; 0: none has a due time.
    """

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
    paused: str = ""
    ranked_by: str = ""
    overdue: int = 0
    first_due: int = 0

    @property
    def waiting(self) -> int:
        """Cases that could be leased now."""
        return self.waiting_explore + self.waiting_active


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a client is to the service. name: of the token's annotator, else the machine.  known: there was a token.

    role: annotator, reviewer, admin, viewer or program; without tokens everybody is admin.
    """

    name: str
    role: str
    known: bool


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What an ID token was exchanged for. expires_at: wall clock, µs."""

    token: str = field(repr=False)
    caller: Caller
    expires_at: int


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


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """A case and where it is. annotator: who has it, while it is leased, else "".  label: the verdict, None before.

    answers: so far.  review: it waits for a reviewer, or was given to one.  due: as `Task`'s, None of closed cases.
    assignee: who alone is offered it, "" where whoever may have it is.
    """

    case: Case
    state: CaseState
    annotator: str
    label: str | None
    confidence: float | None
    answers: int
    review: bool
    due: int | None = None
    assignee: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an annotator is; today is since midnight UTC. quota: cases a day, 0 for no bound.

    waiting: cases that wait for somebody.  median_answer_ms: from lease to answer, 0 if none is known.  agreement:
    share of the last answers with which the verdicts of several agree, None where none has one; `agreement_interval`
    of 95 %, `agreement_answers` how many.
    """

    annotator: str
    answered_today: int
    skipped_today: int
    answered: int
    quota: int
    waiting: int
    leased: int
    median_answer_ms: int
    agreement: float | None = None
    agreement_interval: tuple[float, float] | None = None
    agreement_answers: int = 0

    @property
    def agreed(self) -> str:
        """`agreement` in percent with its interval, as a person reads it; "" where there is none."""
        if self.agreement is None or self.agreement_interval is None:
            return ""
        low, high = (f"{100 * end:.0f}" for end in self.agreement_interval)
        return f"{100 * self.agreement:.0f} % ({low}\u2013{high})"


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature added to the raw score."""

    name: str
    value: float | None
    contribution: float


@dataclass(frozen=True, slots=True)
class SimilarCase:
    """A labeled case near another one. distance: in robustly scaled features.  time: event time, µs."""

    event_id: str
    label: str
    distance: float
    features: dict[str, float | None]
    time: int
    categories: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer to a case, or its end without one. at: the service's clock, µs.  bulk: as `Annotation`'s."""

    annotation_id: str
    annotator: str
    status: LabelStatus
    label: str | None
    confidence: float | None
    comment: str
    at: int
    supersedes: str | None
    bulk: str = ""


@dataclass(frozen=True, slots=True)
class CaseDetails:
    """A case with all that helps to decide it.

    history: of the entity, oldest first.  contributions: to the raw score of the positive class by the model
    `contributions_model`, largest effect first, added to `base_score`; empty while there is no model.  similar: nearest
    first.  answers: oldest first; only the caller's own where the role may not see others'.  more_comments: there are
    older ones; `LabelingClient.comments` reads them all.  shortened: names of what holds less than there is, for size.
    current_probabilities: what the model in force says now, one for each class, or empty.  current_estimate: the
    same, where an answer is a number; None while there is no model.
    """

    record: CaseRecord
    comments: tuple[Comment, ...]
    history: History
    contributions: tuple[Contribution, ...]
    base_score: float
    contributions_model: str
    similar: tuple[SimilarCase, ...]
    answers: tuple[GivenAnswer, ...]
    more_comments: bool = False
    shortened: tuple[str, ...] = ()
    current_probabilities: tuple[float, ...] = ()
    current_estimate: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Leased:
    """Cases with what helps to decide each, and how far their annotator is.

    details: of each task; None where `LabelingClient.case` has to be asked.  progress: None where it is not known.
    """

    tasks: list[Task]
    details: list[CaseDetails | None]
    progress: Progress | None

"""What is told of one event, from its raw record to the models that learned its label."""

from __future__ import annotations

import msgspec

from tidemark.records import Candidate, Prediction

Number = float | None
Shown = str | float | int | bool | None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all that is told."""


class RawPart(Told, frozen=True, kw_only=True):
    """The raw record. came: Kafka's timestamp, µs since 1970; None where it has none.  cut: bytes that are left out."""

    topic: str
    partition: int
    offset: int
    came: int | None
    key: str | None
    value: str | None
    size: int
    cut: int = 0


class WindowRow(Told, frozen=True, kw_only=True):
    """A row that a window saw. time: event time, µs.  value: of the window's column, None: missing, or it has none."""

    event_id: str
    time: int
    value: Number


class WindowPart(Told, frozen=True, kw_only=True):
    """A window. begin, end: of the event times that it took, µs.  rows: the newest, oldest first.  count: of all.

    span: which rows it takes, for people.
    """

    name: str
    key: str
    key_value: str
    aggregate: str
    column: str | None
    size: int
    span: str
    begin: int
    end: int
    value: Number
    count: int
    rows: list[WindowRow]


class ContributionPart(Told, frozen=True, kw_only=True):
    """What a feature added to the raw score of a class."""

    name: str
    value: Number
    contribution: float


class ScorePart(Told, frozen=True, kw_only=True):
    """What the event was ranked by.

    coin: of the random draw, decimal, for it has 64 bits.  offset: of its batch's proposals, None: they are gone.
    proposed: whether it was among them.  explore, active: proposed by its coin, by its score.
    """

    score: Number
    coin: str
    tile: int
    offset: int | None
    proposed: bool
    explore: bool = False
    active: bool = False


class AnswerPart(Told, frozen=True, kw_only=True):
    """One record of `P.labels` about the event. source: whose word it is (`tidemark.evaluation.labels.source_of`)."""

    offset: int
    annotator: str
    status: str
    label: str | None
    answered_at: int
    known_at: int
    confidence: Number
    comment: str | None
    annotation_id: str | None
    supersedes: str | None
    annotators: list[str]
    source: str = ""


class ModelPart(Told, frozen=True, kw_only=True):
    """A model that learned from a label of the event. promoted: whether it was put in force."""

    version: str
    made: int
    promoted: bool
    labels: int


class OutcomePart(Told, frozen=True, kw_only=True):
    """Truth that came by itself."""

    label: str
    known_at: int


class Difference(Told, frozen=True, kw_only=True):
    """Something that comes out otherwise than it was recorded. where: the topic that recorded it."""

    what: str
    where: str
    derived: Shown
    recorded: Shown


class Lineage(Told, frozen=True, kw_only=True):
    """All that is known of an event.

    refused: why it was not processed, and at which step.  compared: figures that were compared with recorded ones.
    notes: what could not be looked at, and why.  others: further events of the business id that was asked for.
    contributions: to `of_class`, or to the number, the largest first, added to `base`.  derived_probabilities: by the
    model that the prediction names.  derived_estimate: the same of a number, and the ends of its interval.
    verdict, word: the class or number that is learnt, and whose word it is.  conflict: whether others said another one.
    """

    event_id: str
    business_id: str | None
    key: str | None
    time: int | None
    raw: RawPart | None
    refused: str | None = None
    columns: dict[str, Shown] = {}
    windows: list[WindowPart] = []
    features: dict[str, Number] = {}
    watermark: int | None = None
    late: bool | None = None
    prediction: Prediction | None = None
    derived_probabilities: list[float] | None = None
    derived_estimate: list[float] | None = None
    of_class: str | None = None
    base: float = 0.0
    contributions: list[ContributionPart] = []
    score: ScorePart | None = None
    candidate: Candidate | None = None
    answers: list[AnswerPart] = []
    verdict: str | None = None
    word: str | None = None
    conflict: bool = False
    models: list[ModelPart] = []
    outcomes: list[OutcomePart] = []
    compared: int = 0
    differences: list[Difference] = []
    notes: list[str] = []
    others: list[str] = []

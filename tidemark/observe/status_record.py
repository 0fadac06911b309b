"""What `tidemark status --json` prints. Fields are added; none is removed or changes its meaning within a version."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

SCHEMA: Final = "tidemark.status.v1"

State = Literal["well", "starting", "not started", "stopped", "wrong"]
EXIT: Final[dict[State, int]] = {"well": 0, "starting": 0, "not started": 3, "stopped": 3, "wrong": 4}
"""Exit status of the command. 1: the pipeline could not be looked at; 2: the command was written wrongly."""


class FlowStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A flow. behind: records it has not handled.  model: version in force there, "" where none plays a part.

    last_rows: versions that predicted the last rows of the partitions, where these are not all of `model`.
    """

    name: str
    processes: int
    behind: int
    model: str
    last_rows: list[str] = []


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A source of the pipeline. processes: that have told of themselves in the last 90 s.  records: that these brought.

    refused: of these, dead letters at once.  per_second: as they told last.  at: when that was; null: it never ran.
    """

    name: str
    kind: str
    processes: int
    records: int
    refused: int
    per_second: float
    at: float | None


class WebhookStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. runs: it has told of itself in the last 90 s.  delivered, given_up: since its process began.

    waiting: deliveries that the receiver has not taken yet.  failing_since: since when (seconds since 1970) those have
    failed; null where none has.  reason: why the last one did.  at: when it told; null: it never ran.
    """

    name: str
    receiver: str
    runs: bool
    delivered: int
    given_up: int
    waiting: int
    failing_since: float | None
    reason: str
    at: float | None


class LabelStudioStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The bridge to Label Studio, as far as it has run on this machine. runs: it has looked in the last three minutes.

    offered: cases that wait there for an answer, of at most `most`.  taken: annotations that became labels, or
    corrected one.  refused: that could not.  reached: when it last reached both Label Studio and the labeling service,
    seconds since 1970, null: it never did.  failing_since: since when it has not; null where it does.  problem: why
    not.  at: when it last looked; null: it has not run on this machine.
    """

    address: str
    project: int
    runs: bool
    most: int
    offered: int = 0
    taken: int = 0
    refused: int = 0
    reached: float | None = None
    failing_since: float | None = None
    problem: str = ""
    at: float | None = None


class TopicStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A topic. records: held now, transactions' markers left out; about so many where `exact` is false.

    per_second: new ones, over the last minute.  open: of dead letters, those that nobody has dealt with; null of other
    topics.
    """

    name: str
    records: int
    exact: bool
    per_second: float
    open: int | None = None


class QualityStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The headline: how good the model in force is (docs/explanation/quality.md).

    metric: accuracy, average_precision, macro_recall, or r_squared of a number.  value, low, high: the figure, null
    where nothing can be said yet, and its 95 % interval.  n: answers.  of_class: whose average precision and base rate
    it is.  chance: what a guess reaches.  more: about how many more answers are needed to tell.  at: seconds since
    1970.
    way: how labels that the model has learnt from were answered: "cross-fitting", "forward validation", or "" where
    nobody tells.  rmse, mae: of a number, how far off the model is, in its `unit`; null of classes.
    next_hundred, next_hundred_most: what a hundred more labels bring, about and at most (95 %); null where that can't
    be told yet.  enough: even the most is so little that labels may stop.
    """

    model: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    of_class: str
    base_rate: float | None
    chance: float | None
    more: int
    at: float
    way: str = ""
    rmse: float | None = None
    mae: float | None = None
    unit: str = ""
    next_hundred: float | None = None
    next_hundred_most: float | None = None
    enough: bool = False


class DecisionsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule decided on the latest day of event time (docs/how-to/decisions.md).

    rule: its name.  day: as 2026-11-30.  per_day: most alerts; null without a budget.
    """

    rule: str
    day: str
    alert: int
    abstain: int
    suppressed: int
    over_budget: int
    per_day: int | None = None


class AlertsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What alerts must find, and from which probability on they do (docs/explanation/alerts.md).

    model: that was measured.  of_class: what is looked for.  recall: share of it that must be found.  threshold: flag
    from this probability on; null where none is known to find enough.  positives: answers of the class that this rests
    on.  more_positives: about how many more are needed for a threshold; 0 where there is one.  alerts_per_day,
    alerts_low, alerts_high: alerts a day with the 95 % interval; null without a threshold.  most_per_day: that people
    can look at, null where the pipeline does not say.  fits: even the upper end is no more; null where that can't be
    told.
    """

    model: str
    of_class: str
    recall: float
    threshold: float | None
    positives: int
    more_positives: int
    alerts_per_day: float | None = None
    alerts_low: float | None = None
    alerts_high: float | None = None
    most_per_day: float | None = None
    fits: bool | None = None


class ChampionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The model in force. labels: that it learnt from.  decision: why it replaced the one before.

    sources: labels by whose word counted (outcome, review, person, program, import).  conflicts: labels of which
    somebody else said another class.
    """

    version: str
    parent: str | None
    labels: int
    decision: str
    sources: dict[str, int] = {}
    conflicts: int = 0


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Cases asked. in_all: ever, of at most `total` (null: no bound).  tile, tile_budget: in the last tile closed.

    in_hour, in_day: in the hour and the day (UTC) of that tile, of at most `per_hour` and `per_day`; null: no bound.
    follows_until: until when (seconds since 1970) an alarm of drift is followed; null where none was by the last tile.
    extra: cases asked beyond the usual ones since that alarm, of at most `most_extra`.
    unit: what all but the tile's cases are counted in, where cases have a cost; null: cases.  tile_cost: of the tile.
    """

    in_all: int
    total: int | None
    tile: int
    tile_budget: int
    in_hour: int | None = None
    per_hour: int | None = None
    in_day: int | None = None
    per_day: int | None = None
    follows_until: float | None = None
    extra: int | None = None
    most_extra: int | None = None
    unit: str | None = None
    tile_cost: int | None = None


class LatencyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from an event's record to its prediction's, by Kafka's timestamps, over the last `n` predictions."""

    p50: float
    p99: float
    n: int


class SampleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The background sample. events: places that are taken, as far as `monitor` has read.  size: places there are."""

    events: int
    size: int


class AnnotatorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an annotator did since the labeling service started."""

    name: str
    answered: int
    skipped: int


class LabelingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The labeling service. problem: why it can't be asked, or what keeps it from its work; "" where all is well.

    waiting_random, waiting_active: cases that nobody has on the screen.  leased: that somebody has.  unpublished:
    answers that are not in Kafka yet.  model: version that cases are ranked by.  overdue: open cases whose due time has
    passed.  first_due: when the first open case is or was due, seconds since 1970, None where none has a due time.
    """

    reachable: bool
    address: str = ""
    problem: str = ""
    waiting_random: int = 0
    waiting_active: int = 0
    leased: int = 0
    answered: int = 0
    skipped: int = 0
    expired: int = 0
    unpublished: int = 0
    overdue: int = 0
    first_due: float | None = None
    model: str = ""
    annotators: list[AnnotatorStatus] = []


class FigureStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The latest record of a metric (docs/reference/metrics.md)."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    source: str
    model: str
    at: float


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline at one moment. at: seconds since 1970.  problems: what is wrong.  notes: what else is good to know.

    label_unit: where the label is a number, what it is of; null where it has no unit.
    """

    schema: str = SCHEMA
    pipeline: str
    file: str
    at: float
    state: State
    problems: list[str] = []
    notes: list[str] = []
    quality: QualityStatus | None = None
    alerts: AlertsStatus | None = None
    decisions: list[DecisionsStatus] = []
    champion: ChampionStatus | None = None
    budget: BudgetStatus | None = None
    latency: LatencyStatus | None = None
    labeling: LabelingStatus | None = None
    sample: SampleStatus | None = None
    flows: list[FlowStatus] = []
    sources: list[SourceStatus] = []
    webhooks: list[WebhookStatus] = []
    label_studio: LabelStudioStatus | None = None
    topics: list[TopicStatus] = []
    figures: list[FigureStatus] = []
    label_unit: str | None = None

"""Records that flows and services exchange through Kafka, and their JSON codec.

Times are integers: microseconds since 1970-01-01 UTC (event time unless the name says otherwise).
JSON has no NaN: a missing feature is null. Unknown fields are ignored on decoding, so that a newer
writer does not stop an older reader.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

import msgspec

from tidemark.errors import RecordError

NO_MODEL: Final = "none"
"""Model version of a prediction made before there was a model."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of a record. Whoever writes more is refused here: columns, databases and packed states have 64
bits. A label's times are checked, and named, by who learns from them."""
Reason = Literal["explore", "uncertain", "diverse", "cold", "imported"]
LabelSource = Literal["outcome", "review", "person", "program", "import"]
SOURCES: Final[tuple[LabelSource, ...]] = ("outcome", "review", "person", "program", "import")
"""Who says what an event is, the one whose word counts first by default: the world (`P.outcomes`), a reviewer, whoever
was asked, a program that was asked, a file that was brought in."""
PROGRAM: Final = "program:"
"""What the names of programs that answer begin with."""
OUTCOME: Final = "outcome"
"""Annotator and reason of a label that was made of an outcome."""
Decided = Literal["alert", "abstain", "suppressed", "over_budget"]
LabelStatus = Literal[
    "answered", "skipped", "expired", "retracted", "withdrawn", "vote", "gold", "escalated", "commented", "requeued"
]
"""What an annotation does: the first five end a case or what was said of it. `vote`: one of several answers, whose
verdict comes as `answered`. `gold`: an answer to a case whose class was known, for judging who gave it. The others are
said of a case and end nothing."""
ENDING: Final[frozenset[LabelStatus]] = frozenset({"answered", "skipped", "expired", "retracted", "withdrawn"})
"""What became of an event. Readers of labels pass over the other statuses, which tell how it came to that."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every JSON record."""


class Prediction(Record, frozen=True, kw_only=True):
    """`P.predictions`: what the model said of one event. Probabilities are null before the first model.

    Where the label is a number they are null, and `value` is the number, from `low` to `high` of which nine events of
    ten lie; null before the first model.
    """

    event_id: str
    business_id: str | None
    key: str | None
    time: Int64
    probabilities: list[float] | None
    uncertainty: float | None
    model: str
    late: bool = False
    value: float | None = None
    low: float | None = None
    high: float | None = None


class ShadowPrediction(Prediction, frozen=True, kw_only=True):
    """`P.shadow.NAME`: an event that was replayed, scored by the model that its prediction names.

    `incomplete` names features of which not all rows could be read: their values may be others than those of the
    stream. Probabilities are null where the model takes one of them.
    """

    features: dict[str, float | None]
    incomplete: list[str] = []


class Answered(Prediction, frozen=True, kw_only=True):
    """`P.answered`: what a caller was told of an event at once (`[ask]`), before the stream predicted it.

    `at` is this machine's clock, µs since 1970. `windows` are those that were looked at: topic and partition, and the
    offset after the last record in them; null where there was none. `shadow` is the version of a model that was asked
    besides (`ask.shadow`), and `shadow_probabilities` what it said; of a number `shadow_estimate`: value, low, high.
    """

    at: Int64
    windows: list[tuple[str, int, int | None]]
    shadow: str | None = None
    shadow_probabilities: list[float] | None = None
    shadow_estimate: list[float] | None = None


class Decision(Record, frozen=True, kw_only=True):
    """`P.decisions`: what a rule makes of an event that is likely enough.

    `alert`: tell of it. `abstain`: a person should look. `suppressed`: the key was told of lately. `over_budget`: the
    day's alerts are spent, or are for likelier events. `of` is the class, `probability` the model's of it, and
    `threshold` the one in force. Where the label is a number both are null; `value`, `low` and `high` are the
    prediction's, and `threshold` is the number that `by`, one of these three, was compared with.
    """

    event_id: str
    business_id: str | None
    key: str | None
    time: Int64
    rule: str
    decided: Decided
    of: str | None
    probability: float | None
    threshold: float
    model: str
    late: bool = False
    value: float | None = None
    low: float | None = None
    high: float | None = None
    by: str | None = None


class Candidate(Record, frozen=True, kw_only=True):
    """`P.candidates`: an event a person should look at, and all that the person and the learner need.

    `inclusion_probability` is set for exploration picks only: the exact chance with which the event was
    drawn from all `tile_count` events of its tile. `arm` names the policy that asked. `definitions` tells by what
    definition each feature was computed (ids of `tidemark.pipeline.definitions`); null in records of earlier versions.
    `value`, `low` and `high` are the prediction's, where the label is a number.
    """

    event_id: str
    business_id: str | None
    key: str | None
    time: Int64
    tile: Int64
    tile_count: Int64
    reason: Reason
    priority: float
    inclusion_probability: float | None
    policy: str
    features: dict[str, float | None]
    context: dict[str, str | float | Int64 | bool | None]
    probabilities: list[float] | None
    uncertainty: float | None
    model: str
    expires_at: Int64 | None = None
    definitions: dict[str, str] | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Label(Record, frozen=True, kw_only=True):
    """`P.labels`: one annotation. `label` is null unless `status` is `answered`.

    Of a verdict on several answers, `answers` counts them, `annotators` gave them, `consensus` are the probabilities of
    the pipeline's classes in their order, `confidence` that of `label`, and `annotator` is "consensus".
    A label is usable for training and measuring only from `known_at`. The header `seq` of the Kafka
    record carries the outbox sequence. `definitions` are the candidate's. `bulk` names the answers that somebody gave
    together, after a look at each; null where a case was answered by itself.

    `source` says whose word it is where the other fields do not tell (`tidemark.evaluation.labels.source_of`). A label
    of an event that nobody was asked about, made of an outcome, has the reason `outcome`; its `share` is the chance by
    which such an outcome is learnt from, where every event has one in the end; null: nobody knows which have.
    """

    event_id: str
    business_id: str | None
    key: str | None
    time: int
    status: LabelStatus
    label: str | None
    annotator: str
    known_at: int
    answered_at: int
    reason: Reason | Literal["outcome"]
    inclusion_probability: float | None
    tile: Int64
    tile_count: Int64
    policy: str
    features: dict[str, float | None]
    probabilities: list[float] | None
    uncertainty: float | None
    model: str
    confidence: float | None = None
    comment: str | None = None
    annotation_id: str | None = None
    supersedes: str | None = None
    answers: Int64 | None = None
    annotators: list[str] | None = None
    consensus: list[float] | None = None
    definitions: dict[str, str] | None = None
    bulk: str | None = None
    source: LabelSource | None = None
    share: float | None = None


class Outcome(Record, frozen=True, kw_only=True):
    """`P.outcomes`: truth that arrives by itself. Names the event by `event_id` or by `business_id`.

    label: a class by its name, or as `tidemark.pipeline.classes` reads numbers and truth values; of a label that is a
    number, the number or a text that writes it.  known_at: µs.
    business_id: as the column `label.business_id` holds it, a number where that is an int.
    """

    label: str | int | float | bool
    known_at: int
    event_id: str | None = None
    business_id: str | int | float | None = None


class SampledEvent(Record, frozen=True, kw_only=True):
    """`P.sample`: an event that was drawn at random, with its features as scored. The key is its place in the sample.

    inclusion_probability: chance with which it was drawn, whatever it holds.  probabilities: null without a model.
    The header `definitions` tells by what definition each feature was computed.
    """

    event_id: str
    time: Int64
    inclusion_probability: float
    model: str
    probabilities: list[float] | None
    features: dict[str, float | None]


class LabelFeatures(Record, frozen=True, kw_only=True):
    """`P.label-features`, key event id: features of a labeled event that were recomputed.

    `values` by the id of each feature's definition. `tried` is the schema hash under which it was last recomputed: what
    is not in `values` then could not be.
    """

    event_id: str
    values: dict[str, float | None]
    tried: str


class LabelRange(Record, frozen=True, kw_only=True):
    """The very labels that a model was trained on: offsets [start, end) of a partition of `P.labels`.

    `incarnation` tells the topic from one re-created under its name ("" when the labels came from a file).
    """

    topic: str
    partition: Int64
    start: Int64
    end: Int64
    incarnation: str = ""


class Scale(Record, frozen=True, kw_only=True):
    """How a model's values of a feature are scaled: less `center`, divided by `spread`.

    `kind` is the rule of the pipeline file that it was learnt by, from `n` values of events without labels.
    """

    kind: str
    center: float
    spread: float
    n: Int64


class ModelManifest(Record, frozen=True, kw_only=True):
    """`P.models`, key `VERSION`: everything about a model but its text, which is in `chunks` records.

    `sha256` and `size` are of the uncompressed model text; `trained_on` with `used` and `event_ids_sha256`
    (over the sorted event ids of the rows used, one a line) name the labels. `golden` are rows of features and
    `golden_raw` the raw scores LightGBM gave them when the model was made; `structure_sha256` is of all that
    decides or explains a prediction (splits, leaves, counts), as numbers. `definitions` has the id of what each
    feature means. `copy_of` is the version of an earlier model that this one is, promoted again. `class_counts` are
    the labels of each of `classes` that were learnt from, `drawn_counts` those of them of cases drawn at random.
    `source_counts` are the same labels by whose word counted, `conflicts` counts those of which another said another
    class. `sources` is the order in which words counted; empty: that of `SOURCES`.
    `scales` are of features whose values the model takes scaled; `golden` rows are scaled.
    """

    version: str
    parent: str | None
    created_at: Int64
    schema_hash: str
    features: list[str]
    classes: list[str]
    chunks: Int64
    size: Int64
    sha256: str
    trained_on: list[LabelRange]
    used: Int64
    event_ids_sha256: str
    known_until: Int64
    metrics: dict[str, float | None]
    decision: str
    golden: list[list[float | None]] = []
    golden_raw: list[list[float]] = []
    structure_sha256: str = ""
    promoted: bool = True
    definitions: dict[str, str] = {}
    copy_of: str | None = None
    class_counts: list[Int64] = []
    drawn_counts: list[Int64] = []
    source_counts: dict[str, Int64] = {}
    conflicts: Int64 = 0
    sources: list[LabelSource] = []
    scales: dict[str, Scale] = {}


class Champion(Record, frozen=True, kw_only=True):
    """`P.models`, key `champion`: the version in force. Moves in the transaction that publishes it."""

    version: str
    since: Int64
    parent: str | None = None


class Metric(Record, frozen=True, kw_only=True):
    """`P.metrics`: one measured figure with its interval, and from what it was estimated."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: Int64
    at: Int64
    model: str
    source: Literal["labels", "outcomes", "stream", "budget", "sources", "webhooks"]
    detail: dict[str, str | float | Int64 | None] = {}


class SourcePosition(Record, frozen=True, kw_only=True):
    """Where a dead letter came from."""

    topic: str
    partition: Int64
    offset: Int64


R = TypeVar("R", bound=Record)
_encoder = msgspec.json.Encoder()
decode_candidate: Final = msgspec.json.Decoder(Candidate).decode
"""Candidate from the JSON that `decode` accepted once; raises msgspec's own errors. For the rows of a queue."""
_decoders: dict[type[Record], msgspec.json.Decoder[Record]] = {}


def encode(record: Record) -> bytes:
    """JSON of a record, UTF-8. NaN and infinities become null (msgspec), as JSON has neither."""
    return _encoder.encode(record)


def decode(kind: type[R], value: bytes | None) -> R:
    """Record of `kind` from its JSON.

    Raises:
        RecordError: the value is empty, no JSON, or does not fit the record; the reason names the field.

    """
    if not value:
        raise RecordError("decode", f"empty value where a {kind.__name__} record was expected")
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        return decoder.decode(value)  # type: ignore[return-value]
    except RecursionError as error:
        raise RecordError("decode", f"not a {kind.__name__} record: it is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError("decode", f"not a {kind.__name__} record: {error}") from error

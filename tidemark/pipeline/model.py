"""The pipeline file as a typed model. Attribute names are the file's keys.

Longer than 400 lines: one class for each table of the file, whose keys' docstrings are the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PrivateAttr,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from kernels.windows.specs import ROWS_LIMIT
from tidemark.pipeline.aggregates import AGGREGATES, here
from tidemark.pipeline.durations import PATTERN, format_duration, parse_duration
from tidemark.pipeline.names import OneOf
from tidemark.pipeline.record_keys import KeyForm
from tidemark.records import SOURCES, LabelSource
from tidemark.records.record_formats import FORMATS
from tidemark.records.source_kinds import SOURCE_KINDS
from tidemark.records.topics import Topics
from tidemark.strategies import STRATEGIES
from tidemark.times.time_formats import TIME_FORMATS


def _duration(value: object) -> int:
    if not isinstance(value, str):
        text = "{value} is not a duration; write a number and a unit in quotes: '500ms', '30s', '15m', '6h' or '7d'"
        raise PydanticCustomError("duration", text, {"value": repr(value)})
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("duration", "{value} {error}", {"value": repr(value), "error": str(error)}) from error


class _AsText:
    """In the JSON schema a duration is text."""

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": PATTERN, "examples": ["500ms", "30s", "15m", "6h", "7d"]}


Duration = Annotated[
    int,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    _AsText,
]
"""A duration as '500ms', '30s', '15m', '6h' or '7d'; held in µs."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number of the file counts or measures: the reference has it beside the type."""

    name: str


def _season(value: object) -> object:
    return 0 if value == "none" else _duration(value)


def _season_text(value: int) -> str:
    return format_duration(value) if value else "none"


class _AsSeason:
    """In the JSON schema a season is text."""

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": rf"{PATTERN}|^none$", "examples": ["none", "1d", "7d"]}


Season = Annotated[int, BeforeValidator(_season), PlainSerializer(_season_text, return_type=str), _AsSeason]
"""A duration, or `none`, held as 0."""
ColumnType = Literal["string", "int", "float", "bool"]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
_T = TypeVar("_T")
Unless = Annotated[_T | None, Field(exclude_if=lambda value: value is None)]
"""Not written out where it is not set, so that the schema hash of a pipeline without it is as it ever was."""
LearnerName = Literal["boosted", "forest", "extra_trees", "linear", "mean", "auto"]
"""Learners that `training.learner` may name."""
_FEW_CLASSES = 10
"""Of more a mean of unlike learners is behind boosted trees: docs/explanation/learners.md."""
FeatureName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Section(BaseModel):
    """Base of every table of the file: unknown keys are errors, values don't change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Raw(Section):
    """A raw topic."""

    topic: str
    """Name of the topic. Several raw topics of one pipeline are keyed and partitioned alike."""
    format: Annotated[str, OneOf(FORMATS)] = "json"
    """What a record is: `json`, one JSON object; `avro`; `protobuf`; `csv`, one row; `cloudevents`, events with JSON
    data; or a format that another package adds. Raw topics of one pipeline have one format, with the same settings."""
    schema_file: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """Of `avro` and `protobuf`: the file of the schema that all records have, from the pipeline file's folder. For Avro
    a `.avsc`; for Protobuf what `protoc --include_imports --descriptor_set_out=FILE` writes."""
    registry: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """Of `avro` and `protobuf`, instead of `schema_file`: each record begins with the number of its schema, as
    Confluent's serializers write it. The registry's `http://` or `https://` address, or a folder of files `NUMBER.avsc`
    or `NUMBER.desc`, from the pipeline file's folder. `TIDEMARK_REGISTRY_AUTH` gives `user:password`."""
    message: Unless[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=500)]] = None
    """Of `protobuf`: full name of the message, such as `plant.Reading`. With `registry` by default the message that
    each record names."""
    header: Unless[Annotated[list[str], Field(min_length=1, max_length=10_000)]] = None
    """Of `csv`: names of the cells, in their order."""
    separator: Unless[Annotated[str, Field(pattern=r"^[\t,;|]$")]] = None
    """Of `csv`: what stands between cells; by default a comma."""
    key: Unless[KeyForm] = None
    """How the records' keys tell the first of `keys`: `text` (the default), `json` (texts in quotes), `int32` or
    `int64` (big endian), or `other`: keyed by something else or by nothing, so that rows reach their windows by a
    topic of the pipeline's own. A record whose key tells another value than its column is a dead letter."""


class SourceSpec(Section):
    """From where records come into a raw topic, if no producer of yours writes it. `tidemark up` runs each."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,59}$")]
    """Name of the source: of its process, and in the header `tidemark-source` of its records."""
    kind: Annotated[str, OneOf(SOURCE_KINDS)]
    """What it reads (docs/how-to/sources.md). Another package may add a kind."""
    topic: Unless[str] = None
    """The raw topic that its records are for; by default the first."""
    body: Unless[Literal["record", "text", "arrow"]] = None
    """What a body is: a `record` of the raw topic's format; a `text`, which becomes a column by
    `columns = { NAME = "body" }`; or `arrow`, an Arrow IPC stream of many rows, each of which becomes a record. By
    default what the kind's bodies are."""
    columns: dict[str, str] = {}
    """Columns that the source tells: column to attribute, such as `{ device = "topic.1" }` of MQTT. A record that gives
    the column itself as well is a dead letter."""
    options: dict[str, bool | int | float | str | list[str] | dict[str, str]] = {}
    """Options of the kind. Secrets are named by file or environment variable, never written here."""

    @property
    def is_text(self) -> bool:
        """Whether bodies are texts of which columns are made."""
        return SOURCE_KINDS.get(self.kind).text if self.body is None else self.body == "text"


class OutputSpec(Section):
    """What the pipeline tells, in another topic and form, for others. The flow `publish` writes each exactly once."""

    topic: str
    """Name of the topic. `tidemark up` makes it where it is missing."""
    of: Literal["predictions", "candidates"]
    """What is written."""
    format: Literal["json", "avro", "arrow"]
    """`json`, as in the pipeline's own topic; `avro`, one datum a record; `arrow`, batches as Arrow IPC streams."""
    registry: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """Of `avro`: address of the schema registry in which the schema is registered as `TOPIC-value`, and whose number
    each record begins with. Without it a record begins with its schema's fingerprint. `TIDEMARK_REGISTRY_AUTH` gives
    `user:password`."""


EventType = Literal[
    "decision.made",
    "label.completed",
    "label.retracted",
    "model.champion_changed",
    "drift.detected",
    "deadletter.added",
]
"""What webhooks tell."""


class WebhookSpec(Section):
    """A program elsewhere that is told what happens, by signed requests. `tidemark up` runs each."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,59}$")]
    """Name of the webhook: of its process, and in what is told of it."""
    url: str
    """Where requests go, `https://` alone but for this machine. Redirects are not followed."""
    events: Annotated[list[EventType], Field(min_length=1)]
    """What is told (docs/how-to/webhooks.md). `deadletter.added` counts those of up to a minute in one event."""
    secret_file: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """File of the secret that requests are signed with, from the pipeline file's folder: `whsec_` and Base64. A second
    secret in it signs as well, while one takes the other's place."""
    secret_env: Unless[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]] = None
    """Environment variable that holds the secret, instead of a file."""
    classes: Unless[Annotated[list[str], Field(min_length=1)]] = None
    """Labels of these classes alone are told as `label.completed`; by default of all."""
    rules: Unless[Annotated[list[str], Field(min_length=1)]] = None
    """Decisions of these rules alone are told as `decision.made`; by default of all."""
    alarms: Unless[
        Annotated[
            list[Literal["inputs_changed", "predictions_changed", "labels_changed", "quality_fell"]],
            Field(min_length=1),
        ]
    ] = None
    """Alarms that are told as `drift.detected`; by default all."""
    private_host: Unless[Annotated[str, Field(min_length=1, max_length=253)]] = None
    """The host of `url` once more, where it may be of a private network or this machine. Link-local addresses and those
    of a cloud's metadata are never reached."""
    ca_file: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """PEM file of the authority that signed the receiver's certificate, from the pipeline file's folder; by default
    those that the system trusts."""


class LabelStudioSpec(Section):
    """A project of Label Studio in which cases are answered as well. `tidemark up` runs the bridge to it."""

    url: str
    """Where Label Studio is, `https://` alone but for this machine."""
    project: Unless[Annotated[int, Field(ge=1), Unit("number")]] = None
    """Number of the project, as in its address. `tidemark label-studio project` makes one, and says its number."""
    token_file: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """File of the access token of a user of Label Studio, from the pipeline file's folder."""
    token_env: Unless[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]] = None
    """Environment variable that holds the token, instead of a file."""
    offered: Annotated[int, Field(ge=1, le=1_000), Unit("cases")] = 50
    """Cases that are offered there at a time. Nobody is given them here meanwhile."""
    lease: Duration = 600_000_000
    """How long offered cases stay there after the bridge has died: then they go back to the queue."""
    poll: Duration = 30_000_000
    """How often Label Studio is asked what changed; webhooks tell sooner."""
    users: Unless[Annotated[dict[str, str], Field(min_length=1, max_length=10_000)]] = None
    """Annotators by the e-mail address with which they sign in there; who is not named stands under their address."""
    choices: Unless[Annotated[dict[str, str], Field(min_length=1)]] = None
    """Classes by the choice of the project that stands for them, where it has another name."""
    listen: Unless[Annotated[str, Field(min_length=1, max_length=300)]] = None
    """`host:port` of this machine at which Label Studio's webhooks arrive, as `127.0.0.1:8431`. Without it, polling
    alone tells what changed."""
    webhook_url: Unless[Annotated[str, Field(min_length=1, max_length=2_000)]] = None
    """Address by which Label Studio reaches `listen`, through your proxy: the bridge registers it there by itself."""
    secret_file: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """File of the secret that a webhook must show, from the pipeline file's folder."""
    secret_env: Unless[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]] = None
    """Environment variable that holds that secret, instead of a file."""
    private_host: Unless[Annotated[str, Field(min_length=1, max_length=253)]] = None
    """The host of `url` once more, where it may be of a private network or this machine."""
    ca_file: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """PEM file of the authority that signed Label Studio's certificate, from the pipeline file's folder; by default
    those that the system trusts."""


class AskSpec(Section):
    """Answers at once: the `stream` process is asked over gRPC what its windows and its model say of an event."""

    address: Annotated[str, Field(min_length=1, max_length=300)] = "127.0.0.1:50061"
    """`host:port` to listen on; port 0 takes a free one, which the log names. Any but this machine's own needs a
    token, or certificates of the callers."""
    token_file: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """File of tokens, one a line, of which a call must show one as `authorization: Bearer TOKEN`; from the pipeline
    file's folder."""
    token_env: Unless[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]] = None
    """Environment variable of a token, instead of a file."""
    tls_cert: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """PEM file of the certificate, from the pipeline file's folder."""
    tls_key: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """PEM file of its key."""
    tls_ca: Unless[Annotated[str, Field(min_length=1, max_length=1_000)]] = None
    """PEM file of who must have signed the callers' certificates, if callers must show one."""
    calls: Annotated[int, Field(ge=1, le=10_000), Unit("calls")] = 200
    """Calls under way at once, of which more are refused: a caller's deadline is worth more than a place in a queue."""
    shadow: Unless[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]] = None
    """Version of a model that is asked beside the one in force, of the same features and in the same answer; or
    `previous`, the champion before. It decides nothing."""
    max_lag: Duration = 10_000_000
    """How far the windows may be behind the raw topics: beyond it calls are refused, for the rows that are missing are
    the very burst that a caller wants to know of."""


class Time(Section):
    """Event time: the column, how it is written, and how far out of order rows may be."""

    column: str
    """Column of the event time. In expressions it is a timestamp in UTC."""
    format: Annotated[str, OneOf(TIME_FORMATS)] = "iso8601"
    """How the column tells the time; ISO 8601 without an offset is UTC. Another package may add a format."""
    patterns: Unless[Annotated[list[str], Field(min_length=1)]] = None
    """Further ways in which an `iso8601` column may write the time, as `%d/%m/%Y %H:%M:%S`, tried in order."""
    lateness: Duration = 60_000_000
    """How far behind the latest event a row may lie and still see whole windows."""
    max_ahead: Duration = 86_400_000_000
    """How far ahead of Kafka's timestamp an event time may lie; beyond, the record is a dead letter."""
    skew: Unless[Duration] = None
    """How far ahead of Kafka's timestamp a row may move the watermark, so that one clock that runs ahead makes no other
    row late. By default half of `lateness`, at most a minute: clocks that are kept differ by less, and a smaller bound
    only lets tiles close that much later."""

    @property
    def most_skew(self) -> int:
        """`skew`, or its default, µs."""
        return min(self.lateness // 2, 60_000_000) if self.skew is None else self.skew


OTHER: Final = "other"
"""What a text becomes that is not in its column's vocabulary, by default."""


class Column(Section):
    """A column of the raw records."""

    type: ColumnType
    """What values are: text, whole numbers of 64 bits, float64, or true and false."""
    required: bool = True
    """A record without it (or with null) is a dead letter."""
    missing: list[str | float | int] = []
    """Values that mean "not measured", such as -1: read as null."""
    names: Unless[Annotated[list[str], Field(min_length=1, max_length=20)]] = None
    """Other names under which records may tell it, as before or after it was renamed. A record that tells it under two
    names is a dead letter. `place.city` is the field `city` of the field `place`, of CSV the cell of that name."""
    default: Unless[str | bool | int | float] = None
    """Value where a record does not tell it, or tells null."""
    unit: Unless[Annotated[str, Field(min_length=1, max_length=20)]] = None
    """What numbers of the column are of, for the console: a currency by its three capitals (`EUR`), or a unit as it is
    written behind a number (`°C`, `kWh`). It changes nothing that is computed."""
    convert: Unless[Annotated[str, Field(max_length=50)]] = None
    """Of a `float`: the unit that records tell it in, and the one that is wanted, as `degF to degC`. What follows, such
    as `range`, is in the latter."""
    range: Unless[Annotated[list[float | int], Field(min_length=2, max_length=2), Unit("the column's own")]] = None
    """Of a `float` or `int`: the least and the greatest value that can be right."""
    outside: Unless[Literal["missing", "clip", "dead_letter"]] = None
    """What becomes of a value outside of `range`: it is missing (the default), set to the nearer end, or its record is
    a dead letter."""
    vocabulary: Unless[Annotated[list[str], Field(min_length=1, max_length=10_000)]] = None
    """Of a `string`: the texts that are known. Any other becomes `other`."""
    other: Unless[str] = None
    """What a text becomes that is not in the vocabulary; by default `other`."""

    def rules(self) -> dict[str, object]:
        """The rules that change values, of those that are set."""
        rules = {"convert", "range", "outside", "vocabulary", "other"}
        return self.model_dump(mode="json", include=rules, exclude_none=True)


class Deduplicate(Section):
    """Records that are sent more than once: the first counts, the others are dropped and counted."""

    key: str
    """Column by which records are told apart, such as an id that their producer gives. A record without it is kept."""
    within: Duration
    """A record is dropped where an earlier one of the same raw topic and the same first of `keys` had the same key, and
    their event times lie no further apart than this."""


ScaleKind = Literal["standard", "robust", "minmax"]
"""Rules by which a feature is scaled."""


class Feature(Section):
    """A feature of the row's own columns: SQL, or `module:function`; by default the column of the same name.

    SQL is over the cleaned columns, one row at a time (docs/reference/expressions.md). A function takes the cleaned
    columns as a `polars.DataFrame` and returns a `polars.Series` as long, each element from its own row alone.
    """

    name: FeatureName
    """Name of the feature, one of its kind in the file."""
    sql: str | None = None
    """One SQL expression over the cleaned columns. Without it and `function`, the column of the same name."""
    function: str | None = None
    """`module:function` instead of SQL, from an installed package or a folder in `PYTHONPATH`."""
    categories: list[str] | None = None
    """Texts in order; the feature is the index. Any other text is missing."""
    scale: Unless[ScaleKind] = None
    """How a model takes the feature's values (docs/how-to/formats.md): `standard`, less the mean and by the standard
    deviation; `robust`, less the median and by the range between the quartiles; `minmax`, 0 to 1 within what was seen.
    Learnt from events without labels when a model is trained, and kept with it. Windows, `derived` and what people are
    shown have the values as they are."""


def _called_here(name: object) -> object:
    written = here(name) if isinstance(name, str) else None
    if written is not None:
        raise PydanticCustomError(
            "registry", "{value} is not allowed; write {here}", {"value": repr(name), "here": written}
        )
    return name


class Window(Section):
    """A windowed aggregate over earlier rows of the same key."""

    name: FeatureName
    """Name of the feature that the window gives."""
    key: str
    """One of the pipeline's keys."""
    aggregate: Annotated[str, BeforeValidator(_called_here), OneOf(AGGREGATES)]
    """`var` and `std` are of a sample; `since_last` is in seconds. `distinct` and `quantile` are exact, and a key's
    memory grows with the rows in its window; `approx_distinct` and `approx_quantile` are sketches of bounded size.
    [Window aggregates](aggregates.md) lists all. Another package may add an aggregate."""
    column: str | None = None
    """Numeric column (or feature of the row) that is aggregated, of any type for `distinct` and `approx_distinct`.
    `count`, `since_last`, `since_first` and `rate` need none; with one, of any type, they are of the rows that have its
    value."""
    size: Duration
    """How far back the window reaches. One of `approx_quantile` may be short by up to a 24th of that."""
    rows: Unless[Annotated[int, Field(ge=1, le=ROWS_LIMIT), Unit("rows")]] = None
    """Only the newest so many of the rows in `size`, by event time; rows that lack the column's value are not counted.
    A key keeps no more rows for it than that, and those of the last `lateness`."""
    gap: Unless[Duration] = None
    """Only the session that the row continues: back to where two rows of the key lie more than `gap` apart. A row that
    comes later than that after the one before begins a session. `size` bounds how long a session can be."""
    probability: Unless[Annotated[float, Field(ge=0, le=1), Unit("share")]] = None
    """Of `quantile` and `approx_quantile`: 0.5 is the median."""
    half_life: Unless[Duration] = None
    """Of `decayed_sum` and `decayed_mean`: the age at which a row weighs half."""
    error: Unless[Annotated[float, Unit("share")]] = None
    """Of `approx_distinct` the standard error, by default 0.023; of `approx_quantile` how far off a quantile may be, in
    relation to itself, by default 0.01."""
    include_current: bool = False
    """Whether the row itself counts."""
    scale: Unless[ScaleKind] = None
    """As of a feature of the row."""

    @property
    def span(self) -> str:
        """Which rows it takes, for people: `7d`, `the last 20 rows in 7d`, `a session (gap 30m) in 7d`."""
        size = format_duration(self.size)
        if self.rows is not None:
            return f"the last {self.rows} row{'s' if self.rows > 1 else ''} in {size}"
        return size if self.gap is None else f"a session (gap {format_duration(self.gap)}) in {size}"


class Derived(Section):
    """A feature of the row's other features, computed after the windows; a missing value is NULL."""

    name: FeatureName
    """Name of the feature."""
    sql: str | None = None
    """SQL over all features, windows and earlier derived features."""
    function: str | None = None
    """`module:function`, as in a feature, over the frame of features (float, null where missing)."""
    scale: Unless[ScaleKind] = None
    """As of a feature of the row."""


class Outcomes(Section):
    """Outcomes that are learnt from: records of `P.outcomes` become labels. Without this table they measure alone."""

    of: Literal["all", "some"]
    """Which events have one in the end. `all`: each, whatever it is; then an outcome is learnt from once its event is
    `label.delay` + `label.grace` old, as those of one class often come sooner. `some`: those of one class, or those
    that something was done about; they are learnt from at once, and are taken for no sample of the stream."""
    share: Annotated[dict[str, Annotated[float, Field(gt=0, le=1), Unit("share")]], Field(max_length=1_000)] = {}
    """Of each class the share of its outcomes that are learnt from, by a coin that the event's id tosses; of one that
    is not named, all. Of a stream with an outcome of every event a small share of the common class is enough: labels
    are kept for ever. It is allowed for: a model still learns how common each class is."""


class LabelSpec(Section):
    """What people are asked: a class or a number, and the natural delay of truth."""

    business_id: str | None = None
    """Column by which outcomes name an event."""
    type: Annotated[Literal["class", "number"], Field(exclude_if=lambda value: value == "class")] = "class"
    """What an answer is: one of `classes`, or a number from `min` to `max`."""
    classes: Annotated[list[str], Field(min_length=2, exclude_if=lambda value: not value)] = []
    """Names of the classes, two or more, in the order in which probabilities are written. Of a number there are none.
    """
    positive: Annotated[str, Field(exclude_if=lambda value: not value)] = ""
    """The class that is looked for: precision, recall and the threshold are about it."""
    unit: Unless[Annotated[str, Field(min_length=1, max_length=20)]] = None
    """Of a number: what it is of, as it is written behind it (`h`, `°C`, `EUR`)."""
    min: Unless[Annotated[float | int, Field(ge=-1e100, le=1e100), Unit("the label's own")]] = None
    """Of a number, the least that can be right. An answer below it is refused."""
    max: Unless[Annotated[float | int, Field(ge=-1e100, le=1e100), Unit("the label's own")]] = None
    """Of a number, the greatest that can be right. An answer above it is refused."""
    tolerance: Unless[Annotated[float | int, Field(ge=0, le=1e100), Unit("the label's own")]] = None
    """Of a number: two answers that differ by no more agree. By default they agree where they are the same."""
    delay: Duration
    """After which time truth arrives by itself."""
    grace: Duration = 86_400_000_000
    """How long after `delay` an outcome may still come before its event counts as one without an outcome."""
    context: list[str] = []
    """Columns that the person who labels is shown."""
    question: str = ""
    """The question that people are asked about each case."""
    zone: Unless[str] = None
    """Time zone in which the console shows times, as `Europe/Berlin`; UTC by default."""
    column: str | None = None
    """Column of a historic file that holds the class; never part of the stream."""
    leaks: list[str] = []
    """Columns that tell the answer and so must not be used."""
    sources: Unless[Annotated[list[LabelSource], Field(min_length=1)]] = None
    """Whose word counts where labels of an event contradict each other, first to last: by default `outcome`, `review`
    (a reviewer), `person`, `program`, `import`. Labels of one that is left out are neither learnt from nor measured
    with."""
    outcomes: Unless[Outcomes] = None
    """Which outcomes are learnt from."""

    @property
    def is_number(self) -> bool:
        """Whether an answer is a number."""
        return self.type == "number"

    @property
    def order(self) -> tuple[LabelSource, ...]:
        """`sources`, or their default."""
        return SOURCES if self.sources is None else tuple(self.sources)


class Due(Section):
    """By when cases should be answered, counted from when they were asked by Kafka's clock."""

    default: Duration | None = None
    """Time for cases of segments without one of their own. Without it, those have no due time."""
    segments: Unless[dict[str, Duration]] = None
    """Time for cases of these values of `labeling.segment`."""
    lead: Unless[Duration] = None
    """An active case comes before others from this long before it is due; until then its priority counts. Without it,
    active cases come in the order of their due times."""
    error_cost: Unless[str] = None
    """Context column of numbers: what a wrong answer costs. Of cases that are due about the same time, people whose
    known answers err no more than all people's get first the one whose error costs most, the others the one whose error
    costs least. Who is not known well enough gets them in the order of their due times."""
    together: Unless[Duration] = None
    """With `error_cost`: cases due within so long of the first are due about the same time; `10m` by default."""

    @property
    def about(self) -> int:
        """`together`, or its default, µs."""
        return 600_000_000 if self.together is None else self.together

    def within(self, segment: str) -> int | None:
        """Time in which a case of a segment is to be answered, µs; None: it has no due time."""
        return (self.segments or {}).get(segment, self.default)


class Labeling(Section):
    """How cases are given out and how many answers they get."""

    segment: str | None = None
    """Context column: active cases are given out fairly among its values."""
    skill: str | None = None
    """Context column: an active case goes to annotators who are skilled in its value."""
    answers: Annotated[int, Field(ge=1, le=9), Unit("answers")] = 1
    """Answers that each case gets, of different annotators."""
    max_answers: Annotated[int, Field(ge=1, le=9), Unit("answers")] | None = None
    """One more is asked for while the consensus is unsure, up to this many; then a reviewer decides. None: `answers`,
    and the consensus decides."""
    confidence: Annotated[float, Field(gt=0.5, lt=1), Unit("probability")] = 0.9
    """Probability of a class from which on the consensus is sure."""
    consensus: Literal["majority", "dawid_skene", "glad"] = "dawid_skene"
    """How several answers become one label: shares of votes, or annotators' accuracies as two models estimate them. Of
    numbers `majority` is the plain median; by default it is weighted by how far each annotator was off before."""
    gold_every: Annotated[int, Field(ge=0), Unit("cases")] = 0
    """One case in so many that an annotator is given has a known answer; 0: none."""
    programs_audited: Unless[Annotated[float, Field(ge=0, le=1), Unit("share")]] = None
    """Share of the cases answered by programs that people answer too, whose answer then counts. By default 0.1."""
    withdraw_below: Annotated[float, Field(ge=0, le=1), Unit("share")] = 0.0
    """Active cases are withdrawn when the uncertainty that a newer model has of them is below this share of what the
    case was asked with; 0: never."""
    blind: Unless[bool] = None
    """Whether the console hides what the model thinks of a case until it is answered, so that nobody leans on it. By
    default it is shown."""
    hidden: dict[str, list[Literal["annotator", "reviewer", "admin", "viewer", "program"]]] = {}
    """Context columns, and the roles that may not see them."""
    due: Unless[Due] = None
    """By when cases should be answered; without it, they have no due times."""


class Segments(Section):
    """Parts of the stream of which none goes unseen: plants, regions, groups of patients."""

    column: str
    """Context column whose values are the segments; an event without a value is of a segment of its own."""
    least: Annotated[float, Field(ge=0, le=0.5), Unit("share")] = 0.02
    """A segment with events in a tile is asked about there if fewer of the last 1,000 cases were of it. At most half of
    a tile's active cases are given so, to those first that were asked about the least."""
    most: Annotated[float, Field(gt=0, le=1), Unit("share")] = 1.0
    """Share of a tile's active cases that one segment may have, where others have events to ask about."""


class Cost(Section):
    """What answers cost, in whole units of whatever is short: seconds of people's time, cents that a lab test takes.

    With it `selection.total`, `per_hour` and `per_day` are in this unit; a tile's `budget` and `explore` stay cases.
    """

    unit: Annotated[str, Field(min_length=1, max_length=20)]
    """The unit, for people: `seconds`, `cents`."""
    case: Annotated[Count, Unit("cost")] = 1
    """Cost of a case, answered or not: what is asked is spent."""
    column: Unless[str] = None
    """Context column on whose value the cost depends."""
    of: Annotated[dict[str, Annotated[Count, Unit("cost")]], Field(max_length=1_000)] = {}
    """Cost of cases of these values of the column, `true` and `false` of truth values. All others cost `case`."""

    @property
    def dearest(self) -> int:
        """Most that a case can cost."""
        return max([self.case, *self.of.values()])

    def of_case(self, context: Mapping[str, object]) -> int:
        """Cost of a case. context: of it, as the person sees it."""
        value = None if self.column is None else context.get(self.column)
        if value is None:
            return self.case
        if isinstance(value, float):
            value += 0.0  # of -0.0 the sign is gone
        return self.of.get(str(value).lower() if isinstance(value, bool) else str(value), self.case)


class Selection(Section):
    """Policy and budget: at most `budget` cases in a tile, of which `explore` are reserved for the unbiased draw."""

    policy: Annotated[str, Field(max_length=200), OneOf(STRATEGIES)] = "robust"
    """The strategy by which active cases are chosen: `robust`, `margin`, `badge`, `random` and others
    (docs/explanation/selection.md), or `module:Class` of your own."""
    options: Unless[dict[str, float | int | str | bool]] = None
    """Settings of the strategy, where it has some."""
    version: str = "1"
    """Another version tosses other coins."""
    tile: Duration
    """Length of event time in which one decision is made."""
    budget: Annotated[Count, Unit("cases")]
    """Most cases that are asked in a tile."""
    explore: Annotated[int, Field(ge=0), Unit("cases")]
    """Cases of the budget that are drawn at random from all events. They alone measure the model."""
    draw: Unless[Literal["uniform", "focused"]] = None
    """How the random cases are drawn: all events alike (`uniform`, the default), or more of those that the model is
    unsure of (`focused`), each counted by the chance that it had. Figures need fewer labels then, above all of a rare
    class."""
    total: Annotated[Count, Unit("cases")] | None = None
    """Cases in all, ever; with `cost`, their cost."""
    per_hour: Unless[Annotated[Count, Unit("cases")]] = None
    """Most cases that are asked in an hour of Kafka's clock (UTC), whatever the event times: what people can answer.
    With `cost`, what they cost."""
    per_day: Unless[Annotated[Count, Unit("cases")]] = None
    """The same for a day."""
    cost: Unless[Cost] = None
    """What answers cost; without it each case counts as one."""
    saved: Unless[Annotated[float, Field(gt=0, le=1), Unit("share")]] = None
    """Share of `total` that is saved for change: once no more is left a tile asks fewer and fewer cases. So most is
    spent at the start, where labels teach most, and something is there when the stream changes."""
    candidates_per_pick: Annotated[Count, Unit("events")] = 10
    """How many of the most uncertain events a strategy chooses from, for each case that it asks."""
    mixed: bool = False
    """Whether twice as large a share of the budget is drawn at random as the model is unsure of a tile's events on
    average, whatever the policy: where it is unsure of half, choosing hardly pays. Of `robust` it is so always."""
    memory: Annotated[int, Field(ge=0, le=10_000), Unit("cases")] = 0
    """An active case is no near-duplicate of so many asked before it, where there are others. 0: it may be."""
    segments: Unless[Segments] = None
    """Floors and quotas by segment for the active cases."""
    idle_timeout: Duration = 5_000_000
    """Wall time without rows after which a partition holds no tile open."""
    expires_after: Duration | None = None
    """How long after it was asked a case is of use, by Kafka's clock: event times and devices' clocks play no part."""

    @property
    def focused(self) -> bool:
        """Whether random cases are drawn where the model is unsure."""
        return self.draw == "focused"


class Start(Section):
    """What is asked before there is a model, and until it knows the class that is looked for."""

    anomalies: Annotated[int, Field(ge=0, le=1_000_000), Unit("labels")] = 32
    """While there is no model, a part of the active cases are the oddest events of their tile, the others are drawn at
    random: about half at first, then as many as labels say that the class is rare and odd events hold it. Once so many
    labels of them hold no more positives than the drawn ones, a quarter at most. 0: no case is chosen for being odd."""
    positives: Annotated[int, Field(ge=0, le=1_000_000), Unit("labels")] = 20
    """Positive labels until which the likeliest positives are asked about, once there is a model; with more than two
    classes, labels of rare ones. The policy chooses sooner where drawn labels say that the class is common or half of
    all are positive, and after ten times as many labels in all. 0: from the first model on."""
    rule: Unless[Annotated[str, Field(min_length=1, max_length=10_000)]] = None
    """SQL over the features, such as `amount > 1000`: while there is no model, events for which it is true are asked
    about before odd ones."""
    pool: Annotated[int, Field(ge=1, le=20_000), Unit("events")] = 1_000
    """Events of a tile, at most, among which the oddest are looked for: a random draw of a larger tile's."""


class Training(Section):
    """When to retrain, and LightGBM's parameters."""

    every: Annotated[Count, Unit("labels")] = 100
    """A new model is trained after this many new labels at most; while labels are few, sooner."""
    min_labels: Annotated[Count, Unit("labels")] = 16
    """Labels that the first model needs."""
    min_positive: Annotated[Count, Unit("labels")] = 1
    """Labels of the positive class that the first model needs; with more than two classes, of all but the commonest. Of
    a number it says nothing."""
    max_interval: Duration | None = None
    """A new model is trained after this time at the latest, if there is a new label."""
    learner: Unless[LearnerName] = None
    """What learns from the labels: `boosted` trees, a random `forest`, `extra_trees`, `linear` (a ridge regression on
    ranks), their `mean`, or `auto`, which weighs them by how well they foretell labels. Of up to ten classes, and of a
    number, the default is `mean`, which makes most of few labels; of more it is `boosted`, which has more for each
    class and predicts four times as many rows a second."""
    forget: Literal["never", "auto"] = "never"
    """`auto`: labels of old events count less, where the newest labels are foretold better then. How fast they do is
    chosen at each training; where nothing has changed all count alike. A training takes several times as long."""
    trust: Unless[Literal["measured", "all"]] = None
    """`measured`, the default: where several people or programs answer, labels of one that is surely worse than the
    others count less, or not at all; what was imported and what several have agreed on counts whole. `all`: all count
    alike."""
    params: dict[str, float | int | str | bool] = {}
    """Parameters of LightGBM. The how-to guide on operations lists those that may be set."""


NumberMetric = Literal["rmse", "mae"]
"""What models of a number are compared by: root of the mean squared error, or mean absolute error."""
GateMetric = Literal["log_loss", "average_precision", "rmse", "mae"]


class Gates(Section):
    """When a challenger replaces the champion."""

    metric: GateMetric = "log_loss"
    """What champion and challenger are compared by. Of a number: `rmse` (root of the mean squared error; its default)
    or `mae` (mean absolute error)."""
    tolerance: Annotated[float, Field(ge=0), Unit("the metric's own")] = 0.02
    """How much worse than the champion a challenger may be; of a number a share of the champion's error. One that is
    worse by more is refused if the difference is no chance: if its 95 % interval leaves out 0."""
    min_holdout: Annotated[Count, Unit("labels")] = 10
    """Labels that neither model has learnt from, before the two are compared."""
    proof_from: Annotated[Count, Unit("labels")] = 2_000
    """Once the champion has learnt from so many labels, a challenger replaces it only if it is shown to be better: by a
    test that errs in 5 % of champions at most, however often it is looked at. While labels are few one that is not
    shown to be worse replaces it, for it has learnt from more."""


class Alerts(Section):
    """What alerts must find, and how many a day people can look at: `tidemark status` tells the threshold for both."""

    recall: Annotated[float, Field(gt=0, lt=1), Unit("share")] = 0.8
    """Share of the events of `label.positive` that must be flagged. The threshold is the highest that is known to flag
    so many, by a test on the randomly drawn answers that errs in 5 % of models at most, however often it is told."""
    per_day: Unless[Annotated[float, Field(gt=0), Unit("alerts")]] = None
    """Alerts a day that people can look at."""


Bounded = Annotated[float | int, Field(ge=-1e100, le=1e100)]


class Costs(Section):
    """What a decision costs, in one unit, whichever that is: the cheapest on average is taken."""

    missed: Annotated[float, Field(gt=0, allow_inf_nan=False), Unit("cost")]
    """Of an event of the class that nobody is told of."""
    false_alarm: Annotated[float, Field(gt=0, allow_inf_nan=False), Unit("cost")]
    """Of an alert that is of another class."""
    review: Unless[Annotated[float, Field(gt=0, allow_inf_nan=False), Unit("cost")]] = None
    """Of a person's look. Where that is the least, the decision is `abstain`. Without it there is none."""


class DecisionRule(Section):
    """What is done about predictions. The flow `decide` writes each decision once to `P.decisions`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,49}$")]
    """Of the rule, in its decisions. Each rule decides for itself."""
    of: Unless[str] = None
    """The class that is told of; `label.positive` by default."""
    threshold: Unless[Annotated[Annotated[float, Field(gt=0, le=1)] | Literal["recall"], Unit("probability")]] = None
    """Probability of the class from which on an event is an alert. `"recall"`: the one that `[alerts]` knows to find
    enough; until one is known there is no alert, and of a new model that has none yet, that of the one before
    holds."""
    at_most: Unless[Annotated[Bounded, Unit("the label's own")]] = None
    """Where the label is a number: an event whose number is this or less is an alert."""
    at_least: Unless[Annotated[Bounded, Unit("the label's own")]] = None
    """The same, of a number that is this or more."""
    by: Unless[Literal["value", "low", "high"]] = None
    """Which of a prediction's numbers is compared: the `value` that is foretold, which is the default, or an end of its
    interval. `at_most` with `high` is sure, and with `low` cautious; `at_least` the other way round."""
    costs: Unless[Costs] = None
    """In place of a threshold: it follows from what errors cost."""
    abstain_from: Unless[Annotated[Bounded, Unit("probability, or the label's own")]] = None
    """With a threshold: from this probability on, and below the threshold, the decision is `abstain`: a person should
    look. Of a number, from this number on, and short of the one from which on it is an alert."""
    suppress: Unless[Duration] = None
    """For so long after an alert another event of the key is `suppressed`, by event time; after an `abstain` another
    one, but no alert."""
    per_day: Unless[Annotated[Count, Unit("alerts")]] = None
    """Most alerts of a day of `label.zone`. What would be more, or is less likely than so many of the 24 hours before,
    is `over_budget`."""


class Sample(Section):
    """The background sample: events drawn at random, with their features, in `P.sample`."""

    size: Annotated[int, Field(ge=0, le=100_000), Unit("events")] = 4_096
    """Most events that the sample holds. A new one takes the place of a random older one, so that the sample follows
    the present: once so many have been drawn since, a third of what was there is left. 0: no sample is drawn."""


class Reaction(Section):
    """What follows from an alarm of drift by itself, for a time. One that comes meanwhile begins nothing more."""

    alarms: Annotated[
        list[Literal["inputs_changed", "predictions_changed", "labels_changed", "quality_fell"]], Field(min_length=1)
    ] = ["labels_changed", "quality_fell"]
    """The alarms that are followed. A change of inputs alone need not harm."""
    lasts: Duration = 7 * 86_400_000_000
    """For how long, by Kafka's clock."""
    budget: Annotated[float, Field(ge=1, le=100), Unit("times")] = 2.0
    """How many times `selection.budget` a tile may ask. `total`, `per_hour` and `per_day` hold all the same; what
    `selection.saved` keeps for change may be spent."""
    explore: Annotated[float, Field(ge=1, le=100), Unit("times")] = 2.0
    """How many times `selection.explore` is drawn at random, of that budget."""
    most: Annotated[Count, Unit("cases")] = 500
    """Cases at most that are asked beyond the usual ones."""
    retrain: bool = True
    """Whether a model is trained from what is known then, and four times as often as usual while it lasts."""


class Drift(Section):
    """When it is said that the stream has changed (docs/explanation/drift.md)."""

    alarms_per_year: Annotated[float, Field(ge=0, le=1_000), Unit("alarms")] = 1.0
    """False alarms a year of event time, at most and on average: while nothing changes. More of them, and changes are
    found sooner, if only a little. 0: nothing is looked for."""
    season: Season = 86_400_000_000
    """After what time the stream repeats itself. Each 24th of it is compared with its own past, so that a night is no
    change; nothing can be said before it has passed once. `7d` where weekends differ; `none`: all is compared with all
    before."""
    reaction: Unless[Reaction] = None
    """What follows from an alarm by itself. Without it people decide."""


class Retention(Section):
    """How long topics keep what they hold."""

    events: Duration = 7 * 86_400_000_000
    """Of events, hops, candidates and metrics, at least: topics that we make are kept for longer where windows
    reach further than this, or truth comes later, with three days for an outage."""


class Limits(Section):
    """Most bytes (UTF-8) of what a record brings; beyond, it is a dead letter that names the limit."""

    key: Annotated[int, Field(ge=1, le=16_384), Unit("bytes")] = 1_024
    """Of the text of each of `keys` and of `label.business_id`."""
    text: Annotated[int, Field(ge=1, le=131_072), Unit("bytes")] = 65_536
    """Of each other text, as cleaned."""
    row: Annotated[int, Field(ge=1, le=131_072), Unit("bytes")] = 131_072
    """Of all texts of a record together."""


class Pipeline(Section):
    """A use case, whole."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]
    """Prefix of the pipeline's topics and groups."""
    title: str = ""
    """Name of the use case, for people."""
    partitions: Annotated[int, Field(ge=1, le=10_000), Unit("partitions")] = 4
    """Partitions of the topics that Tidemark makes."""
    raw: Annotated[list[Raw], Field(min_length=1)]
    """The raw topics."""
    keys: Annotated[list[str], Field(min_length=1)]
    """Columns that windows are kept by; the first is the key of the raw records."""
    time: Time
    """Event time."""
    columns: Annotated[dict[str, Column], Field(min_length=1)]
    """Columns of the raw records. A column that is not declared is not read."""
    clean: list[str] = []
    """SQL expressions over the columns, in order, each `... AS column`."""
    deduplicate: Unless[Deduplicate] = None
    """Records that are sent more than once. Without it each counts."""
    features: list[Feature] = []
    """Features of the row itself."""
    windows: list[Window] = []
    """Features over earlier rows of a key."""
    derived: list[Derived] = []
    """Features of other features."""
    label: LabelSpec
    """What people are asked."""
    labeling: Labeling = Labeling()
    """How cases are given out."""
    selection: Selection
    """Which cases are asked, and how many."""
    start: Start = Start()
    """What is asked before there is a model."""
    training: Training = Training()
    """When a model is trained, and how."""
    gates: Gates = Gates()
    """When a model replaces another."""
    alerts: Unless[Alerts] = None
    """What alerts must find. Without it nothing is told of them."""
    decisions: Annotated[list[DecisionRule], Field(exclude_if=lambda value: not value, max_length=20)] = []
    """What is done about predictions (docs/how-to/decisions.md)."""
    sample: Sample = Sample()
    """The background sample."""
    drift: Drift = Drift()
    """When it is said that the stream has changed."""
    retention: Retention = Retention()
    """How long topics keep what they hold."""
    limits: Limits = Limits()
    """Sizes above which a record is a dead letter."""
    sources: Annotated[list[SourceSpec], Field(exclude_if=lambda value: not value, max_length=100)] = []
    """From where raw records come besides Kafka."""
    outputs: Annotated[list[OutputSpec], Field(exclude_if=lambda value: not value, max_length=20)] = []
    """Predictions and candidates in other topics and forms (docs/how-to/outputs.md)."""
    webhooks: Annotated[list[WebhookSpec], Field(exclude_if=lambda value: not value, max_length=20)] = []
    """Programs elsewhere that are told what happens (docs/how-to/webhooks.md)."""
    label_studio: Unless[LabelStudioSpec] = None
    """Where cases are answered besides (docs/how-to/label-studio.md)."""
    ask: Unless[AskSpec] = None
    """Answers at once, over gRPC (docs/how-to/ask-now.md). Without this table nobody is answered."""
    features_topic: bool = False
    """Whether the features of every event are written to `P.features`."""
    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The folder of the pipeline file, by which it names other files; the present one where it came from none."""
        return self._folder

    @property
    def feature_names(self) -> list[str]:
        """Names of the model's columns, in their order: features, windows, derived."""
        return [
            *(feature.name for feature in self.features),
            *(window.name for window in self.windows),
            *(derived.name for derived in self.derived),
        ]

    @property
    def scales(self) -> dict[str, ScaleKind]:
        """Rules of the features that models take scaled."""
        scaled: list[Feature | Window | Derived] = [*self.features, *self.windows, *self.derived]
        return {each.name: each.scale for each in scaled if each.scale is not None}

    @property
    def gate_metric(self) -> GateMetric:
        """What models are compared by: `gates.metric`, whose default is of classes, or that of numbers."""
        numbers = get_args(NumberMetric)
        return "rmse" if self.label.is_number and self.gates.metric not in numbers else self.gates.metric

    @property
    def learner(self) -> LearnerName:
        """What learns from the labels: `training.learner`, or what is best by default for so many classes."""
        by_default: LearnerName = "mean" if len(self.label.classes) <= _FEW_CLASSES else "boosted"
        return self.training.learner or by_default

    @property
    def topics(self) -> Topics:
        """Names of the pipeline's topics."""
        return Topics(self.name)

    @property
    def raw_topics(self) -> list[str]:
        """Names of the raw topics."""
        return [raw.topic for raw in self.raw]

    @property
    def repartitions(self) -> bool:
        """Whether raw records are keyed by something else than the first key, by which they must be."""
        return any(raw.key == "other" for raw in self.raw) and self.needs_record_keys

    @property
    def needs_record_keys(self) -> bool:
        """Whether rows of one value of the first key must meet in one partition: for its windows, or as duplicates."""
        return self.deduplicate is not None or any(window.key == self.keys[0] for window in self.windows)

    @property
    def hops(self) -> list[str]:
        """Keys whose windows rows reach by a topic of the pipeline's own: all after the first, which may be too."""
        return self.keys if self.repartitions else self.keys[1:]

    @property
    def hop_topics(self) -> list[str]:
        """Names of the topics between the keys' windows: one for each of `hops`."""
        return [self.topics.hop(key) for key in self.hops]

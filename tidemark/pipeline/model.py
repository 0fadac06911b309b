"""The pipeline file as a typed model. Attribute names are the file's keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Duration = Annotated[int, Field(gt=0, description="a duration as '500ms', '30s', '15m', '6h', '7d'; held in µs")]
ColumnType = Literal["string", "int", "float", "bool"]


class Section(BaseModel):
    """Base of every table of the file: unknown keys are errors, values don't change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Raw(Section):
    """A raw topic."""

    topic: str
    format: Literal["json"] = "json"


class Time(Section):
    """Event time: the column, how it is written, and how far out of order rows may be."""

    column: str
    format: Literal["iso8601", "epoch_s", "epoch_ms", "epoch_us"] = "iso8601"
    lateness: Duration = 60_000_000
    max_ahead: Duration = 86_400_000_000


class Column(Section):
    """A column of the raw records."""

    type: ColumnType
    required: bool = True
    missing: list[str | float | int] = []


class Feature(Section):
    """A feature computed from the row's own columns: a SQL expression, or `module:function` (Polars in, Polars out)."""

    name: str
    sql: str | None = None
    function: str | None = None
    categories: list[str] | None = None


class Window(Section):
    """A windowed aggregate over earlier rows of the same key."""

    name: str
    key: str
    aggregate: str
    column: str | None = None
    size: Duration
    include_current: bool = False


class LabelSpec(Section):
    """What people are asked: the classes in order, the positive one, the natural delay of truth."""

    business_id: str | None = None
    classes: list[str]
    positive: str
    delay: Duration
    grace: Duration = 86_400_000_000
    context: list[str] = []
    question: str = ""


class Selection(Section):
    """Policy and budget: at most `budget` cases in a tile, of which `explore` are reserved for the unbiased draw."""

    policy: Literal["margin", "entropy", "least_confidence", "badge", "margin_kmeans", "random"] = "margin_kmeans"
    version: str = "1"
    tile: Duration
    budget: int
    explore: int
    total: int | None = None
    candidates_per_pick: int = 10
    idle_timeout: Duration = 5_000_000
    expires_after: Duration | None = None


class Training(Section):
    """When to retrain, and LightGBM's parameters."""

    every: int = 100
    min_labels: int = 20
    min_positive: int = 2
    max_interval: Duration | None = None
    params: dict[str, float | int | str | bool] = {}


class Gates(Section):
    """When a challenger replaces the champion."""

    metric: Literal["log_loss", "average_precision"] = "log_loss"
    tolerance: float = 0.02
    min_holdout: int = 30


class Retention(Section):
    """How long topics keep what they hold."""

    events: Duration = 7 * 86_400_000_000


class Pipeline(Section):
    """A use case, whole."""

    name: str
    title: str = ""
    partitions: int = 4
    raw: list[Raw]
    keys: list[str]
    time: Time
    columns: dict[str, Column]
    clean: list[str] = []
    features: list[Feature] = []
    windows: list[Window] = []
    label: LabelSpec
    selection: Selection
    training: Training = Training()
    gates: Gates = Gates()
    retention: Retention = Retention()
    features_topic: bool = False

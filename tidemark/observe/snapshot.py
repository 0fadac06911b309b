"""One look at a running pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tidemark.observe.more_labels import Gain
from tidemark.observe.status_record import SourceStatus, WebhookStatus
from tidemark.records import Metric, ModelManifest


@dataclass(frozen=True, slots=True)
class FlowState:
    """A flow's consumer group: how many processes are in it, and how far behind they are (records, markers counted).

    model: version in force there; `none` before the first, "" where none plays a part or nothing was told yet.
    last_rows: versions that predicted the last rows of the partitions, where these are not all of `model`.
    """

    name: str
    members: int
    lag: int
    model: str = ""
    last_rows: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pipeline at one moment.

    at: seconds since 1970.  ends: records ever written to each topic, by its end offsets.
    rates: records a second since the look before, by topic.  metrics: the latest by name.
    problems: what is wrong, in sentences.  notes: what a person should know and is not wrong.
    ranked_by: version that the labeling service ranks cases by, "" where it has told of none.
    parts: end offset of each partition of each topic.  begun: whether it was ever started: its own topics are there.
    gain: what the next hundred labels bring, where that can be told.  sources, webhooks: of the pipeline.
    """

    at: float
    ends: dict[str, int]
    rates: dict[str, float]
    flows: list[FlowState]
    champion: ModelManifest | None
    metrics: dict[str, Metric]
    problems: list[str] = field(default_factory=list)
    ranked_by: str = ""
    notes: list[str] = field(default_factory=list)
    parts: dict[str, dict[int, int]] = field(default_factory=dict)
    begun: bool = True
    gain: Gain | None = None
    sources: list[SourceStatus] = field(default_factory=list)
    webhooks: list[WebhookStatus] = field(default_factory=list)

"""Names of a pipeline's topics, and what each must be like (see docs/explanation/architecture.md)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

_NOT_OF_TOPICS: Final = re.compile(r"[^A-Za-z0-9._-]")
_DIGITS: Final = 8
_FOREVER = {"retention.ms": "-1", "retention.bytes": "-1"}
_COMPACTED = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.5"}
_SMALL_SEGMENTS = {"segment.bytes": "16777216"}
"""Kafka compacts no segment that is written to: with its own size, 1 GiB, a sample of 6 MB would grow to that."""

_OUTLIVES_MS = 8 * 86_400_000
"""For so long decisions outlive their predictions, so that what is read again is known to be decided. Kafka removes a
segment as a whole, and writes to it for a week (`segment.ms`): a prediction may be there for so long after its time."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be: partitions and the broker's per-topic settings."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names of one pipeline, `P` in the documentation."""

    pipeline: str

    def hop(self, key: str) -> str:
        """Name of the topic that hands rows on to the windows over `key`.

        What a topic's name can't have is `_` there, and digits tell apart the keys that would be alike.
        """
        written = _NOT_OF_TOPICS.sub("_", key)
        if written != key:
            written += f"-{hashlib.sha256(key.encode()).hexdigest()[:_DIGITS]}"
        return f"{self.pipeline}.by-{written}"

    @property
    def features(self) -> str:
        """Arrow batches of features, one record a micro-batch (optional)."""
        return f"{self.pipeline}.features"

    @property
    def predictions(self) -> str:
        """One JSON record for each event."""
        return f"{self.pipeline}.predictions"

    @property
    def proposals(self) -> str:
        """Each batch's best and its exploration draw; one partition, whose order is the merge order."""
        return f"{self.pipeline}.proposals"

    @property
    def sample(self) -> str:
        """Compacted, by place: a random sample of events with their features, newer ones in place of older ones."""
        return f"{self.pipeline}.sample"

    @property
    def candidates(self) -> str:
        """What a person should look at."""
        return f"{self.pipeline}.candidates"

    @property
    def decisions(self) -> str:
        """What rules made of predictions; one partition. Only where the pipeline has `[[decisions]]`."""
        return f"{self.pipeline}.decisions"

    @property
    def answered(self) -> str:
        """What callers were told at once, one JSON record for each event. Only where the pipeline has `[ask]`."""
        return f"{self.pipeline}.answered"

    @property
    def labels(self) -> str:
        """Annotations, kept forever."""
        return f"{self.pipeline}.labels"

    @property
    def outcomes(self) -> str:
        """Late-arriving truth, kept forever."""
        return f"{self.pipeline}.outcomes"

    @property
    def models(self) -> str:
        """Compacted: model chunks, manifests and the champion pointer."""
        return f"{self.pipeline}.models"

    @property
    def label_features(self) -> str:
        """Compacted, by event id: features of labeled events, recomputed after the pipeline file was edited."""
        return f"{self.pipeline}.label-features"

    @property
    def metrics(self) -> str:
        """Quality, rates and budget use."""
        return f"{self.pipeline}.metrics"

    @property
    def ingest(self) -> str:
        """Compacted: how far files were ingested."""
        return f"{self.pipeline}.ingest"

    @property
    def deadletter(self) -> str:
        """What could not be processed, as it came, with the reason in its headers."""
        return f"{self.pipeline}.deadletter"

    @property
    def deadletter_marks(self) -> str:
        """Compacted: which dead letters were sent again, or need nothing more."""
        return f"{self.pipeline}.deadletter-marks"

    @property
    def webhooks(self) -> str:
        """Compacted: deliveries of webhooks under way, and how far each has read; where a pipeline has webhooks."""
        return f"{self.pipeline}.webhooks"

    @property
    def webhooks_spec(self) -> TopicSpec:
        """That topic as it should be."""
        return TopicSpec(self.webhooks, 1, _COMPACTED | _SMALL_SEGMENTS)

    def shadow(self, name: str) -> str:
        """What a replay called `name` gave: predictions with their features. Made and removed by `tidemark replay`."""
        return f"{self.pipeline}.shadow.{name}"

    def specs(
        self,
        *,
        raw: list[str],
        hops: list[str],
        partitions: int,
        retention_ms: int,
        short_retention_ms: int = 6 * 3_600_000,
        predictions_retention_ms: int = 0,
        decisions: bool = False,
        asked: bool = False,
    ) -> list[TopicSpec]:
        """Every topic of the pipeline; `partitions` is the number of raw partitions.

        short_retention_ms: of the proposals, which selection reads again from the beginning of an open tile.
        predictions_retention_ms: of the predictions, if longer: they are joined to outcomes that come late.
        decisions: whether the pipeline has rules.
        asked: whether it has `[ask]`.
        """
        time, kept = {"retention.ms": str(retention_ms)}, max(retention_ms, predictions_retention_ms)
        compacted = dict(_COMPACTED)
        return [
            *(TopicSpec(name, partitions, dict(time)) for name in raw),
            *(TopicSpec(self.hop(key), partitions, dict(time)) for key in hops),
            TopicSpec(self.features, partitions, dict(time)),
            TopicSpec(self.predictions, partitions, {"retention.ms": str(kept)}),
            TopicSpec(self.proposals, 1, {"retention.ms": str(short_retention_ms)}),
            TopicSpec(self.sample, 1, compacted | _SMALL_SEGMENTS),
            TopicSpec(self.candidates, 1, dict(time)),
            *([TopicSpec(self.answered, partitions, {"retention.ms": str(kept)})] if asked else []),
            *([TopicSpec(self.decisions, 1, {"retention.ms": str(kept + _OUTLIVES_MS)})] if decisions else []),
            TopicSpec(self.labels, 1, dict(_FOREVER)),
            TopicSpec(self.outcomes, partitions, dict(_FOREVER)),
            TopicSpec(self.models, 1, compacted),
            TopicSpec(self.label_features, 1, dict(compacted)),
            TopicSpec(self.ingest, 1, dict(compacted)),
            TopicSpec(self.metrics, 1, dict(time)),
            TopicSpec(self.deadletter, 1, dict(time)),
            TopicSpec(self.deadletter_marks, 1, dict(compacted)),
        ]

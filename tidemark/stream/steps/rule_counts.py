"""How many values the rules of columns changed, and how many rows were duplicates: to `P.metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from tidemark.pipeline import Pipeline
from tidemark.records import Metric, encode
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.processor import Output
from tidemark.runtime.steps import RoundContext
from tidemark.stream.steps.decode import DecodedBatches
from tidemark.stream.steps.window_features import Windowed

METRICS: Final = (
    MetricKind(
        "cleaned_share",
        "share",
        "stream",
        "stream",
        "Values that the rules of columns changed, in relation to rows. The detail counts them by column and rule.",
    ),
    MetricKind(
        "scaled_share",
        "share",
        "stream",
        "stream",
        "Values that the model's scales changed, in relation to rows. The detail counts them by feature and rule.",
    ),
    MetricKind(
        "duplicate_share",
        "share",
        "stream",
        "stream",
        "Share of rows that were dropped, because an earlier one had the same key (`[deduplicate]`).",
    ),
)
CLEANED: Final = "cleaned_share"
SCALED: Final = "scaled_share"
DUPLICATES: Final = "duplicate_share"
_EVERY: Final = 10.0
_MOST_TOLD: Final = 50
_SECOND: Final = 1_000_000


def has_rules(pipeline: Pipeline) -> bool:
    """Whether a pipeline has rules that change values: defaults and missing values are what columns are read by."""
    return any(column.convert or column.range or column.vocabulary for column in pipeline.columns.values())


class RuleCounts:
    """Counts by name, told as one metric every ten seconds in which there were any; then once more."""

    def __init__(self, topic: str, metric: str) -> None:
        self._topic, self._metric = topic, metric
        self._counts: Counter[str] = Counter()
        self._rows = 0
        self._told_at: float | None = None
        self._worth_telling = False

    def add(self, rows: int, counts: Mapping[str, int]) -> None:
        """Count."""
        self._rows += rows
        self._counts.update(counts)

    def tell(self, now: float) -> list[Output]:
        """The metric, if it is time. now: s since 1970."""
        if self._told_at is None:
            self._told_at = now
        if now - self._told_at < _EVERY or not self._rows:
            return []
        before, self._worth_telling = self._worth_telling, bool(self._counts)
        if not before and not self._worth_telling:
            self._rows, self._told_at = 0, now
            return []
        told = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TOLD]
        metric = Metric(
            name=self._metric,
            value=self._counts.total() / self._rows,
            low=None,
            high=None,
            n=self._rows,
            at=int(now * _SECOND),
            model="",
            source="stream",
            detail=dict[str, str | float | int | None](told),
        )
        self._counts.clear()
        self._rows, self._told_at = 0, now
        return [Output(self._topic, encode(metric), metric.name.encode())]


class RuleCountsStep:
    """Counts what rules change."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._counts = RuleCounts(pipeline.topics.metrics, CLEANED)

    def process(self, decoded: Sequence[DecodedBatches], context: RoundContext) -> list[Output]:
        """The metric, if it is time."""
        if context.tick is not None:
            return self._counts.tell(context.tick)
        for rows in () if context.replay else decoded:
            changed = {f"{column}.{rule}": count for (column, rule), count in rows.decoded.changed.items()}
            self._counts.add(len(rows.joined), changed)
        return []


class DuplicateCountsStep:
    """Counts the rows that were dropped as duplicates."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._counts = RuleCounts(pipeline.topics.metrics, DUPLICATES)

    def process(self, windowed: Windowed, context: RoundContext) -> list[Output]:
        """The metric, if it is time."""
        if context.tick is not None:
            return self._counts.tell(context.tick)
        kept = sum(len(portion.rows) for portion in windowed.portions)
        self._counts.add(kept + windowed.dropped, {"duplicates": windowed.dropped} if windowed.dropped else {})
        return []

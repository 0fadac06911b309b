"""How many values the rules of columns changed: to `P.metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from tidemark.pipeline import Pipeline
from tidemark.records import Metric, encode
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.processor import Output
from tidemark.runtime.steps import RoundContext
from tidemark.stream.steps.decode import DecodedBatches

METRICS: Final = (
    MetricKind(
        "cleaned_share",
        "share",
        "stream",
        "stream",
        "Values that the rules of columns changed, in relation to rows. The detail counts them by column and rule.",
    ),
)
_EVERY: Final = 10.0
_MOST_TOLD: Final = 50
_SECOND: Final = 1_000_000


def has_rules(pipeline: Pipeline) -> bool:
    """Whether a pipeline has rules that change values: defaults and missing values are what columns are read by."""
    return any(column.convert or column.range or column.vocabulary for column in pipeline.columns.values())


class RuleCountsStep:
    """Counts what rules change, and tells it every ten seconds in which they did; then once more."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._topic = pipeline.topics.metrics
        self._counts: Counter[tuple[str, str]] = Counter()
        self._rows = 0
        self._told_at: float | None = None
        self._worth_telling = False

    def process(self, decoded: Sequence[DecodedBatches], context: RoundContext) -> list[Output]:
        """The metric, if it is time."""
        if context.tick is None:
            if not context.replay:
                for rows in decoded:
                    self._rows += len(rows.joined)
                    self._counts.update(rows.decoded.changed)
            return []
        if self._told_at is None:
            self._told_at = context.tick
        if context.tick - self._told_at < _EVERY or not self._rows:
            return []
        before, self._worth_telling = self._worth_telling, bool(self._counts)
        if not before and not self._worth_telling:
            self._rows, self._told_at = 0, context.tick
            return []
        told = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TOLD]
        metric = Metric(
            name=METRICS[0].name,
            value=self._counts.total() / self._rows,
            low=None,
            high=None,
            n=self._rows,
            at=int(context.tick * _SECOND),
            model="",
            source="stream",
            detail={f"{column}.{rule}": count for (column, rule), count in told},
        )
        self._counts.clear()
        self._rows, self._told_at = 0, context.tick
        return [Output(self._topic, encode(metric), metric.name.encode())]

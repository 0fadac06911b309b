"""Figures of the stream, of labels and of outcomes, every few seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tidemark.monitoring import figures
from tidemark.monitoring.delays import Delays, Newest
from tidemark.monitoring.options import Options
from tidemark.monitoring.steps.decode import DecodedRows
from tidemark.monitoring.steps.join_outcomes import JoinOutcomesStep
from tidemark.monitoring.steps.keep_labels import KeptLabels
from tidemark.pipeline.model import Pipeline
from tidemark.records import NO_MODEL, Metric, encode
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.processor import Output
from tidemark.runtime.steps import RoundContext

RATE: Final = "prediction_rate"
"""The metric that is in every report."""
METRICS: Final = (
    MetricKind(RATE, "events a second", "monitor", "stream", "Predictions since the last report."),
    MetricKind("prediction_delay_p50", "s", "monitor", "stream", "Median time from append to prediction."),
    MetricKind("prediction_delay_p99", "s", "monitor", "stream", "99 % of the last predictions came within this time."),
)


@dataclass(slots=True)
class _Interval:
    """What has come since the last measurement."""

    predicted: int = 0
    labels: int = 0
    newest: Newest = field(default_factory=Newest)


class MeasureStep:
    """Measures when it is time. delays: asks how long predictions took; None: that is not measured."""

    def __init__(self, pipeline: Pipeline, options: Options, delays: Delays | None = None) -> None:
        self._delays = delays
        self._topic = pipeline.topics.metrics
        self._label = pipeline.label
        self._options = options
        self._last: float | None = None
        self._model = NO_MODEL
        self.reset()

    def reset(self) -> None:
        """Forget what has come: no partition is open."""
        self._changed = False
        self._interval = _Interval()

    def process(
        self, payload: tuple[list[DecodedRows], KeptLabels, JoinOutcomesStep], context: RoundContext
    ) -> list[Output]:
        """Take in a round's predictions and labels; figures when it is time, at a tick.

        payload: the predictions of the round, the labels, and what is joined.
        """
        predictions, labels, joined = payload
        if context.tick is not None:
            return self._measure(context.tick, labels, joined)
        self._changed |= bool(context.partitions)
        self._interval.labels += labels.new
        for decoded in predictions:
            self._count(decoded, replay=context.replay)
        return []

    def _count(self, decoded: DecodedRows, *, replay: bool) -> None:
        rows = decoded.rows
        if replay or not rows.shape[0]:
            return
        self._interval.predicted += rows.shape[0]
        self._interval.newest.take(decoded.batch, decoded.at)
        self._model = decoded.models[int(rows["model"][-1])]

    def _measure(self, now: float, labels: KeptLabels, joined: JoinOutcomesStep) -> list[Output]:
        """Figures, if it is time. now: seconds since 1970."""
        if self._last is None:
            self._last = now
        passed = now - self._last
        early = self._interval.labels >= self._options.labels and passed >= self._options.soonest
        if passed < self._options.every and not early:
            return []
        at = int(now * 1e6)
        metrics = list(self._stream(passed, at))
        if self._changed:
            metrics += self._quality(labels, joined, at)
        self._last = now
        self.reset()
        return [Output(self._topic, encode(metric), metric.name.encode()) for metric in metrics]

    def _quality(self, labels: KeptLabels, joined: JoinOutcomesStep, at: int) -> Iterator[Metric]:
        yield from labels.book.metrics(at)
        label, rows = self._label, joined.matured
        if label.is_number:
            yield from figures.of_numbers(rows, joined.models, unit=label.unit, at=at)
            return
        positive = label.classes.index(label.positive)
        yield from figures.from_outcomes(
            rows, joined.models, positive=positive, at=at, threshold=self._options.threshold
        )

    def _stream(self, passed: float, at: int) -> Iterator[Metric]:
        """Rate, and how long after the event's record its prediction was written (s)."""
        if passed > 0:
            yield self._stream_metric(RATE, self._interval.predicted / passed, at)
        for name, seconds, n in self._interval.newest.took(self._delays):
            yield self._stream_metric(name, seconds, at, n)

    def _stream_metric(self, name: str, value: float, at: int, n: int | None = None) -> Metric:
        n = self._interval.predicted if n is None else n
        return Metric(name=name, value=value, low=None, high=None, n=n, at=at, model=self._model, source="stream")

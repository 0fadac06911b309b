"""Answers of randomly drawn cases to alarms: the classes come in other shares, or the model has become worse."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels import hash64
from tidemark.drift.bins import fixed
from tidemark.drift.detector import Change, Detector, Moved
from tidemark.errors import RecordError
from tidemark.evaluation.focus import FLOOR, MARK, size_of
from tidemark.monitoring.alarms import Alarms, Announce
from tidemark.monitoring.change_metrics import change_metric, level_metric
from tidemark.monitoring.decoding import of_these_classes, probabilities_problem, time_problem
from tidemark.monitoring.options import Options
from tidemark.pipeline.model import Pipeline
from tidemark.records import Label, Metric, decode, encode
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Output
from tidemark.runtime.steps import RoundContext

METRICS: Final = (
    MetricKind(
        "labels_drift",
        "alarms",
        "monitor",
        "labels",
        "Evidence that the classes of randomly drawn cases come in other shares, in relation to what raises an alarm.",
    ),
    MetricKind(
        "quality_drift",
        "alarms",
        "monitor",
        "labels",
        "Evidence that the model in force has become worse, in relation to what raises an alarm.",
    ),
    MetricKind(
        "labels_changed",
        "answers",
        "monitor",
        "labels",
        "An alarm: after how many answers of randomly drawn cases the classes were known to come in other shares.",
    ),
    MetricKind(
        "quality_fell",
        "answers",
        "monitor",
        "labels",
        "An alarm: after how many answers of randomly drawn cases the model was known to have become worse. The detail "
        "has its mean squared error before, and over the last 50 answers.",
    ),
)
_LABELS, _QUALITY = 0.15, 0.2
"""Shares of the false alarms that the pipeline allows."""
_FIRST: Final = 40
_LAST: Final = 50
_REMEMBERED: Final = 50_000
_MOST_CLASSES: Final = 20


class WatchLabelsStep:
    """Watches answers for change, in the order in which they come, however late.

    It begins with the oldest label that is held, as the labels are read again from there. Of answers that are numbers
    it says nothing.

    announce: makes the record of an alarm that is followed; None where nobody follows.
    """

    def __init__(self, pipeline: Pipeline, options: Options, announce: Announce | None = None) -> None:
        self._alarms = Alarms(pipeline, announce)
        self._every = options.every
        self._topic, self._classes = pipeline.topics.metrics, pipeline.label.classes
        alarms = pipeline.drift.alarms_per_year
        self._looks = alarms > 0 and not pipeline.label.is_number
        alarms = alarms or 1.0
        numbers = np.arange(min(max(len(self._classes), 1), _MOST_CLASSES), dtype=np.float64)  # one where none looks
        self._shares = Detector(["class"], alarms=alarms * _LABELS, bins=fixed(numbers))
        self._worse = Detector(["error"], alarms=alarms * _QUALITY, first=_FIRST, upward=True)
        self._better = Detector(["error"], alarms=alarms * _QUALITY, first=_FIRST, upward=True)
        self.reset()

    def reset(self) -> None:
        """Begin with none."""
        self._shares.reset()
        self._begin()
        self._seen: dict[str, None] = {}
        self._truths: list[int] = []
        self._counts = np.zeros(len(self._classes))
        self._changed = False
        self._told: float | None = None

    def _begin(self) -> None:
        self._worse.reset()
        self._better.reset()
        self._errors: list[float] = []
        self._sum = 0.0

    def process(self, received: Received, context: RoundContext) -> list[Output]:
        """Alarms; at a tick how things are. What is no label is refused by whoever keeps labels."""
        if context.tick is not None:
            return self._tell(context.tick)
        metrics: list[Metric] = []
        for batch in received.batches if self._looks else ():
            for row in range(len(batch)):
                try:
                    label = decode(Label, batch.values[row])
                except RecordError:
                    continue
                metrics += self._label(label, int(batch.timestamps[row]) * 1_000)
        return [] if context.replay else [output for metric in metrics for output in self._alarms.records(metric)]

    def _label(self, label: Label, at: int) -> list[Metric]:
        if not self._is_drawn(label) or label.event_id in self._seen:
            return []
        self._seen[label.event_id] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        toss = hash64(label.event_id.encode())
        probabilities = of_these_classes(label.probabilities, len(self._classes))
        # A focused draw has more of some events than of others; of those, as many are passed over.
        if label.policy.endswith(MARK) and toss / 2**64 >= FLOOR / size_of(probabilities):
            return []
        self._changed = True
        truth = self._classes.index(label.label or "")
        metrics = []
        time = min(label.known_at, at) if at > 0 else label.known_at  # nobody knows an answer before it is written
        self._truths = [*self._truths[-_LAST + 1 :], truth]
        if change := self._shares.take(np.array([float(min(truth, _MOST_CLASSES - 1))]), time, toss):
            metrics.append(change_metric("labels_changed", self._named(change), at, source="labels"))
        self._counts[truth] += 1
        if probabilities is not None:
            metrics += self._judged(np.array(probabilities), truth, time, toss, at)
        return metrics

    def _judged(self, probabilities: NDArray[np.float64], truth: int, time: int, toss: int, at: int) -> list[Metric]:
        """Bet on the error of a prediction: half its squared distance from the truth, 0 to 1."""
        hit = np.zeros(len(probabilities))
        hit[truth] = 1.0
        error = float(np.square(probabilities - hit).sum()) / 2
        self._errors = [*self._errors[-_LAST + 1 :], error]
        self._sum += error
        change = self._worse.take(np.array([error]), time, toss)
        if self._better.take(np.array([-error]), time, toss):
            self._begin()  # what was reached is what is to be kept
            return []
        if change is None:
            return []
        before = (self._sum - sum(self._errors)) / max(1, change.rows - len(self._errors))
        lately = sum(self._errors) / len(self._errors)
        self._begin()
        if lately <= before:
            return []  # larger ranks, and no larger mean: no harm
        return [
            change_metric(
                "quality_fell", change, at, source="labels", detail={"error_before": before, "error_lately": lately}
            )
        ]

    def _named(self, change: Change) -> Change:
        """The class whose share has changed most, and how."""
        earlier = self._counts / max(1.0, self._counts.sum())
        lately = np.bincount(self._truths, minlength=len(self._classes)) / max(1, len(self._truths))
        most = int(np.argmax(np.abs(lately - earlier)))
        self._counts[:] = 0
        moved = Moved(self._classes[most], f"{earlier[most]:.1%} to {lately[most]:.1%} of answers", 1.0)
        return replace(change, moved=[moved])

    def _is_drawn(self, label: Label) -> bool:
        return (
            label.status == "answered"
            and label.label in self._classes
            and label.inclusion_probability is not None
            and time_problem(label.known_at) is None
            and probabilities_problem(label.probabilities, len(self._classes)) is None
        )

    def _tell(self, now: float) -> list[Output]:
        if self._told is None:
            self._told = now
        if not self._changed or now - self._told < self._every:
            return []
        self._told, self._changed = now, False
        at = int(now * 1e6)
        levels = level_metric("labels_drift", self._shares, at, source="labels")
        return [self._output(levels), self._output(level_metric("quality_drift", self._worse, at, source="labels"))]

    def _output(self, metric: Metric) -> Output:
        return Output(self._topic, encode(metric), metric.name.encode())

"""The latest labels, kept small, and what they say of models and of people's answers."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from tidemark.errors import RecordError
from tidemark.evaluation import intervals, quality
from tidemark.evaluation.labels import drawn_labels, source_of
from tidemark.monitoring.decoding import of_these_classes, probabilities_problem
from tidemark.pipeline.model import LabelSpec
from tidemark.pipeline.numbers import answer_text
from tidemark.records import ENDING, Label, Metric
from tidemark.records.metric_kind import MetricKind

METRICS: Final = (
    MetricKind("response_rate", "share", "monitor", "labels", "Share of randomly drawn cases that were answered."),
    MetricKind("labels_answered", "cases", "monitor", "budget", "Answered cases, by reason in the detail."),
    MetricKind("labels_skipped", "cases", "monitor", "budget", "Skipped cases, by reason in the detail."),
    MetricKind("labels_expired", "cases", "monitor", "budget", "Expired cases, by reason in the detail."),
    MetricKind("labels_withdrawn", "cases", "monitor", "budget", "Withdrawn cases, by reason in the detail."),
)

_STEP: Final = "monitor"


class LabelBook:
    """At most `most` labels, in the order of `P.labels`. An estimate needs hundreds; a label takes about 600 bytes.

    Of outcomes as many again: they say what drawn cases are, and count for no other.
    """

    def __init__(self, spec: LabelSpec, *, most: int, threshold: float) -> None:
        self._spec = spec
        self._most = most
        self._threshold = threshold
        self._labels: deque[tuple[int, Label]] = deque()
        self._outcomes: deque[tuple[int, Label]] = deque(maxlen=most)
        self._tiles: dict[tuple[str, int], tuple[int, Counter[str]]] = {}

    def add(self, label: Label, offset: int) -> None:
        """Take in a label; what was said on the way to one is passed over.

        Raises:
            RecordError: it can't be measured with: an unknown class, other classes than the pipeline's, an inclusion
                probability that is none, a number out of bounds, or a tile of another size than its other labels say.

        """
        if label.status not in ENDING:
            return
        spec = self._spec
        try:
            if label.status == "answered":
                answer_text(spec, label.label or "")
        except ValueError as error:
            raise RecordError(_STEP, str(error)) from error
        problem = probabilities_problem(label.probabilities, len(spec.classes))
        if problem is not None:
            raise RecordError(_STEP, problem)
        if of_these_classes(label.probabilities, len(spec.classes)) is None:
            label = msgspec.structs.replace(label, probabilities=None)
        if label.inclusion_probability is not None:
            self._enter_tile(label, label.inclusion_probability)
        kept = msgspec.structs.replace(label, features={}, comment=None)
        if source_of(label) == "outcome":
            self._outcomes.append((offset, kept))
            return
        self._labels.append((offset, kept))
        while len(self._labels) > self._most:
            self._leave_tile(self._labels.popleft()[1])

    def rewind(self) -> int | None:
        """Offset of the oldest label that is held."""
        return min((held[0][0] for held in (self._labels, self._outcomes) if held), default=None)

    def metrics(self, at: int) -> Iterator[Metric]:
        """Quality by model version from the random draw, the draw's response rate, and answers by status."""
        labels = [label for _, label in self._labels]
        drawn = [label for label in labels if label.inclusion_probability is not None]
        events = {label.event_id for label in drawn}
        drawn += [label for _, label in self._outcomes if label.event_id in events]
        if not self._spec.is_number:  # how far off numbers are `retrain` measures
            yield from quality(
                drawn,
                classes=self._spec.classes,
                positive=self._spec.positive,
                at=at,
                threshold=self._threshold,
                sources=self._spec.order,
            )
        final = drawn_labels(drawn, self._spec.order)
        if final:
            answered = sum(label.status == "answered" for label in final)
            share = answered / len(final)
            low, high = intervals.wilson(share, len(final))
            yield _metric("response_rate", share, len(final), at, "labels", low=low, high=high)
        for status in ("answered", "skipped", "expired", "withdrawn"):
            reasons: Counter[str] = Counter(label.reason for label in labels if label.status == status)
            yield _metric(f"labels_{status}", float(reasons.total()), len(labels), at, "budget", detail=reasons)

    def _enter_tile(self, label: Label, inclusion: float) -> None:
        if not (math.isfinite(inclusion) and 0 < inclusion <= 1):
            raise RecordError(_STEP, f"inclusion_probability is {inclusion}, which is no probability above 0")
        if not 0 < label.tile_count < 2**53:
            raise RecordError(_STEP, f"tile_count is {label.tile_count}, which is no number of events")
        tile = (label.policy, label.tile)
        count, events = self._tiles.get(tile, (label.tile_count, Counter()))
        if label.tile_count != count:
            raise RecordError(
                _STEP, f"tile {label.tile} has {label.tile_count} events here and {count} in other labels"
            )
        if len(events.keys() | {label.event_id}) > count:
            raise RecordError(_STEP, f"tile {label.tile} has {count} events, and more of them are labeled")
        events[label.event_id] += 1
        self._tiles[tile] = (count, events)

    def _leave_tile(self, label: Label) -> None:
        tile = (label.policy, label.tile)
        if label.inclusion_probability is None:
            return
        _, events = self._tiles[tile]
        events[label.event_id] -= 1
        if not events[label.event_id]:
            del events[label.event_id]
        if not events:
            del self._tiles[tile]


def _metric(
    name: str,
    value: float,
    n: int,
    at: int,
    source: Literal["labels", "budget"],
    *,
    low: float | None = None,
    high: float | None = None,
    detail: Mapping[str, int] | None = None,
) -> Metric:
    counts: dict[str, str | float | int | None] = dict(detail or {})
    return Metric(name=name, value=value, low=low, high=high, n=n, at=at, model="", source=source, detail=counts)

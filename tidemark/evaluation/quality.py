"""Unbiased quality of each model version from labels that were drawn at random, with 95 % intervals.

Only labels with an inclusion probability count: what a policy picked because the model was unsure of it says
nothing about the other events (measured: accuracy wrong by 0.05 to 0.26).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.sampling.estimates import Estimate, stratified_ratio
from tidemark.evaluation import metrics
from tidemark.evaluation.draw import shares_of
from tidemark.evaluation.labels import drawn_labels
from tidemark.evaluation.measures import Sample, average_precision
from tidemark.evaluation.metrics import Floats
from tidemark.records import NO_MODEL, SOURCES, Label, LabelSource, Metric
from tidemark.records.metric_kind import MetricKind

METRICS: Final = (
    MetricKind(
        "accuracy", "share", "monitor", "labels or outcomes", "Share of events whose likeliest class was right."
    ),
    MetricKind("log_loss", "nats", "monitor", "labels or outcomes", "Mean logarithmic loss. Smaller is better."),
    MetricKind("brier", "squared", "monitor", "labels or outcomes", "Mean squared error of the probabilities."),
    MetricKind("base_rate", "share", "monitor", "labels or outcomes", "Share of events of the positive class."),
    MetricKind("precision", "share", "monitor", "labels or outcomes", "Share of flagged events that were positive."),
    MetricKind("recall", "share", "monitor", "labels or outcomes", "Share of positive events that were flagged."),
)


def quality(
    labels: Iterable[Label],
    *,
    classes: Sequence[str],
    positive: str,
    at: int,
    threshold: float = 0.5,
    sources: Sequence[LabelSource] = SOURCES,
) -> list[Metric]:
    """Estimates of each model version that scored exploration cases, as records of source `labels`.

    Names: accuracy, log_loss (nats), brier, base_rate (share of `positive`), precision and recall (of flagging a
    probability of `positive` of at least `threshold`), average_precision. Each is stratified by tile with the tile's
    known number of events; a version that predicted part of a tile is a domain of it. `n` counts the answers the
    figure rests on; `detail` tells how many cases were drawn and got no answer (skipped or expired), which are taken
    to be missing at random within their tile. A figure that rests on fewer than two answers is not given.

    labels: records of one or more policies.  at: µs, the metrics' time.  sources: whose word counts, first to last.
    Raises ValueError for an answer that is not in `classes`, or probabilities of another length.
    """
    drawn = drawn_labels(labels, sources)
    models = sorted({label.model for label in drawn if label.probabilities is not None} - {NO_MODEL})
    if not models:
        return []
    draw = _Draw.of(drawn, {name: index for index, name in enumerate(classes)})
    found: list[Metric] = []
    for model in models:
        mine = np.array([label.model == model and label.probabilities is not None for label in drawn])
        detail: dict[str, str | float | int | None] = {
            "drawn": int(mine.sum()),
            "unanswered": int((mine & ~draw.answered).sum()),
        }
        found += [
            Metric(
                name=name,
                value=estimate.value,
                low=estimate.low,
                high=estimate.high,
                n=estimate.n,
                at=at,
                model=model,
                source="labels",
                detail=detail,
            )
            for name, estimate in draw.estimates(mine, classes.index(positive), threshold).items()
            if estimate.n >= 2 and math.isfinite(estimate.value) and math.isfinite(estimate.low)
        ]
    return found


@dataclass(frozen=True, slots=True)
class _Draw:
    """Drawn events in parallel arrays: stratum, class (-1 unanswered), probabilities; and each stratum's events.

    share: how many times as many events each stands for as those of its stratum do on average (`shares_of`).
    """

    stratum: NDArray[np.int64]
    truth: NDArray[np.int64]
    table: Floats
    population: NDArray[np.int64]
    share: Floats

    @classmethod
    def of(cls, drawn: list[Label], place: dict[str, int]) -> _Draw:
        tiles = [(label.policy, label.tile) for label in drawn]
        events = dict(zip(tiles, (label.tile_count for label in drawn), strict=True))
        number = {tile: index for index, tile in enumerate(sorted(events))}
        table = np.full((len(drawn), len(place)), 1 / len(place))
        shares = shares_of(drawn)
        for row, label in enumerate(drawn):
            if label.probabilities is not None:
                if len(label.probabilities) != len(place):
                    raise ValueError(
                        f"label of {label.event_id}: {len(label.probabilities)} probabilities for {len(place)} classes"
                    )
                table[row] = label.probabilities
        return cls(
            np.array([number[tile] for tile in tiles], np.int64),
            np.array([_class(place, label) for label in drawn], np.int64),
            table,
            np.array([events[tile] for tile in number], np.int64),
            np.array([shares[label.event_id] for label in drawn], np.float64),
        )

    @property
    def answered(self) -> NDArray[np.bool_]:
        return self.truth >= 0

    def estimates(self, mine: NDArray[np.bool_], positive: int, threshold: float) -> dict[str, Estimate]:
        truth = np.maximum(self.truth, 0)
        is_positive, flagged = truth == positive, self.table[:, positive] >= threshold
        return {
            "accuracy": self._ratio(mine & (self.table.argmax(axis=1) == truth), mine),
            "log_loss": self._ratio(metrics.losses(truth, self.table) * mine, mine),
            "brier": self._ratio(metrics.squared_errors(truth, self.table) * mine, mine),
            "base_rate": self._ratio(mine & is_positive, mine),
            "precision": self._ratio(mine & flagged & is_positive, mine & flagged),
            "recall": self._ratio(mine & flagged & is_positive, mine & is_positive),
            "average_precision": self._average_precision(mine, positive),
        }

    def _ratio(self, numerator: NDArray[np.bool_] | Floats, denominator: NDArray[np.bool_]) -> Estimate:
        """Total of one quantity over that of another, of all events; unanswered rows are missing, not 0."""
        asked = np.where(self.answered, numerator * self.share, np.nan)
        estimate = stratified_ratio(asked, denominator * self.share, self.stratum, self.population)
        inside = int((denominator & self.answered).sum())
        low, high = estimate.low, estimate.high
        if numerator.dtype == np.bool_:  # a share, whose interval no longer is that of a proportion once it is weighed
            low, high = max(low, 0.0), min(high, 1.0)
        return Estimate(estimate.value, low, high, estimate.se, inside)

    def _average_precision(self, mine: NDArray[np.bool_], positive: int) -> Estimate:
        """Weighted average precision."""
        answers = np.bincount(self.stratum[self.answered], minlength=self.population.shape[0])
        weight = (self.population / np.maximum(answers, 1))[self.stratum] * self.share
        seen = mine & self.answered
        found = average_precision(Sample(self.truth[seen], self.table[seen], weight[seen]), positive)
        value = math.nan if found.value is None else found.value
        return Estimate(value, found.low, found.high, math.nan, int(seen.sum()))


def _class(place: dict[str, int], label: Label) -> int:
    """Index of the answer's class, -1 where there is none."""
    if label.status != "answered":
        return -1
    index = place.get(label.label or "")
    if index is None:
        raise ValueError(f"label of {label.event_id}: {label.label!r} is not one of the classes {', '.join(place)}")
    return index

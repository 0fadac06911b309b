"""Curves of a model on answers: precision against recall, and how often what it says comes true. 95 % intervals.

Every point is a measure of `tidemark.evaluation.measures` at one threshold or of one part of the answers.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from tidemark.evaluation.measures import Sample, precision, recall, share_of
from tidemark.evaluation.metrics import Calibration

_MOST_POINTS: Final = 40
_MOST_BINS: Final = 10
_FEWEST_IN_BIN: Final = 10
"""Answers of a bin of the reliability curve: the interval of fewer says next to nothing."""


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Precision and recall of flagging a probability of at least `threshold`.

    low, high: the interval of the precision.  flagged: answers that are flagged.
    """

    threshold: float
    recall: float
    precision: float
    low: float
    high: float
    flagged: int


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of about the same predicted probability.

    predicted: its weighted mean.  observed, low, high: share of them that were of the class, and its interval.
    n: answers.  weight: share of all weight.
    """

    predicted: float
    observed: float
    low: float
    high: float
    n: int
    weight: float


def precision_recall(sample: Sample, index: int) -> list[CurvePoint]:
    """The precision–recall curve of a class, from the highest threshold down.

    Args:
        sample: answers.
        index: of the class.

    Returns:
        A point for each threshold at which another answer of the class is found, thinned out to forty; none where no
        answer is of the class.

    """
    score = sample.score(index)
    thresholds = np.unique(score[(sample.truth == index) & (sample.weight > 0)])[::-1]
    if len(thresholds) > _MOST_POINTS:
        thresholds = thresholds[np.unique(np.linspace(0, len(thresholds) - 1, _MOST_POINTS).round().astype(np.int64))]
    points = []
    for threshold in thresholds.tolist():
        exact, found = precision(sample, index, threshold), recall(sample, index, threshold)
        if exact.value is not None and found.value is not None:
            flagged = int((score >= threshold).sum())
            points.append(
                CurvePoint(
                    threshold=threshold,
                    recall=found.value,
                    precision=exact.value,
                    low=exact.low,
                    high=exact.high,
                    flagged=flagged,
                )
            )
    return points


def reliability(sample: Sample, index: int) -> list[ReliabilityBin]:
    """How often a class occurs where it is predicted with about the same probability.

    Args:
        sample: answers.
        index: of the class.

    Returns:
        Up to ten bins of about as many answers each, in the order of the probability. Equal ones are in one bin. None
        for fewer answers than a bin needs.

    """
    n = len(sample)
    if n < _FEWEST_IN_BIN:
        return []
    score = sample.score(index)
    ordered = np.sort(score)
    bins = min(_MOST_BINS, n // _FEWEST_IN_BIN)
    edges = np.unique(ordered[np.arange(1, bins) * n // bins])
    place = np.searchsorted(edges, score, side="right")
    whole = float(sample.weight.sum())
    found = []
    for number in np.unique(place).tolist():
        part = place == number
        weight = sample.weight[part]
        measured = share_of(sample.truth[part] == index, weight, sample.entity_of(part))
        if measured.value is None:
            continue
        found.append(
            ReliabilityBin(
                predicted=float((weight * score[part]).sum() / weight.sum()),
                observed=measured.value,
                low=measured.low,
                high=measured.high,
                n=int(part.sum()),
                weight=float(weight.sum()) / whole,
            )
        )
    return found


def calibration_error(bins: list[ReliabilityBin]) -> float | None:
    """Expected calibration error of reliability bins; None for none."""
    if not bins:
        return None
    columns = [np.array([getattr(each, name) for each in bins]) for name in ("predicted", "observed", "weight")]
    return Calibration(*columns).error

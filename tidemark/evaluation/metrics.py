"""Measures of probabilistic predictions on numpy arrays, each with weights and checked against scikit-learn.

Shapes: `truth` (n,) bool, `score` (n,) float (probability of the positive class, higher is more positive),
`weight` (n,) non-negative float or None for ones. A measure that the data can't define (no positives, no
predicted positives) is NaN, never a made-up 0 or 1. A `ValueError` names the argument that does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ALONE: Final = 1e-9
"""Of a row's weight: less than this above it is rounding."""
Truth = NDArray[np.bool_]


def average_precision(truth: Truth, score: Floats, weight: Floats | None = None) -> float:
    """Area under the precision-recall steps, sum of (R_i - R_(i-1)) P_i; NaN without positives.

    Equal scores are one step, so that the order of rows does not matter. Manning et al. 2008, chapter 8.
    """
    steps = _steps(*_checked(truth, score, weight))
    if steps is None:
        return float("nan")
    hits, flagged = steps
    recall = hits / hits[-1]
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def average_precision_of_others(truth: Truth, score: Floats, weight: Floats | None = None) -> float:
    """Average precision with each positive's precision counted over the other rows alone; NaN without positives.

    A positive that is counted in its own precision makes few positives look better than they are: of scores that tell
    nothing, ten positives among a thousand rows have .015, not .010. Where no other row is scored as high, the
    precision is taken to be the average precision.
    """
    truth, score, weight = _checked(truth, score, weight)
    order = np.argsort(-score, kind="stable")
    ranked, positive, heavy = score[order], truth[order], weight[order]
    mass = float((heavy * positive).sum())
    if mass <= 0:
        return float("nan")
    last = np.searchsorted(-ranked, -ranked[positive], side="right") - 1  # equal scores are one step
    own = heavy[positive]
    flagged, hits = np.cumsum(heavy)[last] - own, np.cumsum(heavy * positive)[last] - own
    alone = flagged <= _ALONE * own
    value = average_precision(truth, score, weight)
    precision = np.where(alone, value, hits / np.where(alone, 1.0, flagged))
    return float((own * np.clip(precision, 0.0, 1.0)).sum() / mass)


def by_entity(values: Floats, entity: NDArray[np.int64] | None) -> Floats:
    """Sums of values over the rows of each entity; the values themselves where each row is of one of its own (None)."""
    if entity is None:
        return values
    place = np.unique(entity, return_inverse=True)[1].reshape(-1)
    sums: Floats = np.bincount(place, values).astype(np.float64)
    return sums


def average_precision_error(
    truth: Truth, score: Floats, weight: Floats | None = None, entity: NDArray[np.int64] | None = None
) -> float:
    """Standard error of `average_precision` over draws of rows, by linearisation; NaN without positives.

    Each row's influence is the derivative of the average precision by the row's weight; the variance is the sum of the
    squared influences times weights, by n / (n - 1). Särndal, Swensson and Wretman 1992, section 5.5.

    entity: (n,) whose each row is, where rows of one are alike: their influences are added before they are squared.
    """
    truth, score, weight = _checked(truth, score, weight)
    n = score.shape[0]
    hits_all = float((weight * truth).sum())
    if hits_all <= 0 or n < 2:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    truth, score, weight = truth[order], score[order], weight[order]
    first = np.concatenate(([True], np.diff(score) != 0))
    step = np.cumsum(first) - 1  # of each row: its place among the distinct scores
    ends = np.append(np.flatnonzero(first)[1:] - 1, n - 1)
    flagged, hits = np.cumsum(weight)[ends], np.cumsum(weight * truth)[ends]
    safe = np.where(flagged > 0, flagged, 1.0)
    precision = hits / safe
    gained = np.diff(hits, prepend=0.0)
    below = np.cumsum((gained / safe)[::-1])[::-1]  # over the steps from a row's own downwards
    lost = np.cumsum((gained * precision / safe)[::-1])[::-1]
    value = float((gained * precision).sum()) / hits_all
    influence = (truth * (precision[step] - value) + truth * below[step] - lost[step]) / hits_all
    pull = weight * influence
    if entity is not None:
        pull = by_entity(pull, entity[order])
        n = pull.shape[0]
        if n < 2:
            return float("nan")
    return float(np.sqrt(np.square(pull).sum() * n / (n - 1)))


def roc_auc(truth: Truth, score: Floats, weight: Floats | None = None) -> float:
    """Chance that a positive scores above a negative, ties counting half; NaN unless both classes occur."""
    steps = _steps(*_checked(truth, score, weight))
    if steps is None:
        return float("nan")
    hits, flagged = steps
    misses = flagged - hits
    if misses[-1] <= 0:
        return float("nan")
    width = np.diff(misses, prepend=0.0)
    height = (hits + np.concatenate(([0.0], hits[:-1]))) / 2
    return float(np.sum(width * height) / (hits[-1] * misses[-1]))


def losses(truth: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Log loss of each row, nats: -log of the probability given to the true class.

    truth: (n,) class indices.  probabilities: (n, c), rows sum to 1; normalised and kept off 0 by the
    smallest step of float64, as scikit-learn does: one certain mistake must not make the mean infinite.
    """
    table = _probability_table(truth, probabilities)
    table = table / table.sum(axis=1, keepdims=True)
    true = np.take_along_axis(table, truth[:, None], axis=1)[:, 0]
    loss: Floats = -np.log(np.clip(true, np.finfo(np.float64).eps, 1.0))
    return loss


def log_loss(truth: NDArray[np.int64], probabilities: Floats, weight: Floats | None = None) -> float:
    """Weighted mean of `losses`; NaN for no rows."""
    return _mean(losses(truth, probabilities), weight)


def squared_errors(truth: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Brier score of each row: squared distance to the truth over the classes, halved for two (Brier 1950).

    truth: (n,) class indices.  probabilities: (n, c). For two classes this is (p - y)^2 of the positive one.
    """
    table = _probability_table(truth, probabilities).copy()
    table[np.arange(table.shape[0]), truth] -= 1.0
    total: Floats = np.square(table).sum(axis=1)
    return total / 2 if table.shape[1] == 2 else total


def brier(truth: NDArray[np.int64], probabilities: Floats, weight: Floats | None = None) -> float:
    """Weighted mean of `squared_errors`; NaN for no rows."""
    return _mean(squared_errors(truth, probabilities), weight)


def precision_recall(
    truth: Truth, score: Floats, threshold: float, weight: Floats | None = None
) -> tuple[float, float]:
    """Precision and recall of flagging `score >= threshold`; NaN where nothing is flagged, or positive."""
    truth, score, weight = _checked(truth, score, weight)
    flagged = score >= threshold
    both = float(weight[flagged & truth].sum())
    return _ratio(both, float(weight[flagged].sum())), _ratio(both, float(weight[truth].sum()))


def precision_at(truth: Truth, score: Floats, k: int) -> float:
    """Share of positives among the k highest scores (or all rows), ties by expectation; NaN for no rows."""
    truth, score, _ = _checked(truth, score, None)
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    k = min(k, score.shape[0])
    if k == 0:
        return float("nan")
    border = np.partition(score, -k)[-k]
    above, tied = score > border, score == border
    sure = int(above.sum())
    return float((truth[above].sum() + (k - sure) * truth[tied].mean()) / k)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Reliability of probabilities in bins: arrays of one entry for each bin that is not empty.

    predicted: weighted mean score.  observed: weighted share of positives.  weight: share of all weight.
    """

    predicted: Floats
    observed: Floats
    weight: Floats

    @property
    def error(self) -> float:
        """Expected calibration error, mean |observed - predicted| (Naeini et al. 2015); NaN for no rows."""
        if self.weight.shape[0] == 0:
            return float("nan")
        return float(np.sum(self.weight * np.abs(self.observed - self.predicted)))


def calibration(truth: Truth, score: Floats, weight: Floats | None = None, bins: int = 10) -> Calibration:
    """Reliability of scores in [0, 1] over `bins` bins of equal width."""
    truth, score, weight = _checked(truth, score, weight)
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, got {bins}")
    if score.shape[0] and (score.min() < 0 or score.max() > 1):
        raise ValueError("score: expected probabilities within [0, 1]")
    place = np.minimum((score * bins).astype(np.int64), bins - 1)
    mass = np.bincount(place, weight, bins)
    used = mass > 0
    predicted = np.bincount(place, weight * score, bins)[used] / mass[used]
    observed = np.bincount(place, weight * truth, bins)[used] / mass[used]
    return Calibration(predicted, observed, mass[used] / mass.sum())


def _steps(truth: Truth, score: Floats, weight: Floats) -> tuple[Floats, Floats] | None:
    """Weight of positives, and of all, down to each distinct score; None without positives."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), score.shape[0] - 1)
    hits: Floats = np.cumsum(weight[order] * truth[order])
    if hits.shape[0] == 0 or hits[-1] <= 0:
        return None
    flagged: Floats = np.cumsum(weight[order])
    return hits[ends], flagged[ends]


def _checked(truth: Truth, score: Floats, weight: Floats | None) -> tuple[Truth, Floats, Floats]:
    if truth.dtype != np.bool_ or truth.ndim != 1:
        raise ValueError(f"truth: expected a bool array of shape (n,), got {truth.dtype} {truth.shape}")
    if score.shape != truth.shape or not np.issubdtype(score.dtype, np.floating):
        raise ValueError(f"score: expected a float array of shape {truth.shape}, got {score.dtype} {score.shape}")
    if not np.isfinite(score).all():
        raise ValueError(f"score: not finite in row {int(np.flatnonzero(~np.isfinite(score))[0])}")
    return truth, score.astype(np.float64, copy=False), _weights(weight, truth.shape[0])


def _probability_table(truth: NDArray[np.int64], probabilities: Floats) -> Floats:
    if probabilities.ndim != 2 or probabilities.shape[0] != truth.shape[0] or probabilities.shape[1] < 2:
        raise ValueError(f"probabilities: expected shape ({truth.shape[0]}, classes), got {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise ValueError(f"probabilities: not finite in row {row}")
    if truth.shape[0] and (truth.min() < 0 or truth.max() >= probabilities.shape[1]):
        raise ValueError(f"truth: expected class indices below {probabilities.shape[1]}")
    return probabilities.astype(np.float64, copy=False)


def _weights(weight: Floats | None, rows: int) -> Floats:
    if weight is None:
        return np.ones(rows)
    if weight.shape != (rows,):
        raise ValueError(f"weight: expected shape ({rows},), got {weight.shape}")
    if rows and not (np.isfinite(weight).all() and weight.min() >= 0):
        raise ValueError("weight: expected finite values of at least 0")
    return weight.astype(np.float64, copy=False)


def _mean(values: Floats, weight: Floats | None) -> float:
    weight = _weights(weight, values.shape[0])
    return _ratio(float(np.sum(weight * values)), float(weight.sum()))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")

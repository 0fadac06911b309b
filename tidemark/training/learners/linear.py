"""A linear model on ranks, as trees of one feature each.

Each feature is cut into at most 32 bins of equally many labels; a bin's value is the normal quantile of its middle
rank ("rank-Gauss"), so that outliers and units don't count. A feature of few values, as categories are, has a weight
for each value besides; a missing value has a weight of its own. No encoding looks at the classes.

The weights are those of ridge regression on the classes' indicators. Its penalty is chosen by leaving one row out,
which costs one decomposition (Golub, Heath & Wahba 1979, "Generalized cross-validation as a method for choosing a good
ridge parameter", section 1), and the same rows give the scores by which it is calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy  # its parts are imported on first use: half a second, which what trains nothing does not wait for
from numpy.typing import NDArray

from tidemark.training.learners.member import Fitted, Grown, Labels, Member, Model, Task, Weights
from tidemark.training.learners.steps import Step, step_forest

_BINS: Final = 32
_FEW_VALUES: Final = 32
_ONE_VALUE: Final = 0.5
"""Scale of the indicator of one value: it is shrunk more than the ranks."""
_PENALTIES: Final = np.logspace(-1, 4, 11)
_FEATURES: Final = 160
_TREES: Final = 400
_LEAST_FEATURES: Final = 24
_LARGEST: Final = float(np.finfo(np.float64).max)
_DIGITS: Final = 9
"""Significant digits of leaves: what processors round otherwise is cut off, and the same labels give the same bytes."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A feature as columns.

    cuts: (b - 1,) thresholds between bins.  counts: (b + 1,) rows of each bin, missing ones last.
    places: (n,) bin of each row, b where it is missing.  table: (b + 1, columns): what a bin is in each column.
    """

    cuts: NDArray[np.float64]
    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    table: NDArray[np.float64]


def _encoded(values: NDArray[np.float64]) -> _Encoded | None:
    """None where the values say nothing."""
    missing = np.isnan(values)
    present = np.where(np.abs(values) < 1e-35, 0.0, values)[~missing]
    distinct, counts = np.unique(present, return_counts=True)
    if len(distinct) < 2 and (not missing.any() or missing.all()):
        return None
    few = len(distinct) <= _FEW_VALUES
    ends = np.cumsum(counts)
    if len(distinct) > _BINS:
        wanted = np.arange(1, _BINS) * len(present) / _BINS
        last = np.unique(np.minimum(np.searchsorted(ends, wanted), len(distinct) - 2))
    else:
        last = np.arange(len(distinct) - 1)
    cuts = _between(distinct[last], distinct[last + 1])
    bins = len(cuts) + 1
    places = np.full(len(values), bins)
    places[~missing] = np.searchsorted(cuts, present)
    sizes = np.bincount(places, minlength=bins + 1)
    upper = np.cumsum(sizes[:-1])
    middle = (upper - sizes[:-1] / 2) / max(1, len(present))
    columns = [np.append(scipy.special.ndtri(np.clip(middle, 1e-6, 1 - 1e-6)), 0.0)]
    if missing.any():
        columns.append(np.eye(bins + 1)[-1])
    if few and bins > 2:
        columns.extend(_ONE_VALUE * np.eye(bins + 1)[:-1])
    return _Encoded(cuts, sizes, places, np.column_stack(columns))


def _between(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """A finite threshold between neighbours, at which the lower one stays below."""
    with np.errstate(invalid="ignore", over="ignore"):
        middle = low + (high - low) / 2
    return np.clip(np.where((low <= middle) & (middle < high), middle, low), -_LARGEST, _LARGEST)


@dataclass(frozen=True, slots=True)
class _Ridge:
    """slopes: (columns, outputs) of centred columns.  left_out: (n, outputs) predictions without the row itself."""

    slopes: NDArray[np.float64]
    left_out: NDArray[np.float64]


def _ridge(columns: NDArray[np.float64], shares: NDArray[np.float64], weights: NDArray[np.float64]) -> _Ridge:
    """Ridge regression of shares (n, outputs) on columns (n, p), with the penalty that predicts left-out rows best.

    Rows count by their weights (n,): as rows and residuals that are multiplied by the weights' roots.
    """
    n, p = columns.shape
    root = np.sqrt(weights)[:, None]
    mean = np.average(shares, axis=0, weights=weights)
    centred = (columns - np.average(columns, axis=0, weights=weights)) * root
    off = (shares - mean) * root
    own = weights / weights.sum()
    if n > p:
        squares, vectors = np.linalg.eigh(centred.T @ centred)
        kept = squares > squares[-1] * 1e-10
        squares = squares[kept]
        left = centred @ vectors[:, kept] / np.sqrt(squares)
    else:
        squares, vectors = np.linalg.eigh(centred @ centred.T)
        kept = squares > squares[-1] * 1e-10
        squares, left = squares[kept], vectors[:, kept]
    projected = left.T @ off
    best, found = np.inf, None
    for penalty in _PENALTIES:
        kept_share = squares / (squares + penalty)
        fitted = left @ (kept_share[:, None] * projected)
        leverage = np.minimum((left * left) @ kept_share + own, 1 - 1e-6)
        residual = (off - fitted) / (1 - leverage)[:, None]
        error = float((residual * residual).sum())
        if error < best * (1 - 1e-9):
            best, found = error, (penalty, shares - residual / root)
    assert found is not None  # noqa: S101 - errors are finite
    penalty, left_out = found
    slopes = centred.T @ (left @ (projected / (squares + penalty)[:, None]))
    return _Ridge(slopes, left_out)


def _fit_held_out(x: NDArray[np.float64], y: Labels, task: Task, given: Weights = None, /) -> Fitted:
    weights = np.ones(len(y)) if given is None else given
    shares = _wanted(y, task)
    encoded = {at: each for at in range(x.shape[1]) if (each := _encoded(x[:, at])) is not None}
    most = min(_FEATURES, max(_LEAST_FEATURES, _TREES // task.outputs))
    ridge, steps = _learnt(encoded, shares, weights)
    if len(steps) > most:
        strength = {at: float(np.var(steps[at][encoded[at].places], axis=0).sum()) for at in steps}
        kept = sorted(sorted(strength, key=lambda at: (-strength[at], at))[:most])
        encoded = {at: encoded[at] for at in kept}
        ridge, steps = _learnt(encoded, shares, weights)
    mean = np.average(shares, axis=0, weights=weights)
    trees = [Step(at, encoded[at].cuts, _rounded(steps[at]), encoded[at].counts) for at in encoded]
    left_out = shares * 0 + mean if ridge is None else ridge.left_out
    return Fitted(Grown(step_forest(trees, _rounded(mean), task.schema)), left_out)


def _wanted(y: Labels, task: Task) -> NDArray[np.float64]:
    """What the regression is of, (n, outputs): indicators of the classes, or the number."""
    if task.is_number:
        return np.asarray(y[:, None], np.float64)
    return np.asarray(y[:, None] == (1 if task.outputs == 1 else np.arange(task.outputs)), np.float64)


def _learnt(
    encoded: dict[int, _Encoded], shares: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[_Ridge | None, dict[int, NDArray[np.float64]]]:
    """The regression, and what each bin of a feature adds to each output, on average nothing."""
    if not encoded:
        return None, {}
    ridge = _ridge(np.hstack([each.table[each.places] for each in encoded.values()]), shares, weights)
    steps, first = {}, 0
    for at, each in encoded.items():
        last = first + each.table.shape[1]
        added = each.table @ ridge.slopes[first:last]
        steps[at] = added - np.average(added[each.places], axis=0, weights=weights)
        first = last
    return ridge, steps


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([float(f"{value:.{_DIGITS}g}") for value in values.ravel().tolist()]).reshape(values.shape)


def _fit(x: NDArray[np.float64], y: Labels, task: Task, weights: Weights = None, /) -> Model:
    return _fit_held_out(x, y, task, weights).model


LINEAR: Final = Member(_fit, _fit_held_out, lambda share: 1 / (share * (1 - share)))

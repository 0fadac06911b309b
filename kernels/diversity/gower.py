"""Gower's distance between rows of numbers and categories, some missing, for the kernels that take a ``metric``.

Of two rows, each column that both have says how alike they are: s = 1 - |a - b| / range of numbers, at least 0, and 1
or 0 of categories that are equal or not. Gower's similarity S is the mean of s over those columns by their weights, and
his distance 1 - S: 0 of equal rows, 1 of rows that are as far apart as can be in all that both have. NaN, and a
category below 0, is missing; columns need no scaling.

Where nothing is missing S is positive semidefinite (Gower's theorem), so 1 - S is a squared Euclidean distance, and the
kernels take it for one: k-means++ draws in proportion to it, and facility location maximises the sum of S. Where values
are missing the triangle inequality may fail, and with it the bounds of what is picked. Rows of which neither has what
the other has are 1 apart. ``determinantal`` has no ``metric``: it needs S semidefinite whatever is missing; ``badge``
and ``volume_sample`` have none: gradients have inner products, which a distance alone does not give.

Gower 1971, "A general coefficient of similarity and some of its properties".
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, describe, nonnegative
from kernels.uncertainty._probabilities import FLOATS, listed

Floats = NDArray[Any]


class Gower(NamedTuple):
    """What Gower's distance is relative to: ranges (d,) and weights (d,) of the numbers, category_weights (q,)."""

    ranges: NDArray[np.float64]
    weights: NDArray[np.float64]
    category_weights: NDArray[np.float64]


def gower(
    x: Floats,
    categories: NDArray[Any] | None = None,
    *,
    weights: NDArray[np.float64] | None = None,
    category_weights: NDArray[np.float64] | None = None,
) -> Gower:
    """Gower's distance with the ranges of some rows, such as a sample of the stream, for the ``metric`` of a kernel.

    Rows compared later may lie outside: columns farther apart than the range count in full, as do different numbers of
    a column whose range is 0.

    x: (n, d) float32 or float64, NaN missing.  categories: (n, q), whose columns are counted.  weights: (d,) float64,
    and category_weights: (q,) float64, >= 0, all 1 by default.  Raises ValueError for other shapes, infinities, ranges
    above the largest number, and where no weight is above 0.
    """
    rows = known("x", x)
    d = rows.shape[1]
    q = 0 if categories is None else np.shape(categories)[-1]
    shares = nonnegative("weights", weights, d, np.float64)
    category_shares = nonnegative("category_weights", category_weights, q, np.float64)
    if not (shares.any() or category_shares.any()):
        raise ValueError("weights, category_weights: expected one above 0 at least")
    low = np.fmin.reduce(rows, axis=0, initial=np.inf).astype(np.float64)
    high = np.fmax.reduce(rows, axis=0, initial=-np.inf).astype(np.float64)
    with np.errstate(over="ignore"):
        ranges = np.where(high > low, high - low, 0.0)
    if not bool(np.all(ranges <= np.finfo(rows.dtype).max)):
        raise ValueError(f"x: the range of column {int(ranges.argmax())} is above the largest {rows.dtype.name}")
    return Gower(ranges, shares, category_shares)


def known(name: str, x: Floats) -> Floats:
    """Check rows (n, d) of numbers, NaN missing. Raises ValueError, for infinities by row."""
    checked: Floats = array(name, x, FLOATS, (None, None))
    bad = np.flatnonzero(np.isinf(checked).any(axis=1))
    if len(bad):
        raise ValueError(f"{name}: infinity in {listed(bad)} of {len(checked)}; NaN says that a number is missing")
    return checked


def fitting(metric: object, d: int, q: int) -> Gower:
    """Check that a metric is of so many numbers and categories. Raises ValueError."""
    if isinstance(metric, Gower) and (len(metric.ranges), len(metric.category_weights)) == (d, q):
        return metric
    got = (
        f"of {len(metric.ranges)} and {len(metric.category_weights)}" if isinstance(metric, Gower) else describe(metric)
    )
    raise ValueError(f"metric: expected one of kernels.gower, of {d} numbers and {q} categories, got {got}")

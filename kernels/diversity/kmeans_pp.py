"""Which rows to ask about together: unlike each other, and like what is to come.

Every function takes rows (n, d) in float32 or float64, computes in that dtype, and returns the positions of min(k, n)
different rows, int64, in the order they were picked. Rows with NaN or infinity raise ValueError by index:
``robust_scale`` makes numbers of such tabular data. The same input and seed give the same picks in every process and
on every machine: no sum's order depends on the hardware. Where all that is left is a copy of what was picked, the
first rows left are picked.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.diversity._distances import (
    BLOCK,
    CENTRES,
    Points,
    approach,
    count,
    drawn,
    points,
    transposed,
    uniforms,
    with_others,
)
from kernels.diversity.gower import Gower
from kernels.numerics._checks import array, describe, nonnegative
from kernels.numerics._jit import kernel, lean
from kernels.uncertainty._probabilities import FLOATS, gradient_errors, probabilities

Floats = NDArray[Any]
Picks = NDArray[np.int64]


def robust_scale(x: Floats, *, clip: float = 5.0, indicators: bool = True) -> Floats:
    """Columns in units of their spread, fit for distances: (x - median) / spread, clipped; NaN is 0, and told apart.

    The spread is the interquartile range / 1.349 (the standard deviation of a normal column), for columns where that is
    0 the mean absolute deviation from the median * 1.2533, and columns without any spread become 0. NaN becomes 0, the
    median; with ``indicators`` each column that has a NaN gets a column behind the others which is 1 where it was
    missing. Infinities are clipped.

    x: (n, d) float32 or float64.  clip: largest magnitude, > 0.  Returns (n, d + columns with NaN), same dtype.
    Raises ValueError for another shape or dtype.
    Rousseeuw and Croux 1993, "Alternatives to the median absolute deviation".
    """
    rows = array("x", x, FLOATS, (None, None))
    if not 0 < clip < np.inf:
        raise ValueError(f"clip: expected a finite number above 0, got {clip!r}")
    scaled = RobustScale.of(rows).scaled(rows, clip)
    if indicators:
        missing = np.isnan(rows)
        scaled = np.concatenate([scaled, missing[:, missing.any(axis=0)]], axis=1)
    return np.ascontiguousarray(scaled, dtype=rows.dtype)


@dataclass(frozen=True, slots=True)
class RobustScale:
    """Medians and spreads of some rows' columns, as `robust_scale` has them, kept to scale other rows by.

    median, spread: (d,) float64; of columns that tell nothing apart the spread is infinite.
    """

    median: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Floats) -> "RobustScale":
        """The scale of rows, (n, d) float32 or float64."""
        missing = np.isnan(rows)
        ordered = np.sort(rows.astype(np.float64), axis=0)
        present = len(rows) - missing.sum(axis=0)
        low, median, high = (_quantile(ordered, present, q) for q in (0.25, 0.5, 0.75))
        finite = np.isfinite(rows)
        with np.errstate(invalid="ignore"):
            spread = (high - low) / 1.349
            deviation = np.where(finite, np.abs(rows - median), 0.0).sum(axis=0) / np.maximum(1, finite.sum(axis=0))
        flat = ~(np.isfinite(spread) & (spread > 0))
        spread = np.where(flat, deviation * 1.2533, spread)
        usable = np.isfinite(spread) & (spread > 0) & np.isfinite(median)
        return cls(np.where(usable, median, 0.0), np.where(usable, spread, np.inf))

    def scaled(self, rows: Floats, clip: float = 5.0) -> Floats:
        """Other rows by this scale, (n, d): clipped, 0 where a value is missing or its column tells nothing apart."""
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = (rows - self.median) / self.spread
        dull = np.isnan(rows) | np.isinf(self.spread)
        found: Floats = np.where(dull, 0.0, np.clip(scaled, -clip, clip))
        return found


def _quantile(ordered: NDArray[np.float64], present: NDArray[np.int64], q: float) -> NDArray[np.float64]:
    """Quantiles of columns in order, NaN last, by linear interpolation; 0 for empty columns."""
    if not len(ordered):
        return np.zeros(ordered.shape[1])
    columns = np.arange(ordered.shape[1])
    position = np.maximum(present - 1, 0) * q
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(present - 1, 0))
    share = position - below
    a, b = ordered[below, columns], ordered[above, columns]
    with np.errstate(invalid="ignore"):
        between = np.where(share > 0, a + share * (b - a), a)
    return np.where(present > 0, between, 0.0)


@lean
def _first_left(nearest: Floats) -> int:
    for i in range(nearest.shape[0]):
        if nearest[i] >= 0:
            return i
    return -1


@kernel
def _kmeans_pp(
    rows: Points, given: int, lots: NDArray[np.float64], weights: Floats, nearest: Floats, picks: Picks
) -> None:
    """Rows 0 : n are to choose from, n : n + given are centres. A row that was picked has ``nearest`` -1."""
    n = nearest.shape[0]
    scratch = np.empty(BLOCK, nearest.dtype)
    chances = np.empty(n, np.float64)
    for c in range(given):
        approach(rows, n + c, scratch, nearest)
    for p in range(picks.shape[0]):
        for i in range(n):
            if nearest[i] < 0:
                chances[i] = 0.0
            elif p + given == 0:
                chances[i] = np.float64(weights[i])
            else:
                chances[i] = np.float64(nearest[i]) * np.float64(weights[i])
        pick = drawn(chances, lots[p])
        if pick < 0:
            pick = _first_left(nearest)
        picks[p] = pick
        approach(rows, pick, scratch, nearest)
        nearest[pick] = -1


def kmeans_pp(
    x: Floats,
    k: int,
    seed: int,
    *,
    weights: Floats | None = None,
    centres: Floats | None = None,
    categories: NDArray[Any] | None = None,
    centre_categories: NDArray[Any] | None = None,
    metric: Gower | None = None,
) -> Picks:
    """k-means++ sampling: each pick is drawn with chance weight * (squared distance to the nearest pick).

    x: (n, d).  weights: (n,) >= 0, same dtype, all 1 by default; where all chances are 0 the first rows left are
    picked.  centres: (m, d) rows that count as picked before.  categories: (n, q) integers, each that differs adds 1 to
    a squared distance.  centre_categories: (m, q), where centres are given.  metric: ``gower``, whose distance is then
    drawn in proportion to.  seed: 0 to 2^64 - 1.  Returns (min(k, n),) int64.
    Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding". Raises ValueError (see the module).
    """
    checked, codes, given = with_others(x, centres, categories, centre_categories, CENTRES, metric)
    rows = transposed(checked, codes, metric)
    n = rows.numbers.shape[1] - given
    chances = nonnegative("weights", weights, n, rows.numbers.dtype)
    nearest = np.full(n, np.inf, rows.numbers.dtype)
    picks = np.empty(count(k, n), np.int64)
    _kmeans_pp(rows, given, uniforms(seed, len(picks)), chances, nearest, picks)
    return picks


@lean
def _inner(rows: Floats, pick: int, start: int, out: Floats) -> None:
    """Add the inner products of rows start : start + len(out) with row ``pick``, or with themselves where it is -1."""
    stop = start + out.shape[0]
    d = rows.shape[0]
    j = 0
    while pick >= 0 and j + 4 <= d:  # four at a time: ``out`` is loaded and stored a quarter as often
        a, b, c, e = rows[j, start:stop], rows[j + 1, start:stop], rows[j + 2, start:stop], rows[j + 3, start:stop]
        va, vb, vc, ve = rows[j, pick], rows[j + 1, pick], rows[j + 2, pick], rows[j + 3, pick]
        for i in range(out.shape[0]):
            out[i] += (a[i] * va + b[i] * vb) + (c[i] * vc + e[i] * ve)
        j += 4
    while pick >= 0 and j < d:
        a, va = rows[j, start:stop], rows[j, pick]
        for i in range(out.shape[0]):
            out[i] += a[i] * va
        j += 1
    while j + 4 <= d:
        a, b, c, e = rows[j, start:stop], rows[j + 1, start:stop], rows[j + 2, start:stop], rows[j + 3, start:stop]
        for i in range(out.shape[0]):
            out[i] += (a[i] * a[i] + b[i] * b[i]) + (c[i] * c[i] + e[i] * e[i])
        j += 4
    while j < d:
        a = rows[j, start:stop]
        for i in range(out.shape[0]):
            out[i] += a[i] * a[i]
        j += 1


@lean
def _gradient_products(
    errors: Floats, rows: Points, bias: float, pick: int, start: int, of_errors: Floats, out: Floats
) -> None:
    """(a · b)(x · y + equal categories / 2 + bias²), the inner product of a ⊗ x and b ⊗ y."""
    of_errors[:] = 0
    out[:] = errors.dtype.type(bias) * errors.dtype.type(bias)
    _inner(errors, pick, start, of_errors)
    _inner(rows.numbers, pick, start, out)
    half, zero = out.dtype.type(0.5), out.dtype.type(0)
    for q in range(rows.categories.shape[0]):
        codes = rows.categories[q, start : start + out.shape[0]]
        code = rows.categories[q, max(pick, 0)]
        for i in range(out.shape[0]):
            out[i] += half if (pick < 0) | (codes[i] == code) else zero
    for i in range(out.shape[0]):
        out[i] *= of_errors[i]


@kernel
def _badge(errors: Floats, rows: Points, bias: float, lots: NDArray[np.float64], nearest: Floats, picks: Picks) -> None:
    """Of errors (c, n) and rows: |a ⊗ x - b ⊗ y|² = |a|²|x|² + |b|²|y|² - 2 (a·b)(x·y), never forming a ⊗ x."""
    n = nearest.shape[0]
    squares = np.empty(n, nearest.dtype)
    of_errors = np.empty(BLOCK, nearest.dtype)
    products = np.empty(BLOCK, nearest.dtype)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        _gradient_products(errors, rows, bias, -1, start, of_errors[:size], squares[start : start + size])
    for p in range(picks.shape[0]):
        pick = int(np.argmax(squares)) if p == 0 else drawn(nearest, lots[p])
        if pick < 0:
            pick = 0
            while _is_in(picks[:p], pick):
                pick += 1
        picks[p] = pick
        for start in range(0, n, BLOCK):
            size = min(BLOCK, n - start)
            _gradient_products(errors, rows, bias, pick, start, of_errors[:size], products[:size])
            for i in range(size):
                distance = squares[start + i] + squares[pick] - (products[i] + products[i])
                nearest[start + i] = max(nearest.dtype.type(0), min(nearest[start + i], distance))
        nearest[pick] = 0


@lean
def _is_in(values: Picks, value: int) -> bool:
    found = False
    for i in range(values.shape[0]):
        found |= values[i] == value
    return found


def badge(
    proba: Floats, x: Floats, k: int, seed: int, *, bias: float = 0.0, categories: NDArray[Any] | None = None
) -> Picks:
    """BADGE: k-means++ sampling of gradient embeddings (p - e_ŷ) ⊗ x, which are large where unsure.

    e_ŷ is the class thought likeliest. The first pick is the largest gradient, as in the authors' code. The embedding,
    n x (c d), is never formed: memory is n x (c + d + q).

    proba: (n, c), or (n,) for two classes.  x: (n, d), same dtype.  bias: appended to each row of x, so that rows near
    the origin have a gradient too.  categories: (n, q) integers, appended as one-hot columns / sqrt(2), which are not
    made: each that differs adds 1 to a squared distance of rows, as in ``kmeans_pp``.  Returns (min(k, n),) int64.
    Ash et al. 2020, "Deep batch active learning by diverse, uncertain gradient lower bounds".
    Raises ValueError (see the module), also for rows of ``proba`` that are no probabilities.
    """
    flat, c = probabilities("proba", proba)
    rows = points("x", x, categories)
    n = rows.numbers.shape[1]
    if len(flat) // c != n or flat.dtype != rows.numbers.dtype:
        raise ValueError(f"proba: expected {n} rows of x's dtype, got {describe(proba)}")
    if not np.isfinite(bias):
        raise ValueError(f"bias: expected a finite number, got {bias!r}")
    errors = gradient_errors("proba", flat, c)
    nearest = np.full(n, np.inf, flat.dtype)
    picks = np.empty(count(k, n), np.int64)
    if len(picks):
        _badge(errors, rows, float(bias), uniforms(seed, len(picks)), nearest, picks)
    return picks

"""Squared distances from many rows to one, or Gower's, for every kernel of diversity.

Rows are kept transposed, (d, n): a distance is then summed over features in their order while LLVM works on many rows
at a time, so that it is fast and yet the same on every machine (a BLAS product is not). A category that differs adds
1, as a pair of one-hot columns scaled by 1 / sqrt(2) would, without making them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.diversity.gower import Gower, fitting, known
from kernels.numerics._checks import array, integer
from kernels.numerics._jit import lean
from kernels.uncertainty._probabilities import FLOATS, listed

Floats = NDArray[Any]

BLOCK = 1024
CENTRES = ("centres", "centre_categories")
INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32)


class Points(NamedTuple):
    """Rows to choose from: numbers (d, n) float32 or float64, categories (q, n) int32.

    With Gower's distance also ranges (d,), weights (d,) and category_weights (q,) of the numbers' dtype, and heft
    (BLOCK,), room for the weight of what two rows both have; else these are empty.
    """

    numbers: Floats
    categories: NDArray[np.int32]
    ranges: Floats
    weights: Floats
    category_weights: Floats
    heft: Floats


def finite(
    name: str, x: Floats, categories: NDArray[Any] | None = None, metric: Gower | None = None
) -> tuple[Floats, NDArray[np.int32]]:
    """Check rows (n, d) and their categories (n, q), any integers, which come back as codes (q, n). Raises ValueError.

    NaN and infinities are refused by row: ``robust_scale`` makes numbers of them. With a metric, NaN and categories
    below 0, whose code is -1, are missing; rows without anything are refused.
    """
    if metric is None:
        checked = array(name, x, FLOATS, (None, None))
        if not _all_finite(checked.reshape(-1)):
            bad = np.flatnonzero(~np.isfinite(checked).all(axis=1))
            raise ValueError(
                f"{name}: NaN or infinity in {listed(bad)} of {len(checked)}; robust_scale makes numbers of them"
            )
    else:
        checked = known(name, x)
    n = len(checked)
    given = np.empty((n, 0), np.int32) if categories is None else array("categories", categories, INTEGERS, (n, None))
    codes = np.array([np.unique(column, return_inverse=True)[1] for column in given.T], np.int32)
    codes = codes.reshape(given.shape[1], n)
    if metric is not None:
        checked_metric = fitting(metric, checked.shape[1], len(codes))
        codes[given.T < 0] = -1
        heft = ~np.isnan(checked) @ checked_metric.weights + (codes >= 0).T @ checked_metric.category_weights
        if not heft.all():
            empty = listed(np.flatnonzero(heft == 0))
            raise ValueError(f"{name}: nothing that Gower's distance weighs in {empty} of {n}")
    return checked, codes


@lean
def _all_finite(values: Floats) -> bool:
    strange = np.uint32(0)
    zero = values.dtype.type(0)
    for i in range(values.shape[0]):
        if values[i] * zero != zero:
            strange |= np.uint32(1)
    return bool(strange == 0)


def points(name: str, x: Floats, categories: NDArray[Any] | None = None, metric: Gower | None = None) -> Points:
    """As ``finite``, transposed."""
    return transposed(*finite(name, x, categories, metric), metric)


def transposed(x: Floats, codes: NDArray[np.int32], metric: Gower | None = None) -> Points:
    """Rows (n, d) and codes (q, n) that were checked, as the kernels take them."""
    dtype = x.dtype
    if metric is None:
        none = np.empty(0, dtype)
        return Points(np.array(x.T, order="C"), codes, none, none, none, none)
    largest = max(metric.weights.max(initial=0), metric.category_weights.max(initial=0))
    return Points(
        np.array(x.T, order="C"),
        codes,
        metric.ranges.astype(dtype),
        (metric.weights / largest).astype(dtype),
        (metric.category_weights / largest).astype(dtype),
        np.empty(BLOCK, dtype),
    )


def together(name: str, x: Floats, other: Floats | None) -> Floats:
    """Rows of x and then those of other, which must have its columns and dtype; x alone for None. Raises ValueError."""
    if other is None:
        return x
    rows = array(name, other, x.dtype, (None, x.shape[1]))
    return np.concatenate([x, rows])


def with_others(
    x: Floats,
    other: Floats | None,
    categories: NDArray[Any] | None,
    other_categories: NDArray[Any] | None,
    names: tuple[str, str],
    metric: Gower | None = None,
) -> tuple[Floats, NDArray[np.int32], int]:
    """Rows of x and then those of other (n + m, d), their categories' codes (q, n + m), and m. Raises ValueError.

    names: what the caller calls other and its categories.
    """
    name, name_of_categories = names
    if other is None:
        if other_categories is not None:
            raise ValueError(f"{name_of_categories}: given without {name}")
        return *finite("x", x, categories, metric), 0
    if (categories is None) != (other_categories is None):
        raise ValueError(f"categories, {name_of_categories}: expected both or neither, with {name}")
    checked = array("x", x, FLOATS, (None, None))
    both = categories
    if categories is not None:
        of_x = array("categories", categories, INTEGERS, (len(checked), None))
        of_other = array(name_of_categories, other_categories, INTEGERS, (len(other), of_x.shape[1]))
        both = np.concatenate([of_x.astype(np.int64), of_other.astype(np.int64)])
    return *finite(f"x and {name}", together(name, checked, other), both, metric), len(other)


def count(k: int, n: int) -> int:
    """Check how many to pick: k > n picks all n. Raises ValueError."""
    return min(integer("k", k, 0, 2**31), n)


def uniforms(seed: int, size: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), the same on every machine: SplitMix64 (Steele et al. 2014) in 53 bits."""
    start = np.uint64(integer("seed", seed, 0, 2**64 - 1))
    state = start + np.arange(1, size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


@lean
def by_gower(rows: Points) -> bool:
    """Whether distances are Gower's, not squared Euclidean ones."""
    return bool(rows.heft.shape[0] > 0)


@lean
def _gower_distances(rows: Points, centre: int, start: int, out: Floats) -> None:
    """1 - S of rows start : start + len(out) and row ``centre``; 1 where they have nothing both."""
    stop = start + out.shape[0]
    zero, one = out.dtype.type(0), out.dtype.type(1)
    heft = rows.heft
    heft[:] = zero
    out[:] = zero
    for j in range(rows.numbers.shape[0]):
        x, value, weight = rows.numbers[j, start:stop], rows.numbers[j, centre], rows.weights[j]
        span = rows.ranges[j]
        divisor = span if span > zero else one
        if value == value:  # noqa: PLR0124  (not NaN)
            for i in range(out.shape[0]):
                apart = abs(x[i] - value)
                share = weight * (one if apart > span else apart / divisor)
                both = apart == apart  # noqa: PLR0124
                out[i] += share if both else zero
                heft[i] += weight if both else zero
    for q in range(rows.categories.shape[0]):
        codes, code, weight = rows.categories[q, start:stop], rows.categories[q, centre], rows.category_weights[q]
        if code >= 0:
            for i in range(out.shape[0]):
                out[i] += weight if (codes[i] >= 0) & (codes[i] != code) else zero
                heft[i] += weight if codes[i] >= 0 else zero
    for i in range(out.shape[0]):
        out[i] = out[i] / heft[i] if heft[i] > zero else one


@lean
def rooted(rows: Points, values: Floats) -> None:
    """Make distances of squared ones; Gower's are distances already."""
    if not by_gower(rows):
        for i in range(values.shape[0]):
            values[i] = np.sqrt(values[i])


@lean
def squared_distances(rows: Points, centre: int, start: int, out: Floats) -> None:
    """Squared distances of rows start : start + len(out), at most BLOCK, to row ``centre``; or Gower's."""
    if by_gower(rows):
        _gower_distances(rows, centre, start, out)
        return
    stop = start + out.shape[0]
    x = rows.numbers
    d = x.shape[0]
    out[:] = 0
    j = 0
    while j + 4 <= d:  # four at a time: ``out`` is loaded and stored a quarter as often
        a, b, c, e = x[j, start:stop], x[j + 1, start:stop], x[j + 2, start:stop], x[j + 3, start:stop]
        va, vb, vc, ve = x[j, centre], x[j + 1, centre], x[j + 2, centre], x[j + 3, centre]
        for i in range(out.shape[0]):
            da, db, dc, de = a[i] - va, b[i] - vb, c[i] - vc, e[i] - ve
            out[i] += (da * da + db * db) + (dc * dc + de * de)
        j += 4
    while j < d:
        a, va = x[j, start:stop], x[j, centre]
        for i in range(out.shape[0]):
            da = a[i] - va
            out[i] += da * da
        j += 1
    one = x.dtype.type(1)
    zero = x.dtype.type(0)
    for q in range(rows.categories.shape[0]):
        codes = rows.categories[q, start:stop]
        code = rows.categories[q, centre]
        for i in range(out.shape[0]):
            out[i] += one if codes[i] != code else zero


@lean
def approach(rows: Points, centre: int, scratch: Floats, nearest: Floats) -> None:
    """Lower ``nearest`` (n,) to the squared distances to row ``centre``."""
    n = nearest.shape[0]
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        squared_distances(rows, centre, start, scratch[:size])
        part = nearest[start : start + size]
        for i in range(size):
            part[i] = min(part[i], scratch[i])


@lean
def drawn(weights: Floats, lot: float) -> int:
    """The row at the share ``lot`` of the cumulated weights; -1 where all are 0."""
    total = 0.0
    for i in range(weights.shape[0]):
        total += np.float64(weights[i])
    target = lot * total
    last = -1
    passed = 0.0
    for i in range(weights.shape[0]):
        if weights[i] > 0:
            passed += np.float64(weights[i])
            last = i
            if passed > target:
                break
    return last

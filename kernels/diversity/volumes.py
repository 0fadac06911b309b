"""Rows that span a volume: determinantal selection over a pool, and volume sampling over a stream.

The contract is that of ``kernels.diversity.kmeans_pp``: rows (n, d) float32 or float64, finite; the same on every
machine.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.diversity._distances import BLOCK, INTEGERS, Points, count, finite, points, squared_distances
from kernels.numerics._checks import array, describe, integer, number
from kernels.numerics._jit import kernel, lean
from kernels.uncertainty._probabilities import gradient_errors, listed, probabilities

Floats = NDArray[Any]
Picks = NDArray[np.int64]

_SINGULAR = 1e-10


@kernel
def _determinantal(
    rows: Points, quality: NDArray[np.float64], inverse: float, basis: NDArray[np.float64], picks: Picks
) -> None:
    """Chen's algorithm 1: ``left`` is the part of each row's quality that the picks do not explain, squared."""
    n = quality.shape[0]
    left = quality * quality
    picked = np.zeros(n, np.bool_)
    distances = np.empty(BLOCK, rows.numbers.dtype)
    explained = np.empty(BLOCK)
    for p in range(picks.shape[0]):
        pick = int(np.argmax(left))
        if left[pick] <= _SINGULAR:  # all that is left is explained: the first rows left
            pick = 0
            while picked[pick]:
                pick += 1
        picks[p] = pick
        picked[pick] = True
        root = np.sqrt(left[pick])
        left[pick] = -1.0
        if root * root <= _SINGULAR:
            continue
        for start in range(0, n, BLOCK):
            size = min(BLOCK, n - start)
            squared_distances(rows, pick, start, distances[:size])
            explained[:] = 0.0
            for b in range(p):
                share = basis[b, pick]
                before = basis[b, start : start + size]
                for i in range(size):
                    explained[i] += share * before[i]
            new, rest = basis[p, start : start + size], left[start : start + size]
            good, gone = quality[start : start + size], picked[start : start + size]
            for i in range(size):
                alike = quality[pick] * good[i] / (1.0 + np.float64(distances[i]) * inverse)
                new[i] = (alike - explained[i]) / root
                rest[i] = -1.0 if gone[i] else max(rest[i] - new[i] * new[i], 0.0)


def determinantal(
    x: Floats,
    k: int,
    *,
    scale: float,
    quality: Floats | None = None,
    categories: NDArray[Any] | None = None,
) -> Picks:
    """Greedy MAP of a determinantal point process: each pick multiplies the determinant of the picks' kernel the most.

    The kernel is q_i q_j / (1 + squared distance / scale²), rational quadratic: of full rank over different rows. Ties
    go to the lowest row.

    x: (n, d).  scale: > 0, in units of x; sqrt(d) suits scaled columns.  quality: (n,) > 0, same dtype, such as an
    uncertainty: how much each row is worth by itself, all 1 by default.  categories: (n, q) integers, each that differs
    adds 1 to a squared distance.  Returns (min(k, n),) int64. O(n k (k + d)).
    Chen et al. 2018, "Fast greedy MAP inference for determinantal point process to improve recommendation diversity".
    Raises ValueError (see the module).
    """
    rows = points("x", x, categories)
    n = rows.numbers.shape[1]
    width = number("scale", scale, np.nextafter(0.0, 1.0), 1e150)
    worth = np.ones(n) if quality is None else array("quality", quality, rows.numbers.dtype, (n,)).astype(np.float64)
    if not bool(np.all((worth > 0) & (worth < np.inf))):
        raise ValueError("quality: expected finite numbers above 0")
    picks = np.empty(count(k, n), np.int64)
    if len(picks):
        # relative to the best, so that one tolerance tells what is left from rounding
        _determinantal(rows, worth / worth.max(), 1.0 / width**2, np.zeros((len(picks), n)), picks)
    return picks


class VolumeState(NamedTuple):
    """State of volume sampling over w columns: inverse (w, w), inverse covariance of what was selected; moments (w, w),
    sum of z z' over all rows seen; seen, how many; trace, of inverse @ moments / seen; levels, of each category;
    classes.
    """  # noqa: D205  (a list of shapes)

    inverse: NDArray[np.float64]
    moments: NDArray[np.float64]
    seen: int
    trace: float
    levels: tuple[int, ...]
    classes: int


def volume_state(d: int, *, levels: Sequence[int] = (), classes: int = 2, ridge: float = 0.01) -> VolumeState:
    """State before the first row.

    d: numbers of a row.  levels: (q,), how many values each of its categories has.  classes: of the probabilities that
    make gradients of rows; two, or none, need one block of columns, c > 2 need c.  ridge: > 0, added to the covariance
    of what was selected.  Memory 16 w² bytes, w = blocks (d + sum of levels). Raises ValueError.
    """
    sizes = tuple(integer(f"levels[{q}]", size, 1, 2**31) for q, size in enumerate(levels))
    blocks = _blocks(integer("classes", classes, 2, 2**31))
    width = blocks * (integer("d", d, 0, 2**31) + sum(sizes))
    weight = number("ridge", ridge, 1e-12, 1e12)
    return VolumeState(np.eye(width) / weight, np.zeros((width, width)), 0, 0.0, sizes, classes)


def _blocks(classes: int) -> int:
    """Of two classes the errors are s and -s: one block of columns spans what their gradients do."""
    return 1 if classes == 2 else classes


class _Rows(NamedTuple):
    """Rows whose embedding is not made: x (n, d); columns (n, q) of their categories' ones; errors (blocks, n), by
    which each block is multiplied; span, columns of a block.
    """  # noqa: D205  (a list of shapes)

    x: Floats
    columns: NDArray[np.int64]
    errors: NDArray[np.float64]
    span: int


@lean
def _embed(rows: _Rows, row: int, at: NDArray[np.int64], z: NDArray[np.float64]) -> None:
    """What of a row's embedding is not 0: columns and numbers."""
    k = 0
    for block in range(rows.errors.shape[0]):
        error = rows.errors[block, row]
        for j in range(rows.x.shape[1]):
            at[k], z[k] = block * rows.span + j, error * rows.x[row, j]
            k += 1
        for q in range(rows.columns.shape[1]):
            at[k], z[k] = block * rows.span + rows.columns[row, q], error * np.sqrt(0.5)
            k += 1


@lean
def _form(matrix: NDArray[np.float64], at: NDArray[np.int64], z: NDArray[np.float64]) -> float:
    """Z' matrix z of a z that is 0 but at some columns."""
    square = 0.0
    for i in range(at.shape[0]):
        total = 0.0
        for j in range(at.shape[0]):
            total += matrix[at[i], at[j]] * z[j]
        square += z[i] * total
    return square


@kernel
def _volume_sample(
    rows: _Rows,
    lots: NDArray[np.float64],
    rate: float,
    inverse: NDArray[np.float64],
    moments: NDArray[np.float64],
    before: tuple[int, float],
    chances: NDArray[np.float64],
) -> float:
    seen, trace = before
    width = inverse.shape[0]
    filled = rows.errors.shape[0] * (rows.x.shape[1] + rows.columns.shape[1])
    at, z = np.empty(filled, np.int64), np.empty(filled)
    everywhere, pulled = np.arange(width), np.empty(width)
    for row in range(lots.shape[0]):
        _embed(rows, row, at, z)
        leverage = _form(inverse, at, z)
        seen += 1
        for i in range(filled):
            for j in range(filled):
                moments[at[i], at[j]] += z[i] * z[j]
        trace += (leverage - trace) / seen
        chances[row] = min(1.0, rate * leverage / trace) if trace > 0.0 else rate
        if lots[row] < chances[row]:  # Sherman and Morrison's update of the inverse, and of the trace with it
            pulled[:] = 0.0
            for i in range(filled):
                for j in range(width):
                    pulled[j] += z[i] * inverse[at[i], j]
            trace = max(0.0, trace - _form(moments, everywhere, pulled) / seen / (1.0 + leverage))
            for i in range(width):
                for j in range(width):
                    inverse[i, j] -= pulled[i] * pulled[j] / (1.0 + leverage)
    return trace


def volume_sample(
    x: Floats,
    uniforms: NDArray[np.float64],
    rate: float,
    state: VolumeState,
    *,
    proba: Floats | None = None,
    categories: NDArray[Any] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.float64], VolumeState]:
    """VeSSAL: select rows of a stream one by one with chance proportional to the volume they add to those selected.

    The chance of row z is rate * (z' S z) / tr(S A), at most 1: S the inverse covariance of what was chosen, A the mean
    z z' of all that was seen, so that about a share ``rate`` is selected, unlike each other. It is known before the lot
    is drawn: the selection may be weighted by its inverse.

    x: (n, d) in the order of the stream.  uniforms: (n,) float64 in [0, 1), one lot a row.  rate: above 0, at most 1.
    state: from ``volume_state`` or the last call; not changed.  proba: (n, c), or (n,) for two classes, x's dtype: z is
    then the gradient embedding (p - e_ŷ) ⊗ row, which is not formed (see ``badge``).  categories: (n, q) integers, from
    0 to below the state's levels, appended as one-hot columns / sqrt(2), which are not made either.  Returns selected
    (n,) bool, probability (n,) float64, and the state after. O(c² (d + q)²) a row, and O(w²) for one that is selected.
    Saran et al. 2023, "Streaming active learning with deep neural networks". Raises ValueError (see the module).
    """
    checked, _ = finite("x", x)
    n, d = checked.shape
    lots = array("uniforms", uniforms, np.float64, (n,))
    if not bool(np.all((lots >= 0) & (lots < 1))):
        raise ValueError("uniforms: expected numbers from 0 to below 1")
    share = number("rate", rate, np.nextafter(0.0, 1.0), 1.0)
    span = d + sum(state.levels)
    rows = _Rows(checked, _columns(categories, n, d, state.levels), _errors(proba, checked, state.classes), span)
    width = _blocks(state.classes) * span
    inverse = array("state.inverse", state.inverse, np.float64, (width, width)).copy()
    moments = array("state.moments", state.moments, np.float64, (width, width)).copy()
    chances = np.empty(n)
    trace = _volume_sample(rows, lots, share, inverse, moments, (state.seen, state.trace), chances)
    return lots < chances, chances, state._replace(inverse=inverse, moments=moments, seen=state.seen + n, trace=trace)


def _columns(categories: NDArray[Any] | None, n: int, d: int, levels: tuple[int, ...]) -> NDArray[np.int64]:
    """Where the ones of rows' categories are, behind d numbers."""
    given = np.empty((n, 0), np.int64) if categories is None else categories
    codes = array("categories", given, INTEGERS, (n, len(levels))).astype(np.int64)
    outside = np.flatnonzero(((codes < 0) | (codes >= levels)).any(axis=1))
    if len(outside):
        raise ValueError(f"categories: {listed(outside)} of {n} not from 0 to below the state's levels {levels}")
    return codes + (d + np.cumsum([0, *levels[:-1]], dtype=np.int64)[: len(levels)])


def _errors(proba: Floats | None, x: Floats, classes: int) -> NDArray[np.float64]:
    """By what each block of a row's columns is multiplied: (blocks, n)."""
    if proba is None and classes == 2:
        return np.ones((1, len(x)))
    if proba is None:
        raise ValueError(f"proba: expected {len(x)} rows of {classes} classes, as the state was made for")
    flat, c = probabilities("proba", proba)
    if len(flat) // c != len(x) or flat.dtype != x.dtype or max(2, c) != classes:
        raise ValueError(f"proba: expected {len(x)} rows of {classes} classes and x's dtype, got {describe(proba)}")
    errors = gradient_errors("proba", flat, c).astype(np.float64)
    return errors if classes > 2 else errors[:1] * np.sqrt(2.0)

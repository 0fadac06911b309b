"""Rows that span a volume: determinantal selection over a pool, and volume sampling over a stream.

The contract is that of ``kernels.diversity``: rows (n, d) float32 or float64, finite; the same on every machine.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels._checks import array, number
from kernels._distances import BLOCK, Points, count, finite, points, squared_distances
from kernels._jit import kernel, lean

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
    """State of volume sampling: inverse (d, d), inverse covariance of what was selected; covariance (d, d), mean of
    z z' over all rows seen; seen, how many; trace, of inverse @ covariance.
    """  # noqa: D205  (a list of shapes)

    inverse: NDArray[np.float64]
    covariance: NDArray[np.float64]
    seen: int
    trace: float


def volume_state(d: int, *, ridge: float = 0.01) -> VolumeState:
    """State before the first row. ridge: > 0, added to the covariance of what was selected."""
    weight = number("ridge", ridge, 1e-12, 1e12)
    return VolumeState(np.eye(d) / weight, np.zeros((d, d)), 0, 0.0)


@lean
def _times(matrix: NDArray[np.float64], vector: NDArray[np.float64], out: NDArray[np.float64]) -> float:
    """Write matrix @ vector, and return vector @ matrix @ vector."""
    square = 0.0
    for i in range(len(vector)):
        total = 0.0
        for j in range(len(vector)):
            total += matrix[i, j] * vector[j]
        out[i] = total
        square += vector[i] * total
    return square


@kernel
def _volume_sample(
    x: Floats,
    lots: NDArray[np.float64],
    rate: float,
    inverse: NDArray[np.float64],
    covariance: NDArray[np.float64],
    before: tuple[int, float],
    chances: NDArray[np.float64],
) -> float:
    seen, trace = before
    d = x.shape[1]
    z, pulled, spread = np.empty(d), np.empty(d), np.empty(d)
    for row in range(x.shape[0]):
        z[:] = x[row]
        leverage = _times(inverse, z, pulled)
        seen += 1
        for i in range(d):
            for j in range(d):
                covariance[i, j] += (z[i] * z[j] - covariance[i, j]) / seen
        trace += (leverage - trace) / seen
        chances[row] = min(1.0, rate * leverage / trace) if trace > 0.0 else rate
        if lots[row] < chances[row]:  # Sherman and Morrison's update of the inverse, and of the trace with it
            trace = max(0.0, trace - _times(covariance, pulled, spread) / (1.0 + leverage))
            for i in range(d):
                for j in range(d):
                    inverse[i, j] -= pulled[i] * pulled[j] / (1.0 + leverage)
    return trace


def volume_sample(
    x: Floats, uniforms: NDArray[np.float64], rate: float, state: VolumeState
) -> tuple[NDArray[np.bool_], NDArray[np.float64], VolumeState]:
    """VeSSAL: select rows of a stream one by one with chance proportional to the volume they add to those selected.

    The chance of row z is rate * (z' S z) / tr(S A), at most 1: S the inverse covariance of what was chosen, A the mean
    z z' of all that was seen, so that about a share ``rate`` is selected, unlike each other. It is known before the lot
    is drawn: the selection may be weighted by its inverse.

    x: (n, d) in the order of the stream, such as gradient embeddings (1 - p_max) x.  uniforms: (n,) float64 in [0, 1),
    one lot a row.  rate: above 0, at most 1.  state: from ``volume_state`` or the last call; not changed.
    Returns selected (n,) bool, probability (n,) float64, and the state after. O(n d²).
    Saran et al. 2023, "Streaming active learning with deep neural networks". Raises ValueError (see the module).
    """
    rows, _ = finite("x", x)
    lots = array("uniforms", uniforms, np.float64, (len(rows),))
    if not bool(np.all((lots >= 0) & (lots < 1))):
        raise ValueError("uniforms: expected numbers from 0 to below 1")
    share = number("rate", rate, np.nextafter(0.0, 1.0), 1.0)
    d = rows.shape[1]
    inverse = array("state.inverse", state.inverse, np.float64, (d, d)).copy()
    covariance = array("state.covariance", state.covariance, np.float64, (d, d)).copy()
    chances = np.empty(len(rows))
    trace = _volume_sample(rows, lots, share, inverse, covariance, (state.seen, state.trace), chances)
    return lots < chances, chances, VolumeState(inverse, covariance, state.seen + len(rows), trace)

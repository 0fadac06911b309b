"""Samples with probability proportional to size, with the exact inclusion probability of every row.

Chance comes from coins (``hashing.coin``), so a replay draws the same sample. Weights are finite and not
negative; a row of weight 0 is never drawn. An estimate from any of these designs divides by the inclusion
probability: see ``kernels.sampling.estimates``.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, integer, number
from kernels.numerics._jit import lean
from kernels.numerics._logarithm import log64
from kernels.sampling._selection import Buffer, empty_buffer, in_order, offer
from kernels.sampling.hashing import unit

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_U11, _U27, _U30, _U31 = (np.uint64(n) for n in (11, 27, 30, 31))
_MAX_K: Final = 2**40
_LAST: Final = np.uint64(2**64 - 1)
_GROUP: Final = 64


class WeightedSample(NamedTuple):
    """Rows drawn, and the inclusion probability of each of them."""

    indices: NDArray[np.int64]
    inclusion_probabilities: NDArray[np.float64]


class _Scaled(NamedTuple):
    """Weights, and two powers of two that bring the largest near 2**960: no sum or quotient of them overflows."""

    weights: NDArray[np.float64]
    half: float
    rest: float

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Some of them, scaled."""
        scaled: NDArray[np.float64] = self.weights[rows] * self.half * self.rest
        return scaled


def _scaled(weights: NDArray[np.floating]) -> _Scaled:
    """Check weights. Raises ValueError."""
    checked = array("weights", weights, (np.float32, np.float64), (None,)).astype(np.float64, copy=False)
    largest = np.uint64(_largest(checked.view(np.uint64))).view(np.float64)
    if not (0.0 <= largest < np.inf) or math.copysign(1.0, largest) < 0.0:
        bad = ~(np.isfinite(checked) & (checked >= 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"weights[{row}]: {checked[row]} is not a finite number from 0; {bad.sum()} such rows")
        largest = checked.max()  # there is a -0.0
    shift = 960 - math.frexp(float(largest))[1]
    return _Scaled(array("weights", checked, np.float64, (None,)), 2.0 ** (shift // 2), 2.0 ** (shift - shift // 2))


def _checked_weights(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights as ``_Scaled`` has them. Raises ValueError."""
    given = _scaled(weights)
    return given.weights * given.half * given.rest


@lean
def _largest(bits: NDArray[np.uint64]) -> np.uint64:
    """The largest of some numbers' bits, which order them where none is negative; NaN's are larger than infinity's."""
    largest = np.uint64(0)
    for i in range(bits.shape[0]):
        largest = max(largest, bits[i])
    return largest


def inclusion_probabilities(weights: NDArray[np.floating], size: float) -> NDArray[np.float64]:
    """Probabilities ``min(1, c * weight)`` whose sum is ``size``: proportional to size, and none above 1.

    weights: (n,) float32 or float64.  size: expected number of rows, 0 to n; where fewer rows have a weight
    above 0, each of those gets 1. Returns (n,) float64. Rows that would exceed 1 are taken for certain and
    the rest of the size is shared out among the others, until none exceeds it (Särndal, Swensson and Wretman
    1992, section 3.6).
    """
    checked = _checked_weights(weights)
    size = number("size", size, 0.0, float(checked.shape[0]))
    n_positive = int(np.count_nonzero(checked))
    if size >= n_positive:
        return (checked > 0).astype(np.float64)
    # Only the rows that are among the `size` largest can be certain: those alone are sorted.
    n_head = min(int(size) + 1, n_positive)
    split = np.partition(checked, checked.shape[0] - n_head)
    largest_first = np.sort(split[-n_head:])[::-1]
    tail = split[:-n_head].sum() if n_head < checked.shape[0] else 0.0
    # rest[i]: weight left when the i largest are taken for certain; summed from the smallest, for accuracy.
    rest = np.cumsum(np.concatenate([[tail], largest_first[::-1]]))[:0:-1]
    certain = int(np.argmin((size - np.arange(n_head)) * largest_first > rest))
    with np.errstate(over="ignore"):
        out: NDArray[np.float64] = np.minimum(1.0, checked / rest[certain] * (size - certain))
    out[checked > largest_first[certain]] = 1.0
    return out


def robust_mixture(weights: NDArray[np.floating], size: float, uniform: float) -> NDArray[np.float64]:
    """Inclusion probabilities of weighted selection mixed with a share of uniform selection.

    ``weights / sum(weights) * (1 - uniform) + uniform / n``, made into probabilities as in
    ``inclusion_probabilities``. No row is out of reach, so no estimate is blind anywhere and its variance is
    at most ``1 / uniform`` times that of uniform sampling (2511.08991; defensive mixtures: Hesterberg 1995).

    uniform: share of the size that is uniform, 0 to 1.  All weights 0 count as all equal.
    """
    checked = _checked_weights(weights)
    uniform = number("uniform", uniform, 0.0, 1.0)
    n = checked.shape[0]
    if n == 0:
        return inclusion_probabilities(checked, size)
    scaled = checked if checked.any() else np.ones(n)
    return inclusion_probabilities(scaled / scaled.sum() * (1.0 - uniform) + uniform / n, size)


def _checked_probabilities(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    checked: NDArray[np.float64] = array("probabilities", probabilities, np.float64, (None,))
    bad = ~((checked >= 0) & (checked <= 1))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"probabilities[{row}]: {checked[row]} is not from 0 to 1; {bad.sum()} such rows")
    return checked


def poisson_sample(probabilities: NDArray[np.float64], coins: NDArray[np.uint64]) -> WeightedSample:
    """Draw each row by its own coin, independently, where ``unit(coin) <= probability``.

    probabilities: (n,) float64, 0 to 1.  coins: (n,) uint64.  The number drawn varies around their sum. Rows
    of a stream can be drawn one by one, and a larger probability only ever adds rows (Hájek 1964).
    """
    checked = _checked_probabilities(probabilities)
    tossed = array("coins", coins, np.uint64, (checked.shape[0],))
    rows = np.flatnonzero(unit(tossed) <= checked)
    return WeightedSample(rows, checked[rows])


@lean
def _systematic(probabilities: NDArray[np.float64], start: float, out: NDArray[np.int64]) -> int:
    """Rows in whose stretch of the cumulated probabilities start + integer lies; Neumaier's summation."""
    drawn = 0
    total, lost = 0.0, 0.0
    for row in range(probabilities.shape[0]):
        p = probabilities[row]
        raised = total + p
        lost += (total - raised) + p if total >= p else (p - raised) + total
        total = raised
        if p > 0.0 and total + lost > start + drawn and drawn < out.shape[0]:
            out[drawn] = row
            drawn += 1
    return drawn


def systematic_sample(probabilities: NDArray[np.float64], coin: int) -> WeightedSample:
    """Draw a sample of fixed size: one start, then every whole step along the cumulated probabilities.

    probabilities: (n,) float64, 0 to 1; the size is their sum, rounded down or up where it is no whole
    number. coin: one 64-bit hash that tosses the start.  Rows near each other in the array are rarely drawn
    together: sort by what the estimate depends on to lower its variance, or shuffle (Madow 1949).
    """
    checked = _checked_probabilities(probabilities)
    total = float(checked.sum())
    whole = round(total)
    start = 1.0 - unit(integer("coin", coin, 0, 2**64 - 1))
    rounding = 1e-9 * max(1.0, total)
    if abs(total - whole) <= rounding:
        out = np.empty(whole, np.int64)
        start = min(start, 1.0 - 2.0 * rounding)
    else:
        out = np.empty(int(total) + 1, np.int64)
    rows = out[: _systematic(checked, start, out)]
    return WeightedSample(rows, checked[rows])


def priority_sample(weights: NDArray[np.floating], coins: NDArray[np.uint64], k: int) -> WeightedSample:
    """The k rows of highest priority ``weight / unit(coin)``, with ``min(1, weight / threshold)``.

    The threshold is the (k + 1)-th highest priority; dividing by the probabilities gives unbiased sums with
    nearly the least variance that any design of k rows can have (Duffield, Lund and Thorup 2007, "Priority
    sampling for estimation of arbitrary subset sums"). Partitions that keep their k + 1 best rows can be
    merged.

    weights: (n,) float32 or float64.  coins: (n,) uint64.  k: at least 1.
    """
    given = _scaled(weights)
    tossed = array("coins", coins, np.uint64, given.weights.shape)
    k = integer("k", k, 1, _MAX_K)
    best = _first_by_quotient(given, tossed, k + 1, logarithm=False)
    if best.shape[0] <= k:
        return WeightedSample(best, np.ones(best.shape[0]))
    of_best = given.at(best)
    threshold = of_best[k] / unit(int(tossed[best[k]]))
    return WeightedSample(best[:k], np.minimum(1.0, of_best[:k] / threshold))


def exponential_bottom_k(weights: NDArray[np.floating], coins: NDArray[np.uint64], k: int) -> NDArray[np.int64]:
    """Rows drawn one after the other without replacement, each time in proportion to the weights left.

    The k smallest of ``-log(unit(coin)) / weight``, in the order of drawing (Efraimidis and Spirakis 2006; the
    Gumbel-top-k trick). Inclusion probabilities have no closed form: for estimates use ``priority_sample``.
    """
    given = _scaled(weights)
    tossed = array("coins", coins, np.uint64, given.weights.shape)
    return _first_by_quotient(given, tossed, integer("k", k, 0, _MAX_K), logarithm=True)


def _first_by_quotient(given: _Scaled, coins: NDArray[np.uint64], k: int, *, logarithm: bool) -> NDArray[np.int64]:
    if k == 0:
        return np.empty(0, np.int64)
    buffer = empty_buffer(k, coins.shape[0])
    keys = np.empty(_GROUP)
    _offer_quotients(given, coins, buffer, k, int(logarithm), keys, keys.view(np.uint64))
    first = in_order(buffer, k)
    return first[given.weights[first] > 0]


@lean
def _uniform(coin: np.uint64) -> float:
    """A coin as a number in (0, 1]: see ``kernels.sampling.hashing.unit``."""
    return (float(np.int64(coin >> _U11)) + 1.0) * 2.0**-53


@lean
def _offer_quotients(
    given: _Scaled,
    coins: NDArray[np.uint64],
    buffer: Buffer,
    k: int,
    logarithm: int,
    keys: NDArray[np.float64],
    ranks: NDArray[np.uint64],
) -> None:
    """Offer rows by ``u / weight``, or ``-log(u) / weight``; rows of weight 0 rank last, or are left out.

    Logarithm and division are spared where a lower bound of them, u or 1 - u <= -log(u), is already too large, which is
    found out for a group of rows at once. keys, ranks (the same memory): room for a group.
    """
    bound = buffer.bound.view(np.float64)
    for first in range(0, coins.shape[0], _GROUP):
        size = min(_GROUP, coins.shape[0] - first)
        weights, tosses = given.weights[first : first + size], coins[first : first + size]
        # NaN before there is a bound: no comparison with it holds.
        highest = bound[0] * (1.0 + 1e-12)
        possible = False
        for r in range(size):
            u = _uniform(tosses[r])
            w = weights[r] * given.half * given.rest
            possible |= (not ((1.0 - u if logarithm else u) > highest * w)) & (w > 0.0)
        if not possible:
            continue
        for r in range(size):
            u = _uniform(tosses[r])
            w = weights[r] * given.half * given.rest
            if w == 0.0 or (1.0 - u if logarithm else u) > highest * w:
                ranks[r] = _LAST
            else:
                keys[r] = (abs(log64(np.float64(u))) if logarithm else u) / w
        offer(buffer, k, ranks[:size], coins, first)


@lean
def _draw(seed: np.uint64, counter: int) -> float:
    """A uniform number in (0, 1] by its position in the sequence: SplitMix64 (Steele, Lea and Flood 2014)."""
    z = seed + np.uint64(counter) * _GOLDEN
    z = (z ^ (z >> _U30)) * _MIX_1
    z = (z ^ (z >> _U27)) * _MIX_2
    z = z ^ (z >> _U31)
    return (float(z >> _U11) + 1.0) * 2.0**-53


@lean
def _sift_up_from_root(keys: NDArray[np.float64], rows: NDArray[np.int64], size: int) -> None:
    """Restore the heap whose root is the smallest key, after its root has changed."""
    key, row = keys[0], rows[0]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[hole], rows[hole] = keys[child], rows[child]
        hole = child
    keys[hole], rows[hole] = key, row


@lean
def _reservoir(
    weights: NDArray[np.float64],
    seed: np.uint64,
    keys: NDArray[np.float64],
    rows: NDArray[np.int64],
    counts: NDArray[np.int64],
    jump: NDArray[np.float64],
) -> None:
    """A-ExpJ over one batch; counts holds rows seen, reservoir filled, numbers drawn.

    Keys are logarithms, log(u) / w, so that small weights do not all become the key 0.
    """
    k = keys.shape[0]
    for i in range(weights.shape[0]):
        w = weights[i]
        row = counts[0]
        counts[0] += 1
        if w == 0.0:
            continue
        if counts[1] < k:
            counts[2] += 1
            place = counts[1]
            key = log64(np.float64(_draw(seed, counts[2]))) / w
            counts[1] += 1
            while place > 0 and keys[(place - 1) >> 1] > key:
                keys[place], rows[place] = keys[(place - 1) >> 1], rows[(place - 1) >> 1]
                place = (place - 1) >> 1
            keys[place], rows[place] = key, row
            if counts[1] == k:
                counts[2] += 1
                jump[0] = log64(np.float64(_draw(seed, counts[2]))) / keys[0]
            continue
        jump[0] -= w
        if jump[0] > 0.0:
            continue
        counts[2] += 2
        least = np.exp(keys[0] * w)
        u = least + (1.0 - least) * _draw(seed, counts[2] - 1)
        keys[0] = min(log64(np.float64(u)) / w, 0.0)
        rows[0] = row
        _sift_up_from_root(keys, rows, k)
        jump[0] = log64(np.float64(_draw(seed, counts[2]))) / keys[0] if keys[0] < 0.0 else np.inf


class WeightedReservoir:
    """Weighted sample of k rows of a stream without replacement, in one pass: A-ExpJ.

    Draws a random number only where a row enters, O(k log(n / k)) of them (Efraimidis and Spirakis 2006,
    "Weighted random sampling with a reservoir"). The result depends on the seed and on the order of rows, not
    on batches.

    k: at least 1.  seed: 0 to 2**64 - 1.
    """

    def __init__(self, k: int, seed: int) -> None:
        k = integer("k", k, 1, _MAX_K)
        self._seed = np.uint64(integer("seed", seed, 0, 2**64 - 1))
        self._keys = np.empty(k)
        self._rows = np.empty(k, np.int64)
        self._counts = np.zeros(3, np.int64)
        self._jump = np.zeros(1)

    def update(self, weights: NDArray[np.floating]) -> None:
        """Offer the next rows of the stream: (n,) float32 or float64 weights."""
        _checked_weights(weights)
        checked = array("weights", weights.astype(np.float64), np.float64, (None,))
        _reservoir(checked, self._seed, self._keys, self._rows, self._counts, self._jump)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Positions in the stream of the rows in the reservoir, (min(k, rows of positive weight),), rising."""
        return np.sort(self._rows[: self._counts[1]])

    @property
    def seen(self) -> int:
        """Rows offered so far."""
        return int(self._counts[0])

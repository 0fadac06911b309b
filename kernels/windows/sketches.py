"""Sketches: what is too large to keep, summed up in plain arrays that can be merged in any order.

Both depend on the set (HyperLogLog) or the bag (quantiles) of what they were given and not on its order, so a replay
into an empty sketch gives the same array, and those of partitions and of stretches of time can be put together. Each
holds g sketches side by side, one a key or group.
"""

import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, integer, number
from kernels.numerics._jit import kernel, lean

_U1: Final = np.uint64(1)


def _checked_groups(groups: NDArray[np.int64], n: int, size: int) -> NDArray[np.int64]:
    checked: NDArray[np.int64] = array("groups", groups, np.int64, (n,))
    if n and not (checked.min() >= 0 and checked.max() < size):
        raise ValueError(f"groups: expected numbers from 0 to {size - 1}, got {checked.min()} to {checked.max()}")
    return checked


def _writable(name: str, value: NDArray[np.uint8] | NDArray[np.int64], dtype: type, columns: int | None) -> None:
    array(name, value, dtype, (None, columns))
    if not (value.flags.c_contiguous and value.flags.writeable):
        raise ValueError(f"{name}: expected a C-contiguous array that can be written to")


# ---- distinct values


@lean
def register_of(h: np.uint64, precision: np.uint64) -> int:
    """Which register a hash belongs to: its first bits."""
    return int(h >> (np.uint64(64) - precision))


@lean
def rank_of(h: np.uint64, precision: np.uint64) -> int:
    """Position of the first 1 among the bits of a hash behind those of its register, 65 - precision where none is."""
    rest = np.uint64(64) - precision
    rank = 1
    mask = _U1 << (rest - _U1)
    while rank <= int(rest) and (h & mask) == 0:
        rank += 1
        mask >>= _U1
    return rank


@lean
def _hll_add(
    registers: NDArray[np.uint8], groups: NDArray[np.int64], hashes: NDArray[np.uint64], precision: np.uint64
) -> None:
    for i in range(hashes.shape[0]):
        register, rank = register_of(hashes[i], precision), rank_of(hashes[i], precision)
        registers[groups[i], register] = max(registers[groups[i], register], rank)


@lean
def estimate_of_ranks(counts: NDArray[np.int64], m: int, q: int) -> float:
    """Ertl's improved raw estimator, algorithm 6: no bias correction tables and no switch between formulas.

    counts: how many of the m registers hold each rank, 0 to q + 1, with q = 64 - precision.
    """
    x = 1.0 - counts[q + 1] / m
    tau = 0.0
    if 0.0 < x < 1.0:
        y, z, before = 1.0, 1.0 - x, 0.0
        while z != before:
            x = np.sqrt(x)
            before = z
            y *= 0.5
            z -= (1.0 - x) * (1.0 - x) * y
        tau = z / 3.0
    total = m * tau
    for k in range(q, 0, -1):
        total = 0.5 * (total + counts[k])
    x = counts[0] / m
    sigma = np.inf
    if x < 1.0:
        y, sigma, before = 1.0, x, -1.0
        while sigma != before:
            x *= x
            before = sigma
            sigma += x * y
            y += y
    total += m * sigma
    estimate: float = m * m / (2.0 * 0.6931471805599453 * total) if total > 0.0 else np.inf
    return estimate


@kernel
def _hll_estimate(registers: NDArray[np.uint8], precision: int, out: NDArray[np.float64]) -> None:
    m = registers.shape[1]
    q = 64 - precision
    for g in range(registers.shape[0]):
        counts = np.zeros(q + 2, np.int64)
        for r in range(m):
            counts[registers[g, r]] += 1
        out[g] = estimate_of_ranks(counts, m, q)


def _precision_of(registers: NDArray[np.uint8]) -> int:
    _writable("registers", registers, np.uint8, None)
    m = registers.shape[1]
    precision: int = m.bit_length() - 1
    if not 4 <= precision <= 18 or 1 << precision != m:
        raise ValueError(f"registers: expected (g, 2**p) with p from 4 to 18, got {registers.shape}")
    return precision


def precision_for(error: float) -> int:
    """Logarithm of the number of registers that a standard error takes, 0.0021 to 0.26."""
    return math.ceil(2.0 * math.log2(1.04 / number("error", error, 0.0021, 0.26)))


def distinct_sketch(groups: int, precision: int = 12) -> NDArray[np.uint8]:
    """Empty HyperLogLog registers, (groups, 2**precision) uint8.

    precision: 4 to 18; the standard error of an estimate is ``1.04 / sqrt(2**precision)``, 1.6 % at 12 (4 kB).
    Merge two with ``np.maximum``.
    """
    return np.zeros((integer("groups", groups, 0, 2**40), 1 << integer("precision", precision, 4, 18)), np.uint8)


def add_distinct(registers: NDArray[np.uint8], groups: NDArray[np.int64], hashes: NDArray[np.uint64]) -> None:
    """Add hashed values to their groups' registers, in place.

    registers: (g, 2**p) uint8 of ``distinct_sketch``.  groups: (n,) int64, 0 to g - 1.  hashes: (n,) uint64, well
    mixed, as from ``hashing`` (Flajolet, Fusy, Gandouet and Meunier 2007; 64-bit hashes as in Heule et al. 2013).
    """
    precision = _precision_of(registers)
    checked = array("hashes", hashes, np.uint64, (None,))
    rows = _checked_groups(groups, checked.shape[0], registers.shape[0])
    _hll_add(registers, rows, checked, np.uint64(precision))


def distinct_estimate(registers: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Estimated number of different values of each group: (g, 2**p) uint8 to (g,) float64.

    Ertl 2017, "New cardinality estimation algorithms for HyperLogLog sketches", arXiv 1702.01284, section 2.
    """
    precision = _precision_of(registers)
    out = np.empty(registers.shape[0])
    _hll_estimate(registers, precision, out)
    return out


# ---- quantiles


class QuantileLayout(NamedTuple):
    """The buckets of a quantile sketch: negative values from the largest down, zero, positive values up.

    scale: buckets in one step of the logarithm.  first: number of the bucket of the smallest magnitude.  size:
    buckets of each sign.  smallest: magnitudes below it count as zero.
    """

    scale: float
    first: int
    size: int
    smallest: float

    @property
    def columns(self) -> int:
        """Length of a sketch's row."""
        return 2 * self.size + 1


@lean
def _step_logarithm(x: float) -> float:
    """About log2(x): the exponent, and a cubic of the mantissa that rises steadily; the same bits everywhere."""
    mantissa, exponent = math.frexp(x)
    s = 2.0 * mantissa - 1.0
    return ((6.0 / 35.0 * s - 3.0 / 5.0) * s + 10.0 / 7.0) * s + (exponent - 1)


@lean
def column_of(x: float, layout: QuantileLayout) -> int:
    """The bucket of a number that is not NaN, as a column of a sketch."""
    magnitude = min(abs(x), 1.7976931348623157e308)
    if magnitude < layout.smallest:
        return layout.size
    bucket = int(np.floor(_step_logarithm(magnitude) * layout.scale)) - layout.first
    bucket = max(0, min(bucket, layout.size - 1))
    return layout.size + 1 + bucket if x > 0 else layout.size - 1 - bucket


@lean
def _quantiles_add(
    counts: NDArray[np.int64],
    groups: NDArray[np.int64],
    values: NDArray[np.float64],
    layout: QuantileLayout,
) -> None:
    for i in range(values.shape[0]):
        x = values[i]
        if x == x:  # noqa: PLR0124
            counts[groups[i], column_of(x, layout)] += 1


def quantile_layout(accuracy: float = 0.01, smallest: float = 1e-6, largest: float = 1e12) -> QuantileLayout:
    """Buckets for quantiles within a relative accuracy.

    accuracy: 0.0001 to 0.5; a quantile is within this share of the true one.  smallest: magnitudes below it count as
    0.  largest: magnitudes above it fall into the last bucket and read as about it.  1 % from 1e-6 to 1e12 takes
    4,300 buckets, 34 kB a group.

    DDSketch (Masson, Rim and Lee 2019, VLDB 12:12) with the cubically interpolated mapping of its authors' libraries
    in place of a logarithm.
    """
    alpha = number("accuracy", accuracy, 1e-4, 0.5)
    low = number("smallest", smallest, 1e-300, 1e300)
    high = number("largest", largest, low, 1e300)
    scale = 0.7 / (2.0 * float(np.arctanh(alpha)))
    first, last = (int(np.floor(float(_step_logarithm(x)) * scale)) for x in (low, high))
    return QuantileLayout(scale, first, last - first + 1, low)


def quantile_sketch(groups: int, layout: QuantileLayout) -> NDArray[np.int64]:
    """Empty counts, (groups, layout.columns) int64. Merge two of one layout by adding them."""
    return np.zeros((integer("groups", groups, 0, 2**40), layout.columns), np.int64)


def add_quantiles(
    counts: NDArray[np.int64], groups: NDArray[np.int64], values: NDArray[np.float64], layout: QuantileLayout
) -> None:
    """Add values to their groups' counts, in place; NaN is left out.

    counts: (g, layout.columns) int64 of ``quantile_sketch``.  groups: (n,) int64, 0 to g - 1.  values: (n,) float64.
    """
    _writable("counts", counts, np.int64, layout.columns)
    checked = array("values", values, np.float64, (None,))
    _quantiles_add(counts, _checked_groups(groups, checked.shape[0], counts.shape[0]), checked, layout)


def _edges(layout: QuantileLayout, buckets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Lower ends of buckets: the inverse of the step logarithm, by bisection of its cubic."""
    target = (buckets + layout.first) / layout.scale
    exponent = np.floor(target)
    low, high = np.zeros(target.shape), np.ones(target.shape)
    for _ in range(54):
        s = 0.5 * (low + high)
        below = ((6.0 / 35.0 * s - 3.0 / 5.0) * s + 10.0 / 7.0) * s < target - exponent
        low, high = np.where(below, s, low), np.where(below, high, s)
    return np.ldexp(1.0 + low, exponent.astype(np.int64))


def middles_of(layout: QuantileLayout) -> NDArray[np.float64]:
    """(columns,) float64: what a number of each bucket is taken for, the harmonic mean of the bucket's ends."""
    return _middles(layout).copy()


@lru_cache(maxsize=64)
def _middles(layout: QuantileLayout) -> NDArray[np.float64]:
    bounds = _edges(layout, np.arange(layout.size + 1))
    middles = 2.0 * bounds[:-1] * bounds[1:] / (bounds[:-1] + bounds[1:])
    return np.concatenate([-middles[::-1], [0.0], middles])


def quantile_estimate(
    counts: NDArray[np.int64], probabilities: NDArray[np.float64], layout: QuantileLayout
) -> NDArray[np.float64]:
    """Quantiles of each group: the value of rank ``floor(q * (n - 1))``, within the layout's accuracy.

    counts: (g, layout.columns) int64.  probabilities: (m,) float64, 0 to 1.  Returns (g, m) float64, NaN where a
    group is empty.
    """
    checked = array("counts", counts, np.int64, (None, layout.columns))
    q = array("probabilities", probabilities, np.float64, (None,))
    if not np.all((q >= 0) & (q <= 1)):
        raise ValueError(f"probabilities: expected numbers from 0 to 1, got {q[~((q >= 0) & (q <= 1))][0]}")
    values = middles_of(layout)
    out = np.full((checked.shape[0], q.shape[0]), np.nan)
    for g, row in enumerate(checked):
        cumulated = np.cumsum(row)
        if cumulated[-1] > 0:
            out[g] = values[np.searchsorted(cumulated, np.floor(q * (cumulated[-1] - 1)), side="right")]
    return out

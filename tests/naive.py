"""The slow, obvious version of every kernel, to compare the fast ones with."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


# ---- windows


class Spec(Protocol):
    @property
    def aggregate(self) -> str: ...
    @property
    def column(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def include_current(self) -> bool: ...
    @property
    def parameter(self) -> float: ...


class WindowRows(Protocol):
    @property
    def keys(self) -> NDArray[np.uint64]: ...
    @property
    def times(self) -> NDArray[np.int64]: ...
    @property
    def values(self) -> Array: ...


def windows(specs: Sequence[Spec], stream: WindowRows, lateness: int, first: int = 0) -> Array:
    """Every feature of every row from `first` on, from all earlier rows."""
    keys, times = stream.keys, stream.times
    out = np.empty((len(keys) - first, len(specs)))
    for row in range(first, len(keys)):
        t, log = int(times[row]), np.arange(len(keys))
        latest = max(t, int(times[:row].max()) - lateness) if row else t
        for m, spec in enumerate(specs):
            inside = (keys == keys[row]) & (times > latest - spec.size) & (times <= t)
            earlier = np.flatnonzero(inside & (log < row))
            rows = np.flatnonzero(inside & (log <= row)) if spec.include_current else earlier
            if spec.aggregate == "since_last":
                out[row - first, m] = (t - times[earlier].max()) / 1e6 if len(earlier) else np.nan
            elif spec.aggregate == "count":
                out[row - first, m] = len(rows)
            else:
                rows = rows[~np.isnan(stream.values[rows, spec.column])]
                out[row - first, m] = window_aggregate(spec, stream.values[rows, spec.column], t - times[rows])
    return out


def window_aggregate(spec: Spec, x: Array, age: NDArray[np.int64]) -> float:
    """One aggregate of the values of a window, in log order, without missing ones."""
    name = spec.aggregate
    if name == "distinct":
        return len({float(v) for v in x})
    if name == "sum":
        return float(x.sum())
    if name == "decayed_sum":
        return float((x * 0.5 ** (age / spec.parameter)).sum())
    if x.size < (2 if name in {"var", "std"} else 1):
        return np.nan
    functions: dict[str, Callable[[], object]] = {
        "mean": lambda: x.sum() / x.size,
        "var": lambda: x.var(ddof=1),
        "std": lambda: x.std(ddof=1),
        "min": x.min,
        "max": x.max,
        "first": lambda: x[0],
        "last": lambda: x[-1],
        "quantile": lambda: np.quantile(x, spec.parameter),
        "decayed_mean": lambda: np.average(x, weights=0.5 ** (age / spec.parameter)),
    }
    return float(functions[name]())  # type: ignore[arg-type]


# ---- hashing


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64 as its specification puts it, in Python integers."""
    p1, p2, p3, p4, p5 = (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
    cut = 2**64 - 1

    def rotate(x: int, r: int) -> int:
        return ((x << r) | (x >> (64 - r))) & cut

    def mix(acc: int, lane: int) -> int:
        return rotate((acc + lane * p2) & cut, 31) * p1 & cut

    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data) - 7, 8)]
    striped = len(data) // 32 * 4
    if striped:
        lanes = [(seed + p1 + p2) & cut, (seed + p2) & cut, seed, (seed - p1) & cut]
        for i, word in enumerate(words[:striped]):
            lanes[i % 4] = mix(lanes[i % 4], word)
        h = sum(rotate(lane, r) for lane, r in zip(lanes, (1, 7, 12, 18), strict=True)) & cut
        for lane in lanes:
            h = ((h ^ mix(0, lane)) * p1 + p4) & cut
    else:
        h = (seed + p5) & cut
    h = (h + len(data)) & cut
    for word in words[striped:]:
        h = (rotate(h ^ mix(0, word), 27) * p1 + p4) & cut
    rest = data[len(words) * 8 :]
    if len(rest) >= 4:
        h = (rotate(h ^ int.from_bytes(rest[:4], "little") * p1 & cut, 23) * p2 + p3) & cut
        rest = rest[4:]
    for byte in rest:
        h = rotate(h ^ byte * p5 & cut, 11) * p1 & cut
    h = (h ^ h >> 33) * p2 & cut
    h = (h ^ h >> 29) * p3 & cut
    return h ^ h >> 32


# ---- sampling


def bottom_k(coins: Sequence[int], k: int, ids: Sequence[int]) -> list[int]:
    """Rows of the k smallest coins, by (coin, id, row)."""
    return sorted(range(len(coins)), key=lambda i: (coins[i], ids[i], i))[:k]


def top_k(scores: Sequence[float], ids: Sequence[int], k: int) -> list[int]:
    """Rows of the k highest scores, by (score falling, NaN last, id, row)."""
    numbers = [i for i in range(len(scores)) if not np.isnan(scores[i])]
    missing = [i for i in range(len(scores)) if np.isnan(scores[i])]
    best = sorted(numbers, key=lambda i: (-scores[i], ids[i], i)) + sorted(missing, key=lambda i: (ids[i], i))
    return best[:k]


def inclusion_probabilities(weights: Array, size: float) -> Array:
    """Share the size out in proportion to the weights, cut what exceeds 1, share out again."""
    out = np.zeros(len(weights))
    certain: set[int] = set()
    while True:
        free = [i for i in range(len(weights)) if i not in certain and weights[i] > 0]
        for i in free:
            out[i] = weights[i] * (size - len(certain)) / sum(weights[j] for j in free)
        over = {i for i in free if out[i] >= 1}
        out[list(over)] = 1.0
        certain |= over
        if not over:
            return out


def systematic_sample(probabilities: Array, start: float) -> list[int]:
    """Rows in whose stretch of the cumulated probabilities one of start, start + 1, ... lies."""
    edges = np.concatenate([[0.0], np.cumsum(probabilities)])
    points = np.arange(start, edges[-1])
    return [i for i in range(len(probabilities)) if np.any((edges[i] <= points) & (points < edges[i + 1]))]


def successive_inclusion(weights: Sequence[float], k: int) -> Array:
    """Exact inclusion probabilities of drawing k rows one after the other in proportion to the weights
    left."""
    out = np.zeros(len(weights))

    def draw(left: tuple[int, ...], probability: float, k: int) -> None:
        for i in left if k else ():
            p = probability * weights[i] / sum(weights[j] for j in left)
            out[i] += p
            draw(tuple(j for j in left if j != i), p, k - 1)

    draw(tuple(range(len(weights))), 1.0, k)
    return out


# ---- estimates


def stratified_mean(values: Sequence[float], strata: Sequence[int], population: Sequence[int]) -> tuple[float, float]:
    """Mean and its variance (Cochran 1977), every stratum with at least two answers."""
    mean = variance = 0.0
    for h, size in enumerate(population):
        y = np.array([v for v, s in zip(values, strata, strict=True) if s == h])
        share = size / sum(population)
        mean += share * float(y.mean())
        variance += share**2 * (1 - len(y) / size) * float(y.var(ddof=1)) / len(y)
    return mean, variance


def lure(losses: Sequence[float], probabilities: Sequence[float], population: int) -> float:
    """R_LURE as printed (Farquhar et al. 2021, equation 6)."""
    drawn, size = len(losses), population
    total = 0.0
    for m in range(1, drawn + 1):
        v = 1.0
        if drawn < size:
            v += (size - drawn) / (size - m) * (1 / ((size - m + 1) * probabilities[m - 1]) - 1)
        total += v * losses[m - 1]
    return total / drawn


# ---- thresholds


def variable_uncertainty(
    confidence: Sequence[float], factors: Sequence[float], budget: float, step: float, window: int
) -> list[bool]:
    """RandVar of Žliobaitė et al. 2014, with the factors drawn; factors of 1 give Var."""
    threshold, spent, chosen = 1.0, 0.0, []
    for c, factor in zip(confidence, factors, strict=True):
        asks = False
        if spent / window < budget and not np.isnan(c):
            asks = c < threshold * factor
            threshold = threshold * (1 - step) if asks else min(1.0, threshold * (1 + step))
        chosen.append(asks)
        spent = spent * (window - 1) / window + asks
    return chosen


def box_muller(coin: int) -> float:
    """A standard normal number from the halves of 64 bits."""
    first, second = ((coin >> 32) + 1) / 2**32, (coin & 0xFFFFFFFF) / 2**32
    return float(np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second))

"""The slow, obvious version of every kernel, to compare the fast ones with."""

import functools
import math
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
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
    @property
    def error(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def gap(self) -> int: ...


class WindowRows(Protocol):
    @property
    def keys(self) -> NDArray[np.uint64]: ...
    @property
    def times(self) -> NDArray[np.int64]: ...
    @property
    def values(self) -> Array: ...


def windows(
    specs: Sequence[Spec],
    stream: WindowRows,
    lateness: int,
    first: int = 0,
    bounded: NDArray[np.int64] | None = None,
) -> Array:
    """Every feature of every row from `first` on, from all earlier rows. bounded: how far each moves the watermark."""
    keys, times = stream.keys, stream.times
    moved = times if bounded is None else bounded
    out = np.empty((len(keys) - first, len(specs)))
    for row in range(first, len(keys)):
        t, mine = int(times[row]), np.flatnonzero(keys[: row + 1] == keys[row])
        past = Past(times[mine], stream.values[mine], max(t, int(moved[:row].max()) - lateness) if row else t)
        for m, spec in enumerate(specs):
            inside = past.inside(spec)
            earlier = inside[inside < past.own]
            rows = inside if spec.include_current else earlier
            since = (t - past.times[earlier]) / 1e6
            if spec.aggregate == "since_last":
                out[row - first, m] = since.min() if len(earlier) else np.nan
            elif spec.aggregate == "since_first":
                out[row - first, m] = since.max() if len(earlier) else np.nan
            elif spec.aggregate == "rate":
                out[row - first, m] = len(earlier) / since.max() if since.max(initial=0) > 0 else np.nan
            elif spec.aggregate == "count":
                out[row - first, m] = len(rows)
            else:
                x, own = past.values[rows, spec.column], float(past.values[past.own, spec.column])
                out[row - first, m] = (
                    zscore(x, own)
                    if spec.aggregate == "zscore"
                    else slope(x, t - past.times[rows])
                    if spec.aggregate == "slope"
                    else window_aggregate(spec, x, t - past.times[rows])
                )
    return out


class Past:
    """The rows of one key in the order of the log, the row that is looked at last."""

    def __init__(self, times: NDArray[np.int64], values: Array, latest: int) -> None:
        self.times, self.values, self.latest = times, values, latest
        self.own = len(times) - 1
        self._known: dict[tuple[object, ...], NDArray[np.intp]] = {}

    def inside(self, spec: Spec) -> NDArray[np.intp]:
        """Which rows the window holds; aggregates of one window share the answer."""
        kind = spec.aggregate if spec.aggregate.startswith("approx") else ""
        window = (kind, spec.size, spec.rows, spec.gap, spec.column, spec.rows > 0 and spec.include_current)
        if window not in self._known:
            self._known[window] = np.flatnonzero(self._holds(spec))
        return self._known[window]

    def _holds(self, spec: Spec) -> NDArray[np.bool_]:
        inside = window_holds(spec, int(self.times[-1]), self.latest, self.times)
        if spec.gap:
            inside &= session(self.times, inside, self.own, spec.gap)
        if spec.rows:
            inside &= self._newest(spec, inside)
        if spec.column >= 0:
            inside &= ~np.isnan(self.values[:, spec.column])
        return inside

    def _newest(self, spec: Spec, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows are the newest of a window; of a row that is too late, also of those that may still be kept."""
        complete = np.full(len(inside), True) if spec.column < 0 else ~np.isnan(self.values[:, spec.column])
        others = np.arange(len(inside)) != self.own

        def last(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
            listed = np.flatnonzero(rows & complete)
            in_time = listed[np.argsort(self.times[listed], kind="stable")]  # those of one time as the log has them
            found = np.zeros(len(rows), np.bool_)
            found[in_time[-spec.rows :]] = True
            return found

        found = last(inside & (others | spec.include_current))
        if self.times[-1] < self.latest:
            found &= last(others & (self.times <= self.latest)) | ~others
        return found


def session(times: NDArray[np.int64], inside: NDArray[np.bool_], row: int, gap: int) -> NDArray[np.bool_]:
    """Which rows follow each other up to `row`, none more than the gap after the one before."""
    begin = times[row]
    for time in sorted(times[inside], reverse=True):
        if begin - time > gap:
            break
        begin = time
    return np.asarray(times >= begin)


def over_one_denominator(x: Iterable[float]) -> tuple[list[int], int]:
    """Finite numbers as numerators over the denominator of all, a power of two: nothing is rounded."""
    ratios = [float(each).as_integer_ratio() for each in x]
    common = max(denominator for _, denominator in ratios)
    return [numerator * (common // denominator) for numerator, denominator in ratios], common


def zscore(x: Array, own: float) -> float:
    """In integers, whose squares are exact, but for the root."""
    n = len(x)
    if n < 2 or np.isinf(x).any() or not np.isfinite(own):
        return np.nan
    (compared, *exact), denominator = over_one_denominator([own, *x])
    total = sum(exact)
    variance = Fraction(n * sum(each**2 for each in exact) - total**2, n * (n - 1) * denominator**2)
    return root(Fraction(n * compared - total, n * denominator), variance)


def root(distance: Fraction, variance: Fraction) -> float:
    """A distance in standard deviations; missing where there are none, or where float64 ends."""
    if not variance:
        return np.nan
    square = distance**2 / variance
    shift = square.numerator.bit_length() - square.denominator.bit_length()
    shift += shift % 2
    size = math.sqrt(square / Fraction(2) ** shift) if square else 0.0
    try:
        return math.copysign(math.ldexp(size, shift // 2), distance)
    except OverflowError:
        return np.nan


def slope(x: Array, age: NDArray[np.int64]) -> float:
    """In integers, by least squares: exact but for the last rounding."""
    n = len(x)
    if n < 2 or np.isinf(x).any() or len(set(age.tolist())) < 2:
        return np.nan
    (exact, denominator), at = over_one_denominator(x), [-int(each) for each in age]
    products = n * sum(t * each for t, each in zip(at, exact, strict=True)) - sum(at) * sum(exact)
    squares = n * sum(t * t for t in at) - sum(at) ** 2
    try:
        return float(Fraction(products * 10**6, squares * denominator))
    except OverflowError:
        return np.nan


def window_holds(spec: Spec, t: int, latest: int, times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which times lie in the window of a row at t."""
    if not spec.aggregate.startswith("approx"):
        return (times > latest - spec.size) & (times <= t)
    beginning = latest - spec.size + 1
    if spec.aggregate == "approx_quantile":
        pane = max(1, spec.size // 24)
        beginning += -beginning % pane
    return (times >= beginning) & (t >= beginning)


def window_aggregate(spec: Spec, x: Array, age: NDArray[np.int64]) -> float:
    """One aggregate of the values of a window, in log order, without missing ones."""
    name = spec.aggregate
    if name == "distinct":
        return len({float(v) for v in x})
    if name == "approx_distinct":
        return float(np.rint(hyperloglog(x, math.ceil(2 * math.log2(1.04 / (spec.error or 0.023))))))
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
        "approx_quantile": lambda: np.sort(x)[math.floor(spec.parameter * (x.size - 1))],
        "decayed_mean": lambda: np.average(x, weights=0.5 ** (age / spec.parameter)),
    }
    return float(functions[name]())  # type: ignore[arg-type]


def hyperloglog(x: Array, precision: int) -> float:
    """Ertl 2017, algorithm 6, over XXH64 of the values' bytes."""
    m, q = 2**precision, 64 - precision
    ranks: dict[int, int] = {}  # of registers that a value has met
    for value in x:
        register, rest = divmod(xxh64(struct.pack("<d", value or 0.0)), 2**q)
        ranks[register] = max(ranks.get(register, 0), q - rest.bit_length() + 1)
    counts = Counter(ranks.values())
    counts[0] = m - len(ranks)
    total = m * tau(1 - counts[q + 1] / m)
    for k in range(q, 0, -1):
        total = 0.5 * (total + counts[k])
    return float(m * m / (2 * math.log(2) * (total + m * sigma(counts[0] / m))))


def sigma(x: float) -> float:
    """The sum of x^(2^k) 2^(k - 1) over k from 1, and x."""
    return math.inf if x == 1 else x + sum(x ** (2**k) * 2 ** (k - 1) for k in range(1, 60))


def tau(x: float) -> float:
    """A third of 1 - x less the sum of (1 - x^(2^-k))^2 2^-k over k from 1."""
    return 0.0 if x in {0, 1} else (1 - x - sum((1 - x ** (2**-k)) ** 2 * 2**-k for k in range(1, 60))) / 3


# ---- hashing


@functools.lru_cache(1 << 16)
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


# ---- uncertainty


def two_columns(p: Array) -> Array:
    return np.stack([1 - p.reshape(-1), p.reshape(-1)], axis=1) if p.ndim == 1 or p.shape[1] == 1 else p


def least_confidence(proba: Array) -> Array:
    best: Array = two_columns(proba).max(axis=1)
    return 1 - best


def margin(proba: Array) -> Array:
    ordered = np.sort(two_columns(proba), axis=1)
    return 1 - (ordered[:, -1] - ordered[:, -2])


def breaking_ties(proba: Array) -> Array:
    return margin(proba) - 1


def ratio(proba: Array) -> Array:
    ordered = np.sort(two_columns(proba), axis=1)
    return ordered[:, -2] / ordered[:, -1]


def xlogx(p: float) -> float:
    return p * math.log(p) if p > 0 else 0.0


def entropy(proba: Array) -> Array:
    return np.array([max(0.0, -math.fsum(xlogx(float(v)) for v in row)) for row in two_columns(proba)])


def power_margin(proba: Array, uniforms: Array, beta: float = 1.0) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(margin(proba)) - np.log(-np.log(uniforms)) / beta


# ---- costs


def expected_costs(proba: Array, cost: Array) -> Array:
    p = two_columns(proba)
    if not len(p):
        return np.zeros((0, cost.shape[1]))
    return np.sort([[sum(p_t * c_t for p_t, c_t in zip(row, d, strict=True)) for d in cost.T] for row in p], axis=1)


def expected_cost(proba: Array, cost: Array) -> Array:
    return np.array([costs[0] for costs in expected_costs(proba, cost)])


def cost_margin(proba: Array, cost: Array) -> Array:
    return np.array([costs[0] - costs[1] for costs in expected_costs(proba, cost)])


def shifted(proba: Array, prior: Array, target: Array) -> Array:
    weighted = two_columns(proba) * (target / prior)
    result = weighted / weighted.sum(axis=1, keepdims=True)
    column: Array = result[:, 1]
    return result if proba.ndim == 2 and proba.shape[1] > 1 else column.reshape(proba.shape)


def weighted_entropy(proba: Array, weights: Array) -> Array:
    return np.array([-sum(w * xlogx(v) for w, v in zip(weights, row, strict=True)) for row in two_columns(proba)])


def recalibrated(proba: Array, knots: Array, values: Array) -> Array:
    curved = np.interp(proba, knots, values)
    if proba.ndim == 1 or proba.shape[1] == 1:
        return curved
    sums = curved.sum(axis=1, keepdims=True)
    return np.where(sums > 0, curved / np.where(sums > 0, sums, 1), 1 / proba.shape[1])


# ---- committees


def members(proba: Array) -> Array:
    return proba if proba.ndim == 3 else np.stack([1 - proba, proba], axis=2)


def votes(proba: Array) -> Array:
    p = members(proba)
    return np.array([[(p[:, i].argmax(axis=1) == c).mean() for c in range(p.shape[2])] for i in range(p.shape[1])])


def vote_entropy(proba: Array) -> Array:
    return entropy(votes(proba).reshape(-1, members(proba).shape[2]))


def variation_ratio(proba: Array) -> Array:
    return least_confidence(votes(proba).reshape(-1, members(proba).shape[2]))


def consensus_entropy(proba: Array) -> Array:
    return entropy(np.mean(members(proba), axis=0))


def bald(proba: Array) -> Array:
    p = members(proba)
    return np.asarray(np.maximum(0, entropy(p.mean(axis=0)) - np.mean([entropy(member) for member in p], axis=0)))


def mean_kl(proba: Array) -> Array:
    p = members(proba)
    mean = p.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / mean), 0.0)
    return np.asarray(np.maximum(0, terms.sum(axis=2).mean(axis=0)))


def virtual_ends(iterations: int, members: int) -> list[int]:
    half = iterations // 2
    return sorted({max(1, half + (iterations - half) * member // members) for member in range(1, members + 1)})


# ---- diversity


def splitmix64(seed: int, size: int) -> list[float]:
    lots, mask = [], 2**64 - 1
    for i in range(1, size + 1):
        z = (seed + i * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        lots.append(((z ^ (z >> 31)) >> 11) / 2**53)
    return lots


def drawn(chances: Array, lot: float, picked: list[int]) -> int:
    """The row at a share of the cumulated chances; the first row left where all are 0."""
    if not chances.any():
        return next(i for i in range(len(chances)) if i not in picked)
    return int(np.argmax(np.cumsum(chances) > lot * chances.sum()))


class Metric(Protocol):
    @property
    def ranges(self) -> Array: ...
    @property
    def weights(self) -> Array: ...
    @property
    def category_weights(self) -> Array: ...


def gower(x: Array, y: Array, of_x: Array, of_y: Array, metric: Metric) -> Array:
    """Gower's distances of all rows of x to all of y, column by column."""
    apart, heft = np.zeros((len(x), len(y))), np.zeros((len(x), len(y)))
    for u, v, span, weight in zip(x.T, y.T, metric.ranges, metric.weights, strict=True):
        both = ~np.isnan(u)[:, None] & ~np.isnan(v)[None, :]
        difference = np.abs(u[:, None] - v[None, :])
        share = np.minimum(1, difference / span) if span > 0 else difference > 0
        apart += weight * np.where(both, share, 0)
        heft += weight * both
    for u, v, weight in zip(of_x.T, of_y.T, metric.category_weights, strict=True):
        both = (u >= 0)[:, None] & (v >= 0)[None, :]
        apart += weight * (both & (u[:, None] != v[None, :]))
        heft += weight * both
    return np.where(heft > 0, apart / np.where(heft > 0, heft, 1), 1.0)


def squared(
    x: Array, y: Array, of_x: Array | None = None, of_y: Array | None = None, metric: Metric | None = None
) -> Array:
    """Squared distances of all rows of x to all of y; a category that differs adds 1. Or Gower's distances."""
    if metric is not None:
        of_x, of_y = (np.zeros((len(x), 0)), np.zeros((len(y), 0))) if of_x is None or of_y is None else (of_x, of_y)
        return gower(x, y, of_x, of_y, metric)
    numbers = ((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=2)
    if of_x is None or of_y is None:
        return np.asarray(numbers, dtype=np.float64)
    return np.asarray(numbers + (of_x[:, None, :] != of_y[None, :, :]).sum(axis=2), dtype=np.float64)


def kmeans_pp(
    x: Array, k: int, seed: int, weights: Array | None = None, centres: Array | None = None,
    categories: Array | None = None, centre_categories: Array | None = None, metric: Metric | None = None,
) -> list[int]:  # fmt: skip
    picks: list[int] = []
    worth = np.ones(len(x)) if weights is None else weights.astype(np.float64)
    apart = squared(x, x, categories, categories, metric)
    nearest = np.full(len(x), np.inf)
    if centres is not None and len(centres):
        nearest = squared(x, centres, categories, centre_categories, metric).min(axis=1)
    for lot in splitmix64(seed, min(k, len(x))):
        chances = worth.copy() if np.isinf(nearest).all() else nearest * worth
        chances[picks] = 0
        pick = drawn(chances, lot, picks)
        nearest = np.minimum(nearest, apart[pick])
        picks.append(pick)
    return picks


def one_hot(categories: Array, levels: Sequence[int]) -> Array:
    """Columns of 1 / sqrt(2) where a row has a level, so that rows of which one differs are 1 apart, squared."""
    columns = [column == level for column, size in zip(categories.T, levels, strict=True) for level in range(size)]
    return np.asarray(np.array(columns, np.float64).reshape(sum(levels), len(categories)).T / np.sqrt(2))


def gradients(proba: Array, rows: Array) -> Array:
    """The embedding (p - e_ŷ) ⊗ row, n x (c d)."""
    errors = two_columns(proba).astype(np.float64)
    errors = errors - np.eye(errors.shape[1])[errors.argmax(axis=1)]
    return np.array([np.outer(e, r).ravel() for e, r in zip(errors, rows, strict=True)])


def badge(proba: Array, x: Array, k: int, seed: int, bias: float = 0.0, categories: Array | None = None) -> list[int]:
    """By the gradients themselves."""
    mixed = x if categories is None else np.concatenate([x, one_hot(categories, [3] * categories.shape[1])], axis=1)
    embedded = gradients(proba, np.concatenate([mixed, np.full((len(x), 1), bias)], axis=1))
    picks: list[int] = []
    for lot in splitmix64(seed, min(k, len(x))):
        if picks:
            chances = squared(embedded, embedded[picks]).min(axis=1)
            picks.append(drawn(chances, lot, picks))
        else:
            picks.append(int((embedded**2).sum(axis=1).argmax()))
    return picks


def from_mean(x: Array, categories: Array | None, metric: Metric | None) -> Array:
    """Distances to the mean of the numbers that are there, which has no categories."""
    mean = np.array([[column[~np.isnan(column)].astype(np.float64).mean() for column in x.T]])
    if metric is None or categories is None:
        return squared(x, mean, metric=metric)
    return squared(x, mean, categories, np.full((1, categories.shape[1]), -1.0), metric)


def k_center_greedy(
    x: Array, k: int, centres: Array | None = None, categories: Array | None = None,
    centre_categories: Array | None = None, metric: Metric | None = None,
) -> list[int]:  # fmt: skip
    apart = squared(x, x, categories, categories, metric)
    picks: list[int] = []
    nearest = np.full(len(x), np.inf)
    if centres is not None and len(centres):
        nearest = squared(x, centres, categories, centre_categories, metric).min(axis=1)
    for _ in range(min(k, len(x))):
        if np.isinf(nearest).all():
            pick = int(from_mean(x, categories, metric).argmin())
        else:
            nearest[picks] = -1
            pick = int(nearest.argmax())
        picks.append(pick)
        nearest = np.minimum(nearest, apart[pick])
    return picks


def facility_location(
    x: Array, k: int, weights: Array | None = None, centres: Array | None = None, categories: Array | None = None,
    centre_categories: Array | None = None, metric: Metric | None = None,
) -> list[int]:  # fmt: skip
    """Each pick by the whole objective."""
    apart = squared(x, x, categories, categories, metric)
    worth = np.ones(len(x)) if weights is None else weights.astype(np.float64)
    covered = np.full(len(x), np.inf)
    if centres is not None and len(centres):
        covered = squared(x, centres, categories, centre_categories, metric).min(axis=1)
    picks: list[int] = []
    for _ in range(min(k, len(x))):
        left = [j for j in range(len(x)) if j not in picks]
        costs = [(worth * np.minimum(covered, apart[j])).sum() for j in left]
        picks.append(left[int(np.argmin(np.round(costs, 9)))])
        covered = np.minimum(covered, apart[picks[-1]])
    return picks


def facility_regret(
    picks: list[int],
    x: Array,
    k: int,
    weights: Array | None = None,
    centres: Array | None = None,
    categories: Array | None = None,
    centre_categories: Array | None = None,
    metric: Metric | None = None,
) -> float:
    """By how much, at most, a pick's objective is above the best one's at its turn, as a share of that."""
    apart = squared(x, x, categories, categories, metric)
    worth = np.ones(len(x)) if weights is None else weights.astype(np.float64)
    covered = np.full(len(x), np.inf)
    if centres is not None and len(centres):
        covered = squared(x, centres, categories, centre_categories, metric).min(axis=1)
    assert len(set(picks)) == len(picks) == min(k, len(x))
    worst = 0.0
    for turn, pick in enumerate(picks):
        costs = {j: (worth * np.minimum(covered, apart[j])).sum() for j in range(len(x)) if j not in picks[:turn]}
        best = min(costs.values())
        worst = max(worst, (costs[pick] - best) / max(best, 1.0))
        covered = np.minimum(covered, apart[pick])
    return worst


def rooted(apart: Array, metric: Metric | None) -> Array:
    return np.sqrt(apart) if metric is None else apart


def novelty(
    x: Array, labeled: Array, categories: Array | None = None, labeled_categories: Array | None = None,
    metric: Metric | None = None,
) -> Array:  # fmt: skip
    apart = squared(x, labeled, categories, labeled_categories, metric)
    return np.asarray(rooted(apart.min(axis=1, initial=np.inf), metric))


def density(
    x: Array, sketch: Array, scale: float | None = None, categories: Array | None = None,
    sketch_categories: Array | None = None, metric: Metric | None = None,
) -> Array:  # fmt: skip
    apart = squared(x, sketch, categories, sketch_categories, metric)
    alike = 1 - apart if scale is None else 1 / (1 + apart / scale**2)
    return np.asarray(np.mean(alike, axis=1))


def typicality(x: Array, neighbours: int = 20, categories: Array | None = None, metric: Metric | None = None) -> Array:
    distances = rooted(squared(x, x, categories, categories, metric), metric)
    out = np.zeros(len(x))
    for i, row in enumerate(distances):
        near = np.sort(np.delete(row, i))[:neighbours]
        if len(near):
            out[i] = 1 / near.mean() if near.mean() > 0 else np.inf
    return out


def isolation(x: Array, lots: Array, sample: int) -> Array:
    """Mean depth of each row in the trees of an isolation forest, over that of any; lots (trees, 5 * sample)."""
    limit, depths, order = math.ceil(math.log2(sample)), np.zeros(len(x)), list(range(len(x)))

    def beyond(n: int) -> float:
        return 2 * sum(1 / i for i in range(1, n)) - 2 * (n - 1) / n if n > 1 else 0.0

    for own in lots:
        for i in range(sample):
            other = i + int(own[i] * (len(x) - i))
            order[i], order[other] = order[other], order[i]
        waiting, numbered = [(set(order[:sample]), np.arange(len(x)), 0)], 0
        while waiting:
            inside, reached, level = waiting.pop(0)
            differing = [j for j in range(x.shape[1]) if len({x[i, j] for i in inside}) > 1]
            lot, place = own[sample + 2 * numbered : sample + 2 * numbered + 2]
            numbered += 1
            if not differing or level == limit:
                depths[reached] += level + beyond(len(inside))
                continue
            j = differing[int(lot * len(differing))]
            low, high = min(x[i, j] for i in inside), max(x[i, j] for i in inside)
            cut = low + place * (high - low)
            cut = cut if low < cut <= high else high
            left = x[reached, j] < cut
            waiting.append(({i for i in inside if x[i, j] < cut}, reached[left], level + 1))
            waiting.append(({i for i in inside if x[i, j] >= cut}, reached[~left], level + 1))
    return depths / (len(lots) * beyond(sample))


def determinantal(
    x: Array, k: int, scale: float, quality: Array | None = None, categories: Array | None = None
) -> list[int]:
    """Each pick by the determinant of the picks' kernel."""
    worth = np.ones(len(x)) if quality is None else quality.astype(np.float64)
    apart = squared(x, x, categories, categories)
    kernel = worth[:, None] * worth[None, :] / (1 + apart / scale**2)
    picks: list[int] = []
    for _ in range(min(k, len(x))):
        left = [j for j in range(len(x)) if j not in picks]
        values = [np.linalg.slogdet(kernel[np.ix_([*picks, j], [*picks, j])])[1] for j in left]
        picks.append(left[int(np.argmax(values))])
    return picks


def volume_sample(
    x: Array, uniforms: Array, rate: float, proba: Array | None = None, categories: Array | None = None,
    levels: Sequence[int] = (),
) -> tuple[list[bool], list[float]]:  # fmt: skip
    """By the embedding itself, and by inverting the covariance of what was selected at every row."""
    mixed = x if categories is None else np.concatenate([x, one_hot(categories, levels)], axis=1)
    x = mixed if proba is None else gradients(proba, mixed)
    ridge = 0.01
    selected = ridge * np.eye(x.shape[1])
    seen = np.zeros((x.shape[1], x.shape[1]))
    chances: list[float] = []
    for count, (z, lot) in enumerate(zip(x.astype(np.float64), uniforms, strict=True), 1):
        seen += np.outer(z, z)
        inverse = np.linalg.inv(selected)
        trace = np.trace(inverse @ seen / count)
        chances.append(min(1.0, rate * float(z @ inverse @ z) / trace) if trace > 0 else rate)
        if lot < chances[-1]:
            selected += np.outer(z, z)
    return [bool(lot < chance) for lot, chance in zip(uniforms, chances, strict=True)], chances


def average_linkage(
    x: Array, threshold: float, categories: Array | None = None, metric: Metric | None = None
) -> list[int]:
    """Merge the two nearest clusters as long as their mean distance is at most the threshold."""
    apart = rooted(squared(x, x, categories, categories, metric), metric)
    clusters = [[i] for i in range(len(x))]
    while len(clusters) > 1:
        means = {
            (a, b): apart[np.ix_(clusters[a], clusters[b])].mean()
            for a in range(len(clusters)) for b in range(a + 1, len(clusters))
        }  # fmt: skip
        a, b = min(means, key=lambda pair: means[pair])
        if means[a, b] > threshold:
            break
        clusters[a] += clusters.pop(b)
    clusters.sort(key=min)
    return [next(label for label, cluster in enumerate(clusters) if i in cluster) for i in range(len(x))]


def cluster_margin(
    uncertainty: Array, clusters: Sequence[int], k: int, seed: int, candidates: int | None = None
) -> list[int]:
    size = min(k, len(uncertainty))
    pool = sorted(range(len(uncertainty)), key=lambda i: (-uncertainty[i], i))
    pool = pool[: 10 * size if candidates is None else max(size, candidates)]
    lots = splitmix64(seed, len(pool))
    groups: dict[int, list[int]] = {}
    for _, row in sorted(zip(lots, pool, strict=True)):
        groups.setdefault(int(clusters[row]), []).append(row)
    queues = [groups[c] for c in sorted(groups, key=lambda c: (len(groups[c]), c))]
    picks: list[int] = []
    while len(picks) < size:
        picks += [queue.pop(0) for queue in queues if queue]
    return picks[:size]


def robust_scale(x: Array, clip: float = 5.0, *, indicators: bool = True) -> Array:
    columns, flags = [], []
    for column in x.T.astype(np.float64):
        present = column[~np.isnan(column)]
        scaled = np.zeros(len(x))
        if len(present):
            low, median, high = np.percentile(present, [25, 50, 75], method="linear")
            finite = present[np.isfinite(present)]
            spread = (high - low) / 1.349
            if not (spread > 0 and np.isfinite(spread)):
                spread = np.abs(finite - median).mean() * 1.2533 if len(finite) else 0.0
            if spread > 0 and np.isfinite(spread) and np.isfinite(median):
                scaled = np.nan_to_num(np.clip((column - median) / spread, -clip, clip), nan=0.0)
        columns.append(scaled)
        if len(present) < len(x):
            flags.append(np.isnan(column).astype(np.float64))
    return np.array([*columns, *(flags if indicators else [])]).T

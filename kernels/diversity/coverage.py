# ruff: noqa: FURB136  (min() and max() of numba test for NaN, which costs these loops time)
"""Rows that cover the others: none far from a pick, all near one, where many are, where none was.

The contract is that of ``kernels.diversity.kmeans_pp``: rows (n, d) float32 or float64, finite; picks (min(k, n),)
int64; the same on every machine.

Longer than 400 lines: the kernels of four rules of coverage and the arithmetic that they share, which numba compiles
together.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.diversity._distances import (
    BLOCK,
    CENTRES,
    Points,
    approach,
    by_gower,
    count,
    points,
    rooted,
    squared_distances,
    transposed,
    with_others,
)
from kernels.diversity.gower import Gower
from kernels.numerics._checks import integer, nonnegative, number
from kernels.numerics._jit import kernel, lean
from kernels.numerics._prefetch import prefetch

Floats = NDArray[Any]
Picks = NDArray[np.int64]

_WIDTH = 32
_AHEAD = 8  # rows
_BEGIN = 12  # picks before rows are sorted
_SORTED = 2048  # rows that are worth sorting
_MOST_BETWEEN = 2048  # picks whose distances to each other are kept


class _Tiles(NamedTuple):
    """Rows in tiles of 32, in the order ``rows`` (t * 32,), -1 for padding: numbers (t, 4 ceil(d / 4), 32), categories
    (t, q, 32); and the centres so far by row, as many columns.
    """  # noqa: D205  (a list of shapes)

    rows: NDArray[np.int64]
    numbers: Floats
    categories: NDArray[np.int32]
    centres: Floats
    centre_categories: NDArray[np.int32]


@lean
def _fill(x: Floats, d: int, categories: NDArray[np.int32], tiles: _Tiles) -> None:
    """Put rows (n * d,) and categories (q, n) into the tiles, in their order."""
    line = 64 // x.itemsize  # rows in any order are asked for ahead, or each would be waited for
    for t in range(tiles.numbers.shape[0]):
        for i in range(_WIDTH):
            ahead = tiles.rows[min(t * _WIDTH + i + _AHEAD, tiles.rows.shape[0] - 1)]
            for j in range(0, d if ahead >= 0 else 0, line):
                prefetch(x, ahead * d + j)
            row = tiles.rows[t * _WIDTH + i]
            if row >= 0:
                for j in range(d):
                    tiles.numbers[t, j, i] = x[row * d + j]
                for q in range(categories.shape[0]):
                    tiles.categories[t, q, i] = categories[q, row]


class _Search(NamedTuple):
    """What greedy k-center knows: nearest, owner (t, 32), squared distance to and number of the nearest centre, -1 for
    rows that can't be picked; known (t,), how many centres that takes in; leads (t,), the largest distance; between
    (k, k), squared distance of each pick to those before it, or (0, 0) where it would be too large.
    """  # noqa: D205  (a list of shapes)

    nearest: Floats
    owner: NDArray[np.int32]
    known: NDArray[np.int64]
    leads: Floats
    between: Floats


@lean
def _distance_to_centre(tiles: _Tiles, t: int, c: int, distance: Floats) -> None:
    x = tiles.numbers[t]
    distance[:] = 0
    for j in range(0, x.shape[0], 4):
        va, vb = tiles.centres[c, j], tiles.centres[c, j + 1]
        vc, vd = tiles.centres[c, j + 2], tiles.centres[c, j + 3]
        for i in range(_WIDTH):
            da, db, dc, dd = x[j, i] - va, x[j + 1, i] - vb, x[j + 2, i] - vc, x[j + 3, i] - vd
            distance[i] += (da * da + db * db) + (dc * dc + dd * dd)
    one, zero = distance.dtype.type(1), distance.dtype.type(0)
    for q in range(tiles.categories.shape[1]):
        code = tiles.centre_categories[c, q]
        for i in range(_WIDTH):
            distance[i] += one if tiles.categories[t, q, i] != code else zero


@lean
def _too_far(t: int, c: int, given: int, state: _Search) -> bool:
    """Whether a centre can't be the nearest of any row of a tile: it is twice as far from each row's own centre."""
    far = c - given < state.between.shape[0]
    if far:
        apart = state.between[c - given]
        for i in range(_WIDTH):
            owner = max(state.owner[t, i] - given, 0)
            far &= (state.owner[t, i] >= given) & (apart[owner] >= state.nearest[t, i] * apart.dtype.type(4.001))
    return bool(far)


@lean
def _largest(values: Floats) -> Any:  # noqa: ANN401  (a number of their dtype)
    """The largest of some numbers that are not NaN, four at a time: half of the work of greedy k-center."""
    a = b = c = d = values[0]
    i = 0
    while i + 4 <= values.shape[0]:
        e, f, g, h = values[i], values[i + 1], values[i + 2], values[i + 3]
        a, b = (e if e > a else a), (f if f > b else b)
        c, d = (g if g > c else c), (h if h > d else d)
        i += 4
    while i < values.shape[0]:
        e = values[i]
        a = e if e > a else a
        i += 1
    a, c = (b if b > a else a), (d if d > c else c)
    return c if c > a else a


@lean
def _lead(leads: Floats) -> int:
    """The first tile of those with the farthest row."""
    farthest = _largest(leads)
    t = 0
    while leads[t] != farthest:
        t += 1
    return t


@lean
def _update(tiles: _Tiles, t: int, centres: int, given: int, distance: Floats, state: _Search) -> None:
    """Bring a tile up to date with all centres."""
    for c in range(state.known[t], centres):
        if c >= given and _too_far(t, c, given, state):
            continue
        _distance_to_centre(tiles, t, c, distance)
        for i in range(_WIDTH):
            if distance[i] < state.nearest[t, i]:
                state.nearest[t, i] = distance[i]
                state.owner[t, i] = c
    state.known[t] = centres
    state.leads[t] = _largest(state.nearest[t])


@lean
def _add_centre(tiles: _Tiles, t: int, i: int, c: int, given: int, state: _Search) -> None:
    """Make a row centre c, and note how far it is from the picks before it."""
    for j in range(tiles.centres.shape[1]):
        tiles.centres[c, j] = tiles.numbers[t, j, i]
    for q in range(tiles.centre_categories.shape[1]):
        tiles.centre_categories[c, q] = tiles.categories[t, q, i]
    state.nearest[t, i] = -1
    state.leads[t] = _largest(state.nearest[t])
    new = c - given
    if new < state.between.shape[0]:
        for other in range(new):
            apart = state.between.dtype.type(0)
            for j in range(tiles.centres.shape[1]):
                difference = tiles.centres[c, j] - tiles.centres[given + other, j]
                apart += difference * difference
            for q in range(tiles.centre_categories.shape[1]):
                if tiles.centre_categories[c, q] != tiles.centre_categories[given + other, q]:
                    apart += state.between.dtype.type(1)
            state.between[new, other] = apart


@lean
def _k_center(tiles: _Tiles, centres: int, given: int, state: _Search, distance: Floats, picks: Picks) -> None:
    """Greedy k-center that looks only where the farthest row can be: distances fall as centres come, so old ones bound.

    A tile is brought up to date when it leads, and by then often with several centres at once.
    """
    for p in range(picks.shape[0]):
        lead = _lead(state.leads)
        while state.known[lead] < centres:
            _update(tiles, lead, centres, given, distance, state)
            lead = _lead(state.leads)
        farthest = state.leads[lead]
        pick, at = -1, 0
        for t in range(lead, state.leads.shape[0]):
            if state.leads[t] == farthest:  # among equals the lowest row
                _update(tiles, t, centres, given, distance, state)
                for i in range(_WIDTH):
                    row = tiles.rows[t * _WIDTH + i]
                    if state.nearest[t, i] == farthest and row >= 0 and (pick < 0 or row < pick):
                        pick, at = row, t * _WIDTH + i
        picks[p] = pick
        _add_centre(tiles, at // _WIDTH, at % _WIDTH, centres, given, state)
        centres += 1


def k_center_greedy(
    x: Floats,
    k: int,
    *,
    centres: Floats | None = None,
    categories: NDArray[Any] | None = None,
    centre_categories: NDArray[Any] | None = None,
    metric: Gower | None = None,
) -> Picks:
    """Greedy k-center (core-set): each pick is the row farthest from all picks and centres; ties to the lowest row.

    Covers all rows within at most twice the least possible radius (by Gower's distance: where nothing is missing).
    Without centres the first pick is the row nearest to the mean, categories left out.

    x: (n, d).  centres: (m, d), same dtype, such as the rows labeled so far.  categories: (n, q) integers, each that
    differs adds 1 to a squared distance.  centre_categories: (m, q), where centres are given.  metric: ``gower``, in
    place of Euclid's; O(n k d) then.  Returns (min(k, n),) int64.
    Gonzalez 1985, "Clustering to minimize the maximum intercluster distance"; Sener and Savarese 2018, "Active learning
    for convolutional neural networks: a core-set approach". Raises ValueError (see the module).
    """
    rows, codes, given = with_others(x, centres, categories, centre_categories, CENTRES, metric)
    n = len(rows) - given
    picks = np.empty(count(k, n), np.int64)
    if not len(picks):
        return picks
    if metric is not None:
        return _farthest_first(rows, codes, metric, given, picks)
    tiles = _tiles(rows, codes, np.arange(n), given + len(picks))
    tiles.centres[:given, : rows.shape[1]] = rows[n:]
    tiles.centre_categories[:given] = codes[:, n:].T
    between = np.zeros((len(picks), len(picks)) if len(picks) <= _MOST_BETWEEN else (0, 0), rows.dtype)
    state = _search(tiles, np.full(n, np.inf, rows.dtype), np.zeros(n, np.int32), 0, between)
    done = 0
    if not given:
        picks[0] = _nearest_to_mean(rows, tiles)
        _add_centre(tiles, picks[0] // _WIDTH, picks[0] % _WIDTH, 0, 0, state)
        done = 1
    begin = min(len(picks), _BEGIN) if n > _SORTED else len(picks)
    distance = np.empty(_WIDTH, rows.dtype)
    _k_center(tiles, given + done, given, state, distance, picks[done:begin])
    if begin < len(picks):
        # rows by nearest centre and distance: then tiles are of a kind, and few can have the farthest row
        nearest, owner = state.nearest.reshape(-1)[:n], state.owner.reshape(-1)[:n]
        largest = float(nearest.max(initial=1.0))
        order = np.argsort(owner + nearest.astype(np.float64) / (2 * largest))
        sorted_tiles = _tiles(rows, codes, order, given + len(picks))
        sorted_tiles.centres[:] = tiles.centres
        sorted_tiles.centre_categories[:] = tiles.centre_categories
        state = _search(sorted_tiles, nearest[order], owner[order], int(state.known.min()), between)
        _k_center(sorted_tiles, given + begin, given, state, distance, picks[begin:])
    return picks


def _farthest_first(rows: Floats, codes: NDArray[np.int32], metric: Gower, given: int, picks: Picks) -> Picks:
    """Greedy k-center without the bounds that need the triangle inequality, which Gower's distance may not keep."""
    n = len(rows) - given
    seen = ~np.isnan(rows[:n])
    mean = np.zeros(rows.shape[1])
    _add_up(np.where(seen, rows[:n], 0), mean)
    mean = np.where(seen.any(axis=0), mean / np.maximum(1, seen.sum(axis=0)), np.nan)
    with_mean = np.concatenate([rows, mean[None].astype(rows.dtype)])
    from_all = transposed(with_mean, np.pad(codes, ((0, 0), (0, 1)), constant_values=-1), metric)
    scratch, nearest = np.empty(BLOCK, rows.dtype), np.full(n, np.inf, rows.dtype)
    if not given:
        approach(from_all, n, scratch, nearest)
        picks[0] = nearest.argmin()
        nearest[:] = np.inf
    for centre in range(n, n + given):
        approach(from_all, centre, scratch, nearest)
    for p in range(len(picks)):
        if p or given:
            picks[p] = nearest.argmax()
        approach(from_all, picks[p], scratch, nearest)
        nearest[picks[p]] = -1
    return picks


@lean
def _add_up(rows: Floats, out: NDArray[np.float64]) -> None:
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            out[j] += rows[i, j]


@kernel
def _nearest_centre(tiles: _Tiles) -> int:
    """The row nearest to centre 0, the lowest among equals."""
    distance = np.empty(_WIDTH, tiles.centres.dtype)
    best, pick = np.inf, 0
    for t in range(tiles.numbers.shape[0]):
        _distance_to_centre(tiles, t, 0, distance)
        for i in range(_WIDTH):
            if distance[i] < best and tiles.rows[t * _WIDTH + i] >= 0:
                best, pick = np.float64(distance[i]), t * _WIDTH + i
    return pick


def _nearest_to_mean(rows: Floats, tiles: _Tiles) -> int:
    total = np.zeros(rows.shape[1])
    _add_up(rows, total)
    tiles.centres[0, : rows.shape[1]] = total / len(rows)
    no_categories = np.empty((len(tiles.categories), 0, _WIDTH), np.int32)  # a mean has none
    return _nearest_centre(tiles._replace(categories=no_categories))


def _tiles(rows: Floats, codes: NDArray[np.int32], order: NDArray[np.int64], centres: int) -> _Tiles:
    count_tiles = -(-len(order) // _WIDTH)
    width = -(-rows.shape[1] // 4) * 4
    padded = np.full(count_tiles * _WIDTH, -1)
    padded[: len(order)] = order
    tiles = _Tiles(
        rows=padded,
        numbers=np.zeros((count_tiles, width, _WIDTH), rows.dtype),
        categories=np.zeros((count_tiles, len(codes), _WIDTH), np.int32),
        centres=np.zeros((centres, width), rows.dtype),
        centre_categories=np.zeros((centres, len(codes)), np.int32),
    )
    _fill(rows.reshape(-1), rows.shape[1], codes, tiles)
    return tiles


def _search(tiles: _Tiles, nearest: Floats, owner: NDArray[np.int32], known: int, between: Floats) -> _Search:
    size = len(tiles.rows)
    near, own = np.full(size, -1, nearest.dtype), np.zeros(size, np.int32)
    near[: len(nearest)], own[: len(owner)] = nearest, owner
    tiled = near.reshape(-1, _WIDTH)
    return _Search(tiled, own.reshape(-1, _WIDTH), np.full(len(tiled), known), tiled.max(axis=1), between)


def _with_others(
    x: Floats,
    other: Floats | None,
    categories: NDArray[Any] | None,
    other_categories: NDArray[Any] | None,
    names: tuple[str, str],
    metric: Gower | None,
) -> tuple[Points, int]:
    rows, codes, given = with_others(x, other, categories, other_categories, names, metric)
    return transposed(rows, codes, metric), given


@lean
def _means(columns: Floats, weights: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for j in range(columns.shape[0]):
        total, heft = 0.0, 0.0
        for i in range(columns.shape[1]):
            total += weights[i] * columns[j, i]
            heft += weights[i]
        out[j] = total / heft if heft > 0.0 else 0.0


def _medoid_costs(rows: Points, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted sums of squared distances to each row, less a constant: W |x - mean|², other categories."""
    d, n = rows.numbers.shape
    means = np.empty(d)
    _means(rows.numbers, weights, means)
    costs = np.zeros(n)
    heft = float(np.cumsum(weights)[-1])
    for j in range(d):
        costs += heft * (rows.numbers[j].astype(np.float64) - means[j]) ** 2
    for codes in rows.categories:
        costs += heft - np.bincount(codes, weights=weights)[codes]
    return costs


@lean
def _gain(rows: Points, candidate: int, weights: Floats, nearest: Floats, scratch: Floats, lanes: Floats) -> float:
    """How much the weighted sum of squared distances falls with one more pick, summed in 16 lanes."""
    n = nearest.shape[0]
    lanes[:] = 0
    zero = nearest.dtype.type(0)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        squared_distances(rows, candidate, start, scratch[:size])
        for base in range(0, size - size % 16, 16):
            near, far = scratch[base : base + 16], nearest[start + base : start + base + 16]
            heft = weights[start + base : start + base + 16]
            for lane in range(16):
                fall = far[lane] - near[lane]
                lanes[lane] += heft[lane] * (max(fall, zero))
        for i in range(size - size % 16, size):
            fall = nearest[start + i] - scratch[i]
            lanes[i % 16] += weights[start + i] * (max(fall, zero))
    total = 0.0
    for lane in range(16):
        total += np.float64(lanes[lane])
    return total


@kernel
def _facility_location(rows: Points, first: int, weights: Floats, nearest: Floats, picks: Picks) -> int:
    """Lazy greedy: a gain only falls as picks come, so old gains bound, and few are computed anew. Returns how many."""
    n = nearest.shape[0]
    scratch = np.empty(BLOCK, nearest.dtype)
    lanes = np.empty(16, nearest.dtype)
    gains = np.full(n, np.inf)
    known = np.full(n, -1)
    evaluations = 0
    for p in range(picks.shape[0]):
        best = first if p == 0 and first >= 0 else int(np.argmax(gains))
        while known[best] < p and not (p == 0 and first >= 0):
            gains[best] = _gain(rows, best, weights, nearest, scratch, lanes)
            known[best] = p
            evaluations += 1
            best = int(np.argmax(gains))
        picks[p] = best
        gains[best] = -1.0
        known[best] = picks.shape[0]
        approach(rows, best, scratch, nearest)
    return evaluations


def facility_location(
    x: Floats,
    k: int,
    *,
    weights: Floats | None = None,
    centres: Floats | None = None,
    categories: NDArray[Any] | None = None,
    centre_categories: NDArray[Any] | None = None,
    metric: Gower | None = None,
) -> Picks:
    """Greedy k-medoids: each pick lowers the weighted sum of squared distances to the nearest pick the most.

    It maximises sum_i w_i max_{j picked} s(i, j) with s = constant - squared distance, which is monotone submodular:
    the value is at least (1 - 1/e) of the best possible. Ties go to the lowest row. The similarities, n x n, are never
    kept.

    x: (n, d).  weights: (n,) >= 0, same dtype: how much each row counts.  centres: (m, d) rows that count as picked
    before.  categories: (n, q) integers, each that differs adds 1 to a squared distance.  centre_categories: (m, q),
    where centres are given.  metric: ``gower``, whose similarity is then s.  Returns (min(k, n),) int64.
    Nemhauser et al. 1978, "An analysis of approximations for maximizing submodular set functions"; Minoux 1978,
    "Accelerated greedy algorithms". Raises ValueError (see the module).
    """
    rows, given = _with_others(x, centres, categories, centre_categories, CENTRES, metric)
    dtype = rows.numbers.dtype
    n = rows.numbers.shape[1] - given
    heft = nonnegative("weights", weights, n, dtype)
    picks = np.empty(count(k, n), np.int64)
    # no row is farther than 1 by Gower's distance, so that a first pick has a gain as every other
    nearest = np.full(n, np.inf if metric is None else 1, dtype)
    scratch = np.empty(BLOCK, dtype)
    for c in range(given):
        approach(rows, n + c, scratch, nearest)
    if len(picks):
        first = -1 if given or metric is not None else int(_medoid_costs(rows, heft.astype(np.float64)).argmin())
        _facility_location(rows, first, heft, nearest, picks)
    return picks


def novelty(
    x: Floats,
    labeled: Floats,
    *,
    categories: NDArray[Any] | None = None,
    labeled_categories: NDArray[Any] | None = None,
    metric: Gower | None = None,
) -> Floats:
    """Distance of each row to the nearest of those labeled: far means new.

    x: (n, d).  labeled: (m, d), same dtype; a bounded number of recent ones.  categories, labeled_categories: (n, q)
    and (m, q) integers, each that differs adds 1 to a squared distance.  metric: ``gower``, in place of Euclid's.
    Returns (n,), same dtype, in units of x, Gower's from 0 to 1; infinity where m = 0.  Raises ValueError (see the
    module).
    """
    rows, given = _with_others(x, labeled, categories, labeled_categories, ("labeled", "labeled_categories"), metric)
    n = rows.numbers.shape[1] - given
    nearest = np.full(n, np.inf, rows.numbers.dtype)
    scratch = np.empty(BLOCK, rows.numbers.dtype)
    for c in range(given):
        approach(rows, n + c, scratch, nearest)
    rooted(rows, nearest)
    return nearest


@kernel
def _density(rows: Points, sketch: int, inverse: np.floating[Any], out: Floats) -> None:
    n = out.shape[0]
    scratch = np.empty(BLOCK, out.dtype)
    one = out.dtype.type(1)
    for c in range(sketch):
        for start in range(0, n, BLOCK):
            size = min(BLOCK, n - start)
            squared_distances(rows, n + c, start, scratch[:size])
            part = out[start : start + size]
            if by_gower(rows):
                for i in range(size):
                    part[i] += one - scratch[i]
            else:
                for i in range(size):
                    part[i] += one / (one + scratch[i] * inverse)


def density(
    x: Floats,
    sketch: Floats,
    *,
    scale: float | None = None,
    categories: NDArray[Any] | None = None,
    sketch_categories: NDArray[Any] | None = None,
    metric: Gower | None = None,
) -> Floats:
    """Mean similarity of each row to a sketch of the stream: near 1 where many are, near 0 for outliers.

    The similarity is 1 / (1 + squared distance / scale²), the rational quadratic kernel; or Gower's. Multiply an
    uncertainty by density^beta for information density.

    x: (n, d).  sketch: (m, d), same dtype, m >= 1, such as a reservoir sample: the bound of the work.  scale: > 0, in
    units of x; sqrt(d) suits scaled columns.  categories, sketch_categories: (n, q) and (m, q) integers, each that
    differs adds 1 to a squared distance.  metric: ``gower``, which has no scale.  Returns (n,), same dtype, in (0, 1],
    Gower's from 0.
    Settles and Craven 2008, "An analysis of active learning strategies for sequence labeling tasks", 3.4;
    Rasmussen and Williams 2006, "Gaussian processes for machine learning", 4.19. Raises ValueError (see the module).
    """
    rows, given = _with_others(x, sketch, categories, sketch_categories, ("sketch", "sketch_categories"), metric)
    if not given:
        raise ValueError("sketch: expected at least one row")
    if metric is not None and scale is not None:
        raise ValueError(f"scale: Gower's similarity has none, got {scale!r}")
    width = 1.0 if metric is not None else number("scale", scale, np.nextafter(0.0, 1.0), np.finfo(np.float64).max)
    dtype = rows.numbers.dtype
    out = np.zeros(rows.numbers.shape[1] - given, dtype)
    _density(rows, given, dtype.type(1.0 / width**2), out)
    out /= dtype.type(given)
    return out


@kernel
def _typicality(rows: Points, neighbours: int, out: Floats) -> None:
    n = out.shape[0]
    distances = np.empty(n, out.dtype)
    closest = np.empty(neighbours, out.dtype)
    for row in range(n):
        for start in range(0, n, BLOCK):
            squared_distances(rows, row, start, distances[start : min(start + BLOCK, n)])
        distances[row] = np.inf
        closest[:] = np.inf
        for i in range(n):
            if distances[i] < closest[neighbours - 1]:
                place = neighbours - 1
                while place > 0 and closest[place - 1] > distances[i]:
                    closest[place] = closest[place - 1]
                    place -= 1
                closest[place] = distances[i]
        rooted(rows, closest)
        total = 0.0
        for place in range(neighbours):
            total += np.float64(closest[place])
        out[row] = neighbours / total if total > 0.0 else np.inf


def typicality(
    x: Floats, neighbours: int = 20, *, categories: NDArray[Any] | None = None, metric: Gower | None = None
) -> Floats:
    """Inverse of the mean distance of each row to its nearest neighbours: what to label first of all.

    x: (n, d).  neighbours: at least 1; n - 1 where there are fewer.  categories: (n, q) integers, each that differs
    adds 1 to a squared distance.  metric: ``gower``, in place of Euclid's.  Returns (n,), same dtype, in 1 / units of
    x; infinity among copies, 0 for one row. O(n² d).
    Hacohen et al. 2022, "Active learning on a budget: opposite strategies suit high and low budgets". Raises ValueError
    (see the module).
    """
    rows = points("x", x, categories, metric)
    n = rows.numbers.shape[1]
    out = np.zeros(n, rows.numbers.dtype)
    used = min(integer("neighbours", neighbours, 1, 2**31), n - 1)
    if used > 0:
        _typicality(rows, used, out)
    return out

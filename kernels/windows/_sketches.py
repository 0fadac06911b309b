"""Windows over sketches: what a key needs is bounded, however many rows its window has.

**Distinct values**: a sliding HyperLogLog (Chabchoub and Hébrail 2010, "Sliding HyperLogLog: Estimating cardinality in
a data stream over a sliding window", ICDMW). A value is a register and a rank; of a row only its time and these two
are kept, and only while no newer row of the register has as high a rank. Such a row is in every window that the
older one is in, for a window has no upper end: so all windows, of any size, have exactly the registers of their
contents. Kept of a register is about half the logarithm, to base 2, of the values that it has seen.

**Quantiles**: DDSketch (Masson, Rim and Lee 2019) in panes, stretches of event time ``[i * pane, (i + 1) * pane)``.
Kept are the counts of each pane's buckets that are not empty, and a window adds up those of its panes. They are whole
numbers, so no order can make a difference.

Longer than 400 lines: two sketches over the same store of panes and registers, compiled together.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean
from kernels.numerics._prefetch import prefetch
from kernels.sampling.hashing import xxh64_word
from kernels.windows._part import AHEAD, NEAR_MEMORY, Part
from kernels.windows._store import (
    CHUNK,
    ENTRY_WIDTH,
    HEAD,
    NO_WATERMARK,
    NOBODY,
    TAIL,
    WATERMARK,
    Store,
    StoreShape,
    capacity_of,
    claim_entry,
    column_base,
    drop_before,
    entry_of,
    expect,
    first_after,
    home_of,
    make_room,
    offset_of,
    open_gap,
)
from kernels.windows.sketches import (
    QuantileLayout,
    column_of,
    estimate_of_ranks,
    middles_of,
    precision_for,
    quantile_layout,
    rank_of,
    register_of,
)
from kernels.windows.specs import PANES

_RANK_BITS: Final = 6
_RANK: Final = 2**_RANK_BITS - 1
_COUNT_BITS: Final = 36
_COUNT: Final = 2**_COUNT_BITS - 1

_U0: Final = np.uint64(0)


@lean
def _expect(store: Store, keys: NDArray[np.int64], i: int) -> None:
    """Have the rows of the keys that come next brought near."""
    n = keys.shape[0]
    ahead = AHEAD if 2 * store.times.shape[0] > NEAR_MEMORY else n
    if i + 2 * ahead < n:
        prefetch(store.table, ENTRY_WIDTH * home_of(store.table, keys[i + 2 * ahead]))
    if i + ahead < n:
        expect(store.table, store.times, store.values, keys[i + ahead], 1)


@lean
def _write_empty(features: NDArray[np.int64], value: float, out: NDArray[np.float64]) -> None:
    for c in range(features.shape[0]):
        for j in range(features.shape[1]):
            if features[c, j] >= 0:
                out[features[c, j]] = value


@lean
def _is_full(store: Store, entry: int) -> bool:
    chunk = store.table[entry, CHUNK]
    full: bool = store.table[entry, TAIL] == offset_of(chunk) + capacity_of(chunk)
    return full


@lean
def _put(store: Store, entry: int, at: int, time: int, value: float) -> None:
    """Insert a row at arena row ``at``; the chunk has room."""
    if at < store.table[entry, TAIL]:
        open_gap(store, entry, at)
    store.times[at] = time
    store.values[column_base(store.table[entry, CHUNK], 0, 1) + at] = value
    store.table[entry, TAIL] += 1


# ---- distinct values


class DistinctPlan(NamedTuple):
    """What to compute: ``features[c, j]`` is the column of the result for size j, -1 for none.

    c is 1 where the row itself counts, and ``wanted[c]`` is whether there are any.
    """

    column: int
    precision: np.uint64
    lateness: int
    sizes: NDArray[np.int64]
    features: NDArray[np.int64]
    wanted: NDArray[np.bool_]


class Registers(NamedTuple):
    """Of the window at hand: the rank of each register, and how many registers have each rank."""

    ranks: NDArray[np.uint8]
    counts: NDArray[np.int64]


@lean
def _drop_dominated(store: Store, entry: int, ranks: NDArray[np.uint8]) -> None:
    """Keep of an entry's rows those with a higher rank than all newer ones of their register."""
    table, times, values = store.table, store.times, store.values
    head, tail = table[entry, HEAD], table[entry, TAIL]
    base = column_base(table[entry, CHUNK], 0, 1)
    kept = tail
    for p in range(tail - 1, head - 1, -1):
        code = int(values[base + p])
        if code & _RANK > ranks[code >> _RANK_BITS]:
            ranks[code >> _RANK_BITS] = code & _RANK
            kept -= 1
            times[kept], values[base + kept] = times[p], values[base + p]
    table[entry, HEAD] = kept
    _clear(values, base + kept, base + tail, ranks)


@lean
def _drop_all_dominated(store: Store, ranks: NDArray[np.uint8]) -> None:
    for entry in range(store.table.shape[0]):
        if store.table[entry, CHUNK] != NOBODY:
            _drop_dominated(store, entry, ranks)


@lean
def _clear(values: NDArray[np.float64], first: int, last: int, ranks: NDArray[np.uint8]) -> None:
    """Set the registers to 0 that these rows have touched."""
    if (last - first) * 8 > ranks.shape[0]:
        ranks[:] = 0
    else:
        for p in range(first, last):
            ranks[int(values[p]) >> _RANK_BITS] = 0


@lean
def _count_distinct(
    plan: DistinctPlan,
    store: Store,
    entry: int,
    t: int,
    latest: int,
    current: int,
    registers: Registers,
    out: NDArray[np.float64],
) -> None:
    """Write the estimates of a row's windows: one scan from the newest row back, as far as the longest reaches."""
    head, tail = store.table[entry, HEAD], store.table[entry, TAIL]
    base = column_base(store.table[entry, CHUNK], 0, 1)
    values, ranks, counts = store.values, registers.ranks, registers.counts
    counts[:] = 0
    counts[0] = ranks.shape[0]
    p = tail
    for j in range(plan.sizes.shape[0]):
        beginning = latest - plan.sizes[j]
        start = first_after(store.times, head, p, beginning)
        for row in range(p - 1, start - 1, -1):
            code = int(values[np.uint64(base + row)])
            rank, before = code & _RANK, int(ranks[np.uint64(code >> _RANK_BITS)])
            if rank > before:
                ranks[code >> _RANK_BITS] = rank
                counts[before] -= 1
                counts[rank] += 1
        p = start
        feature = plan.features[current, j]
        if feature >= 0 and t > beginning:
            out[feature] = np.rint(estimate_of_ranks(counts, ranks.shape[0], 64 - int(plan.precision)))
    _clear(values, base + p, base + tail, ranks)


@lean
def _add_distinct(  # noqa: C901, PLR0913, PLR0917
    begin: int,
    keys: NDArray[np.int64],
    times: NDArray[np.int64],
    bounded: NDArray[np.int64],
    values: NDArray[np.float64],
    bits: NDArray[np.uint64],
    plan: DistinctPlan,
    store: Store,
    registers: Registers,
    out: NDArray[np.float64],
) -> int:
    """As ``Part._run``; a key without values has no entry."""
    table, counters = store.table, store.counters
    n: int = keys.shape[0]
    reach = plan.sizes[plan.sizes.shape[0] - 1] + plan.lateness
    for i in range(begin, n):
        _expect(store, keys, i)
        t, watermark = times[i], counters[WATERMARK]
        _write_empty(plan.features, 0.0, out[i])
        seen = watermark != NO_WATERMARK
        horizon = watermark - reach if seen else watermark
        if t <= horizon:
            continue
        x = values[i, plan.column]
        entry = entry_of(table, keys[i])
        if table[entry, CHUNK] != NOBODY:
            drop_before(store, entry, horizon)
            if _is_full(store, entry):
                _drop_dominated(store, entry, registers.ranks)
                if not make_room(store, entry, 3):
                    return i
        elif x == x and not claim_entry(store, entry, keys[i]):  # noqa: PLR0124
            return i
        counters[WATERMARK] = max(bounded[i], watermark)
        if table[entry, CHUNK] == NOBODY:
            continue
        latest = max(t, watermark - plan.lateness) if seen else t
        if plan.wanted[0]:
            _count_distinct(plan, store, entry, t, latest, 0, registers, out[i])
        if x == x:  # noqa: PLR0124
            h = xxh64_word(_U0 if x == 0.0 else bits[i, plan.column], _U0)
            code = (register_of(h, plan.precision) << _RANK_BITS) + rank_of(h, plan.precision)
            at = first_after(store.times, table[entry, HEAD], table[entry, TAIL], t)
            _put(store, entry, at, t, float(code))
        if plan.wanted[1]:
            _count_distinct(plan, store, entry, t, latest, 1, registers, out[i])
    return n


class Distinct(Part):
    """Distinct values of one column, over any number of sizes.

    features: column of the result by size and by whether the row itself counts.
    """

    def __init__(self, column: int, error: float, lateness: int, features: dict[tuple[int, bool], int]) -> None:
        sizes = sorted({size for size, _ in features})
        super().__init__(StoreShape(columns=1), sizes[-1] + lateness)
        precision = precision_for(error)
        self._plan = DistinctPlan(
            column=column,
            precision=np.uint64(precision),
            lateness=lateness,
            sizes=np.array(sizes, np.int64),
            features=_placed(sizes, features),
            wanted=_wanted(features),
        )
        self._registers = Registers(np.zeros(1 << precision, np.uint8), np.zeros(_RANK + 1, np.int64))

    def _run(
        self,
        begin: int,
        keys: NDArray[np.int64],
        times: NDArray[np.int64],
        bounded: NDArray[np.int64],
        values: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> int:
        bits = values.view(np.uint64)
        return _add_distinct(begin, keys, times, bounded, values, bits, self._plan, self.store, self._registers, out)

    def _settle(self, store: Store) -> None:
        _drop_all_dominated(store, self._registers.ranks)


def _placed(sorts: Sequence[float], features: Mapping[tuple[Any, bool], int]) -> NDArray[np.int64]:
    """(2, sorts) column of the result for each of a part's features, -1 where there is none."""
    return np.array([[features.get((each, current), -1) for each in sorts] for current in (False, True)], np.int64)


def _wanted(features: Mapping[tuple[Any, bool], int]) -> NDArray[np.bool_]:
    """(2,) whether there are features without, and with, the current row."""
    return np.array([any(current is each for _, current in features) for each in (False, True)])


# ---- quantiles


class QuantilePlan(NamedTuple):
    """What to compute: ``features[c, j]`` is the column of the result for probability j, -1 for none.

    c is 1 where the row itself counts, and ``wanted[c]`` is whether there are any. middles: a number for each bucket.
    """

    column: int
    layout: QuantileLayout
    middles: NDArray[np.float64]
    lateness: int
    size: int
    pane: int
    probabilities: NDArray[np.float64]
    features: NDArray[np.int64]
    wanted: NDArray[np.bool_]


@lean
def _find(store: Store, entry: int, pane: int, value: float) -> int:
    """First row of a pane whose value is not below a value, or the row behind the pane's last."""
    head, tail = store.table[entry, HEAD], store.table[entry, TAIL]
    base = column_base(store.table[entry, CHUNK], 0, 1)
    low = first_after(store.times, head, tail, pane - 1)
    high = first_after(store.times, low, tail, pane)
    while low < high:
        middle = (low + high) >> 1
        if store.values[base + middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@lean
def _add_to_pane(store: Store, entry: int, pane: int, bucket: int) -> bool:
    """Count a value; False where the arena is full."""
    none = float(bucket << _COUNT_BITS)
    at = _find(store, entry, pane, none)
    if at < store.table[entry, TAIL] and store.times[at] == pane:
        value = column_base(store.table[entry, CHUNK], 0, 1) + at
        if int(store.values[value]) >> _COUNT_BITS == bucket:
            store.values[value] += 1.0
            return True
    if _is_full(store, entry):
        if not make_room(store, entry):
            return False
        at = _find(store, entry, pane, none)
    _put(store, entry, at, pane, none + 1.0)
    return True


@lean
def _read_quantiles(
    plan: QuantilePlan,
    store: Store,
    entry: int,
    beginning: int,
    current: int,
    totals: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Write the quantiles of a row's window."""
    tail, values = store.table[entry, TAIL], store.values
    base = column_base(store.table[entry, CHUNK], 0, 1)
    start = first_after(store.times, store.table[entry, HEAD], tail, beginning - 1)
    n, lowest, highest = 0, totals.shape[0], -1
    for p in range(start, tail):
        value = int(values[np.uint64(base + p)])
        bucket = value >> _COUNT_BITS
        totals[np.uint64(bucket)] += value & _COUNT
        n += value & _COUNT
        lowest, highest = min(lowest, bucket), max(highest, bucket)
    if n == 0:
        return
    bucket, reached = lowest, totals[lowest]
    for j in range(plan.probabilities.shape[0]):
        rank = int(np.floor(plan.probabilities[j] * (n - 1)))
        while reached <= rank:
            bucket += 1
            reached += totals[bucket]
        if plan.features[current, j] >= 0:
            out[plan.features[current, j]] = plan.middles[bucket]
    totals[lowest : highest + 1] = 0


@lean
def _add_quantiles(  # noqa: PLR0913, PLR0917
    begin: int,
    keys: NDArray[np.int64],
    times: NDArray[np.int64],
    bounded: NDArray[np.int64],
    values: NDArray[np.float64],
    plan: QuantilePlan,
    store: Store,
    totals: NDArray[np.int64],
    out: NDArray[np.float64],
) -> int:
    """As ``Part._run``; a key without values has no entry."""
    table, counters = store.table, store.counters
    n: int = keys.shape[0]
    reach = plan.size + plan.lateness
    for i in range(begin, n):
        _expect(store, keys, i)
        t, watermark = times[i], counters[WATERMARK]
        _write_empty(plan.features, np.nan, out[i])
        seen = watermark != NO_WATERMARK
        horizon = watermark - reach if seen else watermark
        if t <= horizon:
            continue
        x, pane = values[i, plan.column], t // plan.pane * plan.pane
        entry = entry_of(table, keys[i])
        if table[entry, CHUNK] != NOBODY:
            drop_before(store, entry, horizon)
        elif x == x and not claim_entry(store, entry, keys[i]):  # noqa: PLR0124
            return i
        if table[entry, CHUNK] != NOBODY:
            latest = max(t, watermark - plan.lateness) if seen else t
            beginning = ((latest - plan.size) // plan.pane + 1) * plan.pane
            if plan.wanted[0] and t >= beginning:
                _read_quantiles(plan, store, entry, beginning, 0, totals, out[i])
            # A pane that begins at or before the horizon is in no window any more.
            if x == x and pane > horizon and not _add_to_pane(store, entry, pane, column_of(x, plan.layout)):  # noqa: PLR0124
                return i
            if plan.wanted[1] and t >= beginning:
                _read_quantiles(plan, store, entry, beginning, 1, totals, out[i])
        counters[WATERMARK] = max(bounded[i], watermark)
    return n


class Quantiles(Part):
    """Quantiles of one column over one size.

    features: column of the result by probability and by whether the row itself counts.
    """

    def __init__(
        self, column: int, error: float, size: int, lateness: int, features: dict[tuple[float, bool], int]
    ) -> None:
        probabilities = sorted({probability for probability, _ in features})
        super().__init__(StoreShape(columns=1), size + lateness)
        layout = quantile_layout(error)
        self._plan = QuantilePlan(
            column=column,
            layout=layout,
            middles=middles_of(layout),
            lateness=lateness,
            size=size,
            pane=max(1, size // PANES),
            probabilities=np.array(probabilities, np.float64),
            features=_placed(probabilities, features),
            wanted=_wanted(features),
        )
        self._totals = np.zeros(layout.columns, np.int64)

    def _run(
        self,
        begin: int,
        keys: NDArray[np.int64],
        times: NDArray[np.int64],
        bounded: NDArray[np.int64],
        values: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> int:
        return _add_quantiles(begin, keys, times, bounded, values, self._plan, self.store, self._totals, out)

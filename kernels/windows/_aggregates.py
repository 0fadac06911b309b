"""The aggregates of a row's windows, from the rows of its key.

Windows of one row end at the row and are nested, so those of up to ``LONG`` rows are aggregated in one scan from the
newest row back. Longer ones are put together from summaries of blocks: all rows of the key in one stretch of event
time ``[i * width, (i + 1) * width)``, aggregated from the oldest to the newest. Where a block lies depends on nothing
but the clock, and which way is taken on nothing but the number of rows in the window: so neither makes a result
depend on where a replay began. Summaries are a cache, kept per key while it has long windows.

Squares are taken of the distance from one value of the window, the anchor. As it is a member of the window, the mean
is at most sqrt(n) standard deviations away from it, so the subtraction loses at most n ulp (Chan, Golub, LeVeque 1983,
"Algorithms for computing the sample variance", shifted data).

Longer than 400 lines: one scan, its blocks and their cache are compiled as one, and a call between modules would not
be inlined.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import kernel, lean
from kernels.windows._store import (
    CHUNK,
    HEAD,
    NO_BLOCK,
    PAGE_WANTED,
    PAGES,
    TAIL,
    Store,
    chunk_of,
    column_base,
    first_after,
    offset_of,
    page_of,
)

NAMES: Final = (
    "count",
    "sum",
    "mean",
    "var",
    "std",
    "min",
    "max",
    "last",
    "first",
    "since_last",
    "distinct",
    "quantile",
    "decayed_sum",
    "decayed_mean",
)
COUNT, SUM, MEAN, VAR, STD, MIN, MAX, LAST, FIRST, SINCE_LAST, DISTINCT, QUANTILE, DECAYED_SUM, DECAYED_MEAN = range(
    len(NAMES)
)
MOMENTS, ENDS, DISTINCTS = 1, 2, 4
WORK_OF: Final = {
    **dict.fromkeys(("sum", "mean", "var", "std", "min", "max"), MOMENTS),
    **dict.fromkeys(("last", "first"), ENDS),
    "distinct": DISTINCTS,
    **dict.fromkeys(("quantile", "decayed_sum", "decayed_mean"), 0),
}

# Of one column over one window or block. A window's squares are turned into squared deviations at its end.
N, TOTAL, ANCHOR, SHIFTED, SQUARES, LOW, HIGH, NEWEST_ORDER, NEWEST, OLDEST_ORDER, OLDEST, KINDS = range(12)
PARTIAL_WIDTH: Final = 12
BLOCK_WIDTH: Final = 11

SLOTS: Final = 64
"""Blocks cached for each key and block width: a window of 16 to 32 widths touches at most 33."""
MICROSECONDS: Final = 1e-6


class Plan(NamedTuple):
    """What to compute.

    A task is one column with or without the current row, over the first ``task_sizes`` sizes. ``slots`` says, for
    each task, size and moment (sum to max), which column of the result it goes to, -1 for none; ``rest`` lists the
    specs that are no moments.
    """

    lateness: int
    sizes: NDArray[np.int64]
    size_level: NDArray[np.int64]
    level_shift: NDArray[np.int64]
    columns: NDArray[np.int64]
    spec_kind: NDArray[np.int64]
    spec_size: NDArray[np.int64]
    spec_task: NDArray[np.int64]
    spec_current: NDArray[np.int64]
    spec_parameter: NDArray[np.float64]
    task_column: NDArray[np.int64]
    task_current: NDArray[np.int64]
    task_work: NDArray[np.int64]
    task_sizes: NDArray[np.int64]
    slots: NDArray[np.int64]
    rest: NDArray[np.int64]


class Scratch(NamedTuple):
    """Of the row at hand: the first row of each window, what is aggregated so far by task and size, one block."""

    starts: NDArray[np.int64]
    partials: NDArray[np.float64]
    block: NDArray[np.float64]


def scratch_of(plan: Plan) -> Scratch:
    """Arrays that every row's work is done in."""
    n_sizes = plan.sizes.shape[0]
    partials = np.empty((plan.task_work.shape[0], n_sizes, PARTIAL_WIDTH))
    return Scratch(np.empty(n_sizes, np.int64), partials, np.empty(BLOCK_WIDTH))


@lean
def write_moments(
    n: float,
    total: float,
    deviations: float,
    low: float,
    high: float,
    slots: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Write the moments of one window to the columns that ask for them."""
    if slots[SUM - SUM] >= 0:
        out[slots[SUM - SUM]] = total
    if slots[MEAN - SUM] >= 0:
        out[slots[MEAN - SUM]] = total / n if n > 0 else np.nan
    if slots[VAR - SUM] >= 0 or slots[STD - SUM] >= 0:
        variance = np.nan
        if n > 1:
            variance = (max(deviations, 0.0)) / (n - 1)
        if slots[VAR - SUM] >= 0:
            out[slots[VAR - SUM]] = variance
        if slots[STD - SUM] >= 0:
            out[slots[STD - SUM]] = np.sqrt(variance)
    if slots[MIN - SUM] >= 0:
        out[slots[MIN - SUM]] = low if n > 0 else np.nan
    if slots[MAX - SUM] >= 0:
        out[slots[MAX - SUM]] = high if n > 0 else np.nan


@lean
def scan(
    values: NDArray[np.float64],
    base: int,
    end: int,
    starts: NDArray[np.int64],
    sizes: int,
    slots: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Write the moments of the first ``sizes`` windows, read from the newest row back."""
    if sizes == 0:
        return
    n = 0
    total, shifted, squares = 0.0, 0.0, 0.0
    low, high = np.inf, -np.inf
    column = values[base + starts[sizes - 1] : base + end]
    p = column.shape[0] - 1
    while p > 0 and np.isnan(column[p]):
        p -= 1
    anchor = column[p] if p >= 0 else 0.0
    for j in range(sizes):
        stop = starts[j] - starts[sizes - 1]
        for q in range(p, stop - 1, -1):
            x = column[np.uint64(q)]
            if x == x:  # noqa: PLR0124
                n += 1
                distance = x - anchor
                total += x
                shifted += distance
                squares += distance * distance
                low = min(low, x)
                high = max(high, x)
        p = min(p, stop - 1)
        deviations = squares - shifted * shifted / n if n > 1 else 0.0
        write_moments(n, total, deviations, low, high, slots[j], out)


@lean
def scan_ends(  # noqa: PLR0913, PLR0917
    values: NDArray[np.float64],
    order: NDArray[np.int64],
    base: int,
    end: int,
    in_order: int,
    starts: NDArray[np.int64],
    sizes: int,
    task: int,
    out: NDArray[np.float64],
) -> None:
    """Values at the highest and lowest log position; at the ends of the window where time order is log order."""
    for j in range(sizes):
        newest, oldest = np.nan, np.nan
        if in_order:
            p = end - 1
            while p >= starts[j] and np.isnan(newest):
                newest = values[base + p]
                p -= 1
            p = starts[j]
            while p < end and np.isnan(oldest):
                oldest = values[base + p]
                p += 1
        else:
            highest, lowest = np.int64(-1), np.int64(2**62)
            for p in range(starts[j], end):
                x = values[base + p]
                if x == x:  # noqa: PLR0124
                    if order[p] > highest:
                        highest, newest = order[p], x
                    if order[p] < lowest:
                        lowest, oldest = order[p], x
        out[task, j, NEWEST] = newest
        out[task, j, OLDEST] = oldest


@kernel
def distincts(
    values: NDArray[np.float64],
    base: int,
    end: int,
    starts: NDArray[np.int64],
    sizes: int,
    task: int,
    out: NDArray[np.float64],
) -> None:
    """Exact number of different values, 0.0 and -0.0 being one, by a scratch hash set."""
    bits = values.view(np.int64)
    size = 16
    while size < 2 * (end - starts[sizes - 1]):
        size *= 2
    mask = size - 1
    seen = np.zeros(size, np.bool_)
    members = np.empty(size, np.int64)
    n = 0
    p = end - 1
    for j in range(sizes):
        while p >= starts[j]:
            x = values[base + p]
            if x == x:  # noqa: PLR0124
                pattern = np.int64(0) if x == 0.0 else bits[base + p]
                mixed = (pattern ^ (pattern >> 32)) * 0x1E3779B185EBCA87
                i = (mixed ^ (mixed >> 29)) & mask
                while seen[i] and members[i] != pattern:
                    i = (i + 1) & mask
                if not seen[i]:
                    seen[i] = True
                    members[i] = pattern
                    n += 1
            p -= 1
        out[task, j, KINDS] = n


@lean
def _clear(block: NDArray[np.float64]) -> None:
    for f in range(BLOCK_WIDTH):
        block[f] = 0.0
    block[LOW], block[HIGH] = np.inf, -np.inf
    block[NEWEST_ORDER], block[OLDEST_ORDER] = -1.0, np.inf
    block[NEWEST], block[OLDEST] = np.nan, np.nan


@lean
def _add_rows(store: Store, base: int, start: int, end: int, block: NDArray[np.float64]) -> None:
    """Add rows to a block, oldest first; the first value is its anchor, unless it has one."""
    values, order = store.values, store.order
    has_order = order.shape[0] > 0
    n, total, anchor = block[N], block[TOTAL], block[ANCHOR]
    shifted, squares, low, high = block[SHIFTED], block[SQUARES], block[LOW], block[HIGH]
    for p in range(start, end):
        x = values[base + p]
        if x == x:  # noqa: PLR0124
            if n == 0:
                anchor = x
            n += 1.0
            distance = x - anchor
            total += x
            shifted += distance
            squares += distance * distance
            low = min(low, x)
            high = max(high, x)
            if has_order:
                if order[p] > block[NEWEST_ORDER]:
                    block[NEWEST_ORDER], block[NEWEST] = order[p], x
                if order[p] < block[OLDEST_ORDER]:
                    block[OLDEST_ORDER], block[OLDEST] = order[p], x
    block[N], block[TOTAL], block[ANCHOR] = n, total, anchor
    block[SHIFTED], block[SQUARES], block[LOW], block[HIGH] = shifted, squares, low, high


@lean
def _add_block(block: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Add a newer block to what is aggregated so far, moving its squares to the window's anchor."""
    n = block[N]
    if n == 0:
        return
    gap = block[ANCHOR] - out[ANCHOR]
    out[N] += n
    out[TOTAL] += block[TOTAL]
    out[SHIFTED] += block[SHIFTED] + n * gap
    out[SQUARES] += block[SQUARES] + gap * (2.0 * block[SHIFTED] + n * gap)
    out[LOW] = min(out[LOW], block[LOW])
    out[HIGH] = max(out[HIGH], block[HIGH])
    if block[NEWEST_ORDER] > out[NEWEST_ORDER]:
        out[NEWEST_ORDER], out[NEWEST] = block[NEWEST_ORDER], block[NEWEST]
    if block[OLDEST_ORDER] < out[OLDEST_ORDER]:
        out[OLDEST_ORDER], out[OLDEST] = block[OLDEST_ORDER], block[OLDEST]


@lean
def _block(plan: Plan, store: Store, entry: int, level: int, block: int, end: int) -> int:
    """Position on the page of the summaries of a block's rows below arena row ``end``, made if they aren't there."""
    page = page_of(store.table[entry, CHUNK])
    slot: int = level * SLOTS + (block & (SLOTS - 1))
    n_columns = plan.columns.shape[0]
    at: int = slot * n_columns * BLOCK_WIDTH
    if store.block_ids[page, slot] != block:
        shift = plan.level_shift[level]
        chunk, head = store.table[entry, CHUNK], store.table[entry, HEAD]
        last = first_after(store.times, head, end, ((block + 1) << shift) - 1)
        first = first_after(store.times, head, last, (block << shift) - 1)
        for c in range(n_columns):
            summary = store.blocks[page, at + c * BLOCK_WIDTH : at + (c + 1) * BLOCK_WIDTH]
            _clear(summary)
            _add_rows(store, column_base(chunk, c, n_columns), first, last, summary)
        store.block_ids[page, slot] = block
    return at


@lean
def _scan_blocks(  # noqa: PLR0913, PLR0917
    plan: Plan,
    store: Store,
    entry: int,
    at: int,
    start: int,
    size: int,
    task: int,
    part: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Moments and ends of one long window, rows ``start`` to ``at`` (and ``at`` itself, where the task says so)."""
    times, values = store.times, store.values
    chunk, tail = store.table[entry, CHUNK], store.table[entry, TAIL]
    page, column, level = page_of(chunk), plan.task_column[task], plan.size_level[size]
    n_columns, shift = plan.columns.shape[0], plan.level_shift[level]
    base = column_base(chunk, column, n_columns)
    end = at + plan.task_current[task]
    newest_block = times[at] >> shift
    _clear(out)
    p = end - 1
    while p >= start and np.isnan(values[base + p]):
        p -= 1
    if p < start:
        return
    out[ANCHOR] = values[base + p]
    block = times[start] >> shift
    # The oldest block may be cut by the window's start, the newest by its end: those are scanned.
    cut = min(at, first_after(times, start, at, ((block + 1) << shift) - 1))
    _clear(part)
    _add_rows(store, base, start, cut, part)
    if block == newest_block:
        _add_rows(store, base, at, end, part)
        _add_block(part, out)
        return
    _add_block(part, out)
    for b in range(block + 1, newest_block):
        first = _block(plan, store, entry, level, b, at) + column * BLOCK_WIDTH
        _add_block(store.blocks[page, first : first + BLOCK_WIDTH], out)
    if at + 1 < tail and times[at + 1] >> shift == newest_block:
        _clear(part)
        _add_rows(store, base, first_after(times, start, at, (newest_block << shift) - 1), end, part)
    else:
        first = _block(plan, store, entry, level, newest_block, at) + column * BLOCK_WIDTH
        for f in range(BLOCK_WIDTH):
            part[f] = store.blocks[page, first + f]
        _add_rows(store, base, at, end, part)
    _add_block(part, out)


@lean
def _provide_page(store: Store, entry: int) -> None:
    """Give the key a page of block summaries; where none is left, it uses page 0, emptied, and more are wished for."""
    chunk, counters = store.table[entry, CHUNK], store.counters
    page = page_of(chunk)
    if page == 0:
        if counters[PAGES] < store.block_ids.shape[0]:
            page = counters[PAGES]
            counters[PAGES] += 1
            store.table[entry, CHUNK] = chunk_of(offset_of(chunk), page, (chunk >> 1) & 63, chunk & 1)
        else:
            counters[PAGE_WANTED] = 1
        for slot in range(store.block_ids.shape[1]):
            store.block_ids[page, slot] = NO_BLOCK


@lean
def note_in_blocks(plan: Plan, store: Store, entry: int, at: int) -> None:
    """Tell the key's block summaries, if it has any, about the row that was put at arena row ``at``."""
    chunk, tail = store.table[entry, CHUNK], store.table[entry, TAIL]
    page = page_of(chunk)
    if page == 0:
        return
    n_columns = plan.columns.shape[0]
    for level in range(plan.level_shift.shape[0]):
        shift = plan.level_shift[level]
        block = store.times[at] >> shift
        slot = level * SLOTS + (block & (SLOTS - 1))
        if store.block_ids[page, slot] != block:
            continue
        if at + 1 < tail and store.times[at + 1] >> shift == block:
            store.block_ids[page, slot] = NO_BLOCK
            continue
        for c in range(n_columns):
            first = (slot * n_columns + c) * BLOCK_WIDTH
            summary = store.blocks[page, first : first + BLOCK_WIDTH]
            _add_rows(store, column_base(chunk, c, n_columns), at, at + 1, summary)


@lean
def _select(x: NDArray[np.float64], n: int, k: int) -> None:
    """Put the k-th smallest of the first n numbers at k, none larger before it and none smaller after (Hoare 1961)."""
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) >> 1
        a, b, c = x[low], x[middle], x[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while x[i] < pivot:
                i += 1
            while x[j] > pivot:
                j -= 1
            if i <= j:
                x[i], x[j] = x[j], x[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return


@kernel
def quantile_of(values: NDArray[np.float64], start: int, end: int, probability: float) -> float:
    """Quantile by linear interpolation between order statistics (Hyndman and Fan 1996, type 7), NaN left out."""
    present = np.empty(max(end - start, 1))
    n = 0
    for p in range(start, end):
        if values[p] == values[p]:
            present[n] = values[p]
            n += 1
    if n == 0:
        return np.nan
    position = probability * (n - 1)
    below = int(position)
    part = position - below
    _select(present, n, below)
    low: float = present[below]
    if part == 0.0:
        return low
    high: float = present[below + 1]
    for p in range(below + 2, n):
        high = min(high, present[p])
    return low if low == high else low + (high - low) * part


@lean
def decayed_of(store: Store, base: int, start: int, end: int, now: int, half_life: float, kind: int) -> float:
    """Sum, or mean, with weights ``2 ** (-age / half_life)``, from the newest row back."""
    total, weights = 0.0, 0.0
    for p in range(end - 1, start - 1, -1):
        x = store.values[base + p]
        if x == x:  # noqa: PLR0124
            weight = 2.0 ** ((store.times[p] - now) / half_life)
            total += weight * x
            weights += weight
    if kind == DECAYED_SUM:
        return total
    return total / weights if weights > 0.0 else np.nan


@lean
def write_empty(kinds: NDArray[np.int64], row: int, out: NDArray[np.float64]) -> None:
    """Features of a row that lies too far back for any window."""
    for m in range(kinds.shape[0]):
        kind = kinds[m]
        out[row, m] = 0.0 if kind in (COUNT, SUM, DISTINCT, DECAYED_SUM) else np.nan


@lean
def scan_long(
    plan: Plan,
    store: Store,
    entry: int,
    at: int,
    short: int,
    scratch: Scratch,
    out: NDArray[np.float64],
) -> None:
    """Write moments, and leave ends in ``partials``, of the windows from number ``short`` on, by blocks."""
    _provide_page(store, entry)
    for task in range(plan.task_work.shape[0]):
        if plan.task_work[task] & (MOMENTS | ENDS):
            for j in range(short, plan.task_sizes[task]):
                partial = scratch.partials[task, j]
                _scan_blocks(plan, store, entry, at, scratch.starts[j], j, task, scratch.block, partial)
                n = partial[N]
                deviations = partial[SQUARES] - partial[SHIFTED] * partial[SHIFTED] / max(n, 1.0)
                slots = plan.slots[task, j]
                write_moments(n, partial[TOTAL], deviations, partial[LOW], partial[HIGH], slots, out)


@lean
def read_whole(plan: Plan, store: Store, entry: int, at: int, start: int, m: int) -> float:
    """A feature that reads its whole window for itself."""
    base = column_base(store.table[entry, CHUNK], plan.task_column[plan.spec_task[m]], plan.columns.shape[0])
    end = max(start, at + plan.spec_current[m])
    if plan.spec_kind[m] == QUANTILE:
        return quantile_of(store.values, base + start, base + end, plan.spec_parameter[m])
    return decayed_of(store, base, start, end, store.times[at], plan.spec_parameter[m], plan.spec_kind[m])

"""Windowed aggregates per key, as of each event, over any number of sizes in one pass.

The feature of row ``e`` (time ``t``, key ``k``) over a window of size ``s`` aggregates the earlier rows of
key ``k`` whose event time lies in ``(max(t, W - lateness) - s, t]``. Earlier means at a lower position of the
log; ``W``, the watermark, is the highest event time of all earlier rows of any key. With ``include_current``
the row itself counts as one of them. Rows may come out of order; a row later than the lateness sees only what
the clipped window leaves.

A result depends on nothing but the window's contents: it is recomputed from them in a fixed order (event
time, equal times in log order) and never by adding and subtracting as rows come and go. So a replay that
starts, with the watermark of that position, at or before the oldest row still relevant gives the same bits.

Rows are kept per key in one array ordered by time, inside one arena shared by all keys. Rows at or before the
horizon (``W - largest size - lateness``) can enter no future window and are dropped; a key whose rows are all
dropped is forgotten. When the arena or the key table is full, the relevant rows are copied into a new one
that has room for half as much again, so memory follows the rows that are still relevant.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from kernels._checks import array, integer
from kernels._jit import kernel
from kernels.hashing import hash64

Aggregate = Literal["count", "sum", "mean", "var", "std", "min", "max", "last", "first", "since_last", "distinct"]

NO_WATERMARK: Final = -(2**63)
TIME_LIMIT: Final = 2**61

_NAMES: Final[tuple[str, ...]] = get_args(Aggregate)
_COUNT, _SUM, _MEAN, _VAR, _STD, _MIN, _MAX, _LAST, _FIRST, _SINCE_LAST, _DISTINCT = range(len(_NAMES))
_NEEDS_NO_COLUMN: Final = frozenset({"count", "since_last"})

_MOMENTS, _ENDS, _DISTINCTS = 1, 2, 4
_WORK_OF: Final = {
    "sum": _MOMENTS,
    "mean": _MOMENTS,
    "var": _MOMENTS,
    "std": _MOMENTS,
    "min": _MOMENTS,
    "max": _MOMENTS,
    "last": _ENDS,
    "first": _ENDS,
    "distinct": _DISTINCTS,
}
_N, _TOTAL, _M2, _LOW, _HIGH, _NEWEST, _OLDEST, _KINDS, _N_PARTIALS = range(9)

_KEY, _HEAD, _TAIL, _CHUNK, _ENTRY_WIDTH = range(5)
_WATERMARK, _ORDER, _USED, _KEYS, _N_COUNTERS = range(5)
_MIN_LOG2_CAPACITY: Final = 2
_MIN_TABLE: Final = 64
_MIN_ARENA: Final = 256
_MICROSECONDS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """One aggregate of one column over one window.

    aggregate: what is computed; ``var`` and ``std`` are of a sample (divisor n - 1); ``first`` and ``last``
    go by log position; ``since_last`` is seconds since the latest earlier event time in the window. column:
    index into the columns of ``values``; -1 for ``count`` and ``since_last``, which use none. size: length of
    the window, µs, above 0.  include_current: whether the row itself is part of its window.
    """

    aggregate: Aggregate
    column: int
    size: int
    include_current: bool = False


class _Plan(NamedTuple):
    """What to compute: a task is one column with or without the current row, over the first ``task_sizes`` sizes."""

    lateness: int
    sizes: NDArray[np.int64]
    columns: NDArray[np.int64]
    spec_kind: NDArray[np.int64]
    spec_size: NDArray[np.int64]
    spec_task: NDArray[np.int64]
    spec_current: NDArray[np.int64]
    task_column: NDArray[np.int64]
    task_current: NDArray[np.int64]
    task_work: NDArray[np.int64]
    task_sizes: NDArray[np.int64]


class _Store(NamedTuple):
    """What is kept: a key table with open addressing, and an arena of chunks, one a key, rows ordered by time.

    An entry's chunk is ``offset << 8 | log2(capacity) << 1 | disordered``, -1 in an empty entry; head and
    tail are arena rows. Within a chunk values lie column by column, so that a scan of one column is
    contiguous.
    """

    table: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    order: NDArray[np.int64]
    counters: NDArray[np.int64]


@kernel
def _entry_of(table: NDArray[np.int64], key: np.int64) -> int:
    """Index of the key's entry, or of the empty entry where it belongs."""
    mask = table.shape[0] - 1
    mixed = (key ^ (key >> 32)) * 0x1E3779B185EBCA87
    i = (mixed ^ (mixed >> 29)) & mask
    while table[i, _CHUNK] != -1 and table[i, _KEY] != key:
        i = (i + 1) & mask
    return i


@kernel
def _move(source: _Store, head: int, tail: int, from_chunk: int, target: _Store, to_chunk: int) -> None:
    """Copy rows head to tail of one chunk to the beginning of another; chunks may be the same one."""
    from_offset, from_capacity = from_chunk >> 8, 1 << ((from_chunk >> 1) & 127)
    to_offset, to_capacity = to_chunk >> 8, 1 << ((to_chunk >> 1) & 127)
    n_columns = source.values.shape[0] // source.times.shape[0]
    n = tail - head
    for r in range(n):
        target.times[to_offset + r] = source.times[head + r]
    if source.order.shape[0] > 0:
        for r in range(n):
            target.order[to_offset + r] = source.order[head + r]
    for c in range(n_columns):
        read = from_offset * n_columns + c * from_capacity + (head - from_offset)
        write = to_offset * n_columns + c * to_capacity
        for r in range(n):
            target.values[write + r] = source.values[read + r]


@kernel
def _log2_capacity(rows: int) -> int:
    log2 = _MIN_LOG2_CAPACITY
    while (1 << log2) < rows:
        log2 += 1
    return log2


@kernel
def _make_room(store: _Store, entry: int) -> bool:
    """Make sure that one more row fits behind the tail; False where the arena is full."""
    table = store.table
    chunk = table[entry, _CHUNK]
    head, tail = table[entry, _HEAD], table[entry, _TAIL]
    offset, capacity = chunk >> 8, 1 << ((chunk >> 1) & 127)
    if tail < offset + capacity:
        return True
    if (tail - head) * 2 <= capacity:
        _move(store, head, tail, chunk, store, chunk)
    else:
        used = store.counters[_USED]
        if used + 2 * capacity > store.times.shape[0]:
            return False
        store.counters[_USED] = used + 2 * capacity
        grown = (used << 8) | ((chunk & 255) + 2)
        _move(store, head, tail, chunk, store, grown)
        table[entry, _CHUNK] = grown
        offset = used
    table[entry, _HEAD] = offset
    table[entry, _TAIL] = offset + tail - head
    return True


@kernel
def _insert(
    store: _Store, entry: int, at: int, time: int, row: NDArray[np.float64], columns: NDArray[np.int64]
) -> None:
    """Put a row before arena row ``at`` of the entry's chunk, which has room."""
    table = store.table
    chunk, tail = table[entry, _CHUNK], table[entry, _TAIL]
    offset, capacity = chunk >> 8, 1 << ((chunk >> 1) & 127)
    n_columns = columns.shape[0]
    for p in range(tail, at, -1):
        store.times[p] = store.times[p - 1]
    store.times[at] = time
    for c in range(n_columns):
        base = offset * n_columns + c * capacity - offset
        for p in range(tail, at, -1):
            store.values[base + p] = store.values[base + p - 1]
        store.values[base + at] = row[columns[c]]
    if store.order.shape[0] > 0:
        for p in range(tail, at, -1):
            store.order[p] = store.order[p - 1]
        store.order[at] = store.counters[_ORDER]
        store.counters[_ORDER] += 1
    table[entry, _TAIL] = tail + 1
    if at < tail:
        table[entry, _CHUNK] = chunk | 1


@kernel
def _first_after(times: NDArray[np.int64], head: int, tail: int, bound: int) -> int:
    """First row from head to tail with a time above the bound: near the tail by steps, else by bisection."""
    high = tail
    step = 1
    while high > head and times[max(head, high - step)] > bound:
        high = max(head, high - step)
        step *= 2
    low = max(head, high - step)
    while low < high:
        middle = (low + high) >> 1
        if times[middle] > bound:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def _moments(
    values: NDArray[np.float64], base: int, end: int, starts: NDArray[np.int64], out: NDArray[np.float64]
) -> None:
    """Count, sum, squared deviations and extremes of nested windows, from the newest row back.

    Squares are taken of the distance from the newest value. As it is a member of the window, the distance of
    the mean from it is at most sqrt(n) standard deviations, so the subtraction loses at most n ulp (Chan,
    Golub, LeVeque 1983, "Algorithms for computing the sample variance", shifted data).
    """
    n = 0
    total, shifted, squares, anchor = 0.0, 0.0, 0.0, 0.0
    low, high = np.inf, -np.inf
    p = end - 1
    for j in range(out.shape[0]):
        while p >= starts[j]:
            x = values[base + p]
            p -= 1
            if x == x:  # noqa: PLR0124
                if n == 0:
                    anchor = x
                n += 1
                distance = x - anchor
                total += x
                shifted += distance
                squares += distance * distance
                low = min(low, x)
                high = max(high, x)
        out[j, _N] = n
        out[j, _TOTAL] = total
        out[j, _M2] = squares - shifted * shifted / n if n > 1 else 0.0
        out[j, _LOW] = low
        out[j, _HIGH] = high


@kernel
def _ends(
    store: _Store,
    base: int,
    end: int,
    ordered: bool,
    starts: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Values at the highest and lowest log position; at the ends of the window where time order is log order."""
    values, order = store.values, store.order
    for j in range(out.shape[0]):
        newest, oldest = np.nan, np.nan
        if ordered:
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
        out[j, _NEWEST] = newest
        out[j, _OLDEST] = oldest


@kernel
def _distincts(
    values: NDArray[np.float64], base: int, end: int, starts: NDArray[np.int64], out: NDArray[np.float64]
) -> None:
    """Exact number of different values, 0.0 and -0.0 being one, by a scratch hash set."""
    bits = values.view(np.int64)
    rows = end - starts[out.shape[0] - 1]
    size = 16
    while size < 2 * rows:
        size *= 2
    mask = size - 1
    seen = np.zeros(size, np.bool_)
    members = np.empty(size, np.int64)
    n = 0
    p = end - 1
    for j in range(out.shape[0]):
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
        out[j, _KINDS] = n


@kernel
def _from_partials(kind: int, partial: NDArray[np.float64]) -> float:
    n = partial[_N]
    result = np.nan
    if kind == _SUM:
        result = partial[_TOTAL]
    elif kind == _MEAN:
        if n > 0:
            result = partial[_TOTAL] / n
    elif kind in (_VAR, _STD):
        if n > 1:
            result = max(partial[_M2], 0.0) / (n - 1)
            if kind == _STD:
                result = np.sqrt(result)
    elif kind == _MIN:
        if n > 0:
            result = partial[_LOW]
    elif kind == _MAX:
        if n > 0:
            result = partial[_HIGH]
    elif kind == _LAST:
        result = partial[_NEWEST]
    elif kind == _FIRST:
        result = partial[_OLDEST]
    else:
        result = partial[_KINDS]
    return result


@kernel
def _write_empty(plan: _Plan, out: NDArray[np.float64]) -> None:
    for m in range(out.shape[0]):
        kind = plan.spec_kind[m]
        out[m] = 0.0 if kind in (_COUNT, _SUM, _DISTINCT) else np.nan


@kernel
def _write_row(
    plan: _Plan,
    store: _Store,
    entry: int,
    at: int,
    starts: NDArray[np.int64],
    partials: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Aggregate the windows of the row that lies at arena row ``at``."""
    table, times, values = store.table, store.times, store.values
    chunk = table[entry, _CHUNK]
    offset, capacity = chunk >> 8, 1 << ((chunk >> 1) & 127)
    n_columns = plan.columns.shape[0]
    for task in range(plan.task_column.shape[0]):
        base = offset * n_columns + plan.task_column[task] * capacity - offset
        end = at + plan.task_current[task]
        work = plan.task_work[task]
        partial = partials[task, : plan.task_sizes[task]]
        if work & _MOMENTS:
            _moments(values, base, end, starts, partial)
        if work & _ENDS:
            _ends(store, base, end, (chunk & 1) == 0, starts, partial)
        if work & _DISTINCTS:
            _distincts(values, base, end, starts, partial)
    for m in range(out.shape[0]):
        kind, size = plan.spec_kind[m], plan.spec_size[m]
        if kind == _COUNT:
            out[m] = max(0, at + plan.spec_current[m] - starts[size])
        elif kind == _SINCE_LAST:
            out[m] = (times[at] - times[at - 1]) * _MICROSECONDS if at > starts[size] else np.nan
        else:
            out[m] = _from_partials(kind, partials[plan.spec_task[m], size])


@kernel
def _update(
    begin: int,
    keys: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    plan: _Plan,
    store: _Store,
    out: NDArray[np.float64],
) -> int:
    """Handle rows from ``begin`` on; returns the first row not handled, for want of room, or the number of rows."""
    table, counters = store.table, store.counters
    n_sizes = plan.sizes.shape[0]
    reach = plan.sizes[n_sizes - 1] + plan.lateness
    starts = np.empty(n_sizes, np.int64)
    partials = np.empty((plan.task_column.shape[0], n_sizes, _N_PARTIALS))
    for i in range(begin, keys.shape[0]):
        t = times[i]
        watermark = counters[_WATERMARK]
        seen = watermark != NO_WATERMARK
        horizon = watermark - reach if seen else watermark
        if t <= horizon:
            _write_empty(plan, out[i])
            continue
        entry = _entry_of(table, keys[i])
        if table[entry, _CHUNK] == -1:
            used = counters[_USED]
            if (counters[_KEYS] + 1) * 10 > table.shape[0] * 7:
                return i
            if used + (1 << _MIN_LOG2_CAPACITY) > store.times.shape[0]:
                return i
            counters[_USED] = used + (1 << _MIN_LOG2_CAPACITY)
            counters[_KEYS] += 1
            table[entry, _KEY] = keys[i]
            table[entry, _HEAD] = used
            table[entry, _TAIL] = used
            table[entry, _CHUNK] = (used << 8) | (_MIN_LOG2_CAPACITY << 1)
        head, tail = table[entry, _HEAD], table[entry, _TAIL]
        while head < tail and store.times[head] <= horizon:
            head += 1
        table[entry, _HEAD] = head
        if not _make_room(store, entry):
            return i
        head, tail = table[entry, _HEAD], table[entry, _TAIL]
        if head == tail:
            table[entry, _CHUNK] &= ~1
        at = _first_after(store.times, head, tail, t)
        _insert(store, entry, at, t, values[i], plan.columns)
        latest = max(t, watermark - plan.lateness) if seen else t
        for j in range(n_sizes):
            starts[j] = _first_after(store.times, head, at + 1, latest - plan.sizes[j])
        _write_row(plan, store, entry, at, starts, partials, out[i])
        counters[_WATERMARK] = max(t, watermark)
    return keys.shape[0]


@kernel
def _relevant_head(store: _Store, entry: int, horizon: int) -> int:
    head, tail = store.table[entry, _HEAD], store.table[entry, _TAIL]
    while head < tail and store.times[head] <= horizon:
        head += 1
    return head


@kernel
def _measure(store: _Store, horizon: int) -> tuple[int, int, int]:
    """Keys and rows still relevant, and the arena rows that they need."""
    keys, rows, room = 0, 0, 0
    for entry in range(store.table.shape[0]):
        if store.table[entry, _CHUNK] != -1:
            n = store.table[entry, _TAIL] - _relevant_head(store, entry, horizon)
            if n > 0:
                keys += 1
                rows += n
                room += 1 << _log2_capacity(n + 1)
    return keys, rows, room


@kernel
def _rebuild(source: _Store, horizon: int, target: _Store) -> None:
    """Copy what is still relevant into an empty store with enough room."""
    counters = target.counters
    for entry in range(source.table.shape[0]):
        chunk = source.table[entry, _CHUNK]
        if chunk != -1:
            head, tail = _relevant_head(source, entry, horizon), source.table[entry, _TAIL]
            if head < tail:
                log2 = _log2_capacity(tail - head + 1)
                used = counters[_USED]
                new_chunk = (used << 8) | (log2 << 1) | (chunk & 1)
                _move(source, head, tail, chunk, target, new_chunk)
                counters[_USED] = used + (1 << log2)
                counters[_KEYS] += 1
                new = _entry_of(target.table, source.table[entry, _KEY])
                target.table[new, _KEY] = source.table[entry, _KEY]
                target.table[new, _HEAD] = used
                target.table[new, _TAIL] = used + tail - head
                target.table[new, _CHUNK] = new_chunk
    counters[_WATERMARK] = source.counters[_WATERMARK]
    counters[_ORDER] = source.counters[_ORDER]


@kernel
def _list_keys(store: _Store, horizon: int, keys: NDArray[np.int64]) -> None:
    k = 0
    for entry in range(store.table.shape[0]):
        if store.table[entry, _CHUNK] != -1 and _relevant_head(store, entry, horizon) < store.table[entry, _TAIL]:
            keys[k] = store.table[entry, _KEY]
            k += 1


@kernel
def _export(
    store: _Store,
    horizon: int,
    keys: NDArray[np.int64],
    counts: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    ranks: NDArray[np.int64],
) -> None:
    """Write the keys' relevant rows one key after the other, log positions as ranks within the key."""
    n_columns = values.shape[0]
    row = 0
    for k in range(keys.shape[0]):
        entry = _entry_of(store.table, keys[k])
        head, tail = _relevant_head(store, entry, horizon), store.table[entry, _TAIL]
        chunk = store.table[entry, _CHUNK]
        offset, capacity = chunk >> 8, 1 << ((chunk >> 1) & 127)
        n = tail - head
        counts[k] = n
        times[row : row + n] = store.times[head:tail]
        for c in range(n_columns):
            base = offset * n_columns + c * capacity - offset
            values[c, row : row + n] = store.values[base + head : base + tail]
        if store.order.shape[0] > 0:
            by_log = np.argsort(store.order[head:tail])
            for rank in range(n):
                ranks[row + by_log[rank]] = rank
        row += n


@kernel
def _import(
    store: _Store,
    keys: NDArray[np.int64],
    counts: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    ranks: NDArray[np.int64],
) -> None:
    """Fill an empty store with enough room from what ``_export`` wrote."""
    n_columns = values.shape[0]
    row = 0
    for k in range(keys.shape[0]):
        n = counts[k]
        log2 = _log2_capacity(n + 1)
        offset = store.counters[_USED]
        store.counters[_USED] = offset + (1 << log2)
        store.counters[_KEYS] += 1
        store.times[offset : offset + n] = times[row : row + n]
        for c in range(n_columns):
            base = offset * n_columns + (c << log2)
            store.values[base : base + n] = values[c, row : row + n]
        disordered = 0
        if ranks.shape[0] > 0:
            for r in range(n):
                store.order[offset + r] = ranks[row + r]
                if ranks[row + r] != r:
                    disordered = 1
        entry = _entry_of(store.table, keys[k])
        store.table[entry, _KEY] = keys[k]
        store.table[entry, _HEAD] = offset
        store.table[entry, _TAIL] = offset + n
        store.table[entry, _CHUNK] = (offset << 8) | (log2 << 1) | disordered
        store.counters[_ORDER] = max(store.counters[_ORDER], n)
        row += n


def _checked_specs(specs: Sequence[WindowSpec], n_columns: int) -> tuple[WindowSpec, ...]:
    if not specs:
        raise ValueError("specs: expected at least one WindowSpec, got none")
    for i, spec in enumerate(specs):
        if spec.aggregate not in _NAMES:
            raise ValueError(f"specs[{i}].aggregate: {spec.aggregate!r} is none of {', '.join(_NAMES)}")
        low = -1 if spec.aggregate in _NEEDS_NO_COLUMN else 0
        integer(f"specs[{i}].column", spec.column, low, n_columns - 1)
        integer(f"specs[{i}].size", spec.size, 1, TIME_LIMIT // 4)
    return tuple(specs)


def _plan(specs: tuple[WindowSpec, ...], lateness: int) -> _Plan:
    sizes = sorted({s.size for s in specs})
    columns = sorted({s.column for s in specs if s.aggregate not in _NEEDS_NO_COLUMN})
    tasks: dict[tuple[int, bool], list[int]] = {}
    spec_task = []
    for spec in specs:
        if spec.aggregate in _NEEDS_NO_COLUMN:
            spec_task.append(-1)
            continue
        task = tasks.setdefault((columns.index(spec.column), spec.include_current), [0, 0])
        work = _WORK_OF[spec.aggregate]
        task[0] |= work
        task[1] = max(task[1], sizes.index(spec.size) + 1)
        spec_task.append(list(tasks).index((columns.index(spec.column), spec.include_current)))

    def ints(numbers: Sequence[int]) -> NDArray[np.int64]:
        return np.array(numbers, np.int64)

    return _Plan(
        lateness=lateness,
        sizes=ints(sizes),
        columns=ints(columns),
        spec_kind=ints([_NAMES.index(s.aggregate) for s in specs]),
        spec_size=ints([sizes.index(s.size) for s in specs]),
        spec_task=ints(spec_task),
        spec_current=ints([s.include_current for s in specs]),
        task_column=ints([column for column, _ in tasks]),
        task_current=ints([current for _, current in tasks]),
        task_work=ints([work for work, _ in tasks.values()]),
        task_sizes=ints([size for _, size in tasks.values()]),
    )


class WindowState:
    """The rows still inside a window, for every key, and the features of each new row.

    specs: the features.  n_columns: number of columns of the values given to ``update``; only those that a
    spec names are kept.  lateness: µs by which a row may lie behind the watermark and still see a whole
    window.

    Raises ValueError where a spec does not fit.
    """

    def __init__(self, specs: Sequence[WindowSpec], n_columns: int, lateness: int) -> None:
        self._n_columns = integer("n_columns", n_columns, 0, 2**20)
        self._specs = _checked_specs(specs, self._n_columns)
        self._plan = _plan(self._specs, integer("lateness", lateness, 0, TIME_LIMIT // 4))
        self._reach = int(self._plan.sizes[-1]) + self._plan.lateness
        self._store = self._empty_store(0, 0)

    @classmethod
    def with_watermark(cls, specs: Sequence[WindowSpec], n_columns: int, lateness: int, watermark: int) -> Self:
        """An empty state for a replay: ``watermark`` is the one that held before its first row."""
        state = cls(specs, n_columns, lateness)
        state.watermark = watermark
        return state

    @property
    def specs(self) -> tuple[WindowSpec, ...]:
        """The features, in the order of the columns that ``update`` returns."""
        return self._specs

    @property
    def watermark(self) -> int:
        """Highest event time seen, µs; ``NO_WATERMARK`` before the first row. May be set, but not back."""
        return int(self._store.counters[_WATERMARK])

    @watermark.setter
    def watermark(self, value: int) -> None:
        if value != NO_WATERMARK:
            integer("watermark", value, -TIME_LIMIT, TIME_LIMIT)
        if value < self.watermark:
            raise ValueError(f"watermark: {value} lies before {self.watermark}, which this state has seen")
        self._store.counters[_WATERMARK] = value

    @property
    def n_keys(self) -> int:
        """Keys in the table; idle ones are forgotten when it is next rebuilt."""
        return int(self._store.counters[_KEYS])

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(part.nbytes for part in self._store)

    def horizon(self) -> int:
        """Event time, µs, at or before which a row can enter no future window; ``NO_WATERMARK`` before the first row."""
        return NO_WATERMARK if self.watermark == NO_WATERMARK else self.watermark - self._reach

    def update(
        self, keys: NDArray[np.uint64], times: NDArray[np.int64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Add rows in log order and return the features of each.

        keys: (n,) uint64 hashes of keys.  times: (n,) int64 event times, µs.  values: (n, n_columns) float64;
        NaN is a missing value, skipped by every aggregate but ``count`` and ``since_last``.

        Returns (n, len(specs)) float64. Of an empty window count, sum and distinct are 0 and all others NaN.
        Raises ValueError, before any row is added, where an array does not fit.
        """
        checked_keys = array("keys", keys, np.uint64, (None,)).view(np.int64)
        n = checked_keys.shape[0]
        checked_times = array("times", times, np.int64, (n,))
        checked_values = array("values", values, np.float64, (n, self._n_columns))
        if n and (int(checked_times.min()) < -TIME_LIMIT or int(checked_times.max()) > TIME_LIMIT):
            row = int(np.argmax((checked_times < -TIME_LIMIT) | (checked_times > TIME_LIMIT)))
            raise ValueError(f"times[{row}]: {checked_times[row]} µs lies beyond ±{TIME_LIMIT}")
        out = np.empty((n, len(self._specs)))
        done = _update(0, checked_keys, checked_times, checked_values, self._plan, self._store, out)
        while done < n:
            self._grow()
            done = _update(done, checked_keys, checked_times, checked_values, self._plan, self._store, out)
        return out

    def _empty_store(self, keys: int, room: int) -> _Store:
        table_size = _MIN_TABLE
        while table_size < 2 * keys:
            table_size *= 2
        arena = max(_MIN_ARENA, room)
        keeps_order = bool(np.any(self._plan.task_work & _ENDS))
        counters = np.zeros(_N_COUNTERS, np.int64)
        counters[_WATERMARK] = NO_WATERMARK
        return _Store(
            table=np.full((table_size, _ENTRY_WIDTH), -1, np.int64),
            times=np.empty(arena, np.int64),
            values=np.empty(arena * self._plan.columns.shape[0]),
            order=np.empty(arena if keeps_order else 0, np.int64),
            counters=counters,
        )

    def _grow(self) -> None:
        """Make room for half as much again as is still relevant, and for the largest chunk to double."""
        keys, _, room = _measure(self._store, self.horizon())
        widest = int((self._store.table[:, _TAIL] - self._store.table[:, _HEAD]).max())
        store = self._empty_store(keys, room + room // 2 + 4 * (widest + 1))
        _rebuild(self._store, self.horizon(), store)
        self._store = store

    def to_bytes(self) -> bytes:
        """The rows still relevant as bytes: the same for the same rows, however they were reached."""
        horizon = self.horizon()
        n_keys, n_rows, _ = _measure(self._store, horizon)
        keys = np.empty(n_keys, np.int64)
        _list_keys(self._store, horizon, keys)
        keys = np.sort(keys.view(np.uint64)).view(np.int64)
        counts = np.empty(n_keys, np.int64)
        times = np.empty(n_rows, np.int64)
        values = np.empty((self._plan.columns.shape[0], n_rows))
        ranks = np.empty(n_rows if self._store.order.shape[0] else 0, np.int64)
        _export(self._store, horizon, keys, counts, times, values, ranks)
        parts = [
            _HEADER.pack(_MAGIC, self._n_columns, len(self._specs), self._plan.lateness, self.watermark, n_keys, n_rows)
        ]
        parts += [_SPEC.pack(_NAMES.index(s.aggregate), s.include_current, s.column, s.size) for s in self._specs]
        parts += [a.astype(a.dtype.newbyteorder("<")).tobytes() for a in (keys, counts, times, values, ranks)]
        body = b"".join(parts)
        return body + _CHECKSUM.pack(hash64(body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state that ``to_bytes`` wrote; raises ValueError where the bytes are not whole or of another format."""
        if len(data) < _HEADER.size + _CHECKSUM.size or data[: len(_MAGIC)] != _MAGIC:
            raise ValueError(f"data: expected a window state that begins with {_MAGIC!r}, got {bytes(data[:8])!r}")
        body = data[: -_CHECKSUM.size]
        if hash64(body) != _CHECKSUM.unpack(data[-_CHECKSUM.size :])[0]:
            raise ValueError(f"data: the checksum of these {len(data)} bytes is wrong; the state is cut or damaged")
        _, n_columns, n_specs, lateness, watermark, n_keys, n_rows = _HEADER.unpack_from(body)
        position = _HEADER.size
        specs = []
        for _ in range(n_specs):
            kind, current, column, size = _SPEC.unpack_from(body, position)
            specs.append(WindowSpec(_aggregate(kind), column, size, include_current=current))
            position += _SPEC.size
        state = cls.with_watermark(specs, n_columns, lateness, watermark)
        n_used, n_ranks = state._plan.columns.shape[0], n_rows if state._store.order.shape[0] else 0
        numbers = np.frombuffer(body, "<i8", offset=position).astype(np.int64)
        keys, counts, times, bits, ranks = np.split(numbers, np.cumsum([n_keys, n_keys, n_rows, n_rows * n_used]))
        if ranks.shape[0] != n_ranks:
            raise ValueError("data: the arrays' lengths do not add up")
        room = int(sum(1 << int(_log2_capacity(int(n) + 1)) for n in counts))
        store = state._empty_store(n_keys, room + room // 2)
        store.counters[_WATERMARK] = watermark
        _import(store, keys, counts, times, bits.view(np.float64).reshape(n_used, n_rows), ranks)
        state._store = store
        return state


_MAGIC: Final = b"TMWIN01\n"
_HEADER: Final = struct.Struct("<8sIIqqQQ")
_SPEC: Final = struct.Struct("<B?iq")
_CHECKSUM: Final = struct.Struct("<Q")


def _aggregate(kind: int) -> Aggregate:
    if kind >= len(_NAMES):
        raise ValueError(f"data: aggregate {kind} is unknown to this version")
    return _NAMES[kind]  # type: ignore[return-value]

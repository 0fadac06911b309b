"""Windowed aggregates per key, as of each event, over any number of sizes in one pass.

The feature of row ``e`` (time ``t``, key ``k``) over a window of size ``s`` aggregates the earlier rows of key ``k``
whose event time lies in ``(max(t, W - lateness) - s, t]``. Earlier means at a lower position of the log; ``W``, the
watermark, is the highest event time of all earlier rows of any key. With ``include_current`` the row itself counts as
one of them. Rows may come out of order; a row later than the lateness sees only what the clipped window leaves.

A result depends on nothing but the window's contents: it is recomputed from them in a fixed order (event time, equal
times in log order) and never by adding and subtracting as rows come and go. So a replay that starts, with the
watermark of that position, at or before the oldest row still relevant gives the same bits.

Rows at or before the horizon (``W - largest size - lateness``) can enter no future window and are dropped; a key whose
rows are all dropped is forgotten. When the arena or the key table is full, what is still relevant is copied into a new
one that has room for half as much again, so memory follows the rows that are still relevant.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from kernels._checks import array, integer, number
from kernels._jit import lean
from kernels._prefetch import prefetch
from kernels._window_aggregates import (
    BLOCK_WIDTH,
    COUNT,
    DISTINCT,
    DISTINCTS,
    ENDS,
    FIRST,
    KINDS,
    LAST,
    MAX,
    MICROSECONDS,
    MOMENTS,
    NAMES,
    NEWEST,
    OLDEST,
    SINCE_LAST,
    SLOTS,
    SUM,
    WORK_OF,
    Plan,
    Scratch,
    distincts,
    note_in_blocks,
    read_whole,
    scan,
    scan_ends,
    scan_long,
    scratch_of,
    write_empty,
)
from kernels._window_store import (
    CHUNK,
    ENTRY_WIDTH,
    HEAD,
    KEYS,
    LONG,
    N_COUNTERS,
    NO_BLOCK,
    NO_WATERMARK,
    ORDER,
    PAGE_WANTED,
    PAGES,
    TAIL,
    WATERMARK,
    Rows,
    Store,
    capacity_of,
    claim_entry,
    column_base,
    entry_of,
    expect,
    export_rows,
    first_after,
    home_of,
    import_rows,
    list_keys,
    log2_capacity_for,
    make_room,
    measure,
    offset_of,
    open_gap,
    page_of,
    rebuild,
)
from kernels.hashing import hash64

__all__ = ["NO_WATERMARK", "TIME_LIMIT", "Aggregate", "WindowSpec", "WindowState"]

Aggregate = Literal[
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
]

TIME_LIMIT: Final = 2**61
"""Event times lie within plus and minus this many µs of the epoch, 73,000 years."""

_SIZE_LIMIT: Final = 2**59
_NEEDS_NO_COLUMN: Final = frozenset({"count", "since_last"})
_MIN_TABLE: Final = 64
_MIN_ARENA: Final = 256
_MAX_PAGES: Final = 2**20
_AHEAD: Final = 4
_NEAR_MEMORY: Final = 2**16
_MAGIC: Final = b"TMWIN02\n"
_HEADER: Final = struct.Struct("<8sIIqqQQ")
_SPEC: Final = struct.Struct("<B?iqd")
_CHECKSUM: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """One aggregate of one column over one window.

    aggregate: what is computed. ``var`` and ``std`` are of a sample (divisor n - 1). ``first`` and ``last`` go by log
    position. ``since_last`` is seconds since the latest earlier event time in the window. ``distinct`` is exact.
    ``quantile`` interpolates (type 7), with ``parameter`` its probability, 0 to 1. ``decayed_sum`` and
    ``decayed_mean`` weigh by ``2 ** (-age / half-life)``, with ``parameter`` the half-life, µs, above 0.
    column: index into the columns of ``values``; -1 for ``count`` and ``since_last``, which use none.
    size: length of the window, µs, above 0.  include_current: whether the row itself is part of its window.

    Cost for each row: windows of up to 1,024 rows are read whole, ~1 ns a row and column. Longer ones cost ~1 µs, and
    1/50 of their rows; but distinct, quantile and decayed aggregates read the whole window always.
    """

    aggregate: Aggregate
    column: int
    size: int
    include_current: bool = False
    parameter: float = 0.0


@lean
def _update(  # noqa: C901, PLR0912, PLR0915
    begin: int,
    keys: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    plan: Plan,
    store: Store,
    scratch: Scratch,
    out: NDArray[np.float64],
) -> int:
    """Handle rows from ``begin`` on; returns the first row not handled, for want of room, or the number of rows.

    One long loop, because handing the tuples of arrays to another function costs more than most rows' work (2.3
    times the whole, measured). They are handed on only where it is rare: to make room, out of order, long windows.
    """
    lateness, window_sizes, columns = plan.lateness, plan.sizes, plan.columns
    kinds, spec_size, spec_task, spec_current = plan.spec_kind, plan.spec_size, plan.spec_task, plan.spec_current
    task_column, task_current = plan.task_column, plan.task_current
    task_work, task_sizes, slots, rest = plan.task_work, plan.task_sizes, plan.slots, plan.rest
    table, arena_times, arena_values, order = store.table, store.times, store.values, store.order
    counters = store.counters
    n: int = keys.shape[0]
    n_sizes, n_columns, n_tasks = window_sizes.shape[0], columns.shape[0], task_work.shape[0]
    keeps_order = order.shape[0] > 0
    reach = window_sizes[n_sizes - 1] + lateness
    starts, partials = scratch.starts, scratch.partials
    # Rows of many keys lie all over memory: they are asked for some rows ahead (twice as fast with 10,000 keys).
    ahead = _AHEAD if arena_times.shape[0] * (1 + n_columns) > _NEAR_MEMORY else n
    for i in range(begin, n):
        if i + 2 * ahead < n:
            prefetch(table, ENTRY_WIDTH * home_of(table, keys[i + 2 * ahead]))
        if i + ahead < n:
            expect(table, arena_times, arena_values, keys[i + ahead], n_columns)
        t, watermark = times[i], counters[WATERMARK]
        seen = watermark != NO_WATERMARK
        horizon = watermark - reach if seen else watermark
        if t <= horizon:
            write_empty(kinds, i, out)
            continue
        entry = entry_of(table, keys[i])
        if table[entry, CHUNK] == -1 and not claim_entry(store, entry, keys[i]):
            return i
        head, tail = table[entry, HEAD], table[entry, TAIL]
        while head < tail and arena_times[head] <= horizon:
            head += 1
        table[entry, HEAD] = head
        chunk = table[entry, CHUNK]
        if tail == offset_of(chunk) + capacity_of(chunk):
            if not make_room(store, entry):
                return i
            head, tail, chunk = table[entry, HEAD], table[entry, TAIL], table[entry, CHUNK]
        at = first_after(arena_times, head, tail, t)
        if at < tail:
            open_gap(store, entry, at)
            chunk |= 1
            table[entry, CHUNK] = chunk
        elif head == tail and chunk & 1:
            chunk &= ~1
            table[entry, CHUNK] = chunk
        arena_times[at] = t
        for c in range(n_columns):
            arena_values[column_base(chunk, c, n_columns) + at] = values[i, columns[c]]
        if keeps_order:
            order[at] = counters[ORDER]
            counters[ORDER] += 1
        table[entry, TAIL] = tail + 1
        counters[WATERMARK] = max(t, watermark)

        latest = max(t, watermark - lateness) if seen else t
        short, start = 0, at + 1
        for j in range(n_sizes):
            start = first_after(arena_times, head, start, latest - window_sizes[j])
            starts[j] = start
            if at - start <= LONG:
                short = j + 1
        for task in range(n_tasks):
            base, end = column_base(chunk, task_column[task], n_columns), at + task_current[task]
            work, sizes = task_work[task], task_sizes[task]
            if work & MOMENTS:
                scan(arena_values, base, end, starts, min(short, sizes), slots[task], out[i])
            if work & ENDS:
                in_order = (chunk & 1) == 0
                scan_ends(arena_values, order, base, end, in_order, starts, min(short, sizes), task, partials)
            if work & DISTINCTS:
                distincts(arena_values, base, end, starts, sizes, task, partials)
        if short < n_sizes:
            scan_long(plan, store, entry, at, short, scratch, out[i])
        for r in range(rest.shape[0]):
            m = rest[r]
            kind, size, task = kinds[m], spec_size[m], spec_task[m]
            start = starts[size]
            if kind == COUNT:
                out[i, m] = max(0, at + spec_current[m] - start)
            elif kind == SINCE_LAST:
                out[i, m] = (t - arena_times[at - 1]) * MICROSECONDS if at > start else np.nan
            elif kind == LAST:
                out[i, m] = partials[task, size, NEWEST]
            elif kind == FIRST:
                out[i, m] = partials[task, size, OLDEST]
            elif kind == DISTINCT:
                out[i, m] = partials[task, size, KINDS]
            else:
                out[i, m] = read_whole(plan, store, entry, at, start, m)
        if page_of(table[entry, CHUNK]) != 0:
            note_in_blocks(plan, store, entry, at)
    return n


@lean
def _first_beyond(times: NDArray[np.int64]) -> int:
    """The first row whose time is out of range, or the number of rows."""
    row = 0
    while row < times.shape[0] and -TIME_LIMIT <= times[row] <= TIME_LIMIT:
        row += 1
    return row


def _checked_specs(specs: Sequence[WindowSpec], n_columns: int) -> tuple[WindowSpec, ...]:
    if not specs:
        raise ValueError("specs: expected at least one WindowSpec, got none")
    for i, spec in enumerate(specs):
        if spec.aggregate not in NAMES:
            raise ValueError(f"specs[{i}].aggregate: {spec.aggregate!r} is none of {', '.join(NAMES)}")
        low = -1 if spec.aggregate in _NEEDS_NO_COLUMN else 0
        integer(f"specs[{i}].column", spec.column, low, n_columns - 1)
        integer(f"specs[{i}].size", spec.size, 1, _SIZE_LIMIT)
        if spec.aggregate == "quantile":
            number(f"specs[{i}].parameter", spec.parameter, 0.0, 1.0)
        elif spec.aggregate.startswith("decayed"):
            number(f"specs[{i}].parameter", spec.parameter, 1.0, float(_SIZE_LIMIT))
        elif spec.parameter != 0.0:
            raise ValueError(f"specs[{i}].parameter: {spec.aggregate} takes none, got {spec.parameter!r}")
    return tuple(specs)


def _make_plan(specs: tuple[WindowSpec, ...], lateness: int) -> Plan:
    sizes = sorted({s.size for s in specs})
    columns = sorted({s.column for s in specs if s.aggregate not in _NEEDS_NO_COLUMN})
    block_shift = [max(0, size.bit_length() - 1 - (SLOTS.bit_length() - 3)) for size in sizes]
    levels = sorted(set(block_shift))
    tasks: dict[tuple[int, bool], list[int]] = {}
    spec_task = []
    for spec in specs:
        if spec.aggregate in _NEEDS_NO_COLUMN:
            spec_task.append(-1)
            continue
        name = (columns.index(spec.column), spec.include_current)
        task = tasks.setdefault(name, [0, 0])
        task[0] |= WORK_OF[spec.aggregate]
        if WORK_OF[spec.aggregate]:
            task[1] = max(task[1], sizes.index(spec.size) + 1)
        spec_task.append(list(tasks).index(name))
    slots = np.full((len(tasks), len(sizes), MAX - SUM + 1), -1, np.int64)
    rest = []
    for m, spec in enumerate(specs):
        kind = NAMES.index(spec.aggregate)
        if SUM <= kind <= MAX:
            slots[spec_task[m], sizes.index(spec.size), kind - SUM] = m
        else:
            rest.append(m)

    def ints(numbers: Sequence[int]) -> NDArray[np.int64]:
        return np.array(numbers, np.int64)

    return Plan(
        lateness=lateness,
        sizes=ints(sizes),
        size_level=ints([levels.index(shift) for shift in block_shift]),
        level_shift=ints(levels),
        columns=ints(columns),
        spec_kind=ints([NAMES.index(s.aggregate) for s in specs]),
        spec_size=ints([sizes.index(s.size) for s in specs]),
        spec_task=ints(spec_task),
        spec_current=ints([s.include_current for s in specs]),
        spec_parameter=np.array([s.parameter for s in specs], np.float64),
        task_column=ints([column for column, _ in tasks]),
        task_current=ints([current for _, current in tasks]),
        task_work=ints([work for work, _ in tasks.values()]),
        task_sizes=ints([size for _, size in tasks.values()]),
        slots=slots,
        rest=ints(rest),
    )


class WindowState:
    """The rows still inside a window, for every key, and the features of each new row.

    specs: the features.  n_columns: number of columns of the values given to ``update``; only those that a spec
    names are kept.  lateness: µs by which a row may lie behind the watermark and still see a whole window.

    Raises ValueError where a spec does not fit.
    """

    def __init__(self, specs: Sequence[WindowSpec], n_columns: int, lateness: int) -> None:
        self._n_columns = integer("n_columns", n_columns, 0, 2**20)
        self._specs = _checked_specs(specs, self._n_columns)
        once = tuple(dict.fromkeys(self._specs))
        self._columns = None if len(once) == len(self._specs) else [once.index(spec) for spec in self._specs]
        self._plan = _make_plan(once, integer("lateness", lateness, 0, _SIZE_LIMIT))
        self._scratch = scratch_of(self._plan)
        self._reach = int(self._plan.sizes[-1]) + self._plan.lateness
        self._store = self._empty_store(keys=0, room=0, pages=1)

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
        return int(self._store.counters[WATERMARK])

    @watermark.setter
    def watermark(self, value: int) -> None:
        if value != NO_WATERMARK:
            integer("watermark", value, -TIME_LIMIT, TIME_LIMIT)
        if value < self.watermark:
            raise ValueError(f"watermark: {value} lies before {self.watermark}, which this state has seen")
        self._store.counters[WATERMARK] = value

    @property
    def n_keys(self) -> int:
        """Keys in the table; idle ones are forgotten when it is next rebuilt."""
        return int(self._store.counters[KEYS])

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(part.nbytes for part in self._store)

    def horizon(self) -> int:
        """Event time, µs, at or before which no row can enter a future window; ``NO_WATERMARK`` before any row."""
        return NO_WATERMARK if self.watermark == NO_WATERMARK else self.watermark - self._reach

    def update(
        self, keys: NDArray[np.uint64], times: NDArray[np.int64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Add rows in log order and return the features of each.

        keys: (n,) uint64 hashes of keys.  times: (n,) int64 event times, µs.  values: (n, n_columns) float64; NaN is
        a missing value, skipped by every aggregate but ``count`` and ``since_last``.

        Returns (n, len(specs)) float64. Of an empty window count, distinct, sum and decayed_sum are 0 and all others
        NaN. Raises ValueError, before any row is added, where an array does not fit.
        """
        checked_keys = array("keys", keys, np.uint64, (None,)).view(np.int64)
        n = checked_keys.shape[0]
        checked_times = array("times", times, np.int64, (n,))
        checked_values = array("values", values, np.float64, (n, self._n_columns))
        row = _first_beyond(checked_times)
        if row < n:
            raise ValueError(f"times[{row}]: {checked_times[row]} µs lies beyond ±{TIME_LIMIT}")
        out = np.empty((n, self._plan.spec_kind.shape[0]))
        rows = checked_keys, checked_times, checked_values
        done = _update(0, *rows, self._plan, self._store, self._scratch, out)
        while done < n:
            self._grow()
            done = _update(done, *rows, self._plan, self._store, self._scratch, out)
        if self._store.counters[PAGE_WANTED]:
            self._grow()
        return out if self._columns is None else out[:, self._columns]

    def _empty_store(self, *, keys: int, room: int, pages: int) -> Store:
        table_size = _MIN_TABLE
        while table_size < 2 * keys:
            table_size *= 2
        arena = max(_MIN_ARENA, room)
        n_columns = self._plan.columns.shape[0]
        slots = self._plan.level_shift.shape[0] * SLOTS
        counters = np.zeros(N_COUNTERS, np.int64)
        counters[WATERMARK] = NO_WATERMARK
        counters[PAGES] = 1
        return Store(
            table=np.full((table_size, ENTRY_WIDTH), -1, np.int64),
            times=np.empty(arena, np.int64),
            values=np.empty(arena * n_columns),
            order=np.empty(arena if np.any(self._plan.task_work & ENDS) else 0, np.int64),
            counters=counters,
            block_ids=np.full((pages, slots), NO_BLOCK, np.int64),
            blocks=np.empty((pages, slots * n_columns * BLOCK_WIDTH)),
        )

    def _grow(self) -> None:
        """Make room for half as much again as is still relevant, and for the largest chunk to double."""
        keys, _, room, long, most = measure(self._store, self.horizon())
        store = self._empty_store(
            keys=keys, room=room + room // 2 + 4 * (most + 1), pages=min(_MAX_PAGES, 1 + long + long // 2 + (long > 0))
        )
        rebuild(self._store, store)
        self._store = store

    def to_bytes(self) -> bytes:
        """The rows still relevant as bytes: the same for the same rows, however they were reached."""
        n_keys, n_rows, *_ = measure(self._store, self.horizon())
        keys = np.empty(n_keys, np.int64)
        list_keys(self._store, keys)
        rows = Rows(
            keys=np.sort(keys.view(np.uint64)).view(np.int64),
            counts=np.empty(n_keys, np.int64),
            times=np.empty(n_rows, np.int64),
            values=np.empty((self._plan.columns.shape[0], n_rows)),
            order=np.empty(n_rows if self._store.order.shape[0] else 0, np.int64),
        )
        export_rows(self._store, rows)
        if rows.order.shape[0]:
            rows = rows._replace(order=_ranks_within(rows.counts, rows.order))
        header = (self._n_columns, len(self._specs), self._plan.lateness, self.watermark, n_keys, n_rows)
        parts = [_HEADER.pack(_MAGIC, *header)]
        parts += [
            _SPEC.pack(NAMES.index(s.aggregate), s.include_current, s.column, s.size, s.parameter) for s in self._specs
        ]
        parts += [part.astype(part.dtype.newbyteorder("<")).tobytes() for part in rows]
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
        specs = []
        position = _HEADER.size
        for _ in range(n_specs):
            kind, current, column, size, parameter = _SPEC.unpack_from(body, position)
            specs.append(WindowSpec(_aggregate(kind), column, size, current, parameter))
            position += _SPEC.size
        state = cls.with_watermark(specs, n_columns, lateness, watermark)
        numbers = np.frombuffer(body, "<i8", offset=position).astype(np.int64)
        state._fill(numbers, n_keys, n_rows)  # noqa: SLF001  (its own class)
        return state

    def _fill(self, numbers: NDArray[np.int64], n_keys: int, n_rows: int) -> None:
        n_columns = self._plan.columns.shape[0]
        n_order = n_rows if self._store.order.shape[0] else 0
        lengths = [n_keys, n_keys, n_rows, n_rows * n_columns, n_order]
        if sum(lengths) != numbers.shape[0]:
            raise ValueError(f"data: expected {sum(lengths)} numbers after the header, got {numbers.shape[0]}")
        keys, counts, times, bits, order = np.split(numbers, np.cumsum(lengths[:-1]))
        room = sum(1 << int(log2_capacity_for(int(n) + 1)) for n in counts)
        store = self._empty_store(keys=n_keys, room=room + room // 2, pages=1 + int((counts > LONG).sum()))
        store.counters[WATERMARK] = self.watermark
        import_rows(store, Rows(keys, counts, times, bits.view(np.float64).reshape(n_columns, n_rows), order))
        self._store = store


def _ranks_within(counts: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions from 0 within each key, in place of positions in all that the state has seen."""
    key = np.repeat(np.arange(counts.shape[0]), counts)
    ranks = np.empty(order.shape[0], np.int64)
    ranks[np.lexsort((order, key))] = np.arange(order.shape[0]) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks


def _aggregate(kind: int) -> Aggregate:
    if kind >= len(NAMES):
        raise ValueError(f"data: aggregate {kind} is unknown to this version")
    return NAMES[kind]

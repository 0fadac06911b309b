"""Windows computed from the rows themselves, of which each key keeps those that are still relevant."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean
from kernels.numerics._prefetch import prefetch
from kernels.windows._aggregates import (
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
from kernels.windows._part import AHEAD, NEAR_MEMORY, Part
from kernels.windows._store import (
    CHUNK,
    ENTRY_WIDTH,
    HEAD,
    LONG,
    NO_WATERMARK,
    NOBODY,
    ORDER,
    TAIL,
    WATERMARK,
    Store,
    StoreShape,
    capacity_of,
    claim_entry,
    column_base,
    entry_of,
    expect,
    first_after,
    home_of,
    make_room,
    offset_of,
    open_gap,
    page_of,
)
from kernels.windows.specs import NEEDS_NO_COLUMN, WindowSpec


@lean
def _update(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917
    begin: int,
    keys: NDArray[np.int64],
    times: NDArray[np.int64],
    bounded: NDArray[np.int64],
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
    ahead = AHEAD if arena_times.shape[0] * (1 + n_columns) > NEAR_MEMORY else n
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
        if table[entry, CHUNK] == NOBODY and not claim_entry(store, entry, keys[i]):
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
        counters[WATERMARK] = max(bounded[i], watermark)

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


def _plan_of(specs: Sequence[WindowSpec], lateness: int) -> Plan:
    sizes = sorted({s.size for s in specs})
    columns = sorted({s.column for s in specs if s.aggregate not in NEEDS_NO_COLUMN})
    block_shift = [max(0, size.bit_length() - 1 - (SLOTS.bit_length() - 3)) for size in sizes]
    levels = sorted(set(block_shift))
    tasks: dict[tuple[int, bool], list[int]] = {}
    spec_task = []
    for spec in specs:
        if spec.aggregate in NEEDS_NO_COLUMN:
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


class Exact(Part):
    """Windows whose features are the first columns of the result."""

    def __init__(self, specs: Sequence[WindowSpec], lateness: int) -> None:
        self._plan = _plan_of(specs, lateness)
        self._scratch = scratch_of(self._plan)
        shape = StoreShape(
            columns=self._plan.columns.shape[0],
            ordered=bool(np.any(self._plan.task_work & ENDS)),
            slots=self._plan.level_shift.shape[0] * SLOTS,
            block_width=BLOCK_WIDTH,
        )
        super().__init__(shape, int(self._plan.sizes[-1]) + lateness)

    def _run(
        self,
        begin: int,
        keys: NDArray[np.int64],
        times: NDArray[np.int64],
        bounded: NDArray[np.int64],
        values: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> int:
        return _update(begin, keys, times, bounded, values, self._plan, self.store, self._scratch, out)

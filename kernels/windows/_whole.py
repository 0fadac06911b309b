"""Windows that each row reads whole: cut to the newest rows or to a session, or of aggregates that have no blocks.

A window is cut out of those of its size (see ``state.py``). Rows are kept apart from those of the exact windows, whose
loop stays as it is. Windows of the newest rows are a part of their own: of each key no more rows are kept than a row
within the lateness can still see.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean
from kernels.numerics._prefetch import prefetch
from kernels.windows._aggregates import (
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
    NEWEST,
    OLDEST,
    PARTIAL_WIDTH,
    QUANTILE,
    SINCE_LAST,
    SUM,
    WORK_OF,
    decayed_of,
    distincts,
    quantile_of,
    scan,
    scan_ends,
)
from kernels.windows._last_rows import Kept, base_of, newest, trim, trim_all
from kernels.windows._part import AHEAD, NEAR_MEMORY, Part
from kernels.windows._scaled import slope_of, zscore_of
from kernels.windows._store import (
    CHUNK,
    ENTRY_WIDTH,
    HEAD,
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
)
from kernels.windows.specs import AGGREGATES, WindowSpec

SLOPE, ZSCORE, SINCE_FIRST, RATE = (AGGREGATES.index(name) for name in ("slope", "zscore", "since_first", "rate"))
_SECOND: Final = 1e6
_FULL: Final = 2
"""Quarters of a chunk that rows may fill and still be moved to its beginning."""


class Plan(NamedTuple):
    """What to compute.

    A task is one window over one column (or none, -1), which features share. ``slots`` says, for each task and moment
    (sum to max), which column of the result it goes to, -1 for none. ``rest`` lists the specs that are no moments.
    """

    lateness: int
    reach: int
    columns: NDArray[np.int64]
    task_column: NDArray[np.int64]
    task_current: NDArray[np.int64]
    task_size: NDArray[np.int64]
    task_rows: NDArray[np.int64]
    task_gap: NDArray[np.int64]
    task_work: NDArray[np.int64]
    slots: NDArray[np.int64]
    spec_kind: NDArray[np.int64]
    spec_task: NDArray[np.int64]
    spec_parameter: NDArray[np.float64]
    rest: NDArray[np.int64]
    empty: NDArray[np.float64]
    kept: Kept


class Scratch(NamedTuple):
    """Of the row at hand: where each task's window begins and ends, and what is aggregated of it."""

    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    partials: NDArray[np.float64]


@lean
def _put(plan: Plan, store: Store, key: int, t: int, values: NDArray[np.float64], horizon: int) -> int:
    """Put a row among its key's; returns its entry, or -1 where there is no room."""
    table, times, columns = store.table, store.times, plan.columns
    entry = entry_of(table, key)
    if table[entry, CHUNK] == NOBODY and not claim_entry(store, entry, key):
        return -1
    head, tail, chunk = table[entry, HEAD], table[entry, TAIL], table[entry, CHUNK]
    while head < tail and times[head] <= horizon:
        head += 1
    table[entry, HEAD] = head
    if tail == offset_of(chunk) + capacity_of(chunk):
        watermark = store.counters[WATERMARK]
        if plan.kept.rows.shape[0] > 0 and watermark != NO_WATERMARK:
            trim(plan.kept, columns.shape[0], store, entry, watermark - plan.lateness)
        if not make_room(store, entry, _FULL):
            return -1
        head, tail, chunk = table[entry, HEAD], table[entry, TAIL], table[entry, CHUNK]
    at = first_after(times, head, tail, t)
    if at < tail:
        open_gap(store, entry, at)
    elif head == tail:
        table[entry, CHUNK] = chunk & ~1
    times[at] = t
    for c in range(columns.shape[0]):
        store.values[column_base(chunk, c, columns.shape[0]) + at] = values[columns[c]]
    if store.order.shape[0] > 0:
        store.order[at] = store.counters[ORDER]
        store.counters[ORDER] += 1
    table[entry, TAIL] = tail + 1
    return entry


@lean
def _begin(plan: Plan, store: Store, entry: int, at: int, watermark: int, task: int) -> int:
    """First row of a task's window."""
    times, values, lateness = store.times, store.values, plan.lateness
    head, tail, chunk = store.table[entry, HEAD], store.table[entry, TAIL], store.table[entry, CHUNK]
    t = times[at]
    late = watermark != NO_WATERMARK and t < watermark - lateness
    latest = watermark - lateness if late else t
    begin = first_after(times, head, at + 1, latest - plan.task_size[task])
    rows, gap = plan.task_rows[task], plan.task_gap[task]
    if gap > 0:
        p = at
        while p > begin and times[p] - times[p - 1] <= gap:
            p -= 1
        return max(p, begin)
    if rows > 0:
        base = base_of(chunk, plan.task_column[task], plan.columns.shape[0])
        begin = newest(values, base, begin, at + plan.task_current[task], -1, rows)
        if late:
            end = first_after(times, head, tail, watermark - lateness)
            begin = max(begin, min(at, newest(values, base, head, end, at, rows)))
    return begin


@lean
def _present(values: NDArray[np.float64], base: int, begin: int, end: int) -> int:
    """Number of rows that have a value; base: -1, all have one."""
    if base < 0:
        return end - begin
    n = 0
    for p in range(begin, end):
        n += int(values[base + p] == values[base + p])
    return n


@lean
def _of_rows(store: Store, base: int, kind: int, at: int, begin: int, end: int) -> float:
    """A feature of a window's rows that have a value; base: -1, all have one."""
    if kind == COUNT:
        return float(_present(store.values, base, begin, end))
    first, last, t = begin, at - 1, store.times[at]
    while base >= 0 and first <= last and math.isnan(store.values[base + first]):
        first += 1
    while base >= 0 and first <= last and math.isnan(store.values[base + last]):
        last -= 1
    if first > last:
        return np.nan
    if kind == RATE:
        since, rows = t - store.times[first], _present(store.values, base, first, last + 1)
        return float(rows * _SECOND / since) if since > 0 else np.nan
    return float((t - store.times[first if kind == SINCE_FIRST else last]) * MICROSECONDS)


@lean
def _of_values(plan: Plan, store: Store, entry: int, at: int, begin: int, end: int, m: int) -> float:
    """A feature that reads the window's values."""
    kind, column = plan.spec_kind[m], plan.task_column[plan.spec_task[m]]
    base = column_base(store.table[entry, CHUNK], column, plan.columns.shape[0])
    if kind == QUANTILE:
        return quantile_of(store.values, base + begin, base + end, plan.spec_parameter[m])
    if kind == SLOPE:
        return slope_of(store.times, store.values, base, begin, end)
    if kind == ZSCORE:
        return zscore_of(store.values, base, begin, end, store.values[base + at])
    return decayed_of(store, base, begin, end, store.times[at], plan.spec_parameter[m], kind)


@lean
def _rest(plan: Plan, store: Store, scratch: Scratch, entry: int, at: int, m: int) -> float:
    """A feature that is no moment."""
    kind, task = plan.spec_kind[m], plan.spec_task[m]
    begin, end = scratch.begins[task], scratch.ends[task]
    if kind in (COUNT, SINCE_LAST, SINCE_FIRST, RATE):
        base = base_of(store.table[entry, CHUNK], plan.task_column[task], plan.columns.shape[0])
        return _of_rows(store, base, kind, at, begin, end)
    if kind == LAST:
        return float(scratch.partials[task, 0, NEWEST])
    if kind == FIRST:
        return float(scratch.partials[task, 0, OLDEST])
    if kind == DISTINCT:
        return float(scratch.partials[task, 0, KINDS])
    return _of_values(plan, store, entry, at, begin, end, m)


@lean
def _update(  # noqa: C901, PLR0913, PLR0917
    begin: int,
    keys: NDArray[np.int64],
    times: NDArray[np.int64],
    bounded: NDArray[np.int64],
    values: NDArray[np.float64],
    plan: Plan,
    store: Store,
    scratch: Scratch,
    first: int,
    out: NDArray[np.float64],
) -> int:
    """Handle rows from ``begin`` on; returns the first row not handled, for want of room, or the number of rows."""
    table, counters, n_columns = store.table, store.counters, plan.columns.shape[0]
    n: int = keys.shape[0]
    ahead = AHEAD if store.times.shape[0] * (1 + n_columns) > NEAR_MEMORY else n
    for i in range(begin, n):
        if i + 2 * ahead < n:
            prefetch(table, ENTRY_WIDTH * home_of(table, keys[i + 2 * ahead]))
        if i + ahead < n:
            expect(table, store.times, store.values, keys[i + ahead], n_columns)
        t, watermark = times[i], counters[WATERMARK]
        horizon = watermark - plan.reach if watermark != NO_WATERMARK else watermark
        if t <= horizon:
            for m in range(plan.empty.shape[0]):
                out[i, first + m] = plan.empty[m]
            continue
        entry = _put(plan, store, keys[i], t, values[i], horizon)
        if entry < 0:
            return i
        at = first_after(store.times, table[entry, HEAD], table[entry, TAIL], t) - 1
        counters[WATERMARK] = max(bounded[i], watermark)
        chunk = table[entry, CHUNK]
        for task in range(plan.task_work.shape[0]):
            starts, work = scratch.begins[task : task + 1], plan.task_work[task]
            starts[0] = _begin(plan, store, entry, at, watermark, task)
            end = max(starts[0], at + plan.task_current[task])
            scratch.ends[task] = end
            base = column_base(chunk, max(plan.task_column[task], 0), n_columns)
            if work & MOMENTS:
                scan(store.values, base, end, starts, 1, plan.slots[task], out[i])
            if work & ENDS:
                in_order = (chunk & 1) == 0
                scan_ends(store.values, store.order, base, end, in_order, starts, 1, task, scratch.partials)
            if work & DISTINCTS:
                distincts(store.values, base, end, starts, 1, task, scratch.partials)
        for r in range(plan.rest.shape[0]):
            m = plan.rest[r]
            out[i, first + m] = _rest(plan, store, scratch, entry, at, m)
    return n


Task = tuple[int, bool, int, int, int]


def _task(spec: WindowSpec, columns: Sequence[int]) -> Task:
    column = -1 if spec.column < 0 else columns.index(spec.column)
    return column, spec.include_current, spec.size, spec.rows, spec.gap


def _plan_of(specs: Sequence[WindowSpec], lateness: int, first: int, empty: Sequence[float]) -> Plan:
    columns = sorted({s.column for s in specs if s.column >= 0})
    of_spec = [_task(spec, columns) for spec in specs]
    tasks = list(dict.fromkeys(of_spec))
    works = dict.fromkeys(tasks, 0)
    slots = np.full((len(tasks), 1, MAX - SUM + 1), -1, np.int64)
    rest = []
    kept: dict[int, int] = {}
    for m, (spec, task) in enumerate(zip(specs, of_spec, strict=True)):
        works[task] |= WORK_OF.get(spec.aggregate, 0)
        kind = AGGREGATES.index(spec.aggregate)
        if SUM <= kind <= MAX:
            slots[tasks.index(task), 0, kind - SUM] = first + m
        else:
            rest.append(m)
        if spec.rows:
            kept[task[0]] = max(kept.get(task[0], 0), spec.rows)

    def ints(numbers: Sequence[int]) -> NDArray[np.int64]:
        return np.array(numbers, np.int64)

    return Plan(
        lateness=lateness,
        reach=max(spec.size for spec in specs) + lateness,
        columns=ints(columns),
        task_column=ints([task[0] for task in tasks]),
        task_current=ints([task[1] for task in tasks]),
        task_size=ints([task[2] for task in tasks]),
        task_rows=ints([task[3] for task in tasks]),
        task_gap=ints([task[4] for task in tasks]),
        task_work=ints(list(works.values())),
        slots=slots,
        spec_kind=ints([AGGREGATES.index(spec.aggregate) for spec in specs]),
        spec_task=ints([tasks.index(task) for task in of_spec]),
        spec_parameter=np.array([spec.parameter for spec in specs], np.float64),
        rest=ints(rest),
        empty=np.array(empty, np.float64),
        kept=Kept(ints(list(kept)), ints(list(kept.values())), ints([0] * len(kept))),
    )


class Whole(Part):
    """Windows whose features are the columns of the result from ``first`` on.

    specs: all are cut to their newest rows, or none is.  empty: the feature of each of an empty window.
    """

    def __init__(self, specs: Sequence[WindowSpec], lateness: int, first: int, empty: Sequence[float]) -> None:
        self._plan, self._first = _plan_of(specs, lateness, first, empty), first
        n_tasks = self._plan.task_work.shape[0]
        self._scratch = Scratch(
            np.empty(n_tasks, np.int64), np.empty(n_tasks, np.int64), np.empty((n_tasks, 1, PARTIAL_WIDTH))
        )
        shape = StoreShape(columns=self._plan.columns.shape[0], ordered=bool(np.any(self._plan.task_work & ENDS)))
        super().__init__(shape, self._plan.reach)

    def _run(
        self,
        begin: int,
        keys: NDArray[np.int64],
        times: NDArray[np.int64],
        bounded: NDArray[np.int64],
        values: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> int:
        plan, scratch = self._plan, self._scratch
        return _update(begin, keys, times, bounded, values, plan, self.store, scratch, self._first, out)

    def _settle(self, store: Store) -> None:
        trim_all(self._plan.kept, self._plan.columns.shape[0], store, self._plan.lateness)

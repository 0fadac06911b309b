"""The newest rows of a key: which they are, and that no others are kept for windows which are cut to them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean
from kernels.windows._store import (
    CHUNK,
    HEAD,
    NO_WATERMARK,
    NOBODY,
    TAIL,
    WATERMARK,
    Store,
    column_base,
    first_after,
)


class Kept(NamedTuple):
    """How many of the newest values of each ``column`` windows may still need (-1: of the newest rows).

    Empty where no window is cut to them.  left: as long, room to count them.
    """

    column: NDArray[np.int64]
    rows: NDArray[np.int64]
    left: NDArray[np.int64]


@lean
def newest(values: NDArray[np.float64], base: int, first: int, end: int, without: int, n: int) -> int:
    """The row from which on ``n`` rows before ``end`` have a value, none before ``first``; base: -1, all have one."""
    p, left = end, n
    while p > first and left > 0:
        p -= 1
        if p != without and (base < 0 or values[base + p] == values[base + p]):
            left -= 1
    return p


@lean
def base_of(chunk: int, column: int, n_columns: int) -> int:
    """As ``column_base``; -1 where there is no column."""
    return -1 if column < 0 else column_base(chunk, column, n_columns)


@lean
def _move_row(store: Store, chunk: int, n_columns: int, source: int, target: int) -> None:
    """Copy a row of a chunk to another place in it."""
    store.times[target] = store.times[source]
    for c in range(n_columns):
        base = column_base(chunk, c, n_columns)
        store.values[base + target] = store.values[base + source]
    if store.order.shape[0] > 0:
        store.order[target] = store.order[source]


@lean
def trim(kept: Kept, n_columns: int, store: Store, entry: int, bound: int) -> None:
    """Drop an entry's rows at or before ``bound`` that are none of the newest which windows may be cut to.

    Those between them go too: else a key whose rows lack a column's value would keep, and read, all of them.
    """
    table, left = store.table, kept.left
    chunk, head = table[entry, CHUNK], table[entry, HEAD]
    end = first_after(store.times, head, table[entry, TAIL], bound)
    wanted = 0
    for k in range(left.shape[0]):
        left[k] = kept.rows[k]
        wanted += left[k]
    first, p = end, end
    while p > head and wanted > 0:
        p -= 1
        before = wanted
        for k in range(left.shape[0]):
            base = base_of(chunk, kept.column[k], n_columns)
            if left[k] > 0 and (base < 0 or store.values[base + p] == store.values[base + p]):
                left[k] -= 1
                wanted -= 1
        if wanted < before:
            first -= 1
            if first > p:
                _move_row(store, chunk, n_columns, p, first)
    table[entry, HEAD] = first


@lean
def trim_all(kept: Kept, n_columns: int, store: Store, lateness: int) -> None:
    """Trim every entry as of the watermark."""
    watermark = store.counters[WATERMARK]
    if kept.rows.shape[0] == 0 or watermark == NO_WATERMARK:
        return
    for entry in range(store.table.shape[0]):
        if store.table[entry, CHUNK] != NOBODY:
            trim(kept, n_columns, store, entry, watermark - lateness)

"""Where windows keep their rows: a key table with open addressing, and an arena of chunks, one a key.

A chunk's rows are ordered by event time, equal times in log order. Its values lie column by column, so that a scan of
one column is contiguous. A key's entry in the table is its hash, its first row, the row after its last, and the
chunk: offset in the arena, page of block summaries, logarithm of the capacity, and whether any row was ever inserted
before another (bit 0), in which case the order of time is not that of the log.

Longer than 400 lines: the table, the arena and the chunks change together: each moves what the others point to.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean
from kernels.numerics._prefetch import prefetch

NO_WATERMARK: Final = -(2**63)
_MIN_TABLE: Final = 64
_MIN_ARENA: Final = 256
NO_BLOCK: Final = -(2**63)
NOBODY: Final = 0
"""In place of a chunk, which is never 0: the entry is empty. So memory comes from the system, and costs no time."""

KEY, HEAD, TAIL, CHUNK, ENTRY_WIDTH = range(5)
WATERMARK, ORDER, USED, KEYS, PAGES, PAGE_WANTED, N_COUNTERS = range(7)
MIN_LOG2_CAPACITY: Final = 2
LINE: Final = 8
EXPECTED_ROWS: Final = 64
SOON: Final = 16
EXPECTED_COLUMNS: Final = 4
LONG: Final = 1024
"""Rows above which a window is aggregated from block summaries."""


class Store(NamedTuple):
    """Arrays of one window state; ``order`` is empty where no aggregate asks for log positions."""

    table: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    order: NDArray[np.int64]
    counters: NDArray[np.int64]
    block_ids: NDArray[np.int64]
    blocks: NDArray[np.float64]


class StoreShape(NamedTuple):
    """What a store keeps of a row, beside its time, and of the blocks of keys with long windows."""

    columns: int
    ordered: bool = False
    slots: int = 0
    block_width: int = 0


@lean
def chunk_of(offset: int, page: int, log2_capacity: int, disordered: int) -> int:
    """Pack what an entry says about its chunk."""
    return (offset << 28) | (page << 8) | (log2_capacity << 1) | disordered


@lean
def offset_of(chunk: int) -> int:
    """Arena row at which a chunk begins."""
    return chunk >> 28


@lean
def page_of(chunk: int) -> int:
    """Page of block summaries of a chunk; 0 is none."""
    return (chunk >> 8) & 0xFFFFF


@lean
def capacity_of(chunk: int) -> int:
    """Rows that a chunk has room for."""
    return 1 << ((chunk >> 1) & 63)


@lean
def column_base(chunk: int, column: int, n_columns: int) -> int:
    """What to add to an arena row to get the index of its value in a column."""
    return offset_of(chunk) * n_columns + column * capacity_of(chunk) - offset_of(chunk)


@lean
def log2_capacity_for(rows: int) -> int:
    """Logarithm of the smallest capacity that holds some rows."""
    log2 = MIN_LOG2_CAPACITY
    while (1 << log2) < rows:
        log2 += 1
    return log2


@lean
def home_of(table: NDArray[np.int64], key: int) -> int:
    """The entry at which the search for a key begins."""
    mixed = (key ^ (key >> 32)) * 0x1E3779B185EBCA87
    home: int = (mixed ^ (mixed >> 29)) & (table.shape[0] - 1)
    return home


@lean
def entry_of(table: NDArray[np.int64], key: int) -> int:
    """Index of the key's entry, or of the empty entry where it belongs."""
    mask = table.shape[0] - 1
    i = home_of(table, key)
    while table[i, CHUNK] != NOBODY and table[i, KEY] != key:
        i = (i + 1) & mask
    return i


@lean
def expect(
    table: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64], key: int, n_columns: int
) -> None:
    """Have the newest rows of a key brought near that will be needed soon."""
    entry = entry_of(table, key)
    chunk = table[entry, CHUNK]
    if chunk == NOBODY:
        return
    tail = table[entry, TAIL]
    first = max(table[entry, HEAD], tail - EXPECTED_ROWS)
    for p in range(first, tail + LINE, LINE):
        prefetch(times, p)
    for c in range(min(n_columns, EXPECTED_COLUMNS)):
        base = column_base(chunk, c, n_columns)
        for p in range(base + first, base + tail + LINE, LINE):
            prefetch(values, p)


@lean
def claim_entry(store: Store, entry: int, key: int) -> bool:
    """Make an empty entry the key's; False where table or arena are full."""
    table, counters = store.table, store.counters
    used = counters[USED]
    if (counters[KEYS] + 1) * 10 > table.shape[0] * 7 or used + (1 << MIN_LOG2_CAPACITY) > store.times.shape[0]:
        return False
    counters[USED] = used + (1 << MIN_LOG2_CAPACITY)
    counters[KEYS] += 1
    table[entry, KEY] = key
    table[entry, HEAD] = used
    table[entry, TAIL] = used
    table[entry, CHUNK] = chunk_of(used, 0, MIN_LOG2_CAPACITY, 0)
    return True


@lean
def copy_rows(source: Store, entry: int, head: int, target: Store, to_chunk: int) -> None:
    """Copy an entry's rows from ``head`` on to the beginning of a chunk, which may be its own."""
    from_chunk, tail = source.table[entry, CHUNK], source.table[entry, TAIL]
    n_columns = source.values.shape[0] // source.times.shape[0]
    n, offset = tail - head, offset_of(to_chunk)
    for r in range(n):
        target.times[np.uint64(offset + r)] = source.times[np.uint64(head + r)]
    if source.order.shape[0] > 0:
        for r in range(n):
            target.order[np.uint64(offset + r)] = source.order[np.uint64(head + r)]
    for c in range(n_columns):
        read = column_base(from_chunk, c, n_columns) + head
        write = column_base(to_chunk, c, n_columns) + offset
        for r in range(n):
            target.values[np.uint64(write + r)] = source.values[np.uint64(read + r)]


@lean
def give_rows(source: Store, entry: int, head: int, target: Store, key: int, page: int) -> None:
    """Give a key of another store, which has room and does not know it, an entry's rows from ``head`` on.

    page: of block summaries there; 0 is none.
    """
    table, counters = target.table, target.counters
    n, offset = source.table[entry, TAIL] - head, counters[USED]
    log2 = log2_capacity_for(n + 1)
    chunk = chunk_of(offset, page, log2, source.table[entry, CHUNK] & 1)
    copy_rows(source, entry, head, target, chunk)
    counters[USED] = offset + (1 << log2)
    counters[KEYS] += 1
    new = entry_of(table, key)
    table[new, KEY] = key
    table[new, HEAD] = offset
    table[new, TAIL] = offset + n
    table[new, CHUNK] = chunk


@lean
def make_room(store: Store, entry: int, quarters: int = 2) -> bool:
    """Make sure that one more row fits behind the tail; False where the arena is full.

    quarters: how full a chunk may be for its rows to be moved to its beginning, and not to a larger one.
    """
    table = store.table
    chunk, head, tail = table[entry, CHUNK], table[entry, HEAD], table[entry, TAIL]
    offset, capacity = offset_of(chunk), capacity_of(chunk)
    if tail < offset + capacity:
        return True
    if (tail - head) * 4 <= capacity * quarters:
        copy_rows(store, entry, head, store, chunk)
    else:
        used = store.counters[USED]
        if used + 2 * capacity > store.times.shape[0]:
            return False
        store.counters[USED] = used + 2 * capacity
        grown = chunk_of(used, page_of(chunk), ((chunk >> 1) & 63) + 1, chunk & 1)
        copy_rows(store, entry, head, store, grown)
        table[entry, CHUNK] = grown
        offset = used
    table[entry, HEAD] = offset
    table[entry, TAIL] = offset + tail - head
    return True


@lean
def open_gap(store: Store, entry: int, at: int) -> None:
    """Move the entry's rows from ``at`` on back by one, for a row that came late; the chunk has room."""
    table = store.table
    chunk, tail = table[entry, CHUNK], table[entry, TAIL]
    n_columns = store.values.shape[0] // store.times.shape[0]
    for p in range(tail, at, -1):
        store.times[p] = store.times[p - 1]
    for c in range(n_columns):
        base = column_base(chunk, c, n_columns)
        for p in range(tail, at, -1):
            store.values[base + p] = store.values[base + p - 1]
    if store.order.shape[0] > 0:
        for p in range(tail, at, -1):
            store.order[p] = store.order[p - 1]
    table[entry, CHUNK] = chunk | 1


@lean
def first_after(times: NDArray[np.int64], head: int, tail: int, bound: int) -> int:
    """First row from head to tail with a time above the bound: the tail's, or by bisection without a branch.

    Here as elsewhere an index is unsigned where a row costs so little that the test for one from the end shows.
    """
    if head == tail or times[np.uint64(tail - 1)] <= bound:
        return tail
    low, size = head, tail - head
    while size > 1:
        half = size >> 1
        low += half * int(times[np.uint64(low + half - 1)] <= bound)
        size -= half
    return low + int(times[np.uint64(low)] <= bound)


@lean
def drop_before(store: Store, entry: int, horizon: int) -> None:
    """Advance the head past rows that can enter no future window; a chunk left empty is in order again."""
    table = store.table
    head, tail = table[entry, HEAD], table[entry, TAIL]
    while head < tail and store.times[head] <= horizon:
        head += 1
    table[entry, HEAD] = head
    if head == tail:
        table[entry, CHUNK] &= ~1


@lean
def expect_entry(store: Store, entry: int) -> None:
    """Have the oldest rows of an entry brought near, where all entries are gone through (twice as fast)."""
    if entry < store.table.shape[0] and store.table[entry, CHUNK] != NOBODY:
        chunk, head = store.table[entry, CHUNK], store.table[entry, HEAD]
        n_columns = store.values.shape[0] // store.times.shape[0]
        prefetch(store.times, head)
        if n_columns > 0:
            prefetch(store.values, column_base(chunk, 0, n_columns) + head)


@lean
def measure(store: Store, horizon: int) -> tuple[int, int, int, int, int]:
    """Drop what is past; then keys with rows, their rows, arena rows needed, keys with long windows, most rows."""
    keys, rows, room, long, most = 0, 0, 0, 0, 0
    for entry in range(store.table.shape[0]):
        expect_entry(store, entry + SOON)
        if store.table[entry, CHUNK] != NOBODY:
            drop_before(store, entry, horizon)
            n = store.table[entry, TAIL] - store.table[entry, HEAD]
            if n > 0:
                keys += 1
                rows += n
                room += 1 << log2_capacity_for(n + 1)
                most = max(most, n)
            if n > LONG:
                long += 1
    return keys, rows, room, long, most


@lean
def list_keys(store: Store, keys: NDArray[np.int64]) -> None:
    """Write the keys that have rows."""
    k = 0
    for entry in range(store.table.shape[0]):
        if store.table[entry, CHUNK] != NOBODY and store.table[entry, HEAD] < store.table[entry, TAIL]:
            keys[k] = store.table[entry, KEY]
            k += 1


class Rows(NamedTuple):
    """Rows of all keys one key after the other; ``order`` holds log positions, or nothing."""

    keys: NDArray[np.int64]
    counts: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    order: NDArray[np.int64]


@lean
def export_rows(store: Store, rows: Rows) -> None:
    """Write the rows of ``rows.keys``."""
    n_columns = rows.values.shape[0]
    first = 0
    for k in range(rows.keys.shape[0]):
        entry = entry_of(store.table, rows.keys[k])
        head, tail, chunk = store.table[entry, HEAD], store.table[entry, TAIL], store.table[entry, CHUNK]
        n = tail - head
        rows.counts[k] = n
        for r in range(n):
            rows.times[first + r] = store.times[head + r]
        if rows.order.shape[0] > 0:
            for r in range(n):
                rows.order[first + r] = store.order[head + r]
        for c in range(n_columns):
            read = column_base(chunk, c, n_columns) + head
            for r in range(n):
                rows.values[c, first + r] = store.values[read + r]
        first += n


@lean
def import_rows(store: Store, rows: Rows) -> None:
    """Fill an empty store, which has enough room; ``rows.order`` counts from 0 within each key."""
    n_columns = rows.values.shape[0]
    first = 0
    for k in range(rows.keys.shape[0]):
        n = rows.counts[k]
        log2 = log2_capacity_for(n + 1)
        offset = store.counters[USED]
        disordered = 0
        if rows.order.shape[0] > 0:
            for r in range(n):
                store.order[offset + r] = rows.order[first + r]
                if rows.order[first + r] != r:
                    disordered = 1
        chunk = chunk_of(offset, 0, log2, disordered)
        for r in range(n):
            store.times[offset + r] = rows.times[first + r]
        for c in range(n_columns):
            write = column_base(chunk, c, n_columns) + offset
            for r in range(n):
                store.values[write + r] = rows.values[c, first + r]
        entry = entry_of(store.table, rows.keys[k])
        store.table[entry, KEY] = rows.keys[k]
        store.table[entry, HEAD] = offset
        store.table[entry, TAIL] = offset + n
        store.table[entry, CHUNK] = chunk
        store.counters[USED] = offset + (1 << log2)
        store.counters[KEYS] += 1
        store.counters[ORDER] = max(store.counters[ORDER], n)
        first += n


def table_size_for(keys: int) -> int:
    """Entries of a table with room for so many keys."""
    size = _MIN_TABLE
    while size < 2 * keys:
        size *= 2
    return size


def empty_store(shape: StoreShape, *, keys: int = 0, room: int = 0, pages: int = 1) -> Store:
    """Return a store with room for so many keys, arena rows and pages of block summaries; page 0 is nobody's."""
    arena = max(_MIN_ARENA, room)
    counters = np.zeros(N_COUNTERS, np.int64)
    counters[WATERMARK] = NO_WATERMARK
    counters[PAGES] = 1
    return Store(
        table=np.zeros((table_size_for(keys), ENTRY_WIDTH), np.int64),
        times=np.empty(arena, np.int64),
        values=np.empty(arena * shape.columns),
        order=np.empty(arena if shape.ordered else 0, np.int64),
        counters=counters,
        block_ids=np.full((pages, shape.slots), NO_BLOCK, np.int64),
        blocks=np.empty((pages, shape.slots * shape.columns * shape.block_width)),
    )


def rows_of(store: Store, shape: StoreShape, horizon: int) -> Rows:
    """The rows above the horizon, by key; log positions count from 0 within each."""
    n_keys, n_rows, *_ = measure(store, horizon)
    keys = np.empty(n_keys, np.int64)
    list_keys(store, keys)
    rows = Rows(
        keys=np.sort(keys.view(np.uint64)).view(np.int64),
        counts=np.empty(n_keys, np.int64),
        times=np.empty(n_rows, np.int64),
        values=np.empty((shape.columns, n_rows)),
        order=np.empty(n_rows if shape.ordered else 0, np.int64),
    )
    export_rows(store, rows)
    return rows._replace(order=_ranks_within(rows.counts, rows.order)) if shape.ordered else rows


def store_of(rows: Rows, shape: StoreShape) -> Store:
    """Return a store that holds the rows."""
    lengths, keys = np.unique(rows.counts, return_counts=True)
    room = sum((1 << int(log2_capacity_for(int(n) + 1))) * int(k) for n, k in zip(lengths, keys, strict=True))
    pages = 1 + int((rows.counts > LONG).sum())
    store = empty_store(shape, keys=len(rows.keys), room=room + room // 2, pages=pages)
    import_rows(store, rows)
    return store


def _ranks_within(counts: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    key = np.repeat(np.arange(counts.shape[0]), counts)
    ranks = np.empty(order.shape[0], np.int64)
    ranks[np.lexsort((order, key))] = np.arange(order.shape[0]) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks

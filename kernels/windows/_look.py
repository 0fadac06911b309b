"""A store of what some rows would see: the rows of their keys, copied, so that looking changes nothing."""

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean
from kernels.windows._store import (
    CHUNK,
    HEAD,
    LONG,
    MIN_LOG2_CAPACITY,
    NOBODY,
    ORDER,
    PAGES,
    TAIL,
    WATERMARK,
    Store,
    StoreShape,
    empty_store,
    entry_of,
    first_after,
    give_rows,
    log2_capacity_for,
    page_of,
)


@lean
def _room_of(store: Store, keys: NDArray[np.int64], horizon: int) -> tuple[int, int]:
    """Arena rows, and pages of block summaries, that the keys' rows need with one more row each."""
    room, pages = 0, 1
    for i in range(keys.shape[0]):
        entry = entry_of(store.table, keys[i])
        n = 0
        if store.table[entry, CHUNK] != NOBODY:
            head, tail = store.table[entry, HEAD], store.table[entry, TAIL]
            n = tail - first_after(store.times, head, tail, horizon)
            pages += int(page_of(store.table[entry, CHUNK]) != 0 or n >= LONG)
        room += 1 << log2_capacity_for(n + 1)
    return room, pages


@lean
def _copy_page(source: Store, target: Store, read: int, write: int) -> None:
    for slot in range(source.block_ids.shape[1]):
        target.block_ids[write, slot] = source.block_ids[read, slot]
    for field in range(source.blocks.shape[1]):
        target.blocks[write, field] = source.blocks[read, field]


@lean
def _copy_rows(source: Store, target: Store, keys: NDArray[np.int64], horizon: int) -> None:
    """Copy the rows of each key above the horizon, under the number of the key in place of the key."""
    counters = target.counters
    for i in range(keys.shape[0]):
        entry = entry_of(source.table, keys[i])
        chunk = source.table[entry, CHUNK]
        if chunk == NOBODY:
            continue
        tail = source.table[entry, TAIL]
        head = first_after(source.times, source.table[entry, HEAD], tail, horizon)
        page = 0
        if page_of(chunk) != 0:
            page = counters[PAGES]
            counters[PAGES] = page + 1
            _copy_page(source, target, page_of(chunk), page)
        give_rows(source, entry, head, target, i, page)
    counters[WATERMARK] = source.counters[WATERMARK]
    counters[ORDER] = source.counters[ORDER]


@lean
def _mark_held(store: Store, keys: NDArray[np.int64], horizon: int, held: NDArray[np.bool_]) -> None:
    for i in range(keys.shape[0]):
        entry = entry_of(store.table, keys[i])
        if store.table[entry, CHUNK] != NOBODY:
            head, tail = store.table[entry, HEAD], store.table[entry, TAIL]
            held[i] |= first_after(store.times, head, tail, horizon) < tail


def mark_held(store: Store, keys: NDArray[np.int64], horizon: int, held: NDArray[np.bool_]) -> None:
    """Set ``held`` (n,) of each key (n,) that has a row above the horizon."""
    _mark_held(store, keys, horizon, held)


def seen_by(store: Store, shape: StoreShape, keys: NDArray[np.int64], horizon: int) -> Store:
    """What rows would see: a store in which key number i has the rows of ``keys[i]``, with room for one more.

    store: stays as it is.  keys: (n,) may repeat; each has its own copy.  horizon: rows at or before it are left out.
    """
    room, pages = _room_of(store, keys, horizon)
    spare = 1 << MIN_LOG2_CAPACITY
    copied = empty_store(shape, keys=keys.shape[0], room=room + spare, pages=pages)
    _copy_rows(store, copied, keys, horizon)
    return copied

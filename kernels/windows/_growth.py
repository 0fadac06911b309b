"""How a store that is full gets more room: a small one is copied at once, a large one a piece with each batch.

While a large store moves there are two. New rows go into the new one; what the old one has of a batch's keys is brought
over before their rows are handled. A sweep brings the rest: with each batch so much of it that all is over long before
the new one is full. Where it is full nevertheless, what is left is copied at once.

The new arrays are larger than what can come. The system gives memory for what is written alone, and what was not
needed is cut off at the end.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean
from kernels.numerics._pages import Pages
from kernels.numerics._prefetch import prefetch
from kernels.windows._store import (
    CHUNK,
    ENTRY_WIDTH,
    HEAD,
    KEY,
    KEYS,
    NOBODY,
    ORDER,
    PAGES,
    SOON,
    TAIL,
    USED,
    WATERMARK,
    Store,
    StoreShape,
    drop_before,
    empty_store,
    entry_of,
    expect_entry,
    give_rows,
    home_of,
    log2_capacity_for,
    measure,
    table_size_for,
)

AT_ONCE: Final = 2**18
"""Numbers of a store that is copied in one step, which takes some milliseconds."""
_MAX_PAGES: Final = 2**20
_SAMPLED: Final = 2**13
"""Entries that tell how many have rows: where a key lies has nothing to do with its rows."""
_SPARE: Final = 1.1
_TIMES_AS_LARGE: Final = 4
"""An arena of so many times the rows: the old rows' chunks may double, and as much is left for new rows."""
_ROOM_OF_A_ROW: Final = 8
"""Arena rows that a row takes at most: its key's chunk had four, and all were taken."""
_FULL: Final = 0.7


@lean
def _take(source: Store, entry: int, target: Store, horizon: int) -> int:
    """Bring an entry's rows above the horizon over; arena rows that they take, or -1 where there is no room."""
    drop_before(source, entry, horizon)
    table, counters = source.table, target.counters
    head, tail = table[entry, HEAD], table[entry, TAIL]
    if head == tail:
        return 0
    capacity = 1 << log2_capacity_for(tail - head + 1)
    no_room = counters[USED] + capacity > target.times.shape[0]
    if no_room or (counters[KEYS] + 1) * 10 > target.table.shape[0] * 7:
        return -1
    give_rows(source, entry, head, target, table[entry, KEY], 0)
    table[entry, HEAD] = tail
    return int(capacity)


@lean
def _take_keys(source: Store, keys: NDArray[np.int64], target: Store, horizon: int) -> int:
    """Bring the rows of some keys over; the largest chunk, or -1 where there is no room."""
    largest = 0
    for i in range(keys.shape[0]):
        if i + SOON < keys.shape[0]:
            prefetch(source.table, ENTRY_WIDTH * home_of(source.table, keys[i + SOON]))
        entry = entry_of(source.table, keys[i])
        if source.table[entry, CHUNK] != NOBODY:
            taken = _take(source, entry, target, horizon)
            if taken < 0:
                return -1
            largest = max(largest, taken)
    return largest


@lean
def _take_entries(source: Store, begin: int, work: int, target: Store, horizon: int) -> tuple[int, int]:
    """Bring the rows of entries from ``begin`` on over, so much ``work``: of entries and of rows.

    Returns the entry that is next, and the largest chunk, or -1 where there is no room.
    """
    entry, largest = begin, 0
    while entry < source.table.shape[0] and work > 0:
        expect_entry(source, entry + SOON)
        work -= 1
        if source.table[entry, CHUNK] != NOBODY:
            work -= source.table[entry, TAIL] - source.table[entry, HEAD]
            taken = _take(source, entry, target, horizon)
            if taken < 0:
                return entry, -1
            largest = max(largest, taken)
        entry += 1
    return entry, largest


def _inherit(source: Store, target: Store) -> None:
    for counter in (WATERMARK, ORDER):
        target.counters[counter] = source.counters[counter]


def grown(stores: Sequence[Store], shape: StoreShape, horizon: int) -> Store:
    """The rows above the horizon in a store with room for half as many again, and for the largest chunk to double.

    stores: no key has rows in more than one; the first has the newest watermark.  horizon: µs.

    Block summaries are left to be made again.
    """
    keys, _, room, long, most = zip(*(measure(store, horizon) for store in stores), strict=True)
    pages = min(_MAX_PAGES, 1 + sum(long) + sum(long) // 2 + (sum(long) > 0))
    larger = empty_store(shape, keys=sum(keys), room=sum(room) + sum(room) // 2 + 4 * (max(most) + 1), pages=pages)
    for store in stores:
        _take_keys(store, np.empty(0, np.int64), larger, horizon)  # compiled here: a large store has no time for it
        _take_entries(store, 0, np.iinfo(np.int64).max, larger, horizon)
    _inherit(stores[0], larger)
    return larger


class Moving:
    """A large store that was full, and the larger one that its rows are brought to.

    old: what is left of it.  new: where rows go.
    """

    def __init__(self, old: Store, shape: StoreShape, horizon: int) -> None:
        """Make room.

        Raises MemoryError where the system does not give so much, though most of it is never written.
        """
        size, rows = old.table.shape[0], old.times.shape[0]
        sampled = min(_SAMPLED, size)
        alive, *_ = measure(old._replace(table=old.table[:sampled]), horizon)
        keys = int(_SPARE * alive * size / sampled) + 1
        used = int(old.counters[PAGES])
        pages = min(_MAX_PAGES, 1 + used + used // 2)
        self.old, self._shape, self._entry, self._largest = old, shape, 0, 0
        self._table = Pages(table_size_for(keys), ENTRY_WIDTH)
        empty = empty_store(shape, room=_TIMES_AS_LARGE * rows, pages=pages)
        self.new = empty._replace(table=self._table.numbers)
        _inherit(old, self.new)
        for_keys = _FULL * self.new.table.shape[0] - keys
        for_rows = (_TIMES_AS_LARGE - 2) * rows / _ROOM_OF_A_ROW
        self._work = int(2 * (size + rows) / min(for_keys, for_rows)) + 1

    @property
    def nbytes(self) -> int:
        """Memory held, bytes: of the new arena what was written."""
        unwritten = self.new.times.shape[0] - int(self.new.counters[USED])
        width = sum(each.nbytes for each in (self.new.times, self.new.values, self.new.order)) // len(self.new.times)
        return int(sum(each.nbytes for store in (self.old, self.new) for each in store) - unwritten * width)

    @property
    def n_keys(self) -> int:
        """Keys of the store that has more."""
        return max(int(store.counters[KEYS]) for store in (self.old, self.new))

    def fetch(self, keys: NDArray[np.int64], horizon: int) -> bool:
        """Bring the rows of some keys to the new store; False where there is no room."""
        largest = _take_keys(self.old, keys, self.new, horizon)
        self._largest = max(self._largest, largest)
        return largest >= 0

    def sweep(self, rows: int, horizon: int) -> bool:
        """Bring over what is due with so many new rows; False where there is no room."""
        self._entry, largest = _take_entries(self.old, self._entry, self._work * rows, self.new, horizon)
        self._largest = max(self._largest, largest)
        return largest >= 0

    @property
    def is_over(self) -> bool:
        """Whether the old store has nothing any more."""
        return bool(self._entry == self.old.table.shape[0])

    def cut(self) -> Store:
        """The new store with room for half as many rows again, and for the largest chunk to double."""
        self._table.may_be_large()
        used = int(self.new.counters[USED])
        rows = min(self.new.times.shape[0], used + used // 2 + 4 * (self._largest + 1))
        return self.new._replace(
            times=self.new.times[:rows],
            values=self.new.values[: rows * self._shape.columns],
            order=self.new.order[: rows if self._shape.ordered else 0],
        )

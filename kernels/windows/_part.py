"""Windows of one state that keep their rows together, in a store of their own."""

from abc import ABC, abstractmethod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.windows._growth import AT_ONCE, Moving, grown
from kernels.windows._look import mark_held, seen_by
from kernels.windows._store import (
    KEYS,
    NO_WATERMARK,
    PAGE_WANTED,
    WATERMARK,
    Rows,
    Store,
    StoreShape,
    empty_store,
    rows_of,
    store_of,
)

AHEAD: Final = 4
"""Rows of many keys lie all over memory, so they are asked for some rows ahead (twice as fast with 10,000 keys)..."""
NEAR_MEMORY: Final = 2**16
"""... unless the arena has no more numbers than this, and is near."""


class Part(ABC):
    """Some of the windows of a state.

    reach: how far behind the watermark a row can still matter to them, µs.  at_once: numbers of a store that is copied
    in one step when it is full.
    """

    def __init__(self, shape: StoreShape, reach: int) -> None:
        self._shape = shape
        self.reach = reach
        self.at_once = AT_ONCE
        self.store: Store = empty_store(shape)
        self._moving: Moving | None = None

    @property
    def watermark(self) -> int:
        """How far event time has come, µs; ``NO_WATERMARK`` before the first row."""
        return int(self.store.counters[WATERMARK])

    @watermark.setter
    def watermark(self, value: int) -> None:
        self.store.counters[WATERMARK] = value

    def update(
        self,
        keys: NDArray[np.int64],
        times: NDArray[np.int64],
        bounded: NDArray[np.int64],
        values: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """Add rows and write the features that are this part's.

        bounded: (n,) times up to which the rows move the watermark, none above the row's own.
        """
        n, done = keys.shape[0], 0
        while True:
            if self._moving is None or self._moving.fetch(keys[done:], self._horizon()):
                done = self._run(done, keys, times, bounded, values, out)
            if done == n:
                break
            self._grow()
        if self._moving is not None:
            self._sweep(self._moving, n)
        elif self.store.counters[PAGE_WANTED]:
            self._grow()

    def peek(
        self, keys: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64], out: NDArray[np.float64]
    ) -> None:
        """Write the features that each row would have if it came now, alone; what is kept stays as it is."""
        if self._moving is not None and not self._moving.fetch(keys, self._horizon()):
            self._grow()
        kept, numbers = (self.store, self._moving), np.arange(keys.shape[0])
        self.store, self._moving = seen_by(self.store, self._shape, keys, self._horizon()), None
        try:
            self.update(numbers, times, np.minimum(times, self.watermark), values, out)
        finally:
            self.store, self._moving = kept

    def holds(self, keys: NDArray[np.int64], held: NDArray[np.bool_]) -> None:
        """Set ``held`` (n,) of each key (n,) of which a row can still matter."""
        for store in self._stores():
            mark_held(store, keys, self._horizon(), held)

    def rows(self) -> Rows:
        """What is kept and still relevant: the same for the same rows, however they were reached."""
        if self._moving is not None:
            self._copy()
        self._settle(self.store)
        return rows_of(self.store, self._shape, self._horizon())

    def load(self, rows: Rows, watermark: int) -> None:
        """Take what ``rows`` of another state has given."""
        self.store, self._moving = store_of(rows, self._shape), None
        self.watermark = watermark

    @property
    def n_keys(self) -> int:
        """Keys of the table, also those of which all rows have passed since it was made."""
        return int(self.store.counters[KEYS]) if self._moving is None else self._moving.n_keys

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(array.nbytes for array in self.store) if self._moving is None else self._moving.nbytes

    @property
    def shape(self) -> StoreShape:
        """What is kept of a row."""
        return self._shape

    @abstractmethod
    def _run(
        self,
        begin: int,
        keys: NDArray[np.int64],
        times: NDArray[np.int64],
        bounded: NDArray[np.int64],
        values: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> int:
        """Handle rows from ``begin`` on; returns the first that there is no room for, or the number of rows."""

    def _settle(self, store: Store) -> None:  # noqa: B027  (most parts have nothing to do)
        """Drop from a store what can't matter any more, beside rows at or before the horizon."""

    def _horizon(self) -> int:
        return NO_WATERMARK if self.watermark == NO_WATERMARK else self.watermark - self.reach

    def _stores(self) -> list[Store]:
        return [self.store] if self._moving is None else [self.store, self._moving.old]

    def _grow(self) -> None:
        """Make room: at once, or so that a large store moves with the batches that come."""
        numbers = self.store.table.size + self.store.times.size + self.store.values.size
        if self._moving is None and numbers > self.at_once:
            try:
                self._moving = Moving(self.store, self._shape, self._horizon())
            except MemoryError:  # where a process may not ask for more than it writes: copied at once it needs less
                self._copy()
            else:
                self.store = self._moving.new
        else:
            self._copy()

    def _copy(self) -> None:
        stores = self._stores()
        for store in stores:
            self._settle(store)
        self.store, self._moving = grown(stores, self._shape, self._horizon()), None

    def _sweep(self, moving: Moving, rows: int) -> None:
        if not moving.sweep(rows, self._horizon()):
            self._copy()
        elif moving.is_over:
            self.store, self._moving = moving.cut(), None

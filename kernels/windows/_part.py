"""Windows of one state that keep their rows together, in a store of their own."""

from abc import ABC, abstractmethod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.windows._look import mark_held, seen_by
from kernels.windows._store import (
    NO_WATERMARK,
    PAGE_WANTED,
    WATERMARK,
    Rows,
    Store,
    StoreShape,
    empty_store,
    grown,
    rows_of,
    store_of,
)

AHEAD: Final = 4
"""Rows of many keys lie all over memory, so they are asked for some rows ahead (twice as fast with 10,000 keys)..."""
NEAR_MEMORY: Final = 2**16
"""... unless the arena has no more numbers than this, and is near."""


class Part(ABC):
    """Some of the windows of a state.

    reach: how far behind the watermark a row can still matter to them, µs.
    """

    def __init__(self, shape: StoreShape, reach: int) -> None:
        self._shape = shape
        self.reach = reach
        self.store: Store = empty_store(shape)

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
        n = keys.shape[0]
        done = self._run(0, keys, times, bounded, values, out)
        while done < n:
            self._grow()
            done = self._run(done, keys, times, bounded, values, out)
        if self.store.counters[PAGE_WANTED]:
            self._grow()

    def peek(
        self, keys: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64], out: NDArray[np.float64]
    ) -> None:
        """Write the features that each row would have if it came now, alone; what is kept stays as it is."""
        kept, numbers = self.store, np.arange(keys.shape[0])
        self.store = seen_by(kept, self._shape, keys, self._horizon())
        try:
            self.update(numbers, times, np.minimum(times, self.watermark), values, out)
        finally:
            self.store = kept

    def holds(self, keys: NDArray[np.int64], held: NDArray[np.bool_]) -> None:
        """Set ``held`` (n,) of each key (n,) of which a row can still matter."""
        mark_held(self.store, keys, self._horizon(), held)

    def rows(self) -> Rows:
        """What is kept and still relevant: the same for the same rows, however they were reached."""
        self._settle()
        return rows_of(self.store, self._shape, self._horizon())

    def load(self, rows: Rows, watermark: int) -> None:
        """Take what ``rows`` of another state has given."""
        self.store = store_of(rows, self._shape)
        self.watermark = watermark

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

    def _settle(self) -> None:  # noqa: B027  (most parts have nothing to do)
        """Drop from the store what can't matter any more, beside rows at or before the horizon."""

    def _horizon(self) -> int:
        return NO_WATERMARK if self.watermark == NO_WATERMARK else self.watermark - self.reach

    def _grow(self) -> None:
        self._settle()
        self.store = grown(self.store, self._shape, self._horizon())

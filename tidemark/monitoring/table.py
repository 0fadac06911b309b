"""A table that grows at its end and forgets from its beginning."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class RollingTable:
    """Structured rows in one array; row numbers stay what they are while older rows are forgotten, until `drop`.

    The dtype needs a field `partition` (i4). For each partition the table knows the offset of the first batch of which
    it still holds a row, and so where to rewind to.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self._array: NDArray[Any] = np.empty(1_024, dtype)
        self._begin = self._end = 0
        self._base = 0
        self._batches: dict[int, deque[tuple[int, int]]] = {}

    @property
    def first(self) -> int:
        """Number of the oldest row held."""
        return self._base

    def __len__(self) -> int:
        """Rows held."""
        return self._end - self._begin

    @property
    def rows(self) -> NDArray[Any]:
        """The rows held, oldest first: a view to read and to write; not to be kept over `append` or `forget`."""
        return self._array[self._begin : self._end]

    def append(self, rows: NDArray[Any], partition: int, offset: int) -> NDArray[np.int64]:
        """Add a batch of one partition, whose first row came at `offset`; returns the rows' numbers."""
        n = rows.shape[0]
        if self._end + n > self._array.shape[0]:
            held = self.rows
            array = np.empty(max(2 * (held.shape[0] + n), 1_024), self._array.dtype)
            array[: held.shape[0]] = held
            self._array, self._begin, self._end = array, 0, held.shape[0]
        self._array[self._end : self._end + n] = rows
        numbers = np.arange(n, dtype=np.int64) + self._base + len(self)
        self._end += n
        if n:
            self._batches.setdefault(partition, deque()).append((offset, int(numbers[-1]) + 1))
        return numbers

    def at(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in `rows` of row numbers that are held."""
        return numbers - self._base

    def forget(self, count: int) -> None:
        """Forget the oldest `count` rows."""
        self._begin += count
        self._base += count
        for batches in self._batches.values():
            while batches and batches[0][1] <= self._base:
                batches.popleft()

    def rewind(self, partition: int) -> int | None:
        """Offset of the oldest batch of a partition that is held, None if none is."""
        batches = self._batches.get(partition)
        return batches[0][0] if batches else None

    def drop(self, partition: int) -> None:
        """Remove all rows of a partition. The rows left get new numbers."""
        keep = self.rows["partition"] != partition
        self._batches.pop(partition, None)
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        for batches in self._batches.values():
            moved = [(offset, self._base + int(kept_before[end - self._base])) for offset, end in batches]
            batches.clear()
            batches.extend(moved)
        self._array = self.rows[keep]
        self._begin, self._end = 0, self._array.shape[0]

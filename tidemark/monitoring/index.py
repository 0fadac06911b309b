"""Where in a growing table a 64-bit hash occurs: 16 bytes an entry, where a dict of texts takes ten times that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]


class HashIndex:
    """Multimap from hash to row number, as sorted runs that are merged when they have grown alike (O'Neil et al. 1996).

    Adding n entries costs O(log(size)) merges of each on average, finding O(log(size)^2).
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, Rows]] = []
        self._first = 0

    def __len__(self) -> int:
        """Entries held, those of forgotten rows that no merge has met yet included."""
        return sum(hashes.shape[0] for hashes, _ in self._runs)

    def add(self, hashes: Hashes, rows: Rows) -> None:
        """Enter rows under their hashes, (n,) each."""
        if hashes.shape[0] == 0:
            return
        self._push(hashes, rows)
        while len(self._runs) > 1 and self._runs[-2][0].shape[0] <= 2 * self._runs[-1][0].shape[0]:
            (old, old_rows), (new, new_rows) = self._runs[-2:]
            del self._runs[-2:]
            kept = old_rows >= self._first
            self._push(np.concatenate([old[kept], new]), np.concatenate([old_rows[kept], new_rows]))

    def find(self, hashes: Hashes) -> tuple[Rows, Rows]:
        """Pairs (position in `hashes`, row) of all matches, in no order worth relying on."""
        positions: list[Rows] = []
        matches: list[Rows] = []
        for run, rows in self._runs:
            begin = np.searchsorted(run, hashes, "left")
            count = np.searchsorted(run, hashes, "right") - begin
            hit = np.flatnonzero(count)
            count = count[hit]
            within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
            positions.append(np.repeat(hit, count))
            matches.append(rows[np.repeat(begin[hit], count) + within])
        if not matches:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        position, row = np.concatenate(positions), np.concatenate(matches)
        known = row >= self._first
        return position[known], row[known]

    def forget_before(self, row: int) -> None:
        """Rows below `row` are found no more; their memory goes with the next merges."""
        self._first = max(self._first, row)

    def _push(self, hashes: Hashes, rows: Rows) -> None:
        order = np.argsort(hashes, kind="stable")
        self._runs.append((hashes[order], rows[order]))

"""Which rows of a batch are proposed: the first few of each tile by the exploration coin, and by the policy's score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Chosen:
    """m rows that are proposed.

    rows: (m,) int64, their numbers in the batch.  explore, active: (m,) bool, by what each was chosen.
    tiles: number of all rows, chosen or not, in each tile.
    """

    rows: NDArray[np.int64]
    explore: NDArray[np.bool_]
    active: NDArray[np.bool_]
    tiles: dict[int, int]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)


class Choice:
    """Orders n rows once; then tells what is proposed of all of them, or of some as if they had been a batch.

    Args:
        tiles: (n,) int64 tile of each row.
        coins: (n,) uint64 coin of each row: the smallest of a tile explore.
        scores: (n,) float64: the highest of a tile are the active choice; NaN comes last.
        draws: (n,) uint64: settles equal scores.
        explore: rows of a tile that are chosen by coin, at most.
        active: rows of a tile that are chosen by score, at most.
        besides: (n,) bool, rows that are proposed in any case.

    """

    def __init__(
        self,
        tiles: NDArray[np.int64],
        coins: NDArray[np.uint64],
        scores: NDArray[np.float64],
        draws: NDArray[np.uint64],
        explore: int,
        active: int,
        besides: NDArray[np.bool_] | None = None,
    ) -> None:
        self._rows = np.argsort(tiles, kind="stable")
        self._tiles = tiles[self._rows]
        self._explore, self._active = explore, active
        own = self._rows
        self._besides = np.zeros(len(own), np.bool_) if besides is None else besides[own]
        tile = np.cumsum(np.diff(self._tiles, prepend=self._tiles[:1]) != 0)
        if len(own) < 2**16:
            tile = tile.astype(np.uint16)  # which is sorted without comparing
        # Places by tile, as those of `_rows`, and within a tile in the order of the choice.
        self._by_coin = _sorted(coins[own], tile)
        self._by_score = _sorted(draws[own], np.where(np.isnan(scores[own]), np.inf, -scores[own]), tile)

    def of(self, begin: int, end: int) -> Chosen:
        """What is proposed of rows `begin` to `end` in the order of their tiles; of all rows, in their own order."""
        tiles = self._tiles[begin:end]
        starts = np.flatnonzero(np.diff(tiles, prepend=tiles[:1] - 1))
        counts = np.diff(starts, append=len(tiles))
        rank = np.arange(len(tiles)) - np.repeat(starts, counts)
        explore = self._first(self._by_coin, begin, end, rank < self._explore)
        active = self._first(self._by_score, begin, end, rank < self._active)
        chosen = np.flatnonzero(explore | active | self._besides[begin:end])
        rows = self._rows[begin:end][chosen]
        if end - begin == len(self._rows):
            order = np.argsort(rows, kind="stable")
            rows, chosen = rows[order], chosen[order]
        counted = dict(zip(tiles[starts].tolist(), counts.tolist(), strict=True))
        return Chosen(rows, explore[chosen], active[chosen], counted)

    def _first(
        self, order: NDArray[np.int64], begin: int, end: int, among_first: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """(end - begin,) whether the row at each place is among the first of its tile, of those in the range.

        among_first: (end - begin,) whether the rank within its tile is low enough, tile after tile.
        """
        if end - begin < len(order):
            # A tile that the range cuts has places outside of it, among those of its own.
            low = np.searchsorted(self._tiles, self._tiles[begin], "left")
            high = np.searchsorted(self._tiles, self._tiles[end - 1], "right")
            order = order[low:high]
            order = order[(order >= begin) & (order < end)]
        first = np.zeros(end - begin, np.bool_)
        first[order[among_first] - begin] = True
        return first


def _sorted(*keys: NDArray[np.generic]) -> NDArray[np.int64]:
    """As `np.lexsort`, the last key first, in a third of its time: each key is sorted as the array that it is."""
    order = np.argsort(keys[0], kind="stable")
    for key in keys[1:]:
        order = order[np.argsort(key[order], kind="stable")]
    return order

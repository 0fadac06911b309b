"""A history as the loop sees it: events with features and tiles, and what people would have answered about each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidemark.backtest.answers import Truth, missing


@dataclass(frozen=True, slots=True)
class LabeledStream:
    """Events in the order of their tiles: those before `exam` are streamed, the others are what models are examined on.

    features: (n, d), NaN is missing.  target: (n,) the label of each (`tidemark.backtest.answers.Truth`).  tiles: (n,)
    tile of each event.  known_at: (n,) µs, when the label of each is known, once it is asked for.  begin: the first
    event that is streamed.  exam: the first one that models are examined on.
    """

    features: NDArray[np.float64]
    target: Truth
    tiles: NDArray[np.int64]
    known_at: NDArray[np.int64]
    exam: int
    begin: int = 0

    @property
    def askable(self) -> NDArray[np.bool_]:
        """(n,) which events have a label."""
        return ~missing(self.target)

    def by_tile(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Number and rows of each tile that is streamed."""
        tiles = self.tiles[self.begin : self.exam]
        numbers, begins = np.unique(tiles, return_index=True)
        for number, begin, end in zip(numbers.tolist(), begins, [*begins[1:], len(tiles)], strict=True):
            yield number, np.arange(self.begin + begin, self.begin + end)

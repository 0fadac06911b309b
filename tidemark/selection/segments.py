"""No plant, region or group of patients goes unseen: which rows of each segment are proposed, kept and asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.selection.tiles import Proposal

MOST: Final = 200
"""Segments of a tile that a batch proposes rows of: any of them, where there are more."""
Floors = Mapping[str, Proposal]


def first_of_segments(
    tiles: NDArray[np.int64], draws: NDArray[np.uint64], values: pl.Series, most: int = MOST
) -> NDArray[np.bool_]:
    """The row of each segment of each tile with the smallest draw: any of them, by chance.

    Args:
        tiles: (n,) tile of each row.
        draws: (n,) coin of each row.
        values: (n,) the segment's column; missing is a segment too.
        most: segments of a tile, those with the smallest draws.

    Returns:
        (n,) bool.

    """
    rows = pl.DataFrame({"tile": tiles, "draw": draws, "segment": values.cast(pl.String).fill_null("")})
    first = (
        rows.with_row_index("row").sort("draw", "row").unique(["tile", "segment"], keep="first", maintain_order=True)
    )
    kept = first.group_by("tile", maintain_order=True).head(most)["row"].to_numpy()
    found = np.zeros(len(tiles), np.bool_)
    found[kept] = True
    return found


def due(floors: Floors, asked: Mapping[str, int], taken: Sequence[str], least: float, most: int) -> list[Proposal]:
    """A row of each segment that was asked about too little, the least first.

    Args:
        floors: a row of each segment with events in the tile.
        asked: cases by segment among the newest.
        taken: segments of the cases that the tile has anyway.
        least: share of the newest cases.
        most: rows, at most.

    Returns:
        Different rows.

    """
    wanted = least * sum(asked.values())
    lacking = [name for name in floors if name not in taken and asked.get(name, 0) <= wanted and least > 0]
    lacking.sort(key=lambda name: (asked.get(name, 0), floors[name].draw, name))
    return [floors[name] for name in lacking[:most]]

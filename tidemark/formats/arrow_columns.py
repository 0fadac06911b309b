"""Checks of frames that were read back from a topic: as a stranger's, for anybody may write there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from tidemark.errors import RecordError

LATEST_TIME: Final = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""
LATEST_TILE: Final = LATEST_TIME
"""Number of the last tile, were tiles as short as can be."""
_OFFSETS: Final = (0, 2**62)


def check_columns(rows: pl.DataFrame, wanted: Mapping[str, pl.DataType], what: str) -> None:
    """Whether a frame has columns of these types; more columns do no harm.

    Raises:
        RecordError: it has not; names the column.

    """
    given = dict(zip(rows.columns, rows.dtypes, strict=True))  # `schema` looks at each type again
    for name, dtype in wanted.items():
        if given.get(name) != dtype:
            raise RecordError("decode", f"{what} have {given.get(name)} for '{name}', expected {dtype}")


def check_present(rows: pl.DataFrame, names: Collection[str], what: str) -> None:
    """Whether columns have a value in every row.

    Raises:
        RecordError: one has not.

    """
    lacking = [name for name in names if rows.get_column(name).null_count()]
    if lacking:
        raise RecordError("decode", f"{what} without {', '.join(lacking)}")


def check_range(rows: pl.DataFrame, name: str, low: int, high: int, what: str) -> None:
    """Whether the whole numbers of a column lie between two bounds, inclusive.

    Raises:
        RecordError: one does not.

    """
    if not len(rows):
        return
    least, most = rows[name].min(), rows[name].max()
    if not (isinstance(least, int) and isinstance(most, int) and low <= least and most <= high):
        raise RecordError("decode", f"{what} have {least!r} to {most!r} for '{name}', expected {low} to {high}")


def check_times(rows: pl.DataFrame, name: str, what: str) -> None:
    """Whether a column holds event times, µs, from 1970 to the year 9999.

    Raises:
        RecordError: it does not.

    """
    check_range(rows, name, 0, LATEST_TIME, what)


def check_offsets(rows: pl.DataFrame, name: str, what: str) -> None:
    """Whether a column holds offsets.

    Raises:
        RecordError: it does not.

    """
    check_range(rows, name, *_OFFSETS, what)

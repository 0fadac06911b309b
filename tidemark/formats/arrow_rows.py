"""Arrow IPC streams of many rows, as others send them, to their rows: each a JSON object of the declared columns.

A stream is read whole or not at all: what is wrong with its lengths or its columns is told before its first row. A
value that is not of its column's type stays in its row as it is told, so that the row's reader refuses that row alone.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from typing import Final

import msgspec
import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from tidemark.formats.arrow_bounds import OTHERS, check_stream
from tidemark.formats.columns import json_values, refusal
from tidemark.formats.declared import Declared
from tidemark.runtime.suggestions import did_you_mean

MARK: Final = b"\xff\xff\xff\xff"
"""What a stream begins with: no text in UTF-8 does."""
MEDIA_TYPE: Final = "application/vnd.apache.arrow.stream"
MOST_BYTES: Final = 64_000_000
"""Bytes of all rows of a stream as JSON, about: a text that a dictionary has once may be in each of them."""
_PIECE: Final = 1_000
_NUMBER_BYTES: Final = 8
_WHOLE: Final = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_BEYOND: Final = 2**63
_SHOWN: Final = 300


class NoRowsError(ValueError):
    """A body is no stream whose rows can be read, and why. The reason follows the name of what it is."""


class ArrowRows:
    """Reads streams of one pipeline's columns."""

    def __init__(self, declared: Declared, told: Collection[str] = ()) -> None:
        """Prepare.

        Args:
            declared: columns that are read, and those that a stream must have.
            told: columns that come from elsewhere, which a stream need not have.

        """
        self._declared = declared
        self._required = [name for name in declared.required if name not in told]

    def read(self, value: bytes) -> Iterator[list[bytes]]:
        """The rows of a stream, some at a time.

        Args:
            value: the stream.

        Returns:
            Rows as JSON objects, in their order.

        Raises:
            NoRowsError: it is no Arrow stream, is beyond a limit, or its columns are not those that are declared.

        """
        if not value.startswith(MARK):
            raise NoRowsError("is no Arrow IPC stream: it does not begin with ff ff ff ff")
        try:
            check_stream(value, OTHERS)
            frame = self._plain(pl.read_ipc_stream(io.BytesIO(value)))
            size = sum(map(_size, frame.get_columns()))
        except (PolarsError, PanicException, OSError, ValueError, TypeError) as error:
            raise NoRowsError(f"is no Arrow IPC stream that can be read: {_line(error)}") from error
        if size > MOST_BYTES:
            raise NoRowsError(f"has rows of {size:,} bytes altogether; at most {MOST_BYTES:,} are read of one stream")
        if reason := self._refusal(frame):
            raise NoRowsError(reason)
        wanted = [name for name in frame.columns if self._declared.kind_of(name)]
        return self._pieces(frame if len(wanted) == frame.width else frame.select(wanted))

    def _plain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """A frame whose structs are columns of their own, `place.city`, as far as they are not declared themselves."""
        while nested := [
            name
            for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
            if isinstance(dtype, pl.Struct) and not self._declared.kind_of(name)
        ]:
            columns: list[pl.Series] = []
            for column in frame.get_columns():
                fields = column.struct.fields if column.name in nested else []
                parts = [column.struct.field(each).alias(f"{column.name}.{each}") for each in fields]
                columns += parts if column.name in nested else [column]
            frame = pl.DataFrame(columns)
        return frame

    def _refusal(self, frame: pl.DataFrame) -> str | None:
        """Why its columns are not those that are declared; None if they are."""
        declared = self._declared
        if misspelt := declared.misspelt(frame.columns):
            return misspelt.removeprefix("it ")
        for name in self._required:
            if name not in frame.columns:
                return f"has no column '{name}', which {declared.owner} requires; {did_you_mean(name, frame.columns)}"
        reasons = (refusal(name, dtype, declared) for name, dtype in frame.schema.items())
        return next((f"can't be read: {reason}" for reason in reasons if reason), None)

    def _pieces(self, frame: pl.DataFrame) -> Iterator[list[bytes]]:
        for piece in frame.iter_slices(_PIECE):
            given = piece.get_columns()
            columns = [self._as_told(column) for column in given]
            if columns and all(column is not None for column in columns):
                same = all(column is own for column, own in zip(columns, given, strict=True))
                lines = io.BytesIO()
                (piece if same else pl.DataFrame(columns)).write_ndjson(lines)
                yield lines.getvalue().split(b"\n")[:-1]  # a line break within a text is escaped
            else:
                yield self._one_by_one(piece)

    def _as_told(self, column: pl.Series) -> pl.Series | None:
        """A column that Polars writes as `json_values` tells it; None where only that can."""
        kind, dtype = self._declared.kind_of(column.name), column.dtype
        plain = (
            (kind == "string" and dtype == pl.String)
            or (kind in ("int", "float") and dtype in _WHOLE)
            or (kind == "bool" and dtype == pl.Boolean)
            or (kind == "float" and dtype == pl.Float64 and _all_finite(column))
        )
        if plain:
            return column
        if kind == "float" and dtype.is_float():
            numbers = column.cast(pl.Float64).fill_nan(None)
            return None if numbers.is_infinite().any() else numbers
        values = json_values(column, self._declared)
        kinds = {type(value) for value in values} - {type(None)}
        if kinds <= {str}:
            return pl.Series(column.name, values, pl.String)
        whole = [value for value in values if type(value) is int]
        fits = kinds == {int} and min(whole) >= -_BEYOND and max(whole) < _BEYOND
        return pl.Series(column.name, values, pl.Int64) if fits else None

    def _one_by_one(self, piece: pl.DataFrame) -> list[bytes]:
        """The same rows, also of values that are not of their column's type."""
        encode = msgspec.json.Encoder().encode
        columns = [json_values(column, self._declared) for column in piece.get_columns()]
        rows = zip(*columns, strict=True) if columns else [()] * len(piece)
        return [encode(dict(zip(piece.columns, values, strict=True))) for values in rows]


def _all_finite(column: pl.Series) -> bool:
    return not column.null_count() and bool(np.isfinite(column.to_numpy()).all())


def _size(column: pl.Series) -> int:
    """Bytes of a column's values, about. A category counts as often as it is there, before it is written out once."""
    if column.dtype == pl.String:
        return int(column.str.len_bytes().sum())
    if column.dtype == pl.Binary:
        return int(column.bin.size().sum())
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        counts = column.drop_nulls().alias("text").value_counts(name="times")
        each = counts["text"].cast(pl.String).str.len_bytes().cast(pl.Int64)
        return int((each * counts["times"].cast(pl.Int64)).sum())
    return _NUMBER_BYTES * len(column)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:_SHOWN]

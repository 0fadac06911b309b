"""Columns as a reader of another format than JSON found them, to the types that are declared: exactly, or refused.

A value is good here where the same value in JSON is: a whole number is one in every width, and also as a float that
stands for no other; a number is no text. NaN is how binary formats write what was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from tidemark.errors import TidemarkError
from tidemark.formats.json_records import MAX_VALUE, TYPES, WANTED, ReadRows, Values, chosen, too_large, unreadable
from tidemark.formats.schema_records import merged
from tidemark.formats.shown import short
from tidemark.pipeline.sql.values import EXACT
from tidemark.records.record_formats import ColumnReader, Columns, Told, reason_of
from tidemark.runtime.processor import Batch

_LISTS: Final[dict[str, Any]] = {
    kind: list[python | None]  # type: ignore[valid-type]  # made at run time
    for kind, python in TYPES.items()
}
_DTYPES: Final = {"string": pl.String(), "int": pl.Int64(), "float": pl.Float64(), "bool": pl.Boolean()}
_REFUSED: Final = object()


class ToldReader:
    """Reads records by a format's reader, and sees to the types of what it gives."""

    def __init__(self, columns: Sequence[Told], reader: ColumnReader) -> None:
        self._columns, self._reader = columns, reader

    def read(self, batch: Batch) -> ReadRows:
        """The rows that can be read, and the others."""
        bad: dict[int, str] = {}
        wanted: Sequence[int] = range(len(batch))
        if not _plausible(batch.values):
            reasons = [unreadable(value) for value in batch.values]
            bad = {row: reason for row, reason in enumerate(reasons) if reason is not None}
            wanted = [row for row in wanted if row not in bad]
        found = self._found(batch, wanted)
        columns, wrong = typed(self._columns, found.values, len(wanted))
        wrong |= found.bad
        rows = np.array(wanted, np.int64)
        if not wrong:
            return ReadRows(columns, rows, bad)
        bad |= {wanted[i]: reason for i, reason in wrong.items()}
        good = [i for i in range(len(wanted)) if i not in wrong]
        return ReadRows({name: _taken(values, good) for name, values in columns.items()}, rows[good], bad)

    def _found(self, batch: Batch, rows: Sequence[int]) -> Columns:
        """What the reader finds in all records, or in each by itself where it fails."""
        try:
            return self._checked(batch, rows)
        except TidemarkError:
            raise
        except Exception as error:  # noqa: BLE001 a stranger's reader may raise anything
            if len(rows) <= 1:
                return Columns({}, dict.fromkeys(range(len(rows)), reason_of(error)))
        return merged(len(rows), [([i], self._found(batch, [row])) for i, row in enumerate(rows)], {})

    def _checked(self, batch: Batch, rows: Sequence[int]) -> Columns:
        found = self._reader.read(batch, rows)
        if any(len(own) != len(rows) for own in found.values.values()):
            raise ValueError("its format gave a column of another length than there are records")
        return found


def _plausible(values: Sequence[bytes | None]) -> bool:
    """Whether no value is absent, empty or too large."""
    if not values or None in values:
        return False
    sizes = list(map(len, values))  # type: ignore[arg-type]  # none is None
    return min(sizes) > 0 and max(sizes) <= MAX_VALUE


def _taken(values: Values, numbers: list[int]) -> Values:
    return values.gather(numbers) if isinstance(values, pl.Series) else [values[i] for i in numbers]


def typed(
    columns: Sequence[Told], found: Mapping[str, Sequence[object] | pl.Series], count: int
) -> tuple[dict[str, Values], dict[int, str]]:
    """Values of their columns' types.

    Args:
        columns: that are wanted.
        found: `count` values for each name under which a column is told; a name may be absent.
        count: records.

    Returns:
        `count` values of each column, None where missing; and why records are bad, by their number.

    """
    values: dict[str, Values] = {}
    reasons: dict[int, str] = {}
    for column in columns:
        told: list[Values] = []
        for name in column.names:
            own, wrong = _of_type(name, column.kind, found[name]) if name in found else ([None] * count, {})
            told.append(own)
            for i, reason in wrong.items():
                reasons.setdefault(i, reason)
        values[column.name], twice = chosen(column, told) if len(told) > 1 else (told[0], {})
        for i, reason in twice.items():
            reasons.setdefault(i, reason)
        own_values = values[column.name]
        if column.required and (not isinstance(own_values, pl.Series) or own_values.null_count()):
            for i, value in enumerate(own_values):
                if value is None:
                    reasons.setdefault(i, f"{column.name}: is missing")
    return values, reasons


def _of_type(name: str, kind: str, values: Sequence[object] | pl.Series) -> tuple[Values, dict[int, str]]:
    """Values of a type, None where missing; and why others are not of it."""
    if isinstance(values, pl.Series):
        if kind == "float" and values.dtype == pl.Int64 and _within(values):
            values = values.cast(pl.Float64)
        if values.dtype == _DTYPES[kind]:
            whole = values.fill_nan(None) if kind == "float" else values
            if kind != "float" or bool(whole.is_finite().all()):
                return whole, {}
        values = values.to_list()
    try:
        converted: list[Any] = msgspec.convert(values, _LISTS[kind])
    except (msgspec.ValidationError, UnicodeDecodeError):
        return _one_by_one(name, kind, values)
    if kind == "float":
        numbers = np.array(converted, np.float64)
        size = np.abs(numbers)
        if (size >= EXACT).any() or np.isnan(size).sum() != converted.count(None):  # infinite, rounded perhaps, NaN
            return _one_by_one(name, kind, values)
    return converted, {}


def _within(values: pl.Series) -> bool:
    """Whether each whole number is one that no other float64 stands for."""
    return bool(values.is_between(-EXACT, EXACT, closed="none").all())


def _one_by_one(name: str, kind: str, values: Sequence[object]) -> tuple[list[Any], dict[int, str]]:
    converted: list[Any] = []
    reasons: dict[int, str] = {}
    for i, value in enumerate(values):
        own = None if value is None else _CONVERT[kind](value)
        if own is _REFUSED:
            reasons[i] = _reason(name, kind, value)
            own = None
        converted.append(own)
    return converted, reasons


def _reason(name: str, kind: str, value: object) -> str:
    if kind == "float" and isinstance(value, int) and -(2**1023) < value < 2**1023:
        return too_large(name, short(str(value).encode()))
    if kind == "float" and isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < _MOST_EXPONENT:
        return too_large(name, short(f"{value:f}".encode()))
    shown = repr(value) if isinstance(value, int | float | str | bytes | bool) else f"a {_kind(value)}"
    return f"{name}: expected {WANTED[kind]}, got {short(shown[:400].encode(errors='backslashreplace'))}"


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "list"
    return "table of fields" if isinstance(value, dict) else type(value).__name__


def _string(value: object) -> object:
    if not isinstance(value, str):
        return _REFUSED
    try:
        value.encode()
    except UnicodeEncodeError:
        return _REFUSED
    return value


def _int(value: object) -> object:
    if isinstance(value, bool):
        return _REFUSED
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if abs(value) >= EXACT or not value.is_integer():
            return _REFUSED
        return int(value)
    if isinstance(value, Decimal):
        if not value.is_finite() or value.adjusted() > _MOST_DIGITS or value != value.to_integral_value():
            return _REFUSED
        value = int(value)
    return value if isinstance(value, int) and -(2**63) <= value < 2**63 else _REFUSED


def _float(value: object) -> object:
    if isinstance(value, bool):
        return _REFUSED
    if isinstance(value, float):
        return None if math.isnan(value) else value if math.isfinite(value) else _REFUSED
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) >= _MOST_EXPONENT or _is_rounded(value):
            return _REFUSED
        return float(value)
    if isinstance(value, int) and -(2**64) < value < 2**64 and int(float(value)) == value:
        return float(value)
    return _REFUSED


def _is_rounded(value: Decimal) -> bool:
    """Whether a finite number is a whole one, and float64 has another in its place."""
    return abs(value) >= EXACT and value == int(value) and int(float(value)) != int(value)


def _bool(value: object) -> object:
    return value if isinstance(value, bool) else _REFUSED


_MOST_DIGITS: Final = 19
_MOST_EXPONENT: Final = 300
_CONVERT: Final = {"string": _string, "int": _int, "float": _float, "bool": _bool}

"""Columns of a typed table (Parquet, a Polars frame) as JSON values of the declared types: exactly, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec
import polars as pl

from tidemark.formats.declared import Declared, Kind
from tidemark.times.time_formats import TIME_FORMATS

_EXACT: Final = 2**53
"""From here on a float may stand for a whole number beside it."""
_BEYOND: Final = 2**63
_DAY_US: Final = 86_400_000_000
_UNITS: Final = {"ms": Fraction(1_000), "us": Fraction(1), "ns": Fraction(1, 1_000)}
_YEARS: Final = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Years that four digits can write, µs since 1970."""
_WANTED: Final = {
    "string": "text",
    "int": "whole numbers",
    "float": "numbers",
    "bool": "true and false",
    "class": "names of classes",
    "numbers": "an object of numbers",
}


def refusal(name: str, dtype: pl.DataType, declared: Declared) -> str | None:
    """Why a column of a table can't be read as what it is declared; None if it can.

    Args:
        name: of the column.
        dtype: of the table.
        declared: the columns' types.

    """
    kind = declared.kind_of(name)
    if kind is None or dtype == pl.Null or _readable(dtype, kind):
        return None
    if _is_time(name, declared) and isinstance(dtype, pl.Datetime | pl.Date):
        return None
    remedy = {"string": "write it as text", "bool": "write true and false"}.get(kind, "write its numbers as numbers")
    return f"column '{name}' holds {dtype}, and it is declared as {kind} ({_WANTED[kind]}); {remedy}, or declare it so"


def _is_time(name: str, declared: Declared) -> bool:
    return declared.time is not None and declared.time[0] == name


def _readable(dtype: pl.DataType, kind: Kind) -> bool:
    text = dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)
    match kind:
        case "string":
            return (
                text or dtype.is_integer() or dtype.is_decimal() or isinstance(dtype, pl.Date | pl.Time | pl.Datetime)
            )
        case "int" | "float":
            return dtype.is_numeric()
        case "bool":
            return dtype == pl.Boolean
        case "class":
            return text or dtype.is_numeric() or dtype == pl.Boolean
        case "numbers":
            return isinstance(dtype, pl.Struct) and all(
                field.dtype.is_numeric() or field.dtype == pl.Null for field in dtype.fields
            )


def json_values(column: pl.Series, declared: Declared) -> Sequence[object]:
    """What msgspec writes for each value of a column that `refusal` has nothing against.

    A value that is not of the declared type stays as it is told, a number or a text, so that its reader refuses it.
    """
    kind = declared.kind_of(column.name)
    if column.dtype == pl.Null or kind is None:
        return [None] * len(column)
    if declared.time is not None and _is_time(column.name, declared) and column.dtype.is_temporal():
        return _moments(column, declared.time[1])
    return _CONVERT[kind](column)


def _truths(column: pl.Series) -> list[object]:
    return column.to_list()


def _objects(column: pl.Series) -> list[object]:
    fields = {name: _numbers(column.struct.field(name)) for name in column.struct.fields}
    rows = [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
    known = column.is_not_null().to_list()
    return [row if there else None for row, there in zip(rows or [{}] * len(known), known, strict=True)]


def _classes(column: pl.Series) -> list[object]:
    if column.dtype.is_float() or column.dtype.is_decimal():
        return _wholes(column)
    return column.to_list() if column.dtype == pl.Boolean or column.dtype.is_integer() else _texts(column)


def _texts(column: pl.Series) -> list[object]:
    if column.dtype.is_temporal():
        return _written_times(column)
    if column.dtype.is_decimal():
        return [None if value is None else f"{value:f}" for value in column.to_list()]
    return column.cast(pl.String).to_list()


def _written_times(column: pl.Series) -> list[object]:
    """Times as texts; one that no calendar of four digits has stays a number, which its reader refuses."""
    dtype, stamps = column.dtype, column.to_physical().cast(pl.Int64)
    low, high = (max(_YEARS[0] // _unit(dtype), -_BEYOND), min(_YEARS[1] // _unit(dtype), _BEYOND - 1))
    if dtype == pl.Time:
        low, high = 0, _DAY_US * 1_000 - 1
    written = column.alias("at").to_frame().select(pl.when(stamps.is_between(low, high)).then("at"))["at"]
    if isinstance(dtype, pl.Datetime):
        moment = written if dtype.time_zone is None else written.dt.convert_time_zone("UTC")
        texts = moment.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{'' if dtype.time_zone is None else 'Z'}").to_list()
    else:
        texts = written.dt.strftime("%Y-%m-%d" if dtype == pl.Date else "%H:%M:%S%.f").to_list()
    for row in (written.is_null() & stamps.is_not_null()).arg_true().to_list():
        texts[row] = stamps[row]
    return texts


def _unit(dtype: pl.DataType) -> Fraction:
    """What a whole number of a time is, µs."""
    if isinstance(dtype, pl.Datetime):
        return _UNITS[dtype.time_unit]
    return Fraction(_DAY_US)


def _wholes(column: pl.Series) -> list[object]:
    if column.dtype.is_integer():
        return column.to_list()
    if column.dtype.is_decimal():
        return [None if value is None else _whole_decimal(value) for value in column.to_list()]
    return [_whole_float(value) for value in column.cast(pl.Float64).to_list()]


def _whole_decimal(value: Decimal) -> object:
    return int(value) if value == value.to_integral_value() else msgspec.Raw(f"{value:f}".encode())


def _whole_float(value: float | None) -> object:
    """A whole number that a float stands for alone; a larger one may have been another, and is refused as text."""
    if value is None or math.isnan(value):
        return None
    if abs(value) < _EXACT and value.is_integer():
        return int(value)
    return msgspec.Raw(repr(value).encode()) if abs(value) < _EXACT else repr(value)


def _numbers(column: pl.Series) -> list[object]:
    if column.dtype == pl.Null:
        return [None] * len(column)
    if column.dtype.is_integer():
        return column.to_list()
    if column.dtype.is_decimal():
        return [None if value is None else msgspec.Raw(f"{value:f}".encode()) for value in column.to_list()]
    numbers = column.cast(pl.Float64).fill_nan(None)  # NaN is how files write what was not measured; JSON has none
    values: list[object] = numbers.to_list()
    for row in numbers.is_infinite().arg_true().to_list():
        values[row] = repr(numbers[row])
    return values


def _moments(column: pl.Series, written: str) -> list[object]:
    unit = _unit(column.dtype)  # of nanoseconds the digits beyond microseconds are cut, as of a text
    stamps = column.to_physical().to_list()
    times = [None if stamp is None else stamp * unit.numerator // unit.denominator for stamp in stamps]
    tell = TIME_FORMATS.get(written).write
    return [None if at is None else tell(at) for at in times]


_CONVERT: Final[dict[Kind, Callable[[pl.Series], list[object]]]] = {
    "string": _texts,
    "int": _wholes,
    "float": _numbers,
    "bool": _truths,
    "class": _classes,
    "numbers": _objects,
}

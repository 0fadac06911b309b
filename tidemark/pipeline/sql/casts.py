"""CAST and TRY_CAST: a value that the type can't hold refuses its row, or is NULL; it never becomes another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl
from sqlglot import exp

from tidemark.pipeline.sql.values import (
    DTYPES,
    HIGHEST,
    LOWEST,
    NUMERIC,
    TIMESTAMP,
    Failures,
    Kind,
    Value,
    convert,
    finite,
    literal,
    to_number,
    to_whole,
)
from tidemark.times.iso8601 import UNREADABLE, iso_times

_T = exp.DType
_RANGES: Final = {
    _T.TINYINT: (-(2**7), 2**7 - 1),
    _T.SMALLINT: (-(2**15), 2**15 - 1),
    _T.MEDIUMINT: (-(2**23), 2**23 - 1),
    _T.INT: (-(2**31), 2**31 - 1),
    _T.BIGINT: (LOWEST, HIGHEST),
    _T.UTINYINT: (0, 2**8 - 1),
    _T.USMALLINT: (0, 2**16 - 1),
    _T.UINT: (0, 2**32 - 1),
    _T.UBIGINT: (0, HIGHEST),
}
_KINDS: Final = {
    **dict.fromkeys(_RANGES, Kind.WHOLE),
    **dict.fromkeys((_T.FLOAT, _T.DOUBLE), Kind.NUMBER),
    **dict.fromkeys((_T.TEXT, _T.VARCHAR, _T.CHAR, _T.NVARCHAR, _T.NCHAR), Kind.TEXT),
    **dict.fromkeys((_T.TIMESTAMP, _T.TIMESTAMPNTZ, _T.DATETIME), Kind.TIME),
    _T.BOOLEAN: Kind.TRUTH,
    _T.DATE: Kind.DATE,
}
_WHOLE_TEXT: Final = r"^[+-]?[0-9]+$"
_NUMBER_TEXT: Final = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def cast(value: Value, to: exp.DataType, failures: Failures, *, attempt: bool) -> Value:
    """The value as a type of SQL's. `attempt`: NULL where it can't be (TRY_CAST), instead of a refused row.

    Raises:
        ValueError: there is no such cast.

    """
    name = to.sql()
    kind = _KINDS.get(to.this)
    if to.this in {_T.DECIMAL, _T.BIGDECIMAL}:
        raise ValueError(f"it casts to {name}, and there are no decimals; CAST to DOUBLE, or ROUND(x, 2)")
    if kind is None or to.expressions:
        raise ValueError(f"it casts to {name}; known are BIGINT, DOUBLE, VARCHAR, BOOLEAN, TIMESTAMP and DATE")
    if value.kind is Kind.NULL:
        return literal(None, kind)
    try:
        made, wrong = _converted(value, kind, to.this, failures)
    except _NoCast:
        raise ValueError(f"{value.kind.value} can't be cast to {name}{_hint(value.kind, kind)}") from None
    if wrong is None:
        return made
    if not attempt:
        failures.add(wrong, f"can't be cast to {name}", value.expr)
    return replace(made, expr=pl.when(~wrong).then(made.expr), constant=None)


class _NoCast(Exception):  # noqa: N818 - caught where it is named
    """There is no cast from the one kind to the other."""


def _converted(  # noqa: PLR0911 - one return a cast
    value: Value, kind: Kind, to: exp.DType, failures: Failures
) -> tuple[Value, pl.Expr | None]:
    """The value as the kind, and where it can't be; None where it always can."""
    if kind is Kind.WHOLE:
        return _whole(value, *_RANGES[to])
    if kind is Kind.NUMBER and value.kind in NUMERIC:
        return to_number(value, failures), None
    if kind is Kind.NUMBER and value.kind is Kind.TEXT:
        read = value.expr.cast(pl.Float64, strict=False)
        right = value.expr.str.contains(_NUMBER_TEXT) & read.is_finite()
        return Value(read, Kind.NUMBER), ~right.fill_null(value=False) & value.expr.is_not_null()
    if kind is Kind.TEXT and value.kind in NUMERIC | {Kind.TEXT}:
        return as_text(value), None
    if kind is Kind.TRUTH and value.kind is Kind.TRUTH:
        return value, None
    if kind is Kind.TRUTH and value.kind in NUMERIC:
        return Value(finite(value).expr != 0, Kind.TRUTH), None
    if kind in {Kind.TIME, Kind.DATE}:
        return _time(value, kind, failures)
    raise _NoCast


def as_text(value: Value) -> Value:
    """As text: a whole number in digits, a truth as 'true' or 'false'."""
    if value.kind is Kind.NULL:
        return literal(None, Kind.TEXT)
    if value.kind is Kind.TEXT:
        return value
    if value.kind not in NUMERIC:
        raise _NoCast
    return Value(finite(value).expr.cast(pl.String), Kind.TEXT)


def time_of(text: str) -> Value:
    """The time that a literal tells.

    Raises:
        ValueError: it tells none.

    """
    microseconds = int(iso_times([text])[0])
    if microseconds == UNREADABLE:
        raise ValueError(f"'{text}' is no time; write it as '2025-01-31T09:30:00'")
    time = (_EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=None)
    return Value(pl.lit(time, TIMESTAMP), Kind.TIME)


def _whole(value: Value, low: int, high: int) -> tuple[Value, pl.Expr | None]:
    if value.kind is Kind.TEXT:
        read = value.expr.cast(pl.Int64, strict=False)
        right = value.expr.str.contains(_WHOLE_TEXT) & (read >= low) & (read <= high)
        return Value(read, Kind.WHOLE, low, high), ~right.fill_null(value=False) & value.expr.is_not_null()
    if value.kind is Kind.NUMBER:
        number = finite(value).expr
        read = number.cast(pl.Int64, strict=False)
        wrong = number.is_not_null() & ~((read >= low) & (read <= high)).fill_null(value=False)
        return Value(read, Kind.WHOLE, low, high), wrong
    if value.kind not in NUMERIC:
        raise _NoCast
    whole = to_whole(value)
    if low <= whole.low and whole.high <= high:
        return whole, None
    wrong = (whole.expr < low) | (whole.expr > high)
    return Value(whole.expr, Kind.WHOLE, max(low, whole.low), min(high, whole.high)), wrong.fill_null(value=False)


def _time(value: Value, kind: Kind, failures: Failures) -> tuple[Value, pl.Expr | None]:
    wrong = None
    if isinstance(value.constant, str):
        value = time_of(value.constant)
    elif value.kind is Kind.TEXT:
        read = value.expr.map_batches(_read_times, return_dtype=TIMESTAMP)
        wrong = value.expr.is_not_null() & read.is_null()
        value = Value(read, Kind.TIME)
    if value.kind not in {Kind.TIME, Kind.DATE}:
        raise _NoCast
    if kind is Kind.TIME:
        return convert(value, Kind.TIME, failures), wrong
    return Value(value.expr.cast(DTYPES[Kind.DATE]), Kind.DATE), wrong


def _read_times(texts: pl.Series) -> pl.Series:
    """Times of texts, by the grammar of the time column; null where a text is none."""
    times = iso_times(texts.fill_null("").to_list())
    return pl.Series(times).replace(UNREADABLE, None).cast(TIMESTAMP)


def _hint(kind: Kind, to: Kind) -> str:
    if kind in {Kind.TIME, Kind.DURATION, Kind.DATE}:
        return "; write EXTRACT(EPOCH FROM ...), or another part of it"
    if kind is Kind.TEXT and to is Kind.TRUTH:
        return "; compare it, as in x = 'true'"
    return ""

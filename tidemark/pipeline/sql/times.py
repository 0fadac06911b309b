"""EXTRACT and INTERVAL: parts of times as whole numbers of 64 bits, seconds of durations as float64."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import polars as pl
from sqlglot import exp

from tidemark.pipeline.sql.values import Failures, Kind, Value, convert, divided

_WHOLE_PARTS: Final[dict[str, tuple[Callable[[pl.Expr], pl.Expr], int, int]]] = {
    "YEAR": (lambda t: t.dt.year(), -300_000, 300_000),
    "ISOYEAR": (lambda t: t.dt.iso_year(), -300_000, 300_000),
    "DECADE": (lambda t: t.dt.year().cast(pl.Int64) // 10, -30_000, 30_000),
    "CENTURY": (lambda t: (t.dt.year().cast(pl.Int64) + 99) // 100, -3_000, 3_000),
    "MILLENNIUM": (lambda t: (t.dt.year().cast(pl.Int64) + 999) // 1_000, -300, 300),
    "QUARTER": (lambda t: t.dt.quarter(), 1, 4),
    "MONTH": (lambda t: t.dt.month(), 1, 12),
    "WEEK": (lambda t: t.dt.week(), 1, 53),
    "DAY": (lambda t: t.dt.day(), 1, 31),
    "DOY": (lambda t: t.dt.ordinal_day(), 1, 366),
    "ISODOW": (lambda t: t.dt.weekday(), 1, 7),
    "DOW": (lambda t: t.dt.weekday().cast(pl.Int64) % 7, 0, 6),
    "HOUR": (lambda t: t.dt.hour(), 0, 23),
    "MINUTE": (lambda t: t.dt.minute(), 0, 59),
    "SECOND": (lambda t: t.dt.second(), 0, 59),
}
_SCALES: Final = {"MILLISECOND": 1e3, "MICROSECOND": 1.0, "EPOCH": 1e6}
_ALIASES: Final = {
    "DAYOFWEEK": "DOW",
    "DAYOFYEAR": "DOY",
    "WEEKDAY": "ISODOW",
    "DAYOFMONTH": "DAY",
    "MON": "MONTH",
    "MIN": "MINUTE",
    "SEC": "SECOND",
}
_UNITS: Final = {
    "MICROSECOND": timedelta(microseconds=1),
    "MILLISECOND": timedelta(milliseconds=1),
    "SECOND": timedelta(seconds=1),
    "MINUTE": timedelta(minutes=1),
    "HOUR": timedelta(hours=1),
    "DAY": timedelta(days=1),
    "WEEK": timedelta(weeks=1),
}
PARTS: Final = frozenset({*_WHOLE_PARTS, *_SCALES})
"""What EXTRACT knows."""


def extract(part: str, value: Value, failures: Failures) -> Value:
    """`EXTRACT(part FROM value)`.

    SECOND is the whole second; MILLISECOND and MICROSECOND are of the minute, as in PostgreSQL; EPOCH is seconds
    with their fraction. Of a duration there is EPOCH alone.

    Raises:
        ValueError: there is no such part.

    """
    name = part.upper()
    name = name if name in PARTS else name.removesuffix("S")
    name = _ALIASES.get(name, name)
    if name not in PARTS:
        raise ValueError(f"EXTRACT knows no '{part}'; known are {', '.join(sorted(PARTS))}")
    if value.kind is Kind.DURATION:
        if name != "EPOCH":
            raise ValueError(f"of a duration there is no {name}; divide EXTRACT(EPOCH FROM ...), which is in seconds")
        return Value(divided(value.expr.cast(pl.Int64).cast(pl.Float64), 1e6), Kind.NUMBER)
    if value.kind not in {Kind.TIME, Kind.DATE, Kind.NULL}:
        raise ValueError(f"EXTRACT is of a time, and got {value.kind.value}")
    time = convert(value, Kind.TIME, failures).expr
    if name in _WHOLE_PARTS:
        compute, low, high = _WHOLE_PARTS[name]
        return Value(compute(time).cast(pl.Int64), Kind.WHOLE, low, high)
    microseconds = time.cast(pl.Int64)
    if name != "EPOCH":
        microseconds = microseconds % 60_000_000
    return Value(divided(microseconds.cast(pl.Float64), _SCALES[name]), Kind.NUMBER)


def interval(node: exp.Interval) -> Value:
    """`INTERVAL '90 minutes'`.

    Raises:
        ValueError: it can't be read, or is of months, which differ in length.

    """
    amount, unit = node.this, node.args.get("unit")
    text = f"{amount.this if amount is not None else ''}"
    name = f"{unit.this if unit is not None else ''}".upper()
    name = name if name in _UNITS else name.removesuffix("S")
    if not re.fullmatch(r"[+-]?\d{1,9}", text) or name not in _UNITS:
        raise ValueError(f"INTERVAL can't be read; write a number and one of {', '.join(_UNITS)}, as '90 minutes'")
    try:
        length = int(text) * _UNITS[name]
    except OverflowError:
        length = timedelta.max
    if abs(length) > timedelta(days=1_000_000):
        raise ValueError("INTERVAL is longer than a million days")
    return Value(pl.lit(length, pl.Duration("us")), Kind.DURATION)

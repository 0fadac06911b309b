"""Arithmetic: exact on whole numbers, IEEE 754 on float64; an overflow refuses its row instead of wrapping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.pipeline.sql.values import (
    HIGHEST,
    LOWEST,
    NUMERIC,
    TIMESTAMP,
    Failures,
    Kind,
    Value,
    by_numpy,
    convert,
    literal,
    to_number,
    to_whole,
)

_DURATION: Final = pl.Duration("us")
_OVERFLOW: Final = "does not fit into a whole number of 64 bits"


def whole(exact: Callable[..., pl.Expr], parts: Sequence[Value], low: int, high: int, failures: Failures) -> Value:
    """Whole number that `exact` computes of parts, checked where its bounds leave 64 bits."""
    if low >= LOWEST and high <= HIGHEST:
        return Value(exact(*(part.expr for part in parts)), Kind.WHOLE, low, high)
    wide = exact(*(part.expr.cast(pl.Int128) for part in parts))
    narrow = wide.cast(pl.Int64, strict=False)
    failures.add(wide.is_not_null() & narrow.is_null(), _OVERFLOW, wide)
    return Value(narrow, Kind.WHOLE, max(low, LOWEST), min(high, HIGHEST))


def add(a: Value, b: Value, failures: Failures) -> Value:
    """`a + b`; of a time and a duration a time."""
    kinds = {a.kind, b.kind}
    if Kind.DURATION in kinds and kinds & {Kind.TIME, Kind.DATE, Kind.DURATION}:
        a, b = (convert(part, Kind.TIME, failures) if part.kind is Kind.DATE else part for part in (a, b))
        return _of_times(a.expr.cast(pl.Int64) + b.expr.cast(pl.Int64), kinds)
    _numeric("+", a, b)
    if Kind.NUMBER in kinds:
        x, y = to_number(a, failures), to_number(b, failures)
        return Value(x.expr + y.expr, Kind.NUMBER, finite=False, full=x.full or y.full)
    x, y = _wholes(a, b)
    return whole(lambda p, q: p + q, (x, y), x.low + y.low, x.high + y.high, failures)


def subtract(a: Value, b: Value, failures: Failures) -> Value:
    """`a - b`; of two times a duration."""
    kinds = {a.kind, b.kind}
    if kinds <= {Kind.TIME, Kind.DATE}:
        x, y = convert(a, Kind.TIME, failures), convert(b, Kind.TIME, failures)
        return Value(x.expr - y.expr, Kind.DURATION)
    if b.kind is Kind.DURATION and a.kind in {Kind.TIME, Kind.DATE, Kind.DURATION}:
        first = convert(a, Kind.TIME, failures) if a.kind is Kind.DATE else a
        return _of_times(first.expr.cast(pl.Int64) - b.expr.cast(pl.Int64), kinds)
    _numeric("-", a, b)
    if Kind.NUMBER in kinds:
        x, y = to_number(a, failures), to_number(b, failures)
        return Value(x.expr - y.expr, Kind.NUMBER, finite=False, full=x.full or y.full)
    x, y = _wholes(a, b)
    return whole(lambda p, q: p - q, (x, y), x.low - y.high, x.high - y.low, failures)


def multiply(a: Value, b: Value, failures: Failures) -> Value:
    """`a * b`."""
    _numeric("*", a, b)
    if Kind.NUMBER in {a.kind, b.kind}:
        x, y = to_number(a, failures), to_number(b, failures)
        return Value(x.expr * y.expr, Kind.NUMBER, finite=False, full=x.full or y.full)
    x, y = _wholes(a, b)
    corners = [p * q for p in (x.low, x.high) for q in (y.low, y.high)]
    return whole(lambda p, q: p * q, (x, y), min(corners), max(corners), failures)


def divide(a: Value, b: Value, failures: Failures) -> Value:
    """`a / b`: always float64; NULL by zero."""
    _numeric("/", a, b)
    x, y = to_number(a, failures), to_number(b, failures)
    if y.finite and y.full:
        return Value(x.expr / y.expr, Kind.NUMBER, finite=False, full=True)
    return Value(by_numpy(_quotient_of, x.expr, y.expr), Kind.NUMBER, full=x.full or y.full)


def quotient(a: Value, b: Value, failures: Failures) -> Value:
    """`a // b`, `a DIV b`: the quotient cut towards zero; NULL by zero. Whole of whole numbers."""
    _numeric("//", a, b)
    if Kind.NUMBER in {a.kind, b.kind}:
        return _of_floats(_cut_of, a, b, failures)
    x, y = _wholes(a, b)
    smallest, largest = min(x.low, -x.high), max(x.high, -x.low)
    if largest > HIGHEST:
        failures.add((x.expr == LOWEST) & (y.expr == -1), f"// -1 {_OVERFLOW}", x.expr)
    return Value(_by_integers(_cut, x.expr, y.expr), Kind.WHOLE, max(smallest, LOWEST), min(largest, HIGHEST))


def remainder(a: Value, b: Value, failures: Failures) -> Value:
    """`a % b`, `MOD(a, b)`: what `//` leaves, with the sign of `a`; NULL by zero; exact for float64 too."""
    _numeric("%", a, b)
    if Kind.NUMBER in {a.kind, b.kind}:
        return _of_floats(_rest_of, a, b, failures)
    x, y = _wholes(a, b)
    most = max(abs(y.low), abs(y.high)) - 1
    low, high = (0 if x.low >= 0 else -most), (0 if x.high <= 0 else most)
    remainder_of = _by_integers(np.fmod, x.expr, y.expr)
    if x.low == LOWEST and y.low <= -1 <= y.high:
        remainder_of = pl.coalesce(remainder_of, pl.when((x.expr == LOWEST) & (y.expr == -1)).then(0))
    return Value(remainder_of, Kind.WHOLE, max(low, LOWEST), min(high, HIGHEST))


def _of_floats(compute: Callable[..., NDArray[np.float64]], a: Value, b: Value, failures: Failures) -> Value:
    x, y = to_number(a, failures), to_number(b, failures)
    return Value(by_numpy(compute, x.expr, y.expr), Kind.NUMBER, full=x.full or y.full)


def negate(a: Value, failures: Failures) -> Value:
    """`-a`."""
    if a.kind is Kind.DURATION:
        return Value(-a.expr, Kind.DURATION)
    if a.kind is Kind.NUMBER:
        if isinstance(a.constant, float):
            return literal(-a.constant, Kind.NUMBER)
        return Value(-a.expr, Kind.NUMBER, finite=a.finite)
    _numeric("-", a, a)
    x = to_whole(_no_null(a))
    if isinstance(x.constant, int):
        return literal(-x.constant, Kind.WHOLE)
    return whole(lambda p: p * -1, (x,), -x.high, -x.low, failures)


def absolute(a: Value, failures: Failures) -> Value:
    """`ABS(a)`."""
    _numeric("ABS", a, a)
    if a.kind is Kind.NUMBER:
        return Value(a.expr.abs(), Kind.NUMBER, finite=a.finite)
    x = to_whole(_no_null(a))
    low = 0 if x.low <= 0 <= x.high else min(abs(x.low), abs(x.high))
    return whole(lambda p: pl.when(p < 0).then(p * -1).otherwise(p), (x,), low, max(abs(x.low), abs(x.high)), failures)


def bits(operator: str, a: Value, b: Value) -> Value:
    """`a & b`, `a | b` and XOR of whole numbers, as two's complement of 64 bits."""
    x, y = _no_null(a), _no_null(b)
    if x.kind is not Kind.WHOLE or y.kind is not Kind.WHOLE:
        raise ValueError(f"'{operator}' is of whole numbers, and got {x.kind.value} and {y.kind.value}")
    expr = {"&": x.expr & y.expr, "|": x.expr | y.expr, "XOR": x.expr ^ y.expr}[operator]
    return Value(expr, Kind.WHOLE)


def _of_times(microseconds: pl.Expr, kinds: set[Kind]) -> Value:
    if kinds == {Kind.DURATION}:
        return Value(microseconds.cast(_DURATION), Kind.DURATION)
    return Value(microseconds.cast(TIMESTAMP), Kind.TIME)


def _numeric(operator: str, a: Value, b: Value) -> None:
    for part in (a, b):
        if part.kind is not Kind.NULL and part.kind not in NUMERIC:
            hint = "; EXTRACT(EPOCH FROM ...) gives seconds" if part.kind in {Kind.TIME, Kind.DURATION} else ""
            raise ValueError(f"'{operator}' is of numbers, and got {part.kind.value}{hint}")


def _no_null(value: Value) -> Value:
    return literal(None, Kind.WHOLE) if value.kind is Kind.NULL else value


def _wholes(a: Value, b: Value) -> tuple[Value, Value]:
    return to_whole(_no_null(a)), to_whole(_no_null(b))


def _quotient_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """X / y, undefined where y is not finite: it stands for NULL then, and IEEE 754 would give 0."""
    return np.where(np.isfinite(y), x / y, np.nan)


def _cut_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    quotient: NDArray[np.float64] = np.where(np.isfinite(y), np.rint((x - np.fmod(x, y)) / y), np.nan)
    return quotient


def _rest_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """C's fmod, which is exact: that of Polars rounds on the way, and has the sign of the divisor."""
    return np.where(np.isfinite(y), np.fmod(x, y), np.nan)


def _by_integers(compute: Callable[..., NDArray[np.int64]], a: pl.Expr, b: pl.Expr) -> pl.Expr:
    """A whole number that numpy computes of two; NULL where one is, by 0, and for the one quotient that overflows."""

    def column(columns: Sequence[pl.Series]) -> pl.Series:
        length = min(map(len, columns)) and max(map(len, columns))
        x, y = (np.broadcast_to(part.fill_null(0).to_numpy(), length) for part in columns)
        present = (y != 0) & ~((x == LOWEST) & (y == -1))
        for part in columns:
            present = present & part.is_not_null().to_numpy()
        result = compute(np.where(present, x, 0), np.where(present, y, 1))
        return pl.select(pl.when(pl.Series(present)).then(pl.Series(result, dtype=pl.Int64))).to_series()

    return pl.map_batches([a, b], column, return_dtype=pl.Int64)


def _cut(x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    floored = x // y
    quotient: NDArray[np.int64] = floored + ((floored < 0) & (floored * y != x))
    return quotient

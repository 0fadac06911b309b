"""Typed parts of a compiled expression, and the one way from each type to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

LOWEST, HIGHEST = -(2**63), 2**63 - 1
EXACT: Final = 2**53
"""Up to here float64 holds every whole number."""
TIMESTAMP: Final = pl.Datetime("us")


class Kind(Enum):
    """Type of a value. There are no others: no 8, 16 or 32 bits, nothing unsigned, no decimals."""

    WHOLE = "a whole number"
    NUMBER = "a number"
    TRUTH = "true or false"
    TEXT = "text"
    TIME = "a time"
    DATE = "a date"
    DURATION = "a duration"
    NULL = "NULL"


DTYPES: Final[dict[Kind, pl.DataType]] = {
    Kind.WHOLE: pl.Int64(),
    Kind.NUMBER: pl.Float64(),
    Kind.TRUTH: pl.Boolean(),
    Kind.TEXT: pl.String(),
    Kind.TIME: TIMESTAMP,
    Kind.DATE: pl.Date(),
    Kind.DURATION: pl.Duration("us"),
    Kind.NULL: pl.Null(),
}
NUMERIC: Final = frozenset({Kind.WHOLE, Kind.NUMBER, Kind.TRUTH})


@dataclass(frozen=True, slots=True)
class Value:
    """A part of an expression.

    low, high: bounds of a whole number, so that what can't overflow need not be checked.  finite: whether a number
    is certainly finite or NULL; NULL stands for what is not, as soon as anything but arithmetic looks at it.
    constant: the value of a literal.  full: whether a number is certainly a column as long as the frame; what may be
    one value for all rows is divided by numpy.
    """

    expr: pl.Expr
    kind: Kind
    low: int = LOWEST
    high: int = HIGHEST
    finite: bool = True
    constant: str | int | float | bool | None = None
    full: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Rows on which an expression has no right value. `when`: which they are.  `shown`: the value at fault."""

    when: pl.Expr
    reason: str
    shown: pl.Expr


class Failures:
    """Failures of the expression that is being compiled; `guard`: rows on which the present part counts."""

    def __init__(self) -> None:
        self.found: list[Failure] = []
        self.guard: pl.Expr | None = None

    def add(self, when: pl.Expr, reason: str, shown: pl.Expr) -> None:
        """Refuse the rows on which `when` holds and the present part counts."""
        self.found.append(Failure(when if self.guard is None else self.guard & when, reason, shown))


def kind_of(dtype: pl.DataType) -> Kind:
    """Kind of a column's type.

    Raises:
        ValueError: expressions can't read such a column.

    """
    for kind, known in DTYPES.items():
        if dtype == known:
            return kind
    raise ValueError(f"a column of type {dtype} can't be read in SQL")


def literal(value: str | float | bool | None, kind: Kind) -> Value:  # noqa: FBT001 - a literal may be a truth
    """A constant.

    Raises:
        ValueError: a whole number does not fit into 64 bits.

    """
    if kind is not Kind.WHOLE or value is None:
        return Value(pl.lit(value, DTYPES[kind]), kind, constant=value)
    if not LOWEST <= int(value) <= HIGHEST:
        raise ValueError(f"{value} never fits into a whole number of 64 bits")
    return Value(pl.lit(value, DTYPES[kind]), kind, int(value), int(value), constant=value)


def finite(value: Value) -> Value:
    """A number that is NULL where it is infinite or undefined; anything else as it is."""
    if value.finite or value.kind is not Kind.NUMBER:
        return value
    return replace(value, expr=by_numpy(lambda x: x, value.expr), finite=True)


def to_whole(value: Value) -> Value:
    """A truth as 0 or 1, a whole number as it is."""
    if value.kind is Kind.TRUTH:
        return Value(value.expr.cast(pl.Int64), Kind.WHOLE, 0, 1, full=value.full)
    return value


def to_number(value: Value, failures: Failures) -> Value:
    """As float64; a row whose whole number float64 might not hold is refused."""
    if value.kind is Kind.NUMBER:
        return value
    if value.kind is Kind.NULL:
        return literal(None, Kind.NUMBER)
    whole = to_whole(value)
    if whole.constant is not None:
        if abs(int(whole.constant)) > EXACT:
            raise ValueError(f"{whole.constant} is beyond 2^53, where float64 does not hold every whole number")
        return literal(float(whole.constant), Kind.NUMBER)
    if whole.low < -EXACT or whole.high > EXACT:
        beyond = (whole.expr > EXACT) | (whole.expr < -EXACT)
        failures.add(beyond, "is beyond 2^53, where float64 does not hold every whole number", whole.expr)
    return Value(whole.expr.cast(pl.Float64), Kind.NUMBER, full=value.full)


def by_numpy(compute: Callable[..., NDArray[np.float64]], *parts: pl.Expr) -> pl.Expr:
    """A float64 column that numpy computes of others; NULL where one is, and where the result is not finite.

    For what Polars would have to evaluate twice, or computes in other bits for a row that is alone in its batch.
    """

    def column(columns: Sequence[pl.Series]) -> pl.Series:
        length = min(map(len, columns)) and max(map(len, columns))
        arrays = (np.broadcast_to(part.cast(pl.Float64).to_numpy(), length) for part in columns)
        with np.errstate(all="ignore"):
            result = compute(*arrays)
        right = np.isfinite(result)
        return pl.Series(result if right.all() else np.where(right, result, np.nan), nan_to_null=True)

    return pl.map_batches(list(parts), column, return_dtype=pl.Float64)


def divided(dividend: pl.Expr, divisor: float) -> pl.Expr:
    """Quotient by a constant, rounded once: Polars multiplies by the reciprocal where a batch has several rows."""
    return by_numpy(lambda x: x / divisor, dividend)


def common_kind(kinds: list[Kind]) -> Kind:
    """The one kind that all can become without another meaning.

    Raises:
        ValueError: there is none.

    """
    present = set(kinds) - {Kind.NULL}
    if not present:
        return Kind.NULL
    if len(present) == 1:
        return present.pop()
    if present <= NUMERIC:
        return Kind.NUMBER if Kind.NUMBER in present else Kind.WHOLE
    if present == {Kind.TIME, Kind.DATE}:
        return Kind.TIME
    raise ValueError(f"it mixes {' with '.join(sorted(kind.value for kind in present))}; CAST one of them")


def convert(value: Value, kind: Kind, failures: Failures) -> Value:
    """The value as another kind that `common_kind` gave; numbers are finite then."""
    if value.kind is Kind.NULL:
        return literal(None, kind)
    if kind is Kind.NUMBER:
        return finite(to_number(value, failures))
    if kind is Kind.WHOLE:
        return to_whole(value)
    if kind is Kind.TIME and value.kind is Kind.DATE:
        return Value(value.expr.cast(TIMESTAMP), Kind.TIME)
    return value

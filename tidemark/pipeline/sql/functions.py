"""The functions of SQL that expressions may call, each with its types written down."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from tidemark.pipeline.sql import arithmetic, texts, times
from tidemark.pipeline.sql.casts import as_text
from tidemark.pipeline.sql.values import (
    DTYPES,
    Failures,
    Kind,
    Value,
    by_numpy,
    common_kind,
    convert,
    finite,
    to_number,
    to_whole,
)

Function: TypeAlias = Callable[[Sequence[Value], Failures], Value]
ANY: Final = 1_000

_WORDS: Final = re.compile(r"[A-Z_]+")
AGGREGATES: Final = frozenset(
    _WORDS.findall(
        "ARRAY_AGG AVG COUNT CORR COVAR_POP COVAR_SAMP CUME_DIST DENSE_RANK FIRST FIRST_VALUE LAG LAST LAST_VALUE LEAD "
        "MAX MEAN MEDIAN MIN MODE NTILE PERCENT_RANK QUANTILE QUANTILE_CONT QUANTILE_DISC RANK ROW_NUMBER STDDEV "
        "STDDEV_POP STDDEV_SAMP STDEV STRING_AGG SUM UNNEST VAR VARIANCE VAR_POP VAR_SAMP"
    )
)
"""Functions of several rows."""
CLOCKS: Final = frozenset(
    _WORDS.findall(
        "NOW CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP GETDATE SYSDATE TODAY "
        "CLOCK_TIMESTAMP STATEMENT_TIMESTAMP TRANSACTION_TIMESTAMP"
    )
)
"""Functions of the present time."""


def _of_number(compute: Callable[[pl.Expr], pl.Expr], *, total: bool = False) -> tuple[int, int, Function]:
    """A function of float64; `total`: it is finite for every finite number."""

    def call(values: Sequence[Value], failures: Failures) -> Value:
        number = finite(to_number(_numeric(values[0]), failures))
        return Value(compute(number.expr), Kind.NUMBER, finite=total)

    return 1, 1, call


def _of_two(compute: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> tuple[int, int, Function]:
    def call(values: Sequence[Value], failures: Failures) -> Value:
        a, b = (finite(to_number(_numeric(value), failures)) for value in values)
        return Value(compute(a.expr, b.expr), Kind.NUMBER, finite=False)

    return 2, 2, call


def _of_text(name: str, compute: Callable[[pl.Expr], pl.Expr]) -> tuple[int, int, Function]:
    return 1, 1, lambda values, _: Value(compute(texts.text(values[0], name)), Kind.TEXT)


def _length(name: str, compute: Callable[[pl.Expr], pl.Expr], scale: int = 1) -> tuple[int, int, Function]:
    def call(values: Sequence[Value], _: Failures) -> Value:
        length = compute(texts.text(values[0], name)).cast(pl.Int64) * scale
        return Value(length, Kind.WHOLE, 0, texts.LONGEST * scale)

    return 1, 1, call


def _part(name: str) -> tuple[int, int, Function]:
    return 1, 1, lambda values, failures: times.extract(name, values[0], failures)


def _numeric(value: Value) -> Value:
    if value.kind not in {Kind.WHOLE, Kind.NUMBER, Kind.TRUTH, Kind.NULL}:
        raise ValueError(f"it needs a number, and got {value.kind.value}")
    return value


def _count(value: Value) -> pl.Expr:
    if value.kind is not Kind.WHOLE:
        raise ValueError(f"it needs a whole number, and got {value.kind.value}")
    return value.expr


def _rounded(values: Sequence[Value], failures: Failures) -> Value:
    digits = values[1].constant if len(values) > 1 else 0
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= 15:
        raise ValueError("ROUND needs its digits written out, from 0 to 15")
    if _numeric(values[0]).kind in {Kind.WHOLE, Kind.TRUTH}:
        return to_whole(values[0])
    number = to_number(values[0], failures)
    return Value(number.expr.round(digits), Kind.NUMBER, finite=False)


def _to_integral(compute: Callable[[pl.Expr], pl.Expr]) -> tuple[int, int, Function]:
    def call(values: Sequence[Value], failures: Failures) -> Value:
        if _numeric(values[0]).kind in {Kind.WHOLE, Kind.TRUTH}:
            return to_whole(values[0])
        number = to_number(values[0], failures)
        return replace(number, expr=compute(number.expr), constant=None)

    return 1, 1, call


def _sign(values: Sequence[Value], failures: Failures) -> Value:
    if _numeric(values[0]).kind in {Kind.WHOLE, Kind.TRUTH}:
        return Value(to_whole(values[0]).expr.sign().cast(pl.Int64), Kind.WHOLE, -1, 1)
    return Value(finite(to_number(values[0], failures)).expr.sign(), Kind.NUMBER)


def _extreme(combine: Callable[..., pl.Expr]) -> tuple[int, int, Function]:
    """GREATEST and LEAST: NULL is passed over, as in PostgreSQL."""

    def call(values: Sequence[Value], failures: Failures) -> Value:
        kind = common_kind([value.kind for value in values])
        if kind in {Kind.TEXT, Kind.NULL}:
            raise ValueError("it needs numbers or times")
        same = [convert(value, kind, failures) for value in values if value.kind is not Kind.NULL]
        combined = combine(*(value.expr for value in same)).cast(DTYPES[kind])
        return Value(combined, kind, min(value.low for value in same), max(value.high for value in same))

    return 1, ANY, call


def _date_part(values: Sequence[Value], failures: Failures) -> Value:
    if not isinstance(values[0].constant, str):
        raise ValueError("DATE_PART needs the part in quotes, as in DATE_PART('hour', time)")  # noqa: TRY004 - a setting
    return times.extract(values[0].constant, values[1], failures)


def _substring(values: Sequence[Value], _: Failures) -> Value:
    length = _count(values[2]) if len(values) > 2 else None
    return texts.part(texts.text(values[0], "SUBSTR"), _count(values[1]), length)


def _concat(values: Sequence[Value], _: Failures) -> Value:
    """CONCAT: NULL is passed over, as in PostgreSQL."""
    return Value(pl.concat_str([as_text(value).expr.fill_null("") for value in values]), Kind.TEXT)


def _replace(values: Sequence[Value], _: Failures) -> Value:
    old, new = values[1].constant, values[2].constant
    if not isinstance(old, str) or not isinstance(new, str) or not old:
        raise ValueError("REPLACE needs what it replaces, and by what, in quotes")
    return Value(texts.text(values[0], "REPLACE").str.replace_all(old, new, literal=True), Kind.TEXT)


def _trim(side: str) -> tuple[int, int, Function]:
    def call(values: Sequence[Value], _: Failures) -> Value:
        characters = values[1].constant if len(values) > 1 else None
        if len(values) > 1 and not isinstance(characters, str):
            raise ValueError("it needs its characters in quotes")
        return texts.trim(texts.text(values[0], "TRIM"), characters, side)

    return 1, 2, call


def _has(name: str, compute: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> tuple[int, int, Function]:
    def call(values: Sequence[Value], _: Failures) -> Value:
        return Value(compute(texts.text(values[0], name), texts.text(values[1], name)), Kind.TRUTH)

    return 2, 2, call


def _ends(compute: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> tuple[int, int, Function]:
    return 2, 2, lambda values, _: Value(compute(texts.text(values[0], "LEFT"), _count(values[1])), Kind.TEXT)


_DEGREES: Final = 180 / math.pi
_RADIANS: Final = math.pi / 180

FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    "ABS": (1, 1, lambda values, failures: arithmetic.absolute(values[0], failures)),
    "SIGN": (1, 1, _sign),
    "ROUND": (1, 2, _rounded),
    "CEIL": _to_integral(lambda x: x.ceil()),
    "FLOOR": _to_integral(lambda x: x.floor()),
    "TRUNC": _to_integral(lambda x: x.truncate()),
    "SQRT": _of_number(lambda x: x.sqrt()),
    "CBRT": _of_number(lambda x: x.cbrt(), total=True),
    "EXP": _of_number(lambda x: x.exp()),
    "LN": _of_number(lambda x: x.log()),
    "LOG1P": _of_number(lambda x: x.log1p()),
    "LOG2": _of_number(lambda x: by_numpy(np.log2, x), total=True),
    # Polars's LOG10(1000) is below 3, so FLOOR would make 2 of it.
    "LOG10": _of_number(lambda x: by_numpy(np.log10, x), total=True),
    "LOG": _of_two(lambda x, base: by_numpy(lambda a, b: np.log(a) / np.log(b), x, base)),
    "POWER": _of_two(lambda x, y: x.pow(y)),
    "SIN": _of_number(lambda x: x.sin(), total=True),
    "COS": _of_number(lambda x: x.cos(), total=True),
    "TAN": _of_number(lambda x: x.tan()),
    "COT": _of_number(lambda x: x.cot()),
    "ASIN": _of_number(lambda x: x.arcsin()),
    "ACOS": _of_number(lambda x: x.arccos()),
    "ATAN": _of_number(lambda x: x.arctan(), total=True),
    "ATAN2": _of_two(pl.arctan2),
    "DEGREES": _of_number(lambda x: x * _DEGREES),
    "RADIANS": _of_number(lambda x: x * _RADIANS, total=True),
    "PI": (0, 0, lambda _, __: Value(pl.lit(math.pi), Kind.NUMBER)),
    "MOD": (2, 2, lambda values, failures: arithmetic.remainder(values[0], values[1], failures)),
    "DIV": (2, 2, lambda values, failures: arithmetic.quotient(values[0], values[1], failures)),
    "XOR": (2, 2, lambda values, _: arithmetic.bits("XOR", values[0], values[1])),
    "GREATEST": _extreme(pl.max_horizontal),
    "LEAST": _extreme(pl.min_horizontal),
    "DATE_PART": (2, 2, _date_part),
    **{name: _part(name) for name in ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")},
    "LENGTH": _length("LENGTH", lambda s: s.str.len_chars()),
    "OCTET_LENGTH": _length("OCTET_LENGTH", lambda s: s.str.len_bytes()),
    "BIT_LENGTH": _length("BIT_LENGTH", lambda s: s.str.len_bytes(), 8),
    "STRPOS": (2, 2, lambda v, _: texts.position(texts.text(v[0], "STRPOS"), texts.text(v[1], "STRPOS"))),
    "LOWER": _of_text("LOWER", lambda s: s.str.to_lowercase()),
    "UPPER": _of_text("UPPER", lambda s: s.str.to_uppercase()),
    "REVERSE": _of_text("REVERSE", lambda s: s.str.reverse()),
    "SUBSTR": (2, 3, _substring),
    "LEFT": _ends(lambda s, n: s.str.head(n.clip(-texts.LONGEST, texts.LONGEST))),
    "RIGHT": _ends(lambda s, n: s.str.tail(n.clip(-texts.LONGEST, texts.LONGEST))),
    "TRIM": _trim("BOTH"),
    "LTRIM": _trim("LEADING"),
    "RTRIM": _trim("TRAILING"),
    "REPLACE": (3, 3, _replace),
    "SPLIT_PART": (
        3,
        3,
        lambda v, _: texts.split_part(texts.text(v[0], "SPLIT_PART"), v[1].constant, v[2].constant),
    ),
    "CONCAT": (1, ANY, _concat),
    "STARTS_WITH": _has("STARTS_WITH", lambda s, t: s.str.starts_with(t)),
    "ENDS_WITH": _has("ENDS_WITH", lambda s, t: s.str.ends_with(t)),
    "REGEXP_LIKE": (2, 2, lambda v, _: texts.matches(texts.text(v[0], "REGEXP_LIKE"), v[1].constant)),
}
ALIASES: Final = {
    "CEILING": "CEIL",
    "TRUNCATE": "TRUNC",
    "POW": "POWER",
    "CHAR_LENGTH": "LENGTH",
    "CHARACTER_LENGTH": "LENGTH",
    "LCASE": "LOWER",
    "UCASE": "UPPER",
    "IFNULL": "COALESCE",
    "BTRIM": "TRIM",
    "SUBSTRING": "SUBSTR",
}
"""Other names of functions."""


def call(name: str, values: Sequence[Value], failures: Failures) -> Value:
    """What a function gives; `name` is in `FUNCTIONS`.

    Raises:
        ValueError: it is called with the wrong arguments.

    """
    least, most, function = FUNCTIONS[name]
    if not least <= len(values) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}" if most < ANY else f"{least} or more"
        raise ValueError(f"{name} takes {wanted} arguments, and got {len(values)}")
    try:
        return function(values, failures)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if name in text else f"{name}: {text}") from error

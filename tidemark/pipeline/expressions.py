"""Expressions of a pipeline file: SQL through Polars, or a named Python function; one row at a time.

Replays and restarts split a stream into other batches, so an expression may look at nothing but its own
row: an average over the batch, a lag or the present time would give other values each time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import cycle, islice
from typing import Final, TypeAlias

import polars as pl
from polars.exceptions import PolarsError

from tidemark.pipeline.model import Pipeline
from tidemark.pipeline.problem import first_line
from tidemark.pipeline.sql import compile_sql, parse_sql
from tidemark.pipeline.sql.values import EXACT, TIMESTAMP, Failure
from tidemark.runtime.suggestions import did_you_mean

TYPES: Final[Mapping[str, pl.DataType]] = {
    "string": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
}
Schema: TypeAlias = dict[str, pl.DataType]
Function: TypeAlias = Callable[[pl.DataFrame], object]
"""A user's function: columns in, a `polars.Series` out, which is checked."""

_PROBE_ROWS: Final = 24
_SHOWN: Final = 60
_ROW: Final = "\N{PILCROW SIGN}row"
"""No feature is called so: their names are identifiers."""
_EPOCH: Final = datetime(2024, 2, 28, 21, 59, 58)  # noqa: DTZ001 - UTC without a zone, as in expressions


class EvaluationError(Exception):
    """An expression fails on the rows that it was given."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that is ready to be evaluated. Exactly one of `sql` and `function` is set."""

    name: str
    sql: pl.Expr | None
    function: Function | None
    columns: tuple[str, ...]
    """Columns it reads; a function may read them all."""
    failures: tuple[Failure, ...] = ()
    """Rows on which SQL has no right value."""
    last: pl.Expr | None = None
    """What is done to the result, which is a column of this name by then."""
    source: tuple[str, bool] | None = None
    """The SQL it was compiled from, and whether its whole numbers were made float64; None of a function."""

    def then(self, step: Callable[[pl.Expr], pl.Expr]) -> Expression:
        """The expression with one more step on its result."""
        return replace(self, last=step(pl.col(self.name) if self.last is None else self.last).alias(self.name))


def compile_expression(
    name: str, sql: str | None, function: str | None, schema: Schema, *, number: bool = False
) -> Expression:
    """Expression called `name` over frames of `schema`; without SQL and function, the column of that name.

    Args:
        name: what it is called.
        sql: SQL, in the terms of `tidemark.pipeline.sql`.
        function: `module:function`.
        schema: types of the columns.
        number: whether a whole number is made float64, exactly or not at all.

    Returns:
        The expression.

    Raises:
        ValueError: it can't be parsed or imported, or reads unknown columns; the message says what to do.

    """
    if function is not None:
        return Expression(name, None, import_function(function), tuple(schema))
    written = f'"{name}"' if sql is None else sql
    parsed = parse_sql(written)
    for column in parsed.columns:
        if column not in schema:
            raise ValueError(f"there is no column '{column}'; {did_you_mean(column, schema)}")
    compiled = compile_sql(parsed, schema, number=number)
    if not parsed.columns:
        raise ValueError("it reads no column, so it is the same for every row; remove it")
    expr = compiled.expr.alias(name)
    return Expression(name, expr, None, parsed.columns, compiled.failures, source=(written, number))


def import_function(name: str) -> Function:
    """The function that `module:function` names.

    Raises:
        ValueError: the name, the module or the function is wrong.

    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise ValueError("write a function as 'module:function'")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"its module can't be imported ({error}); install it or set PYTHONPATH") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        remedy = did_you_mean(attribute, known)
        raise ValueError(f"module '{module_name}' has no function '{attribute}'; {remedy}")  # noqa: TRY004 - a setting
    return function  # type: ignore[no-any-return]


def evaluate(expressions: Sequence[Expression], frame: pl.DataFrame) -> pl.DataFrame:
    """A column for each expression, in their order and as long as the frame.

    Raises:
        EvaluationError: an expression fails on some row.

    """
    computed = [e.sql for e in expressions if e.sql is not None]
    columns = _row_by_row(frame, computed) if computed else None
    _refuse_failures(expressions, frame)
    if len(computed) < len(expressions):
        called = pl.DataFrame([_call(e.name, e.function, frame) for e in expressions if e.function is not None])
        columns = called if columns is None else called.hstack(columns)
    if columns is None:
        return frame.select()
    if any(e.last is not None for e in expressions):
        return _row_by_row(columns, [pl.col(e.name) if e.last is None else e.last for e in expressions])
    return columns[[e.name for e in expressions]] if len(computed) < len(expressions) else columns


def _row_by_row(frame: pl.DataFrame, expressions: Sequence[pl.Expr]) -> pl.DataFrame:
    """As many values of each expression as there are rows.

    Polars 2.1 gives one value for all rows where every row of a batch takes the same constant branch, and nothing else
    is selected that has the length of the frame.
    """
    found = _select(frame, expressions)
    if len(found) == len(frame):
        return found
    return _select(frame, [pl.int_range(pl.len()).alias(_ROW), *expressions]).drop(_ROW)


def _select(frame: pl.DataFrame, expressions: Sequence[pl.Expr]) -> pl.DataFrame:
    try:
        return frame.select(expressions)
    except PolarsError as error:
        raise EvaluationError(first_line(error)) from error


def _refuse_failures(expressions: Sequence[Expression], frame: pl.DataFrame) -> None:
    """Raises EvaluationError, with the value at fault, where an expression has no right value on some row."""
    failing = [failure.when for expression in expressions for failure in expression.failures]
    if not failing or not len(frame) or not _select(frame, [pl.any_horizontal(failing).any()]).item():
        return
    for expression in expressions:
        for failure in expression.failures:
            shown = _select(frame, [failure.shown.alias("shown"), failure.when.alias("when")])
            wrong = shown.filter(pl.col("when"))
            if len(wrong):
                value = repr(wrong["shown"][0])
                value = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
                raise EvaluationError(f"{expression.name}: {value} {failure.reason}")


def _call(name: str, function: Function, frame: pl.DataFrame) -> pl.Series:
    if not len(frame):
        return pl.Series(name, [], dtype=pl.Null)
    try:
        result = function(frame)
    except Exception as error:  # a function of the user's may raise anything
        raise EvaluationError(f"{name}: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(result, pl.Series) or len(result) != len(frame):
        got = f"{type(result).__name__} of {len(result) if isinstance(result, pl.Series) else '?'}"
        raise EvaluationError(f"{name}: expected a polars.Series of {len(frame)} values, got {got}")
    if result.dtype.is_integer():
        wide = result.cast(pl.Int128)
        beyond = wide.filter((wide > EXACT) | (wide < -EXACT))
        if len(beyond):
            raise EvaluationError(f"{name}: {beyond[0]} is beyond 2^53, where float64 does not hold every whole number")
    return result.alias(name)


def check_expression(expression: Expression, schema: Schema) -> pl.DataType:
    """Type of what an expression gives, found by trying it on made-up rows, together and one by one.

    Raises:
        ValueError: it fails on every row, gives several rows for one, or looks at other rows.

    """
    if expression.source is None or expression.last is not None:
        return _tried(expression, schema)
    return _tried_sql(expression.name, *expression.source, tuple(schema.items()))


@lru_cache(maxsize=1_024)
def _tried_sql(name: str, sql: str, number: bool, columns: tuple[tuple[str, pl.DataType], ...]) -> pl.DataType:  # noqa: FBT001 - a key
    """What `_tried` says of SQL, which is the same each time: a start checks a file and then uses it."""
    schema = dict(columns)
    return _tried(compile_expression(name, sql, None, schema, number=number), schema)


def _tried(expression: Expression, schema: Schema) -> pl.DataType:
    probe = pl.DataFrame(
        {column: _probe_values(dtype, seed) for seed, (column, dtype) in enumerate(schema.items())}, schema=schema
    )
    if expression.sql is not None:
        try:
            probe.lazy().select(expression.sql).collect_schema()
        except PolarsError as error:
            raise ValueError(first_line(error)) from error
    alone = [_alone(expression, probe[row : row + 1]) for row in range(len(probe))]
    errors = [part for part in alone if isinstance(part, EvaluationError)]
    good = pl.Series([not isinstance(part, EvaluationError) for part in alone])
    if len(errors) == len(alone):
        raise ValueError(f"it fails on every row that was tried: {first_line(errors[0])}")
    rows = [part for part in alone if isinstance(part, pl.DataFrame)]
    tried = probe.filter(good)
    if any(len(part) != 1 for part in rows):
        raise ValueError("it gives several rows, or none, for one row")
    expected = pl.concat(rows)
    together = _together(expression, tried)
    if together is None or not together.equals(expected, null_equal=True):
        raise ValueError("it looks at other rows than its own; across rows only [[windows]] can be replayed")
    return expected.dtypes[0]


def columns_schema(pipeline: Pipeline) -> Schema:
    """Types of the decoded columns: as declared, but the time column, which is a timestamp."""
    schema = {name: TYPES[column.type] for name, column in pipeline.columns.items()}
    return {name: TIMESTAMP if name == pipeline.time.column else dtype for name, dtype in schema.items()}


def _alone(expression: Expression, row: pl.DataFrame) -> pl.DataFrame | EvaluationError:
    try:
        return evaluate([expression], row)
    except EvaluationError as error:
        return error


def _together(expression: Expression, rows: pl.DataFrame) -> pl.DataFrame | None:
    """All rows at once, in order and reversed; None where the order matters or the lengths differ."""
    try:
        forth, back = evaluate([expression], rows), evaluate([expression], rows.reverse())
    except EvaluationError:
        return None
    return forth if forth.equals(back.reverse(), null_equal=True) else None


def _probe_values(dtype: pl.DataType, seed: int) -> list[object]:
    """Values of a type with repeats, nulls and no order; each column in another rhythm."""
    values: list[object]
    if dtype == pl.String:
        values = ["12", "a", "Bc-3", "2024-05-06", "online", "12", "", "zz top", "7.5"]
    elif dtype == pl.Int64:
        values = [3, 1, 4, 1, 59, 26, -5, 0, 1_000_000]
    elif dtype == pl.Boolean:
        values = [True, False, True, True, False]
    elif dtype == TIMESTAMP:
        values = [_EPOCH + timedelta(hours=step * step * 5, microseconds=step) for step in (3, 1, 4, 2, 9, 6, 0, 8, 7)]
    else:
        values = [2.5, 0.25, 17.0, 1.0, 99.9, 0.0, 2.5, -3.0, 1e6]
    values = values[seed % len(values) :] + values[: seed % len(values)]
    values.insert(2 + seed % 3, None)
    return list(islice(cycle(values), _PROBE_ROWS))

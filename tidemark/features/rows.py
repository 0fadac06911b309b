"""Features that a row tells by itself: cleaning, expressions, categories, and what is derived from all features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import polars as pl

from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import (
    EvaluationError,
    Expression,
    Schema,
    check_expression,
    columns_schema,
    compile_expression,
    evaluate,
)
from tidemark.pipeline.sql import parse_sql
from tidemark.pipeline.sql.values import EXACT


class Cleaner:
    """The pipeline's cleaning expressions, in order, each seeing what those before it left."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.schema: Schema = columns_schema(pipeline)
        """Columns after cleaning."""
        self._expressions: list[Expression] = []
        for sql in pipeline.clean:
            expression = compile_expression(parse_sql(sql).output_name, sql, None, self.schema)
            self.schema[expression.name] = check_expression(expression, self.schema)
            self._expressions.append(expression)
        own = {feature.name for feature in pipeline.features}
        aggregated = dict.fromkeys(w.column for w in pipeline.windows if w.column is not None and w.column not in own)
        self._whole = [name for name in aggregated if self.schema[name] == pl.Int64]

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The cleaned columns.

        Raises:
            EvaluationError: an expression fails on some row, or a whole number that a window aggregates is beyond
                what float64 holds.

        """
        for expression in self._expressions:
            frame = frame.with_columns(evaluate([expression], frame))
        for name in self._whole:
            beyond = frame[name].filter((frame[name] > EXACT) | (frame[name] < -EXACT))
            if len(beyond):
                raise EvaluationError(
                    f"{name}: {beyond[0]} is beyond 2^53, where float64, which windows are of, "
                    "does not hold every whole number"
                )
        return frame


class RowFeatures:
    """The pipeline's `features`: cleaned columns to a float64 column for each."""

    def __init__(self, pipeline: Pipeline, schema: Schema) -> None:
        self.names = [feature.name for feature in pipeline.features]
        self._expressions = [
            compile_expression(f.name, f.sql, f.function, schema, number=True).then(
                _finite if f.categories is None else partial(_code, categories=f.categories)
            )
            for f in pipeline.features
        ]

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """(n, number of features), float64; NaN where missing, infinite or of no known category.

        Raises:
            EvaluationError: an expression fails on some row.

        """
        return evaluate(self._expressions, frame)


class DerivedFeatures:
    """The pipeline's `derived`: computed from all other features, and from those derived before."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.names = [derived.name for derived in pipeline.derived]
        known = pipeline.feature_names[: len(pipeline.features) + len(pipeline.windows)]
        schema: Schema = dict.fromkeys(known, pl.Float64())
        self._rounds: list[list[Expression]] = []
        round_of: dict[str, int] = {}
        for derived in pipeline.derived:
            expression = compile_expression(derived.name, derived.sql, derived.function, schema, number=True)
            expression = expression.then(_finite_or_null)
            after = max((round_of[name] + 1 for name in expression.columns if name in round_of), default=0)
            round_of[derived.name] = after
            if after == len(self._rounds):
                self._rounds.append([])
            self._rounds[after].append(expression)
            schema[derived.name] = pl.Float64()
        read = {name for expressions in self._rounds for e in expressions for name in e.columns}
        self._inputs = [pl.col(name).fill_nan(None) for name in known if name in read]

    def __call__(self, features: pl.DataFrame) -> pl.DataFrame:
        """Features (float64, NaN where missing) with the derived ones behind them.

        What can't be computed for a row is missing, as is what is infinite.
        """
        if not self._rounds:
            return features
        nullable = features.select(self._inputs)
        for expressions in self._rounds:
            nullable = nullable.hstack(_computable(expressions, nullable))
        return features.hstack(nullable.select(pl.col(self.names).fill_null(float("nan"))))


def _computable(expressions: Sequence[Expression], frame: pl.DataFrame) -> pl.DataFrame:
    """A float64 column for each expression, null on the rows on which it fails."""
    try:
        return evaluate(expressions, frame)
    except EvaluationError:
        if len(frame) > 1:
            middle = len(frame) // 2
            return pl.concat([_computable(expressions, frame[:middle]), _computable(expressions, frame[middle:])])
        if len(expressions) > 1:
            return pl.concat([_computable([expression], frame) for expression in expressions], how="horizontal")
        return pl.DataFrame({expressions[0].name: [None]}, schema={expressions[0].name: pl.Float64})


def _finite(column: pl.Expr) -> pl.Expr:
    """As float64, NaN where null or infinite: JSON, through which training reads features, has no infinity."""
    number = column.cast(pl.Float64)
    return pl.when(number.is_finite()).then(number).otherwise(float("nan"))


def _finite_or_null(column: pl.Expr) -> pl.Expr:
    """As float64, null where missing or infinite, as SQL has it."""
    number = column.cast(pl.Float64)
    return pl.when(number.is_finite()).then(number)


def _code(column: pl.Expr, categories: list[str]) -> pl.Expr:
    """Index of each text among the categories."""
    return _finite(column.cast(pl.Enum(categories), strict=False).to_physical())


def surviving(
    compute: Callable[[pl.DataFrame], pl.DataFrame], frame: pl.DataFrame
) -> tuple[pl.DataFrame, dict[int, str]]:
    """What `compute` gives for the rows of a frame that it can handle, and why it can't handle each of the others.

    `compute` looks at one row at a time; the rows on which it raises EvaluationError are found by bisection.
    """
    try:
        return compute(frame), {}
    except EvaluationError as error:
        if len(frame) <= 1:
            return compute(frame.clear()), {0: str(error)}
    middle = len(frame) // 2
    head, reasons = surviving(compute, frame[:middle])
    tail, rest = surviving(compute, frame[middle:])
    return pl.concat([head, tail]), reasons | {middle + row: reason for row, reason in rest.items()}

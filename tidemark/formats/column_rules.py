"""What the pipeline file says of the values of single columns: applied to what was decoded, and to a history alike.

The rules of a column look at one value at a time, in this order: its default, values that mean "not measured", units,
the range, the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import polars as pl

from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import columns_schema
from tidemark.pipeline.model import OTHER, Column
from tidemark.pipeline.units import Conversion, conversion

Apply = Callable[[pl.Series], pl.Series]


@dataclass(frozen=True, slots=True)
class Ruled:
    """Columns by their rules.

    frame: the columns.  changed: how many values each rule changed, by column and rule.  refused: why rows are bad, by
    their number.
    """

    frame: pl.DataFrame
    changed: Mapping[tuple[str, str], int] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)


class ColumnRules:
    """The rules of a pipeline's columns."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Prepare for a pipeline.

        Args:
            pipeline: whose columns have the rules.

        """
        schema = columns_schema(pipeline)
        self._rules = [
            (name, rule, apply)
            for name, column in pipeline.columns.items()
            for rule, apply in _rules(column, schema[name])
        ]
        self._refusing = {
            name: column.range for name, column in pipeline.columns.items() if column.outside == "dead_letter"
        }

    def __call__(self, frame: pl.DataFrame) -> Ruled:
        """The columns by the rules.

        Args:
            frame: the declared columns as records told them.

        """
        if not self._rules:
            return Ruled(frame)
        changed: dict[tuple[str, str], int] = {}
        columns: dict[str, pl.Series] = {}
        refused: dict[int, str] = {}
        for name, rule, apply in self._rules:
            before = columns.get(name, frame[name])
            after = columns[name] = apply(before)
            count = int(before.ne_missing(after).sum())
            if count:
                changed[name, rule] = count
            if rule == "range" and name in self._refusing and count:
                low, high = self._refusing[name] or (0.0, 0.0)
                for row in before.ne_missing(after).arg_true().to_list():
                    refused.setdefault(row, f"{name}: {before[row]} is outside of its range from {low:g} to {high:g}")
        return Ruled(frame.with_columns(*columns.values()), changed, refused)


def _rules(column: Column, dtype: pl.DataType) -> list[tuple[str, Apply]]:
    rules: list[tuple[str, Apply]] = []
    if column.default is not None:
        rules.append(("default", partial(_filled, column.default)))
    if column.missing:
        rules.append(("missing", partial(_emptied, pl.Series(column.missing, dtype=dtype))))
    if column.convert is not None:
        rules.append(("convert", partial(_converted, conversion(column.convert))))
    if column.range is not None:
        whole = int if column.type == "int" else float
        low, high = map(whole, column.range)
        clip = column.outside == "clip"
        rules.append(("range", partial(_clipped if clip else _bounded, low, high)))
    if column.vocabulary is not None:
        other = OTHER if column.other is None else column.other
        rules.append(("vocabulary", partial(_known, pl.Series(column.vocabulary), other)))
    return rules


def _filled(default: str | bool | float, values: pl.Series) -> pl.Series:  # noqa: FBT001 a value of a column
    return values.fill_null(pl.lit(default, dtype=values.dtype)) if values.null_count() else values


def _emptied(missing: pl.Series, values: pl.Series) -> pl.Series:
    return values.set(values.is_in(missing.implode()), None)


def _converted(by: Conversion, values: pl.Series) -> pl.Series:
    return (values * by.factor + by.summand) / by.divisor


def _clipped(low: float, high: float, values: pl.Series) -> pl.Series:
    return values.clip(low, high)


def _bounded(low: float, high: float, values: pl.Series) -> pl.Series:
    return values.set(~values.is_between(low, high), None)


def _known(vocabulary: pl.Series, other: str, values: pl.Series) -> pl.Series:
    return values.set(~values.is_in(vocabulary.implode()), other)

"""What a pipeline file's expressions must be, and what reads their columns: tried on made-up rows.

Apart from the other checks, for SQLGlot and Polars are loaded for these alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from tidemark.pipeline.aggregates import AGGREGATES
from tidemark.pipeline.durations import format_duration
from tidemark.pipeline.expressions import (
    Expression,
    Schema,
    check_expression,
    columns_schema,
    compile_expression,
)
from tidemark.pipeline.model import Derived, Feature, Pipeline, Window
from tidemark.pipeline.named_values import named_value_problems
from tidemark.pipeline.problem import Expressed, Problem, unknown_column
from tidemark.pipeline.sql import parse_sql
from tidemark.runtime.suggestions import did_you_mean

_OPTIONS: Final = {"probability": "0.5", "half_life": "'6h'"}
"""What some aggregates must be given, and no other may be, by an example of it."""


def expressed(pipeline: Pipeline) -> Expressed:
    """What is wrong with a pipeline's expressions and what reads them.

    Args:
        pipeline: whose shape is right.

    Returns:
        The problems of each part of the file; of an unknown time column, none of the expressions.

    """
    schema, problems = _cleaned_schema(pipeline, columns_schema(pipeline))
    expressions = [*problems, *_features(pipeline, schema), *_derived(pipeline), *_start(pipeline)]
    return Expressed(
        expressions if pipeline.time.column in pipeline.columns else [],
        list(_names(pipeline, schema)),
        list(_windows(pipeline, schema)),
        [*_context(pipeline, schema), *named_value_problems(pipeline, schema)],
    )


def _cleaned_schema(pipeline: Pipeline, schema: Schema) -> tuple[Schema, list[Problem]]:
    """Schema after the cleaning expressions, and what is wrong with them."""
    problems = []
    schema = dict(schema)
    for i, sql in enumerate(pipeline.clean):
        try:
            name = parse_sql(sql).output_name
            expression = compile_expression(name, sql, None, schema)
            if name.startswith("_") or not name:
                raise ValueError(f"'{name}' begins with '_', as Tidemark's own columns do; rename it")  # noqa: TRY301
            if name == pipeline.time.column:
                raise ValueError("the time column can't be replaced; give the result another name")  # noqa: TRY301
            dtype = check_expression(expression, schema)
            if name in pipeline.keys and dtype not in (pl.String, pl.Int64):
                raise ValueError(f"'{name}' is a key and would become {dtype}; cast it")  # noqa: TRY301
            schema[name] = dtype
        except ValueError as error:
            problems.append(Problem(f"clean[{i}]", f"{sql!r}: {error}"))
    return schema, problems


def _names(pipeline: Pipeline, columns: Schema) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    kinds: dict[str, Sequence[Feature | Window | Derived]] = {
        "features": pipeline.features,
        "windows": pipeline.windows,
        "derived": pipeline.derived,
    }
    for kind, parts in kinds.items():
        for i, part in enumerate(parts):
            key = f"{kind}[{i}].name"
            if part.name == "_time":
                yield Problem(key, f"'{part.name}' is a column of Tidemark's own; rename it")
            if f"f_{part.name}" in columns:
                yield Problem(key, f"'f_{part.name}' is a column, by which name the feature travels; rename one")
            if part.name in seen:
                yield Problem(key, f"'{part.name}' is taken by {seen[part.name]}; choose another name")
            seen.setdefault(part.name, key.removesuffix(".name"))
            own_column = isinstance(part, Feature) and part.function is None and part.sql in (None, part.name)
            if part.name in pipeline.columns and not own_column:
                yield Problem(key, f"'{part.name}' is a column's name; choose another name")
    if not seen:
        yield Problem("features", "the model has no features; add [[features]] or [[windows]]")


def _features(pipeline: Pipeline, schema: Schema) -> Iterator[Problem]:
    for i, feature in enumerate(pipeline.features):
        key = f"features[{i}]"
        if feature.sql is not None and feature.function is not None:
            yield Problem(key, "it has both 'sql' and 'function'; keep one")
            continue
        what = "function" if feature.function is not None else "sql"
        shown = repr(feature.function or feature.sql or feature.name)
        try:
            expression = compile_expression(feature.name, feature.sql, feature.function, schema)
            dtype = check_expression(expression, schema)
        except ValueError as error:
            yield Problem(f"{key}.{what}", f"{shown}: {error}")
            continue
        yield from _identity(pipeline, f"{key}.{what}", expression)
        if feature.categories is not None:
            if dtype != pl.String:
                yield Problem(f"{key}.categories", f"{shown} gives {dtype}, not text; remove 'categories'")
            if len(set(feature.categories)) != len(feature.categories) or not feature.categories:
                yield Problem(f"{key}.categories", "categories are empty or repeat; write each once")
        elif not (dtype.is_numeric() or dtype == pl.Boolean):
            remedy = "list its 'categories'" if dtype == pl.String else "use EXTRACT(HOUR FROM ...) or the like"
            yield Problem(f"{key}.{what}", f"{shown} gives {dtype}, and a feature is a number; {remedy}")


def _identity(pipeline: Pipeline, key: str, expression: Expression) -> Iterator[Problem]:
    business_id = pipeline.label.business_id
    named = business_id is not None and expression.function is None and business_id in expression.columns
    if named and business_id not in pipeline.keys:
        yield Problem(key, f"'{business_id}' identifies the event, so a model would learn it by heart; leave it out")


def _windows(pipeline: Pipeline, schema: Schema) -> Iterator[Problem]:
    own = {feature.name for feature in pipeline.features}
    for i, window in enumerate(pipeline.windows):
        key = f"windows[{i}]"
        if window.key not in pipeline.keys:
            yield Problem(
                f"{key}.key",
                f"'{window.key}' is none of the pipeline's keys; {did_you_mean(window.key, pipeline.keys)}",
            )
        yield from _options(key, window)
        kind = AGGREGATES.get(window.aggregate)
        if window.column is None and kind.takes == "optional":
            continue
        if window.column is None:
            yield Problem(f"{key}.column", f"'{window.aggregate}' needs a column; name one")
        elif window.column in own:
            continue
        elif window.column not in schema:
            known = [*schema, *own]
            yield Problem(
                f"{key}.column", f"there is no column '{window.column}'; {did_you_mean(window.column, known)}"
            )
        elif kind.takes != "numbers" and schema[window.column] == pl.String:
            continue
        elif not (schema[window.column].is_numeric() or schema[window.column] == pl.Boolean):
            yield Problem(
                f"{key}.column",
                f"column '{window.column}' is {schema[window.column]}, and '{window.aggregate}' is of numbers; "
                "make a feature with 'categories' of it, or cast it in 'clean'",
            )


def _options(key: str, window: Window) -> Iterator[Problem]:
    kind = AGGREGATES.get(window.aggregate)
    for name, example in _OPTIONS.items():
        given = getattr(window, name) is not None
        if kind.parameter == name and not given:
            yield Problem(f"{key}.{name}", f"'{window.aggregate}' needs it; write one, as in {name} = {example}")
        elif given and kind.parameter != name:
            yield Problem(f"{key}.{name}", f"'{window.aggregate}' has none; remove it")
    yield from _cut(key, window)
    if window.error is None:
        return
    if kind.error is None:
        yield Problem(f"{key}.error", f"'{window.aggregate}' is exact; remove it")
        return
    low, _, high = kind.error
    if not low <= window.error <= high:
        yield Problem(f"{key}.error", f"{window.error} is out of range; write a number from {low} to {high}")


def _cut(key: str, window: Window) -> Iterator[Problem]:
    """What is wrong with how a window is cut to its newest rows or to a session."""
    cuts = [name for name in ("rows", "gap") if getattr(window, name) is not None]
    exact = window.aggregate.removeprefix("approx_")
    if cuts and AGGREGATES.get(window.aggregate).error is not None:
        yield Problem(f"{key}.{cuts[0]}", f"'{window.aggregate}' keeps no rows; remove it, or take '{exact}'")
    elif len(cuts) > 1:
        yield Problem(f"{key}.gap", "a window has either 'rows' or 'gap'; remove one")
    elif window.gap is not None and window.gap >= window.size:
        yield Problem(
            f"{key}.gap",
            f"'size' = {format_duration(window.size)!r} bounds a session and must be longer than "
            f"{format_duration(window.gap)!r}; raise it to the longest session that counts",
        )


def _derived(pipeline: Pipeline) -> Iterator[Problem]:
    names = pipeline.feature_names[: len(pipeline.features) + len(pipeline.windows)]
    schema: Schema = dict.fromkeys(names, pl.Float64())
    for i, derived in enumerate(pipeline.derived):
        key = f"derived[{i}]"
        if (derived.sql is None) == (derived.function is None):
            yield Problem(key, "it needs exactly one of 'sql' and 'function'")
            continue
        what = "sql" if derived.function is None else "function"
        try:
            expression = compile_expression(derived.name, derived.sql, derived.function, schema)
            dtype = check_expression(expression, schema)
            if not (dtype.is_numeric() or dtype == pl.Boolean):
                raise ValueError(f"it gives {dtype}, and a feature is a number")  # noqa: TRY301
        except ValueError as error:
            yield Problem(f"{key}.{what}", f"{(derived.sql or derived.function)!r}: {error}")
        schema[derived.name] = pl.Float64()


def _context(pipeline: Pipeline, schema: Schema) -> Iterator[Problem]:
    label = pipeline.label
    for i, name in enumerate(label.context):
        if name not in schema:
            yield unknown_column(f"label.context[{i}]", name, schema)
        if name in label.context[:i]:
            yield Problem(f"label.context[{i}]", f"'{name}' is named twice; remove one")


def _start(pipeline: Pipeline) -> Iterator[Problem]:
    rule = pipeline.start.rule
    if rule is None:
        return
    try:
        expression = compile_expression("rule", rule, None, dict.fromkeys(pipeline.feature_names, pl.Float64()))
        dtype = check_expression(expression, dict.fromkeys(pipeline.feature_names, pl.Float64()))
    except ValueError as error:
        yield Problem("start.rule", f"{rule!r}: {error}")
        return
    if dtype != pl.Boolean:
        yield Problem("start.rule", f"{rule!r} gives {dtype}, not true or false; compare it with something")

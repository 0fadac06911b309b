"""What a pipeline file must be beyond its shape: names that exist, expressions that run, budgets that add up."""

from __future__ import annotations

import re
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
from tidemark.pipeline.model import Column, Derived, Feature, Pipeline, Window
from tidemark.pipeline.problem import Problem
from tidemark.pipeline.sql import parse_sql
from tidemark.pipeline.training_params import problems as problems_of
from tidemark.runtime.suggestions import did_you_mean
from tidemark.times.time_formats import TIME_FORMATS
from tidemark.times.time_patterns import time_pattern

MOST_LAST_PARTITIONS: Final = 387
"""Partitions of the last stage whose watermarks `select` can keep with its offset: Kafka takes 4,000 bytes there."""
_OPTIONS: Final = {"probability": "0.5", "half_life": "'6h'"}
"""What some aggregates must be given, and no other may be, by an example of it."""
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_LONGEST_TOPIC: Final = 249
_MISSING_TYPES: Final = {"string": (str,), "int": (int,), "float": (int, float), "bool": ()}


def find_problems(pipeline: Pipeline) -> list[Problem]:
    """Everything that is wrong with a pipeline whose shape is right; an empty list if nothing is.

    What follows from another mistake is no problem of its own: windows over a key whose entry in `keys` is wrong, and
    expressions of a time where it is unknown which column holds it.
    """
    schema = columns_schema(pipeline)
    cleaned, problems = _cleaned_schema(pipeline, schema)
    keys, time = list(_keys(pipeline)), list(_time(pipeline))
    expressions = [*problems, *_features(pipeline, cleaned), *_derived(pipeline)]
    return [
        *_topics(pipeline),
        *_partitions(pipeline),
        *_columns(pipeline),
        *keys,
        *time,
        *([] if pipeline.time.column not in pipeline.columns else expressions),
        *_names(pipeline, cleaned),
        *(problem for problem in _windows(pipeline, cleaned) if not (keys and problem.key.endswith(".key"))),
        *_label(pipeline),
        *_context(pipeline, cleaned),
        *_labeling(pipeline),
        *_selection(pipeline),
        *(
            Problem(f"training.params.{name}", wrong)
            for name, wrong in problems_of(pipeline.training.params, pipeline.training.learner)
        ),
    ]


def _unknown_column(key: str, column: str, known: Schema | dict[str, Column]) -> Problem:
    return Problem(key, f"there is no column '{column}'; {did_you_mean(column, known)}")


def _topics(pipeline: Pipeline) -> Iterator[Problem]:
    raw = pipeline.raw_topics
    specs = pipeline.topics.specs(raw=[], hops=pipeline.keys, partitions=1, retention_ms=1)
    own = {spec.name for spec in specs}
    for i, topic in enumerate(raw):
        if pipeline.raw[i].format != pipeline.raw[0].format:
            yield Problem(f"raw[{i}].format", "raw topics of one pipeline have one format; write the same in each")
        if not _TOPIC.fullmatch(topic) or topic in {".", ".."}:
            yield Problem(
                f"raw[{i}].topic", f"'{topic}' is no topic name; use letters, digits, '.', '_' and '-', at most 249"
            )
        if topic in own:
            yield Problem(f"raw[{i}].topic", f"'{topic}' is a topic that the pipeline writes itself; name another")
        if topic in raw[:i]:
            yield Problem(f"raw[{i}].topic", f"'{topic}' is named twice; remove one")
        else:
            alike = [name for name in [*raw[:i], *sorted(own)] if name.replace(".", "_") == topic.replace(".", "_")]
            if alike and alike[0] != topic:
                yield Problem(
                    f"raw[{i}].topic",
                    f"'{topic}' and '{alike[0]}' are one name to Kafka's metrics, which take '.' for '_'; rename one",
                )
    for name in sorted(own):
        if len(name) > _LONGEST_TOPIC:  # what else a name may not have, the keys that are in it are refused for
            yield Problem(
                "name", f"the topic '{name[:60]}…' is no name for Kafka, which takes 249 characters; shorten it"
            )


def _partitions(pipeline: Pipeline) -> Iterator[Problem]:
    topics = 1 if pipeline.hops else len(pipeline.raw)
    last = pipeline.partitions * topics
    if last > MOST_LAST_PARTITIONS:
        each = f" in each of {topics} raw topics" if topics > 1 else ""
        yield Problem(
            "partitions",
            f"{last} partitions' watermarks don't fit the 4,000 bytes that Kafka keeps with an offset; write at most "
            f"{MOST_LAST_PARTITIONS // topics}{each}",
        )


def _columns(pipeline: Pipeline) -> Iterator[Problem]:
    for name, column in pipeline.columns.items():
        if name.startswith("_") or not name:
            yield Problem(f"columns.{name}", f"'{name}' begins with '_', as Tidemark's own columns do; rename it")
        allowed = _MISSING_TYPES[column.type]
        for i, value in enumerate(column.missing):
            if isinstance(value, bool) or not isinstance(value, allowed):
                yield Problem(
                    f"columns.{name}.missing[{i}]", f"{value!r} is no {column.type}; write a value of the column's type"
                )


def _keys(pipeline: Pipeline) -> Iterator[Problem]:
    for i, key in enumerate(pipeline.keys):
        column = pipeline.columns.get(key)
        if column is None:
            yield _unknown_column(f"keys[{i}]", key, pipeline.columns)
            continue
        if column.type not in ("string", "int"):
            yield Problem(f"keys[{i}]", f"column '{key}' is a {column.type}; a key is a string or an int")
        if not column.required:
            yield Problem(f"keys[{i}]", f"column '{key}' may be missing; remove 'required = false' from columns.{key}")
        if not _TOPIC.fullmatch(key):
            yield Problem(f"keys[{i}]", f"'{key}' can't be part of a topic's name; use letters, digits, '.', '_', '-'")
        if key in pipeline.keys[:i]:
            yield Problem(f"keys[{i}]", f"'{key}' is named twice; remove one")
        if key == pipeline.time.column:
            yield Problem(f"keys[{i}]", f"'{key}' is the time column; a key is an entity, such as a customer")


def _time(pipeline: Pipeline) -> Iterator[Problem]:
    time = pipeline.time
    column = pipeline.columns.get(time.column)
    if column is None:
        yield _unknown_column("time.column", time.column, pipeline.columns)
        return
    written = TIME_FORMATS.get(time.format)
    if column.type not in written.types:
        wanted = " or ".join(f"'{name}'" for name in written.types)
        yield Problem(
            "time.format", f"'{time.format}' needs a column of type {wanted}, and '{time.column}' is a {column.type}"
        )
    for i, pattern in enumerate(time.patterns or []):
        try:
            time_pattern(pattern)
        except ValueError as error:
            yield Problem(f"time.patterns[{i}]", f"{pattern!r}: {error}")
    if time.patterns and not written.patterned:
        what = "has none" if "string" in written.types else "is a number, and patterns are of texts"
        yield Problem("time.patterns", f"'{time.format}' {what}; remove them")
    if not column.required:
        yield Problem(
            "time.column",
            f"column '{time.column}' may be missing; remove 'required = false' from columns.{time.column}",
        )
    if column.missing:
        yield Problem(f"columns.{time.column}.missing", "the time column can't have values for 'missing'; remove them")
    if time.skew is not None and time.skew > time.lateness:
        yield Problem(
            "time.skew",
            f"'{format_duration(time.skew)}' is more than time.lateness, so one clock that runs ahead would make other "
            f"rows late; write at most '{format_duration(time.lateness)}', or leave it out",
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
        if kind.takes == "nothing":
            if window.column is not None:
                yield Problem(f"{key}.column", f"'{window.aggregate}' uses no column; remove it")
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
        elif kind.takes == "anything" and schema[window.column] == pl.String:
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
    if window.error is None:
        return
    if kind.error is None:
        yield Problem(f"{key}.error", f"'{window.aggregate}' is exact; remove it")
        return
    low, _, high = kind.error
    if not low <= window.error <= high:
        yield Problem(f"{key}.error", f"{window.error} is out of range; write a number from {low} to {high}")


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


def _label(pipeline: Pipeline) -> Iterator[Problem]:
    label = pipeline.label
    if len(set(label.classes)) != len(label.classes) or "" in label.classes:
        yield Problem("label.classes", f"{label.classes} has an empty class or one twice; write each once")
    if label.positive not in label.classes:
        yield Problem(
            "label.positive", f"'{label.positive}' is no class; {did_you_mean(label.positive, label.classes)}"
        )
    if label.business_id is not None:
        column = pipeline.columns.get(label.business_id)
        if column is None:
            yield _unknown_column("label.business_id", label.business_id, pipeline.columns)
        elif column.type not in ("string", "int"):
            yield Problem(
                "label.business_id", f"column '{label.business_id}' is a {column.type}; an id is a string or an int"
            )
    leaks: list[tuple[str, str | None]] = [("label.column", label.column)]
    leaks += [(f"label.leaks[{i}]", name) for i, name in enumerate(label.leaks)]
    for key, leak in leaks:
        if leak is not None and leak in pipeline.columns:
            yield Problem(key, f"'{leak}' tells the answer, and the stream must not hold it; remove columns.{leak}")


def _context(pipeline: Pipeline, schema: Schema) -> Iterator[Problem]:
    label = pipeline.label
    for i, name in enumerate(label.context):
        if name not in schema:
            yield _unknown_column(f"label.context[{i}]", name, schema)
        if name in label.context[:i]:
            yield Problem(f"label.context[{i}]", f"'{name}' is named twice; remove one")


def _labeling(pipeline: Pipeline) -> Iterator[Problem]:
    labeling, context = pipeline.labeling, pipeline.label.context
    named = [("segment", labeling.segment), ("skill", labeling.skill)]
    for key, column in [*named, *((f"hidden.{column}", column) for column in labeling.hidden)]:
        if column is not None and column not in context:
            remedy = did_you_mean(column, context) if context else "add it there"
            yield Problem(f"labeling.{key}", f"'{column}' is no column of label.context; {remedy}")
    for column, roles in labeling.hidden.items():
        if len(set(roles)) != len(roles) or not roles:
            yield Problem(f"labeling.hidden.{column}", "roles are missing or repeat; write each once")
    if labeling.max_answers is not None and labeling.max_answers < labeling.answers:
        yield Problem(
            "labeling.max_answers",
            f"{labeling.max_answers} is less than labeling.answers = {labeling.answers}; raise it, or leave it out",
        )


def _selection(pipeline: Pipeline) -> Iterator[Problem]:
    selection = pipeline.selection
    if selection.explore > selection.budget:
        yield Problem(
            "selection.explore",
            f"{selection.explore} is more than the budget of {selection.budget}; write at most {selection.budget}",
        )
    if selection.total is not None and selection.total < selection.budget:
        yield Problem(
            "selection.total", f"{selection.total} is less than one tile's budget of {selection.budget}; raise it"
        )
    for key, most in (("per_hour", selection.per_hour), ("per_day", selection.per_day)):
        if most is not None and most < selection.explore:
            yield Problem(
                f"selection.{key}", f"{most} is less than the random cases of one tile, {selection.explore}; raise it"
            )
    if selection.focused and (selection.policy == "random" or not selection.explore):
        yield Problem("selection.draw", "'focused' needs random cases beside active ones; set explore, or leave it out")
    if selection.saved is not None and selection.total is None:
        yield Problem("selection.saved", "it is a share of selection.total, which is not given; add it")
    if pipeline.training.min_positive > pipeline.training.min_labels:
        yield Problem(
            "training.min_positive",
            f"{pipeline.training.min_positive} is more than training.min_labels = {pipeline.training.min_labels}",
        )

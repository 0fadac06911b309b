"""What `[columns]` of a pipeline file, and the scales of its features, must be beyond their shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from tidemark.pipeline.model import Column, Pipeline
from tidemark.pipeline.problem import Problem, unknown_column
from tidemark.pipeline.units import conversion

_MISSING_TYPES: Final = {"string": (str,), "int": (int,), "float": (int, float), "bool": ()}
_DEFAULT_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
}
_RULE_TYPES: Final[dict[str, tuple[str | None, tuple[str, ...]]]] = {
    "convert": (None, ("float",)),
    "range": (None, ("float", "int")),
    "outside": ("range", ("float", "int")),
    "vocabulary": (None, ("string",)),
    "other": ("vocabulary", ("string",)),
}
"""The key without which a rule says nothing, and the types of columns that may have it."""


def column_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with the columns of a pipeline, one by one."""
    for name, column in pipeline.columns.items():
        if name.startswith("_") or not name:
            yield Problem(f"columns.{name}", f"'{name}' begins with '_', as Tidemark's own columns do; rename it")
        yield from _escaped(f"columns.{name}", name)
        allowed = _MISSING_TYPES[column.type]
        for i, value in enumerate(column.missing):
            if isinstance(value, bool) or not isinstance(value, allowed):
                yield Problem(
                    f"columns.{name}.missing[{i}]", f"{value!r} is no {column.type}; write a value of the column's type"
                )
        yield from _told(pipeline, name)
        yield from _rules(pipeline, name)


def duplicate_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with how duplicates are found."""
    rule = pipeline.deduplicate
    if rule is None:
        return
    column = pipeline.columns.get(rule.key)
    if column is None:
        yield unknown_column("deduplicate.key", rule.key, pipeline.columns)
    elif column.type not in ("string", "int"):
        yield Problem("deduplicate.key", f"column '{rule.key}' is a {column.type}; a key is a string or an int")
    elif column.default is not None:
        why = f"column '{rule.key}' has a default, so all records without a key would have the same; remove the default"
        yield Problem("deduplicate.key", why)
    if rule.within <= 0:
        yield Problem("deduplicate.within", "is no time; write one such as '10m'")


ESCAPED: Final = "has a quote, a backslash or a control character"


def is_escaped(name: str) -> bool:
    """Whether JSON writes a name with escapes: no reader can look for it, for it compares names as they are written."""
    return json.dumps(name, ensure_ascii=False) != f'"{name}"'


def _escaped(key: str, name: str) -> Iterator[Problem]:
    if is_escaped(name):
        yield Problem(key, f"{name!r} {ESCAPED}; give the column another name")


def _told(pipeline: Pipeline, name: str) -> Iterator[Problem]:
    column = pipeline.columns[name]
    others = {each: other for other, its in pipeline.columns.items() if other != name for each in its.names or ()}
    for i, told in enumerate(column.names or ()):
        yield from _escaped(f"columns.{name}.names[{i}]", told)
        if told in pipeline.columns or told in others or not told:
            owner = told if told in pipeline.columns else others.get(told, name)
            yield Problem(f"columns.{name}.names[{i}]", f"'{told}' is already a name of column '{owner}'; remove it")
        elif told in (column.names or ())[:i]:
            yield Problem(f"columns.{name}.names[{i}]", f"'{told}' is named twice; remove one")
    default = column.default
    if default is None:
        return
    if isinstance(default, bool) != (column.type == "bool") or not isinstance(default, _DEFAULT_TYPES[column.type]):
        yield Problem(f"columns.{name}.default", f"{default!r} is no {column.type}; write a value of the column's type")
    if name == pipeline.time.column:
        yield Problem(f"columns.{name}.default", "the time column can't have a default; remove it")


def _rules(pipeline: Pipeline, name: str) -> Iterator[Problem]:
    column, key = pipeline.columns[name], f"columns.{name}"
    for rule in column.rules():
        needed, types = _RULE_TYPES[rule]
        if name == pipeline.time.column:
            yield Problem(f"{key}.{rule}", "the time column can't have rules; remove it")
        elif column.type not in types:
            of = " or ".join(types)
            yield Problem(f"{key}.{rule}", f"'{name}' is a {column.type}, and this is of a {of}; remove it")
        elif needed is not None and getattr(column, needed) is None:
            yield Problem(f"{key}.{rule}", f"says nothing without '{needed}'; add that, or remove it")
    yield from _rule_values(column, key)


def _rule_values(column: Column, key: str) -> Iterator[Problem]:
    if column.convert is not None:
        try:
            conversion(column.convert)
        except ValueError as error:
            yield Problem(f"{key}.convert", str(error))
    if column.range is not None:
        if not column.range[0] < column.range[1]:
            yield Problem(f"{key}.range", f"{column.range} holds no number; write the least, and then the greatest")
        elif column.type == "int" and not all(
            float(end).is_integer() and -(2**63) <= end < 2**63 for end in column.range
        ):
            yield Problem(f"{key}.range", f"{column.range} of an int must be whole numbers of 64 bits")
    if column.vocabulary is not None and len(set(column.vocabulary)) < len(column.vocabulary):
        yield Problem(f"{key}.vocabulary", "names a text twice; remove one")


def scale_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with the scales of a pipeline's features."""
    for i, feature in enumerate(pipeline.features):
        if feature.scale is not None and feature.categories is not None:
            yield Problem(f"features[{i}].scale", "categories have no scale; leave one of the two out")
    if pipeline.scales and not pipeline.sample.size:
        yield Problem("sample.size", f"'{min(pipeline.scales)}' is scaled by what the sample tells; let it hold events")

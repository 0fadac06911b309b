"""Values of context columns that a pipeline file names, as texts: one that no event can have would never be met."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl

from tidemark.pipeline.expressions import Schema
from tidemark.pipeline.model import OTHER, Pipeline
from tidemark.pipeline.problem import Problem
from tidemark.runtime.suggestions import did_you_mean

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")
_LONGEST_SEGMENT: Final = 100


def named_value_problems(pipeline: Pipeline, schema: Schema) -> Iterator[Problem]:
    """Values that no event can have, in `selection.cost.of` and `labeling.due.segments`.

    Args:
        pipeline: that names them.
        schema: its columns after cleaning.

    """
    cost, labeling = pipeline.selection.cost, pipeline.labeling
    if cost is not None and cost.column is not None:
        yield from _of("selection.cost.of", cost.of, cost.column, pipeline, schema)
    if labeling.due is not None and labeling.segment is not None:
        segments = labeling.due.segments or {}
        yield from _of("labeling.due.segments", segments, labeling.segment, pipeline, schema)
        for text in segments:
            line = " ".join(text.split())[:_LONGEST_SEGMENT]
            if text != line:
                yield Problem(f"labeling.due.segments.{text[:40]}", f"segments are told as {line!r}; write it so")


def _of(key: str, texts: Iterable[str], column: str, pipeline: Pipeline, schema: Schema) -> Iterator[Problem]:
    dtype = schema.get(column)
    if dtype is None:
        return  # told of label.context
    declared = pipeline.columns.get(column)
    known = None if declared is None or pipeline.clean else declared.vocabulary
    other = OTHER if declared is None or declared.other is None else declared.other
    for text in texts:
        where, shown = f"{key}.{text[:40]}", repr(text[:40])
        written = _written(text, dtype)
        if written != text:
            remedy = "remove it" if written is None else f"write '{written}'"
            yield Problem(where, f"{shown} is no value of '{column}', which holds {dtype}; {remedy}")
        elif known is not None and text not in (*known, other):
            yield Problem(where, f"{shown} is not in the vocabulary of '{column}'; {did_you_mean(text, known)}")


def _written(text: str, dtype: pl.DataType) -> str | None:
    """How a value is told that a text may mean; None where it can be none."""
    if dtype == pl.Boolean:
        return text.lower() if text.lower() in ("true", "false") else None
    if dtype.is_integer():
        return str(int(text)) if _WHOLE.fullmatch(text) else None
    if dtype.is_float():
        try:
            return repr(float(text) + 0.0)  # of -0.0 the sign is gone
        except ValueError:
            return None
    return text

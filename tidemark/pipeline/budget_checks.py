"""Checks of what may be spent on cases."""

from __future__ import annotations

from collections.abc import Iterator

from tidemark.pipeline.model import Pipeline
from tidemark.pipeline.problem import Problem
from tidemark.runtime.suggestions import did_you_mean


def budget_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with the bounds of a pipeline's budget, and with what cases cost."""
    selection, cost = pipeline.selection, pipeline.selection.cost
    each = 1 if cost is None else cost.dearest
    unit = "" if cost is None else f" {cost.unit}"
    if selection.total is not None and selection.total < selection.budget * (1 if cost is None else cost.case):
        least = selection.budget * (1 if cost is None else cost.case)
        yield Problem("selection.total", f"{selection.total} is less than one tile's budget of {least}{unit}; raise it")
    for key, most in (("per_hour", selection.per_hour), ("per_day", selection.per_day)):
        if most is not None and most < selection.explore * each:
            least = selection.explore * each
            yield Problem(
                f"selection.{key}", f"{most} is less than the random cases of one tile, {least}{unit}; raise it"
            )
    if cost is None:
        return
    if cost.column is not None and cost.column not in pipeline.label.context:
        remedy = did_you_mean(cost.column, pipeline.label.context) if pipeline.label.context else "add it there"
        yield Problem("selection.cost.column", f"'{cost.column}' is no column of label.context; {remedy}")
    if cost.of and cost.column is None:
        yield Problem("selection.cost.of", "it names values of a column; say which, by column")
    if selection.total is None and selection.per_hour is None and selection.per_day is None:
        yield Problem("selection.cost", "nothing is bounded by it; add selection.total, per_hour or per_day")

"""What `[label]` must be beyond its shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tidemark.pipeline.model import NumberMetric, Pipeline
from tidemark.pipeline.number_checks import number_problems
from tidemark.pipeline.problem import Problem, unknown_column
from tidemark.runtime.suggestions import did_you_mean


def label_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with the table `[label]`.

    Args:
        pipeline: whose shape is right.

    Yields:
        The problems, in the order of the file.

    """
    label = pipeline.label
    yield from number_problems(pipeline) if label.is_number else _classes(pipeline)
    if label.business_id is not None:
        column = pipeline.columns.get(label.business_id)
        if column is None:
            yield unknown_column("label.business_id", label.business_id, pipeline.columns)
        elif column.type not in ("string", "int"):
            yield Problem(
                "label.business_id", f"column '{label.business_id}' is a {column.type}; an id is a string or an int"
            )
    yield from _sources(pipeline)
    if label.zone is not None and not _is_zone(label.zone):
        yield Problem("label.zone", f"'{label.zone}' is no time zone of this machine; write one as 'Europe/Berlin'")
    leaks: list[tuple[str, str | None]] = [("label.column", label.column)]
    leaks += [(f"label.leaks[{i}]", name) for i, name in enumerate(label.leaks)]
    for key, leak in leaks:
        if leak is not None and leak in pipeline.columns:
            yield Problem(key, f"'{leak}' tells the answer, and the stream must not hold it; remove columns.{leak}")


def _classes(pipeline: Pipeline) -> Iterator[Problem]:
    label = pipeline.label
    for key in ("unit", "min", "max", "tolerance"):
        if getattr(label, key) is not None:
            yield Problem(
                f"label.{key}", "is of a number, and the label is a class; remove it, or write type = 'number'"
            )
    if pipeline.gates.metric in get_args(NumberMetric):
        yield Problem("gates.metric", f"'{pipeline.gates.metric}' is of numbers; write 'log_loss', or leave it out")
    if not label.classes:
        yield Problem("label.classes", "is missing; add it: the names of the classes that people tell apart")
        return
    if len(set(label.classes)) != len(label.classes) or "" in label.classes:
        yield Problem("label.classes", f"{label.classes} has an empty class or one twice; write each once")
    if not label.positive:
        yield Problem("label.positive", "is missing; add it: the class that is looked for")
    elif label.positive not in label.classes:
        yield Problem(
            "label.positive", f"'{label.positive}' is no class; {did_you_mean(label.positive, label.classes)}"
        )


def _sources(pipeline: Pipeline) -> Iterator[Problem]:
    label, outcomes = pipeline.label, pipeline.label.outcomes
    if len(set(label.order)) != len(label.order):
        yield Problem("label.sources", f"{list(label.order)} has one twice; write each once")
    if outcomes is None:
        if label.sources is not None and "outcome" in label.sources:
            yield Problem("label.sources", "outcomes are learnt from only with [label.outcomes]; add it")
        return
    if "outcome" not in label.order:
        yield Problem("label.sources", "[label.outcomes] says which outcomes are labels; add 'outcome' here")
    for name in () if label.is_number else outcomes.share:
        if name not in label.classes:
            yield Problem(f"label.outcomes.share.{name}", f"'{name}' is no class; {did_you_mean(name, label.classes)}")
    shares = {outcomes.share.get(name, 1.0) for name in label.classes}
    if outcomes.of == "all" and len(shares) > 1 and pipeline.learner == "boosted":
        yield Problem(
            "label.outcomes.share",
            "the learner 'boosted' can't allow for shares that differ by class; take training.learner = 'mean', or one "
            "share for all",
        )


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder
        return False
    return True

"""What a pipeline file must be where its label is a number, and what numbers can't do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from tidemark.errors import ConfigError
from tidemark.pipeline.model import LabelSpec, NumberMetric, Pipeline
from tidemark.pipeline.problem import Problem
from tidemark.strategies import STRATEGIES

NEEDS_CLASSES: Final = {
    "alerts": "flags events of a class",
    "label_studio": "asks for classes",
}
"""Tables that a label which is a number can't have, and why."""

_LEAST_SPAN: Final = 1e-200
"""From the least number to the greatest one: parts of it are counted in (`tidemark.consensus.scales`)."""
_FINEST: Final = 1e-15
"""Share of that span, and of the bounds, below which float64 tells no numbers apart."""


def number_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with a label that is a number, and with tables that need classes.

    Args:
        pipeline: whose shape is right and whose label is a number.

    Yields:
        The problems, in the order of the file.

    """
    label = pipeline.label
    yield from number_bounds(label)
    for key, why in NEEDS_CLASSES.items():
        if getattr(pipeline, key):
            yield Problem(key, f"{why}, and the label is a number; remove it")
    if label.outcomes is not None and label.outcomes.share:
        yield Problem("label.outcomes.share", "names classes, and the label is a number; remove it")
    if pipeline.labeling.due is not None and pipeline.labeling.due.error_cost is not None:
        yield Problem("labeling.due.error_cost", "goes by how often classes are wrong; remove it")
    if pipeline.labeling.consensus == "glad":
        yield Problem("labeling.consensus", "glad is a model of classes; remove it, or write 'majority'")
    yield from _choice(pipeline)
    yield from _learning(pipeline)


def number_bounds(label: LabelSpec) -> Iterator[Problem]:
    """What is wrong with the numbers that a label may be. label: whose type is `number`."""
    for key in ("classes", "positive"):
        if getattr(label, key):
            yield Problem(f"label.{key}", "a label that is a number has no classes; remove it")
    for key, which in (("min", "least"), ("max", "greatest")):
        if getattr(label, key) is None:
            yield Problem(f"label.{key}", f"is missing; add it: the {which} number that can be right")
    if label.min is not None and label.max is not None:
        if not label.min < label.max:
            yield Problem("label.max", f"{label.max} is not above label.min = {label.min}; raise it")
        elif float(label.max) - float(label.min) < max(_LEAST_SPAN, _FINEST * max(abs(label.min), abs(label.max))):
            yield Problem("label.max", f"{label.max} is too near to label.min = {label.min} to count in; raise it")
        elif label.tolerance is not None and label.tolerance >= label.max - label.min:
            yield Problem("label.tolerance", "is as large as all from label.min to label.max; write less")
        elif label.tolerance and label.tolerance < _FINEST * (label.max - label.min):
            yield Problem("label.tolerance", "is finer than numbers from label.min to label.max can be told; remove it")


def _choice(pipeline: Pipeline) -> Iterator[Problem]:
    selection = pipeline.selection
    why = STRATEGIES.get(selection.policy).of_classes
    if why:
        yield Problem("selection.policy", f"'{selection.policy}' is of classes, and the label is a number: {why}")
    if selection.focused:
        yield Problem("selection.draw", "'focused' draws by the odds of classes, and the label is a number; remove it")


def _learning(pipeline: Pipeline) -> Iterator[Problem]:
    gates, training = pipeline.gates, pipeline.training
    if "metric" in gates.model_fields_set and gates.metric not in get_args(NumberMetric):
        yield Problem("gates.metric", f"'{gates.metric}' is of classes; of a number write 'rmse' or 'mae'")
    if training.forget != "never":
        yield Problem("training.forget", "labels of numbers can't be forgotten by age yet; write 'never'")


def refuse_number(pipeline: Pipeline, what: str) -> None:
    """Refuse what can't be done where the label is a number.

    Args:
        pipeline: that was checked.
        what: can't be done, as the subject of a sentence.

    Raises:
        ConfigError: its label is a number.

    """
    if pipeline.label.is_number:
        raise ConfigError(f"{what} needs classes, and the label of {pipeline.name} is a number; it can't be done yet")

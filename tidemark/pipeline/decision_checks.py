"""What `[[decisions]]` must be beyond their shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tidemark.pipeline.model import DecisionRule, Pipeline
from tidemark.pipeline.numbers import from_to
from tidemark.pipeline.problem import Problem
from tidemark.runtime.suggestions import did_you_mean

_OF_NUMBERS: Final = ("at_most", "at_least", "by")
_OF_CLASSES: Final = ("of", "threshold", "costs")


def decision_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with the rules of a pipeline.

    Args:
        pipeline: whose shape is right.

    Yields:
        The problems, in the order of the file.

    """
    names = [rule.name for rule in pipeline.decisions]
    for i, rule in enumerate(pipeline.decisions):
        where = f"decisions[{i}]"
        if rule.name in names[:i]:
            yield Problem(f"{where}.name", f"'{rule.name}' is the name of two rules; rename one")
        if rule.suppress is not None and rule.suppress > pipeline.retention.events:
            yield Problem(
                f"{where}.suppress",
                "lasts longer than decisions are kept, by which it is known; shorten it, or lengthen retention.events",
            )
        yield from (_of_number if pipeline.label.is_number else _of_class)(pipeline, rule, where)


def _of_class(pipeline: Pipeline, rule: DecisionRule, where: str) -> Iterator[Problem]:
    label = pipeline.label
    for key in _OF_NUMBERS:
        if getattr(rule, key) is not None:
            yield Problem(f"{where}.{key}", "is of a label that is a number; write threshold, a probability")
    if rule.of is not None and rule.of not in label.classes:
        yield Problem(f"{where}.of", f"'{rule.of}' is no class; {did_you_mean(rule.of, label.classes)}")
    if (rule.threshold is None) == (rule.costs is None):
        yield Problem(where, "a rule has either a threshold or costs; write one of them")
    if rule.threshold == "recall" and pipeline.alerts is None:
        yield Problem(f"{where}.threshold", "'recall' follows [alerts], which is missing; add it, with its recall")
    elif rule.threshold == "recall" and rule.of not in (None, label.positive):
        yield Problem(f"{where}.of", f"[alerts] is about '{label.positive}'; remove it, or write a number as threshold")
    yield from _abstention(rule, where)


def _abstention(rule: DecisionRule, where: str) -> Iterator[Problem]:
    if rule.abstain_from is None:
        return
    if not 0 < rule.abstain_from < 1:
        yield Problem(f"{where}.abstain_from", f"{rule.abstain_from} is no probability above 0 and below 1")
    if rule.costs is not None:
        yield Problem(f"{where}.abstain_from", "with costs it follows from costs.review; remove it")
    elif isinstance(rule.threshold, float) and rule.abstain_from >= rule.threshold:
        yield Problem(f"{where}.abstain_from", "lies not below the threshold, so nothing would abstain; lower it")


def _of_number(pipeline: Pipeline, rule: DecisionRule, where: str) -> Iterator[Problem]:
    for key in _OF_CLASSES:
        if getattr(rule, key) is not None:
            yield Problem(f"{where}.{key}", "is of classes, and the label is a number; write at_most or at_least")
    if (rule.at_most is None) == (rule.at_least is None):
        yield Problem(where, "a rule of a number has either at_most or at_least; write one of them")
        return
    small = rule.at_most is not None
    key, edge = ("at_most", rule.at_most) if small else ("at_least", rule.at_least)
    for name, number in ((key, edge), ("abstain_from", rule.abstain_from)):
        if number is not None and not _parts(pipeline, number):
            least, greatest = float(pipeline.label.min or 0), float(pipeline.label.max or 0)
            yield Problem(f"{where}.{name}", f"{number} parts no numbers {from_to(least, greatest)}; write one between")
    if rule.abstain_from is not None and edge is not None:
        beyond = rule.abstain_from > edge if small else rule.abstain_from < edge
        if not beyond:
            way = "above" if small else "below"
            yield Problem(
                f"{where}.abstain_from", f"lies not {way} {key}, so nothing would abstain; write a number {way} it"
            )


def _parts(pipeline: Pipeline, number: float) -> bool:
    """Whether some numbers of the label lie on either side. A label without bounds is told of elsewhere."""
    least, greatest = pipeline.label.min, pipeline.label.max
    return least is None or greatest is None or least < number < greatest

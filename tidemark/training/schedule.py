"""When to train: often while labels are few and each tells much, at the configured pace later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidemark.pipeline import Pipeline
from tidemark.training.gate import needed

_PARTS: Final = 20
"""Of the labels learnt from; one part more is worth a training. Halves, with at least 45 labels, needed a tenth to an
eighth more labels for the same average precision on simulated payments (`benchmarks.labels.efficiency`)."""

_HURRY: Final = 4


def first_is_due(pipeline: Pipeline, counts: Sequence[int]) -> bool:
    """Whether there are labels enough for a first champion. counts: labels of each class, in the classes' order.

    With more than two classes the first champion waits for labels of any but the commonest, not for the positive one.
    Of a number there is one count, of all labels.
    """
    training = pipeline.training
    if pipeline.label.is_number:
        return sum(counts) >= training.min_labels
    enough = sum(counts) >= training.min_labels and looked_for(pipeline, counts) >= training.min_positive
    return enough and sum(count > 0 for count in counts) >= 2


def looked_for(pipeline: Pipeline, counts: Sequence[int]) -> int:
    """Labels of the positive class; with more than two classes, of all but the commonest. counts: of each class."""
    label = pipeline.label
    if len(label.classes) == 2:
        return counts[label.classes.index(label.positive)]
    return sum(counts) - max(counts)


def pause(pipeline: Pipeline, used: int | None, *, alarmed: bool = False) -> int:
    """New labels to wait for before training again.

    A twentieth of what the champion learnt from, no fewer than the gate needs, at most `training.every`: while labels
    are few, a model gains most from each, and chooses better what to ask next. A quarter of it after an alarm, for then
    the labels that tell how things are now are few.

    Args:
        pipeline: whose models are trained.
        used: labels that the champion learnt from; None: there is no champion yet.
        alarmed: an alarm of drift is followed.

    Returns:
        Their number.

    """
    every, least = pipeline.training.every, needed(pipeline.gates)
    if used is None:
        return max(1, every // 10)
    usual = min(every, max(least, used // _PARTS))
    return min(usual, max(least, usual // _HURRY)) if alarmed else usual

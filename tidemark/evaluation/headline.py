"""The headline: one figure of how good the model in force is, in the measure that suits the classes.

It rests on cases that were drawn at random, answered, and predicted by a model that had not learnt from them. Each
answer counts for as many events as it was drawn from: a weighted mean over all weights (Hájek 1971). Intervals are of
95 %, stay within [0, 1], and hold from 20 answers on (`benchmarks.labels.headline` has their coverage by simulation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tidemark.evaluation import intervals
from tidemark.evaluation.measures import NOTHING, Measured, Sample, accuracy, average_precision, recall_of, share_of
from tidemark.evaluation.metrics import Floats

Measure = Literal["accuracy", "average_precision", "macro_recall"]

RARE: Final = 0.2
"""Share of the rarer of two classes below which accuracy says little: a model that always names the other is right
more often than four times in five."""
NARROW: Final[dict[Measure, float]] = {"accuracy": 0.1, "average_precision": 0.15, "macro_recall": 0.1}
"""Half the width of an interval that is narrow enough to tell how good a model is."""
_FEWEST_POSITIVES: Final = 20
"""Positives without which the interval of an average precision says next to nothing."""
_MOST_MORE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Headline:
    """How good a model is.

    metric: the measure; of a class where it is one of a class.  value, low, high: the figure and its 95 % interval;
    None and [0, 1] where nothing can be said.  n: answers.  about: the class of an average precision, and whose share
    the base rate is; "" for several classes.  base_rate, base_low, base_high: share of that class among all events.
    chance: what a model reaches that knows the classes' shares and nothing else.  more: about how many more answers
    the interval needs to be narrow (`NARROW`); 0: none.
    """

    metric: Measure
    value: float | None
    low: float
    high: float
    n: int
    about: str
    base_rate: float | None
    base_low: float
    base_high: float
    chance: float | None
    more: int


def headline(sample: Sample, classes: Sequence[str], positive: str) -> Headline:
    """The figure of a sample.

    Accuracy where the rarer of two classes has a fifth of the events or more, the average precision of the rarer one
    otherwise, and for more than two classes the mean of their recalls.

    Args:
        sample: what to measure.
        classes: their names, in the order of the columns.
        positive: the class that people look for, one of them.

    Returns:
        The figure. An empty sample has one too, which says how many answers are needed.

    """
    if len(classes) > 2:
        return _macro(sample, len(classes))
    index = classes.index(positive)
    n = len(sample)
    base = _base_rate(sample, index)
    if base.value is not None and base.value > 1 - RARE:
        index = 1 - index
        base = _base_rate(sample, index)
    rare = base.value is not None and base.value < RARE
    measured = average_precision(sample, index) if rare else accuracy(sample)
    metric: Measure = "average_precision" if rare else "accuracy"
    chance = None if base.value is None else base.value if rare else max(base.value, 1 - base.value)
    more = _more_positives(sample, index, measured) if rare else _more(metric, measured, n)
    return Headline(
        metric,
        measured.value,
        measured.low,
        measured.high,
        n,
        classes[index],
        base.value,
        base.low,
        base.high,
        chance,
        more,
    )


def _base_rate(sample: Sample, index: int) -> Measured:
    return share_of(sample.truth == index, sample.weight, sample.entity)


def _macro(sample: Sample, classes: int) -> Headline:
    """Mean of the recalls of the classes that were seen. Of one that was not, nothing is known: its part is [0, 1]."""
    recalls, sizes = [], []
    for index in range(classes):
        recall, size = recall_of(sample, index)
        if recall is not None:
            recalls.append(recall)
            sizes.append(size)
    seen = len(recalls)
    measured = NOTHING if not seen else _mean_of_recalls(np.array(recalls), np.array(sizes), (classes - seen) / classes)
    more = _more("macro_recall", measured, len(sample))
    return Headline(
        "macro_recall",
        measured.value,
        measured.low,
        measured.high,
        len(sample),
        "",
        None,
        0.0,
        1.0,
        1 / classes,
        more,
    )


def _mean_of_recalls(recalls: Floats, sizes: Floats, unseen: float) -> Measured:
    """Wilson's interval at the size that the variances of the recalls come to, each shrunk towards a half."""
    value = float(recalls.mean())
    shrunk = (recalls * sizes + 1) / (sizes + 2)
    parts = shrunk * (1 - shrunk) / sizes
    variance = float(parts.sum()) / recalls.shape[0] ** 2
    middle = float(shrunk.mean())
    freedom = float(parts.sum()) ** 2 / float((np.square(parts) / np.maximum(sizes - 1, 1)).sum())
    low, high = intervals.wilson(value, middle * (1 - middle) / variance, freedom=freedom)
    return Measured(value, low * (1 - unseen), min(1.0, high * (1 - unseen) + unseen))


def _more(metric: Measure, measured: Measured, n: int) -> int:
    """Answers that bring the interval to its goal, if its width falls with the root of their number."""
    goal = NARROW[metric]
    if measured.value is None or n == 0:
        return math.ceil(1 / goal**2)  # of a share of a half
    return max(0, min(math.ceil(n * (((measured.high - measured.low) / 2 / goal) ** 2 - 1)), _MOST_MORE))


def _more_positives(sample: Sample, index: int, measured: Measured) -> int:
    """Answers until the interval reaches its goal, and until enough of them are positive for it to mean anything."""
    n, positives = len(sample), int((sample.truth == index).sum())
    awaited = math.ceil(max(_FEWEST_POSITIVES - positives, 0) * (n + 2) / (positives + 1))
    narrower = 0 if measured.value is None else _more("average_precision", measured, n)
    return min(max(awaited, narrower), _MOST_MORE)

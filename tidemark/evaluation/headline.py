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
from numpy.typing import NDArray

from tidemark.evaluation import intervals, metrics
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
class Sample:
    """Answers to measure with, in parallel arrays.

    truth: (n,) int64, index of the class.  probabilities: (n, classes), of a model that had not learnt from the row.
    weight: (n,) above 0, how many events each answer stands for.
    """

    truth: NDArray[np.int64]
    probabilities: Floats
    weight: Floats

    def __len__(self) -> int:
        """Answers."""
        return len(self.truth)

    @property
    def effective(self) -> float:
        """Effective number of answers under unequal weights (Kish 1965)."""
        return effective_number(self.weight)


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


def effective_number(weight: Floats) -> float:
    """Kish's effective number of unequal weights; 0 for none."""
    squares = float(np.square(weight).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


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
    share = _share(sample.truth == index, sample.weight)
    if share is not None and share > 1 - RARE:
        index = 1 - index
        share = 1 - share
    low, high = (0.0, 1.0) if share is None else _interval(share, sample.truth == index, sample.weight)
    rare = share is not None and share < RARE
    measured = _average_precision(sample, index) if rare else _accuracy(sample)
    metric: Measure = "average_precision" if rare else "accuracy"
    chance = None if share is None else share if rare else max(share, 1 - share)
    more = _more_positives(sample, index, measured) if rare else _more(metric, measured, n)
    value, value_low, value_high = measured
    return Headline(metric, value, value_low, value_high, n, classes[index], share, low, high, chance, more)


_Measured = tuple[float | None, float, float]
_NOTHING: Final[_Measured] = (None, 0.0, 1.0)


def _accuracy(sample: Sample) -> _Measured:
    right = sample.probabilities.argmax(axis=1) == sample.truth
    value = _share(right, sample.weight)
    return _NOTHING if value is None else (value, *_interval(value, right, sample.weight))


def _average_precision(sample: Sample, index: int) -> _Measured:
    truth, score = sample.truth == index, np.ascontiguousarray(sample.probabilities[:, index], np.float64)
    if not truth.any():
        return _NOTHING
    value = metrics.average_precision(truth, score, sample.weight)
    error = metrics.average_precision_error(truth, score, sample.weight)
    others = metrics.average_precision_of_others(truth, score, sample.weight)
    return value, *intervals.of_average_precision(value, error, effective_number(sample.weight[truth]), others)


def _macro(sample: Sample, classes: int) -> Headline:
    """Mean of the recalls of the classes that were seen. Of one that was not, nothing is known: its part is [0, 1]."""
    right = sample.probabilities.argmax(axis=1) == sample.truth
    recalls, sizes = [], []
    for index in range(classes):
        mine = sample.truth == index
        recall = _share(right[mine], sample.weight[mine])
        if recall is not None:
            recalls.append(recall)
            sizes.append(effective_number(sample.weight[mine]))
    seen = len(recalls)
    measured = (
        _NOTHING if not seen else _mean_of_recalls(np.array(recalls), np.array(sizes), (classes - seen) / classes)
    )
    value, low, high = measured
    more = _more("macro_recall", measured, len(sample))
    return Headline("macro_recall", value, low, high, len(sample), "", None, 0.0, 1.0, 1 / classes, more)


def _mean_of_recalls(recalls: Floats, sizes: Floats, unseen: float) -> _Measured:
    """Wilson's interval at the size that the variances of the recalls come to, each shrunk towards a half."""
    value = float(recalls.mean())
    shrunk = (recalls * sizes + 1) / (sizes + 2)
    parts = shrunk * (1 - shrunk) / sizes
    variance = float(parts.sum()) / recalls.shape[0] ** 2
    middle = float(shrunk.mean())
    freedom = float(parts.sum()) ** 2 / float((np.square(parts) / np.maximum(sizes - 1, 1)).sum())
    low, high = intervals.wilson(value, middle * (1 - middle) / variance, freedom=freedom)
    return value, low * (1 - unseen), min(1.0, high * (1 - unseen) + unseen)


def _share(hits: NDArray[np.bool_], weight: Floats) -> float | None:
    total = float(weight.sum())
    return min(max(float(weight[hits].sum()) / total, 0.0), 1.0) if total > 0 else None


def _interval(share: float, hits: NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """Agresti and Coull's interval at the effective size: the design's, and at most that of the weights."""
    n = weight.shape[0]
    size = effective_number(weight)
    spread = share * (1 - share)
    if n > 1 and spread > 0:
        squares = float(np.square(weight * (hits - share)).sum()) * n / (n - 1)
        size = min(size, spread * float(weight.sum()) ** 2 / squares)
    return intervals.agresti_coull(share, size, answers=n)


def _more(metric: Measure, measured: _Measured, n: int) -> int:
    """Answers that bring the interval to its goal, if its width falls with the root of their number."""
    value, low, high = measured
    goal = NARROW[metric]
    if value is None or n == 0:
        return math.ceil(1 / goal**2)  # of a share of a half
    return max(0, min(math.ceil(n * (((high - low) / 2 / goal) ** 2 - 1)), _MOST_MORE))


def _more_positives(sample: Sample, index: int, measured: _Measured) -> int:
    """Answers until the interval reaches its goal, and until enough of them are positive for it to mean anything."""
    n, positives = len(sample), int((sample.truth == index).sum())
    awaited = math.ceil(max(_FEWEST_POSITIVES - positives, 0) * (n + 2) / (positives + 1))
    narrower = 0 if measured[0] is None else _more("average_precision", measured, n)
    return min(max(awaited, narrower), _MOST_MORE)

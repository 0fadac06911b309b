"""Measures of a model on answers of the random draw, each with a 95 % interval within [0, 1].

Each answer counts for as many events as it was drawn from: a weighted mean over all weights (Hájek 1971). Answers of
one entity tell each other's, so that errors are those of entities (Särndal, Swensson and Wretman 1992, section 8.3).
`python -m benchmarks headline --simulated` has the coverage of every measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.evaluation import intervals, metrics
from tidemark.evaluation.metrics import Floats, by_entity

_FEWEST_POSITIVES: Final = 2
_PRIOR_ANSWERS: Final = 1.0
"""Answers of the rarer outcome that Kish's variance counts for. With three, intervals of the focused draw are a twelfth
wider, and hold the truth no more often; without any they would have no width where all answers agree."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Answers to measure with, in parallel arrays.

    truth: (n,) int64, index of the class.  probabilities: (n, classes), of a model that had not learnt from the row.
    weight: (n,) above 0, how many events each answer stands for.  entity: (n,) int64, whose event each is; None: each
    of an entity of its own.
    """

    truth: NDArray[np.int64]
    probabilities: Floats
    weight: Floats
    entity: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Answers."""
        return len(self.truth)

    @property
    def effective(self) -> float:
        """Effective number of answers under unequal weights (Kish 1965)."""
        return effective_number(self.weight)

    def score(self, index: int) -> Floats:
        """(n,) probability of a class."""
        return np.ascontiguousarray(self.probabilities[:, index], np.float64)

    def entity_of(self, part: NDArray[np.bool_]) -> NDArray[np.int64] | None:
        """Whose event each row of a part is; None where each is of an entity of its own. part: (n,)."""
        return None if self.entity is None else self.entity[part]


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its 95 % interval; None and [0, 1] where nothing can be said."""

    value: float | None
    low: float
    high: float


NOTHING = Measured(None, 0.0, 1.0)


def effective_number(weight: Floats) -> float:
    """Kish's effective number of unequal weights; 0 for none."""
    squares = float(np.square(weight).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def share(hits: NDArray[np.bool_], weight: Floats) -> float | None:
    """Weighted share of hits; None where nothing has weight."""
    total = float(weight.sum())
    return min(max(float(weight[hits].sum()) / total, 0.0), 1.0) if total > 0 else None


def share_of(hits: NDArray[np.bool_], weight: Floats, entity: NDArray[np.int64] | None = None) -> Measured:
    """A share with Agresti and Coull's interval at the effective size.

    The variance is that of the design by linearisation, as far as answers of the rarer outcome tell it, and joined by
    that of as many alike answers as Kish's number (`_PRIOR_ANSWERS`): the design's may be far smaller where unsure
    events were drawn more often, and is too small while nearly all answers agree.

    Args:
        hits: (n,) what is counted.
        weight: (n,) of the answers.
        entity: (n,) as `Sample` has it.

    Returns:
        The share.

    """
    value = share(hits, weight)
    if value is None:
        return NOTHING
    heavy, off = by_entity(weight, entity), by_entity(weight * (hits - value), entity)
    n = heavy.shape[0]
    size = effective_number(heavy)
    spread = value * (1 - value)
    if n > 1 and spread > 0:
        variance = float(np.square(off).sum()) * n / (n - 1) / float(weight.sum()) ** 2
        rarer = min(effective_number(weight[hits]), effective_number(weight[~hits]))
        size = spread * (rarer + _PRIOR_ANSWERS) / (rarer * variance + _PRIOR_ANSWERS * spread / size)
    return Measured(value, *intervals.agresti_coull(value, size, answers=n))


def accuracy(sample: Sample) -> Measured:
    """Share of events whose likeliest class is right."""
    return share_of(sample.probabilities.argmax(axis=1) == sample.truth, sample.weight, sample.entity)


def average_precision(sample: Sample, index: int) -> Measured:
    """Average precision of a class; nothing while fewer than two of its entities are known.

    The figure of a single positive is the rank that it happens to have, and its interval all of [0, 1].
    """
    truth, score = sample.truth == index, sample.score(index)
    heavy = by_entity(sample.weight[truth], sample.entity_of(truth))
    if len(heavy) < _FEWEST_POSITIVES:
        return NOTHING
    value = metrics.average_precision(truth, score, sample.weight)
    error = metrics.average_precision_error(truth, score, sample.weight, sample.entity)
    others = metrics.average_precision_of_others(truth, score, sample.weight)
    return Measured(value, *intervals.of_average_precision(value, error, effective_number(heavy), others))


def precision(sample: Sample, index: int, threshold: float = 0.5) -> Measured:
    """Share of events flagged (probability of the class at least `threshold`) that are of the class."""
    flagged = sample.score(index) >= threshold
    return _within(flagged, sample.truth == index, sample)


def recall(sample: Sample, index: int, threshold: float = 0.5) -> Measured:
    """Share of events of a class that are flagged."""
    flagged = sample.score(index) >= threshold
    return _within(sample.truth == index, flagged, sample)


def recall_of(sample: Sample, index: int) -> tuple[float | None, float]:
    """Share of events of a class whose likeliest class is that one, and the effective number of answers behind it."""
    mine = sample.truth == index
    right = sample.probabilities[mine].argmax(axis=1) == index
    weight = sample.weight[mine]
    return share(right, weight), effective_number(by_entity(weight, sample.entity_of(mine)))


def _within(part: NDArray[np.bool_], hits: NDArray[np.bool_], sample: Sample) -> Measured:
    return share_of(hits[part], sample.weight[part], sample.entity_of(part))


def cost(sample: Sample, index: int, *, missed: float, false: float, threshold: float = 0.5) -> Measured:
    """Mean cost of an event, in units of the dearer mistake.

    Both kinds of mistakes have intervals of their own, so that the one of which none was seen yet counts, too; the cost
    has theirs put together (Zou, Huang and Zhang 2009, "A note on confidence interval estimation for a linear function
    of binomial proportions").

    Args:
        sample: answers.
        index: the class that is looked for.
        missed: cost of an event of the class that is not flagged, at least 0.
        false: cost of another that is flagged, at least 0; one of both is above 0.
        threshold: of flagging.

    Returns:
        The cost.

    """
    flagged, positive = sample.score(index) >= threshold, sample.truth == index
    parts = ((missed, positive & ~flagged), (false, ~positive & flagged))
    unit = max(missed, false)
    value, below, above = 0.0, 0.0, 0.0
    for price, hits in parts:
        found = share_of(hits, sample.weight, sample.entity)
        if found.value is None:
            return NOTHING
        value += price / unit * found.value
        below += (price / unit * (found.value - found.low)) ** 2
        above += (price / unit * (found.high - found.value)) ** 2
    return Measured(min(value, 1.0), max(0.0, value - math.sqrt(below)), min(1.0, value + math.sqrt(above)))

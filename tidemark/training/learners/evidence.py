"""Weights of the members of a family by how well they foretold labels: exponential weights.

The candidates are the members and their mean. A candidate's weight is its prior times exp(-rate * loss), the loss being
the sum over labels that it had not learnt from of their log-losses; a member's weight in the model is its own and its
share in the mean's. With few labels the weights stay at the prior, so near the mean; with many, the best takes all. The
expected loss of such a model is at most that of the best candidate plus log(1 / prior) / rate, shared by all labels
(Vovk 1990, "Aggregating strategies"; Leung & Barron 2006, "Information theory and mixing least-squares regressions"):
the mean of log-odds loses no more than the mean of losses.

Labels count by the inverse of the probability by which they were chosen, where enough of them were drawn so: labels
that a model asked for are those it was unsure of, and judge its rivals unjustly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 0.5
"""Below 1, at which the bound holds for labels that are independent: neighbours in a stream are not."""
PRIOR_OF_MEAN: Final = 0.5
LEAST_DRAWN: Final = 40
"""Labels with a known inclusion probability that are enough to judge by them alone."""
LEAST_OF_CLASS: Final = 8
"""Labels among them of each of two classes."""
_LEAST_WEIGHT: Final = 0.05
"""A member of less weight is left out: it costs as much time at each prediction as any other."""


def importance(inclusion: NDArray[np.float64] | None, y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight of each label, on average 1: Hájek's where enough labels were drawn, else all alike.

    Args:
        inclusion: (n,) probability by which the event was drawn; NaN where it was chosen for what it is. None: all
            unknown.
        y: (n,) classes.

    Returns:
        Weights (n,). Labels of unknown probability count nothing if the others are enough.

    """
    alike = np.ones(len(y))
    if inclusion is None:
        return alike
    drawn = drawn_of(inclusion)
    counts = np.sort(np.bincount(y[drawn], minlength=2))
    if drawn.sum() < LEAST_DRAWN or counts[-2] < LEAST_OF_CLASS:
        return alike
    return inverse(inclusion)


def inverse(inclusion: NDArray[np.float64], *, bounded: bool = True) -> NDArray[np.float64]:
    """Inverse of each label's inclusion probability, 0 where there is none; the sum is what they are worth.

    Args:
        inclusion: (n,) as `importance` has them, of which some are probabilities.
        bounded: whether no weight is above ten times their median. Where the probability depends on the class it must
            not be: the classes would come in wrong shares.

    Returns:
        Weights (n,). Their sum is Kish's effective number of labels.

    """
    drawn = drawn_of(inclusion)
    weights = np.where(drawn, 1 / np.where(drawn, inclusion, 1.0), 0.0)
    if bounded:
        weights = np.minimum(weights, 10 * float(np.median(weights[drawn])))
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    return np.asarray(weights * effective / weights.sum())


def partly_drawn(inclusion: NDArray[np.float64] | None) -> bool:
    """Whether some labels were drawn and others were not: all together are no sample of the stream."""
    if inclusion is None:
        return False
    drawn = drawn_of(inclusion)
    return bool(drawn.any() and not drawn.all())


def drawn_of(inclusion: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) which labels have an inclusion probability (n,)."""
    return (inclusion > 0) & (inclusion <= 1)  # false for NaN


def weights_of(losses: Sequence[NDArray[np.float64]], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of each member in the model.

    Args:
        losses: of each member, the loss of each label, weighted.
        mean: (n,) the same of the members' mean.

    Returns:
        Weights (members,) that sum to 1, in hundredths.

    """
    members = len(losses)
    totals = np.array([*(float(each.sum()) for each in losses), float(mean.sum())])
    prior = np.append(np.full(members, (1 - PRIOR_OF_MEAN) / members), PRIOR_OF_MEAN)
    share = prior * np.exp(-RATE * (totals - totals.min()))
    share /= share.sum()
    weights = share[:members] + share[members] / members
    weights[weights < _LEAST_WEIGHT] = 0.0
    hundredths = np.round(100 * weights / weights.sum())
    hundredths[int(np.argmax(hundredths))] += 100 - hundredths.sum()
    return np.asarray(hundredths / 100)

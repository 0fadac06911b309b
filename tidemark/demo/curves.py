"""Compares the arms over their whole curves: quality of the model in force after every number of labels.

A comparison at one point flatters: an arm's last model may be worse than one of its earlier ones, and then the other
arm matches it with few labels. So arms are compared by the area under their curves, and by the number of labels from
which one is never behind the other again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidemark.demo.result import ModelPoint


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the active arm with several random ones.

    labels: that each arm spent.  active: mean average precision over these, of the active arm.  random: of each random
    one.  ahead_from: labels from which the active arm is never behind the mean of the random ones; None: it is behind
    at the end.
    """

    labels: int
    active: float
    random: tuple[float, ...]
    ahead_from: int | None

    @property
    def ratio(self) -> float:
        """The active arm's area over the random arms' in the mean."""
        return self.active / float(np.mean(self.random))


def compare(active: Sequence[ModelPoint], draws: Sequence[Sequence[ModelPoint]], guess: float) -> Comparison | None:
    """Compare an arm with random ones.

    Args:
        active: Its models, in the order of their labels.
        draws: Those of each random arm.
        guess: Average precision without a model, above 0.

    Returns:
        The comparison over the labels that all random arms spent; None where one of them has no model.

    """
    if not draws or not all(draws):
        return None
    labels = min(points[-1].labels for points in draws)
    ours = curve(active, labels, guess)
    theirs = np.array([curve(points, labels, guess) for points in draws])
    behind = np.flatnonzero(ours < theirs.mean(axis=0))
    last = int(behind[-1]) if len(behind) else -1
    return Comparison(
        labels=labels,
        active=float(ours.mean()),
        random=tuple(theirs.mean(axis=1).tolist()),
        ahead_from=None if last == labels else last + 1,
    )


def curve(points: Sequence[ModelPoint], labels: int, guess: float) -> NDArray[np.float64]:
    """(labels + 1,) average precision of the model in force after 0, 1, … labels; `guess` before the first."""
    values = np.full(labels + 1, guess)
    for point in points:
        values[min(point.labels, labels + 1) :] = point.average_precision
    return values

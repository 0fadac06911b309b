"""The focused draw: random cases, more of them where the model is unsure, each with the chance that it had.

An event's *size* is 1 where a model is least sure of it, and `FLOOR` where it is sure. Its coin is stretched by the
size, so that a case of twice the size is drawn about twice as often. Of the events of a tile those with the smallest
stretched coins are drawn; given all other coins, an event was drawn with the chance that its own lies below the first
one that was not (priority sampling: Duffield, Lund and Thorup 2007). A label weighs one over its size.

Sizes grow with the standard deviation of what an event may be, which makes figures most certain for a number of labels
(Neyman 1934). The floor keeps every event within reach: a model that is sure and wrong is found out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.evaluation.metrics import Floats

FLOOR: Final = 0.1
"""Size of an event that the model is sure of: no label weighs more than ten times as much as another of its tile."""
_LARGEST: Final = 2.0**64 - 2.0**11
"""The largest float that a coin can be."""
MARK: Final = "/focused"
"""What labels of the focused draw have behind the version of their policy."""


def sizes(probabilities: Floats) -> Floats:
    """Size of each event.

    Args:
        probabilities: (n, classes), by the model in force.

    Returns:
        (n,) from `FLOOR` to 1.

    """
    likeliest = np.clip(probabilities.max(axis=1), 0.5, 1.0)
    found: Floats = FLOOR + (1 - FLOOR) * 2 * np.sqrt(likeliest * (1 - likeliest))
    return found


def size_of(probabilities: Sequence[float] | None) -> float:
    """Size of one event: of one that no model has scored it is 1, as of all others then."""
    if not probabilities or not all(map(math.isfinite, probabilities)):
        return 1.0
    return float(sizes(np.array([probabilities], np.float64))[0])


def stretched(coins: NDArray[np.uint64], probabilities: Floats | None) -> NDArray[np.uint64]:
    """Coins divided by sizes, in units of `FLOOR`, so that none grows.

    Args:
        coins: (n,) of events.
        probabilities: (n, classes); None where no model has scored them.

    Returns:
        (n,) what the draw orders them by.

    """
    size = np.ones(len(coins)) if probabilities is None else sizes(probabilities)
    found: NDArray[np.uint64] = np.minimum(coins.astype(np.float64) * (FLOOR / size), _LARGEST).astype(np.uint64)
    return found


def inclusion(probabilities: Sequence[float] | None, first_left: int) -> float:
    """Chance with which an event was drawn.

    Args:
        probabilities: of the event.
        first_left: the smallest stretched coin of its tile that was not drawn.

    Returns:
        Above 0, at most 1.

    """
    return min(1.0, size_of(probabilities) / FLOOR * _unit(first_left))


def _unit(coin: int) -> float:
    """As `kernels.unit`: of one number no kernel need be loaded."""
    return ((coin >> 11) + 1) * 2.0**-53

"""Tests and intervals of a mean that hold however often they are looked at, by betting.

Who doubts that a mean is 0 or less bets, before each value, a part of a wealth of 1 that the value will be above 0. If
the mean is 0 or less no way to bet makes the wealth grow on average, and the chance that it ever reaches 1 / alpha is
alpha at most (Ville 1939): at any number of values, whatever their distribution, as long as they are bounded. An
interval holds the means that no bet has refuted.

The stakes are those that let the wealth grow fastest for values as they have been so far, taken to be at least `worth`
above 0: a difference that small is not worth more labels. Waudby-Smith and Ramdas 2024, "Estimating means of bounded
random variables by betting", section 5.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tidemark.evaluation.metrics import Floats

ALPHA: Final = 0.05
"""Chance that a mean is ever taken to be above 0 (or another bound) where it is not."""
_MOST: Final = 0.75
"""Of the wealth, at most this is lost by one value."""
_DOUBT: Final = 200.0
"""Values' worth of doubt that the mean so far is more than `worth`."""
_FIRST_VARIANCE: Final = 0.1
"""What values vary by before any has come: about as much as differences of two models' hits or log losses do."""
_FIRST: Final = 20.0
"""Values that this is worth."""
_GRID: Final = 64
_FINE: Final = 1e-4


def wealth(values: Floats, bound: float | Floats, worth: float) -> Floats:
    """Logarithm of the wealth after each value, of who bets that the mean is above 0.

    Args:
        values: (n,) or (n, k), in the order in which they came; each column is bet on by itself.
        bound: what no value lies beyond, either way; of each column where it is (k,).
        worth: the smallest mean that is worth finding, above 0.

    Returns:
        As `values`. Above log(1 / alpha): that the mean is 0 or less is refuted, once and for all.

    """
    seen = np.arange(len(values), dtype=np.float64).reshape(-1, *[1] * (values.ndim - 1))
    mean = (np.cumsum(values, axis=0) - values) / (seen + _DOUBT)
    squares = np.square(values - mean)
    variance = (_FIRST * _FIRST_VARIANCE + np.cumsum(squares, axis=0) - squares) / (seen + _FIRST)
    goal = np.maximum(mean, worth)
    stake = np.minimum(goal / (variance + np.square(goal)), _MOST / np.asarray(bound))
    grown: Floats = np.cumsum(np.log1p(stake * values), axis=0)
    return grown


def is_above(values: Floats, bound: float, worth: float, alpha: float = ALPHA) -> bool:
    """Whether the mean is known to be above 0.

    Args:
        values: (n,), in order.
        bound: what no value lies beyond, either way.
        worth: the smallest mean that is worth finding.
        alpha: chance that this is ever said of a mean that is not.

    Returns:
        Whether it is, now or at any number of values before.

    """
    return len(values) > 0 and bool(wealth(values, bound, worth).max() >= math.log(1 / alpha))


def interval(values: Floats, bound: float, worth: float, alpha: float = ALPHA) -> tuple[float, float]:
    """Ends between which the mean lies, each with a confidence of 1 - alpha at all numbers of values at once.

    Args:
        values: (n,), in order.
        bound: what no value lies beyond, either way.
        worth: the smallest distance that is worth finding.
        alpha: chance that an end is ever wrong.

    Returns:
        The ends; 0 does not lie between them where `is_above`.

    """
    if len(values) == 0:
        return -bound, bound
    return _low(values, bound, worth, alpha), -_low(-values, bound, worth, alpha)


def _low(values: Floats, bound: float, worth: float, alpha: float) -> float:
    """A mean below which all are refuted, found on ever finer grids; the first of them has 0."""
    goal = math.log(1 / alpha)
    low, high = (0.0, bound) if is_above(values, bound, worth, alpha) else (-bound, 0.0)
    while high - low > _FINE * bound:
        grid = np.linspace(low, high, _GRID)
        refuted = wealth(values[:, None] - grid, bound + np.abs(grid), worth).max(axis=0) >= goal
        kept = len(grid) - 1 if refuted[1:].all() else 1 + int(np.argmin(refuted[1:]))
        low, high = float(grid[kept - 1]), float(grid[kept])
    return low

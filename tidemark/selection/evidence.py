"""What labels say of a class: whether it is rare, and whether choosing finds more of it than chance does.

The share r of the class in the stream and the odds ratio f of chosen cases over drawn ones are unknown; beforehand
each is as likely in one octave as in another (log-uniform), r from .1 % to 50 %, f from 1/8 to 64. Labels of drawn
cases are Bernoulli draws of r, those of chosen cases of odds f * r / (1 - r). Both probabilities are posterior, on
a grid: they hold from the first label on, at whatever moment they are looked at (Bayes factors need no fixed number of
labels). What drawn labels say of r is unbiased, for their cases were drawn by coins.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

RARE: Final = 0.1
"""Share of a class below which chance finds it too seldom: fewer than one label in ten."""
_SHARES: Final = np.geomspace(0.001, 0.5, 64)
_ODDS_RATIOS: Final = np.geomspace(1 / 8, 64, 73)
_BOTH: Final = np.outer(_SHARES / (1 - _SHARES), _ODDS_RATIOS)
_CHOSEN: Final = _BOTH / (1 + _BOTH)
"""(shares, ratios) share of the class among chosen cases."""


@lru_cache(maxsize=1_024)
def rare(found: int, draws: int) -> float:
    """Probability that a class is rare.

    Args:
        found: labels of the class among those of drawn cases.
        draws: labels of drawn cases.

    Returns:
        From 0 to 1; 0.74 where nothing was drawn.

    """
    weights = _posterior(_of_drawn(found, draws))
    return float(weights[_SHARES < RARE].sum())


@lru_cache(maxsize=1_024)
def pays(found: int, draws: int, found_by_choice: int, choices: int) -> float:
    """Probability that chosen cases hold a larger share of a class than the stream.

    Args:
        found: labels of the class among those of drawn cases.
        draws: labels of drawn cases.
        found_by_choice: labels of the class among those of chosen cases.
        choices: labels of chosen cases.

    Returns:
        From 0 to 1; 0.67 where nothing was asked.

    """
    chosen = found_by_choice * np.log(_CHOSEN) + (choices - found_by_choice) * np.log1p(-_CHOSEN)
    weights = _posterior(_of_drawn(found, draws)[:, None] + chosen)
    return float(weights[:, _ODDS_RATIOS > 1].sum())


def _of_drawn(found: int, draws: int) -> NDArray[np.float64]:
    """(shares,) log-likelihood of what drawn cases held."""
    return np.asarray(found * np.log(_SHARES) + (draws - found) * np.log1p(-_SHARES))


def _posterior(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())

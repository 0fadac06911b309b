"""By what chance labels are there, where some events were drawn to be asked about and others have an outcome.

Draw and outcomes are two samples of one stream. An event's chance to be in either one would do for both, but nobody
knows the chance of the draw for events that it has passed over. Where not all outcomes are taken, that chance can't be
left out: an event of a common class is then nearly always there because it was drawn, one of a rare class because of
its outcome, and the common class would count twice. So the two samples are weighted each by itself, and together by
what each is worth (Hartley 1962, "Multiple frame surveys"): their weights' totals are shares of the stream in each, and
so in any mean of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def is_uneven(taken: NDArray[np.float64]) -> bool:
    """Whether outcomes were taken by different chances. taken: (n,), NaN where none was."""
    return len(np.unique(taken[~np.isnan(taken)])) > 1


def inclusion_of(drawn: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """By what chance each label is there, or numbers whose inverses are to each other as the labels' weights.

    Args:
        drawn: (n,) chance by which each event was drawn to be asked about, NaN where it was not.
        taken: (n,) chance by which its outcome was taken, NaN where none was.

    Returns:
        (n,) above 0, at most 1; NaN where an event was neither drawn nor its outcome taken.

    """
    if not (taken < 1).any():  # false for NaN
        both = 1 - (1 - drawn) * (1 - taken)
        return np.where(np.isnan(taken), drawn, np.where(np.isnan(drawn), taken, both))
    weights, worths = zip(*(_weights(chances) for chances in (drawn, taken)), strict=True)
    whole = sum(worths)
    weight = sum((worth / whole * own for own, worth in zip(weights, worths, strict=True)), np.zeros(len(drawn)))
    there = weight > 0
    return np.where(there, weight[there].min() / np.where(there, weight, 1.0), np.nan)


def _weights(chances: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Weights of a sample that sum to 1, 0 for what is not of it; and of how many labels it has the worth (Kish)."""
    there = ~np.isnan(chances)
    weights = np.where(there, 1 / np.where(there, chances, 1.0), 0.0)
    total = float(weights.sum())
    return (weights / total, total**2 / float((weights**2).sum())) if total else (weights, 0.0)

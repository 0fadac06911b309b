"""Robust: BADGE among the most uncertain, mixed with chance as far as uncertainty tells nothing."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy, left_to_chance


class Robust(Strategy):
    """Twice as large a share of the budget is random as the model is unsure of the tile's events on average.

    Where one class is rare a model is sure of most events, and nearly all of the budget goes where it is not. Where it
    is unsure of most, the most uncertain are hardly better than any, and choosing them only bends the sample
    (`left_to_chance`).
    """

    name = "robust"
    source = "Ash et al. 2020 (BADGE); mixing with uniform: arXiv:2511.08991"
    fails = "many classes are learnt one after the other: a model unsure of all events asks much at random"
    reason = "diverse"
    narrows = True
    draws = True

    def random_share(self, uncertainty: float) -> float:
        """Twice the mean uncertainty."""
        return left_to_chance(uncertainty)

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:
        """The largest gradient first."""
        return kernels.badge(pool.probabilities, pool.features, slots, seed, bias=1.0)

"""BADGE: events whose labels would move the model far, and in different directions."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy


class Badge(Strategy):
    """k-means++ over the gradient embedding (p - 1) x of the pool."""

    name = "badge"
    source = "Ash et al. 2020"
    fails = "features are noise for the most part: distances then say nothing"
    reason = "diverse"

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:
        """The largest gradient first."""
        return kernels.badge(pool.probabilities, pool.features, slots, seed, bias=1.0)

"""Margin, then k-means++: of the most uncertain events, some that are unlike each other."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy


class MarginKmeans(Strategy):
    """k-means++ over the features of the most uncertain tenth of the tile."""

    name = "margin_kmeans"
    source = "Zhdanov 2019, diverse mini-batch active learning"
    fails = "labels are noisy: of uncertain events it prefers the outliers"
    reason = "diverse"
    narrows = True

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:
        """In the order in which they were drawn."""
        return kernels.kmeans_pp(pool.features, slots, seed)

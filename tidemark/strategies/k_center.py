"""k-center: of the most uncertain events, those farthest from each other."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy


class KCenter(Strategy):
    """Greedy k-center (core-set) over the most uncertain tenth of the tile."""

    name = "k_center"
    source = "Gonzalez 1985; Sener and Savarese 2018"
    fails = "there are outliers, which it asks about first"
    reason = "diverse"
    narrows = True

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:  # noqa: ARG002
        """Each the farthest from those before it."""
        return kernels.k_center_greedy(pool.features, slots)

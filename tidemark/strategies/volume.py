"""Volume: events that are uncertain and span as much as possible together."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy


class Volume(Strategy):
    """Greedy mode of a determinantal point process whose quality is the margin uncertainty."""

    name = "volume"
    source = "Chen et al. 2018"
    fails = "features are noise for the most part: all rows are then far from each other"
    reason = "diverse"

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:  # noqa: ARG002
        """Each multiplies the determinant the most."""
        x = pool.features
        quality = np.maximum(pool.margins, 1e-6) if len(pool) else np.empty(0)
        return kernels.determinantal(x, slots, scale=float(np.sqrt(max(1, x.shape[1]))), quality=quality)

"""Weighted: draws in proportion to the chance that the model errs."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy


class Weighted(Strategy):
    """Draws of the pool, one after the other, in proportion to the likeliest class's chance to be wrong."""

    name = "weighted"
    source = "Efraimidis and Spirakis 2006; Zhan et al. 2021"
    fails = "probabilities are far from calibrated"

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:  # noqa: ARG002
        """Without replacement, by the events' own coins."""
        wrong = 1 - pool.probabilities.max(axis=1) if len(pool) else np.empty(0)
        return kernels.exponential_bottom_k(np.maximum(wrong, 1e-12), pool.draws, slots)

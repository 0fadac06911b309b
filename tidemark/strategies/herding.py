"""Uncertainty herding: events that stand for as much of the others' uncertainty as possible."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy


class Herding(Strategy):
    """Facility location in which each event counts by its uncertainty: coverage while all are unsure, margin later."""

    name = "herding"
    source = "Bae et al. 2024, uncertainty herding (arXiv:2412.20644)"
    fails = "probabilities are far from calibrated"
    reason = "diverse"

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:  # noqa: ARG002
        """The one that covers the most uncertainty first."""
        weights = pool.margins if len(pool) else np.empty(0)
        return kernels.facility_location(pool.features, slots, weights=weights)

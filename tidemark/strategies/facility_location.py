"""Facility location: events that stand for as many others as possible."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy


class FacilityLocation(Strategy):
    """Greedy k-medoids of the pool: each pick lowers the distance of all to the nearest pick the most."""

    name = "facility_location"
    source = "Nemhauser et al. 1978; Wei et al. 2015"
    fails = "positives are rare: it asks about the crowd"
    reason = "diverse"

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:  # noqa: ARG002
        """The most typical first."""
        return kernels.facility_location(pool.features, slots)

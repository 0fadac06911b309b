"""Cluster-margin: of the most uncertain events, one of each cluster in turn."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy

_MOST = 1_000


class ClusterMargin(Strategy):
    """Average linkage of the most uncertain, then one of each cluster in turn, small clusters first."""

    name = "cluster_margin"
    source = "Citovsky et al. 2021, batch active learning at scale"
    fails = "the pool is small, or most clusters are single outliers"
    reason = "diverse"
    options = {"threshold": 1.0}  # noqa: RUF012 - read only

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:
        """Of the first thousand, for linkage needs the square of their number."""
        few = pool.first(_MOST)
        radius = self.number("threshold") * float(np.sqrt(max(1, few.features.shape[1] if len(few) else 1)))
        clusters = kernels.average_linkage(few.features, radius) if len(few) else np.empty(0, np.int64)
        picks = kernels.cluster_margin(few.margins if len(few) else np.empty(0), clusters, slots, seed)
        return np.concatenate([picks, np.arange(len(few), min(len(pool), len(few) + max(0, slots - len(picks))))])

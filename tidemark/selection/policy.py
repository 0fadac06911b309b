"""Active policies: which of a tile's best scores to ask about, in order.

`margin`, `entropy`, `least_confidence`: the highest scores. `margin_kmeans`: k-means++ over the features of the pool,
which is the top of the margins. `badge`: k-means++ over the gradient embedding (p - 1) x (Ash et al. 2020). Rows that
no model scored (cold start) are chosen by k-means++ too, of a pool in random order. Each is a function of the pool and
the seed alone, so that a replay picks the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kernels.diversity.kmeans_pp import badge, kmeans_pp, robust_scale
from tidemark.records import Reason
from tidemark.selection.tiles import Proposal

Policy = Literal["margin", "entropy", "least_confidence", "badge", "margin_kmeans"]


def pick(policy: Policy, pool: Sequence[Proposal], slots: int, seed: int) -> list[tuple[Proposal, Reason]]:
    """At most `slots` of the pool, which is in order of score, best to ask first."""
    scored = [row for row in pool if not math.isnan(row.score)]
    cold = [row for row in pool if math.isnan(row.score)]
    picks = _scored(policy, scored, min(slots, len(scored)), seed)
    if slots > len(picks) and cold:
        spread = kmeans_pp(_features(cold), slots - len(picks), seed)
        picks += [(cold[row], "cold") for row in spread.tolist()]
    return picks


def warm() -> None:
    """Compile, or load from the cache, the kernels that picks need: a flow calls it before it joins its group."""
    table = robust_scale(np.arange(8, dtype=np.float64).reshape(4, 2))
    kmeans_pp(table, 2, 0)
    badge(np.full((4, 2), 0.5), table, 2, 0, bias=1.0)


def _scored(policy: Policy, pool: list[Proposal], slots: int, seed: int) -> list[tuple[Proposal, Reason]]:
    if policy == "margin_kmeans" and slots:
        return [(pool[row], "diverse") for row in kmeans_pp(_features(pool), slots, seed).tolist()]
    if policy == "badge" and slots:
        probabilities = np.array([row.probabilities for row in pool], np.float64)
        picks = badge(probabilities, _features(pool), slots, seed, bias=1.0)
        return [(pool[row], "diverse") for row in picks.tolist()]
    return [(row, "uncertain") for row in pool[:slots]]


def _features(pool: list[Proposal]) -> NDArray[np.float64]:
    """Features of the pool in units of their spread, missing ones told apart: (rows, columns).

    A pool may mix rows scored before and after a change of features: what a row lacks is missing.
    """
    names = sorted({name for row in pool for name in row.features})
    table = np.array([[row.features.get(name) for name in names] for row in pool], np.float64)
    return robust_scale(table.reshape(len(pool), len(names)))

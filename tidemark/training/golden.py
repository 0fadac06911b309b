"""Golden rows: few rows that together reach as many leaves of a model as they can."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.forest.forest import Forest
from kernels.forest.model_text import ForestModel
from tidemark.training.categories import categories_in_splits

MOST: Final = 64
"""Golden rows of a model: two dozen reach every leaf of a model of 1,000 labels."""
_LOOKED_AT: Final = 20_000
_MISSING: Final = 0.05


def choose(forest: Forest, rows: NDArray[np.float64], most: int = MOST) -> NDArray[np.float64]:
    """At most `most` of the rows (n, d): a greedy cover of the leaves they reach, next the row that adds most.

    Of a long table, 20,000 rows at equal distances are looked at.
    """
    rows = rows[:: max(1, len(rows) // _LOOKED_AT)]
    leaves = forest.leaves(rows).astype(np.int64)
    width = int(leaves.max()) + 1
    cell = leaves + np.arange(leaves.shape[1]) * width
    still_open = np.zeros(width * leaves.shape[1], np.bool_)
    still_open[cell] = True
    chosen: list[int] = []
    while still_open.any() and len(chosen) < most:
        best = int(np.argmax(still_open[cell].sum(axis=1)))
        still_open[cell[best]] = False
        chosen.append(best)
    return rows[chosen]


def made_up(model: ForestModel, count: int = 4_000, seed: int = 0) -> NDArray[np.float64]:
    """Rows (count, d) for a model whose training rows nobody has: values at and about its own thresholds.

    Of a feature that is split by category: the categories that splits name, and the one after the last of them.
    """
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, len(model.feature_names)))
    numerical = (model.decision_type & 1) == 0  # bit 0: categorical
    for feature in range(rows.shape[1]):
        thresholds = model.threshold[(model.split_feature == feature) & numerical & np.isfinite(model.threshold)]
        values = np.concatenate([thresholds, np.nextafter(thresholds, np.inf)])  # either side
        categories = categories_in_splits(model, feature)
        if len(categories):
            values = np.concatenate([values, categories, categories[-1:] + 1])
        if len(values):
            rows[:, feature] = rng.choice(values, count)
    rows[rng.random(rows.shape) < _MISSING] = np.nan
    return rows

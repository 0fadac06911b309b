"""Random: every event has the same chance."""

from __future__ import annotations

import numpy as np

from tidemark.strategies.base import Floats, Scored, Strategy


class Random(Strategy):
    """The whole budget is drawn by coins, so that each label has a known inclusion probability."""

    name = "random"
    source = "Cohen and Kaplan 2007 (bottom-k)"
    fails = "one class is rare: most labels are of the other"
    draws = True
    ranks = False

    def score(self, rows: Scored) -> Floats:
        """(n,) NaN: nothing is ranked."""
        return np.full(len(rows.probabilities), np.nan)

    def random_share(self, uncertainty: float) -> float:  # noqa: ARG002
        """All of it."""
        return 1.0

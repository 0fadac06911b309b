"""Likeliest: the events that are most probably of the positive class."""

from __future__ import annotations

import numpy as np

from tidemark.strategies.base import Floats, Scored, Strategy


class Likeliest(Strategy):
    """The largest probabilities of the positive class: to find positives, at the cost of knowing the border."""

    name = "likeliest"
    source = "Garnett et al. 2012, active search"
    fails = "what is wanted is a good model: it asks what is known already"
    of_classes = "it looks for a class"

    def score(self, rows: Scored) -> Floats:
        """(n,) probability of the positive class."""
        return np.ascontiguousarray(rows.probabilities[:, rows.positive])

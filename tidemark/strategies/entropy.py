"""Entropy: the events of whose class the least is known."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Floats, Strategy


class Entropy(Strategy):
    """The largest entropies. With two classes it asks as `margin` does."""

    name = "entropy"
    source = "Shannon 1948; Settles 2009, 2.3"
    fails = "there are many classes, whose small probabilities add up"
    of_classes = "the entropy is of classes' probabilities; margin asks about the widest intervals"

    def uncertainty(self, probabilities: Floats) -> Floats:
        """(n,) in nats."""
        return np.asarray(kernels.entropy(probabilities), np.float64)

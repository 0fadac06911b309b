"""Least confidence: the events whose likeliest class is the least likely."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Floats, Strategy


class LeastConfidence(Strategy):
    """The smallest probabilities of the likeliest class. With two classes it asks as `margin` does."""

    name = "least_confidence"
    source = "Lewis and Gale 1994"
    fails = "as margin"
    of_classes = "confidence is a class's probability; margin asks about the widest intervals"

    def uncertainty(self, probabilities: Floats) -> Floats:
        """(n,) one less the likeliest class's probability."""
        return np.asarray(kernels.least_confidence(probabilities), np.float64)

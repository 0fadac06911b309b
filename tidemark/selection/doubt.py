"""How unsure a model is of a number, in the form that strategies take: as if it were of two classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def doubt_of(estimates: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    """What strategies take for probabilities of two classes, whose margin uncertainty is the interval's width.

    Args:
        estimates: (n, 3) numbers and the ends of their intervals (`tidemark.registry.estimates`).
        bounds: the least and the greatest number that can be right.

    Returns:
        (n, 2) rows that sum to 1. The uncertainty of a row is the width of its interval as a share of all from the
        least to the greatest number: from 0, sure, to 1, nothing is known.

    """
    least, greatest = bounds
    half = np.clip((estimates[:, 2] - estimates[:, 1]) / (greatest - least), 0.0, 1.0) / 2
    return np.column_stack((1 - half, half))

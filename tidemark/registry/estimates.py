"""What a model of a number says of a row: the number, and an interval about it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

COLUMNS: Final = ("value", "low", "high")
"""Of a table of estimates."""
LEVEL: Final = 0.9
"""Share of events whose number is to lie in its interval."""


def estimates_of(scores: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    """Estimates of rows by a forest's scores.

    Args:
        scores: (n, 2) the number, and half the width of its interval.
        bounds: the least and the greatest number that can be right.

    Returns:
        (n, 3) the number and the ends of its interval (`COLUMNS`), within the bounds.

    """
    half = np.maximum(scores[:, 1], 0.0)
    table = np.column_stack((scores[:, 0], scores[:, 0] - half, scores[:, 0] + half))
    clipped: NDArray[np.float64] = np.clip(table, *bounds)
    return clipped


def value_alone(values: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    """Estimates (n, 3) without an interval, whose ends are NaN. values: (n, 1)."""
    missing = np.full((len(values), 2), np.nan)
    return np.hstack((np.clip(values, *bounds), missing))

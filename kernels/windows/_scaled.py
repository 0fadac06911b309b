"""Slope and z-score of a window, in two passes over distances that neither overflow nor vanish.

A value's distance from one of the window, the anchor, is scaled by a power of two so that the largest is about 1.
Scaling rounds nothing. Means are taken of the distances, and squares and products of what is left (Chan, Golub, LeVeque
1983, "Algorithms for computing the sample variance", the two-pass algorithm).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean

_SECOND: Final = 1e6
_HUGE: Final = 2.0**1020
"""Above it a distance could overflow; such values are taken in quarters."""
_EXPONENTS: Final = 1022
"""Powers of two up to it, and their inverses, are normal numbers."""


@lean
def _spread(values: NDArray[np.float64], base: int, begin: int, end: int) -> tuple[int, float, float, float]:
    """Number of values, what they are multiplied by first, the anchor, what distances are multiplied by.

    The last is 0 where all are alike, and NaN where there are fewer than two values or one is infinite.
    """
    n, largest, anchor = 0, 0.0, np.nan
    for p in range(end - 1, begin - 1, -1):
        x = values[base + p]
        if x == x:  # noqa: PLR0124
            if n == 0:
                anchor = x
            n += 1
            largest = max(largest, abs(x))
    first = 0.25 if largest > _HUGE else 1.0
    anchor *= first
    if n < 2 or largest == np.inf:
        return n, first, anchor, np.nan
    widest = 0.0
    for p in range(begin, end):
        x = values[base + p]
        if x == x:  # noqa: PLR0124
            widest = max(widest, abs(x * first - anchor))
    if widest == 0.0:
        return n, first, anchor, 0.0
    _, exponent = math.frexp(widest)
    return n, first, anchor, math.ldexp(1.0, max(-_EXPONENTS, min(_EXPONENTS, -exponent)))


@lean
def _finite(x: float) -> float:
    return x if abs(x) < np.inf else np.nan


@lean
def slope_of(times: NDArray[np.int64], values: NDArray[np.float64], base: int, begin: int, end: int) -> float:
    """Slope of the least-squares line of values over time, per second; NaN where there is none."""
    n, first, anchor, scale = _spread(values, base, begin, end)
    if math.isnan(scale):
        return np.nan
    p = end - 1
    while math.isnan(values[base + p]):
        p -= 1
    newest = times[p]
    total_time, total = 0.0, 0.0
    for p in range(begin, end):
        x = values[base + p]
        if x == x:  # noqa: PLR0124
            total_time += float(times[p] - newest)
            total += (x * first - anchor) * scale
    mean_time, mean = total_time / n, total / n
    squares, products = 0.0, 0.0
    for p in range(begin, end):
        x = values[base + p]
        if x == x:  # noqa: PLR0124
            elapsed = float(times[p] - newest) - mean_time
            squares += elapsed * elapsed
            products += elapsed * ((x * first - anchor) * scale - mean)
    if squares == 0.0:
        return np.nan
    if scale == 0.0:
        return 0.0
    return _finite(products / squares * _SECOND / scale / first)


@lean
def zscore_of(values: NDArray[np.float64], base: int, begin: int, end: int, x: float) -> float:
    """Distance of ``x`` from the mean of the values in their standard deviations; NaN where there is none."""
    n, first, anchor, scale = _spread(values, base, begin, end)
    if not scale > 0.0 or math.isnan(x):
        return np.nan
    total = 0.0
    for p in range(begin, end):
        y = values[base + p]
        if y == y:  # noqa: PLR0124
            total += (y * first - anchor) * scale
    mean = total / n
    squares = 0.0
    for p in range(begin, end):
        y = values[base + p]
        if y == y:  # noqa: PLR0124
            distance = (y * first - anchor) * scale - mean
            squares += distance * distance
    own = 0.25 if abs(x) > _HUGE else 1.0  # the distance of so large a value may overflow where no other does
    distance = (x * first * own - anchor * own) * scale - mean * own
    return _finite(distance / math.sqrt(squares / (n - 1)) / own)

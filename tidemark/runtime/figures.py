"""Figures as people read them."""

from __future__ import annotations

import math
from typing import Final

_DIGITS: Final = 15
"""As many as decimals keep in float64. Beyond them, and below 0.0001, a figure has an exponent."""


def figure(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """A figure with its thousands apart.

    Args:
        value: any.
        digits: significant ones; those before the point are all shown.
        signed: whether one above 0 has its sign, too.

    Returns:
        It, without zeros behind the last digit.

    """
    if value and math.isfinite(value):
        value = round(value, max(digits - 1 - math.floor(math.log10(abs(value))), 0))
    return f"{value:{'+' if signed else ''},.{_DIGITS}g}"


def probability(value: float) -> str:
    """A probability that something is compared with: near 1 with as many digits as tell it from 1.

    Args:
        value: 0 to 1.

    Returns:
        It, with three significant digits, and two of what it lacks to 1.

    """
    if not 0 < value < 1:
        return f"{value:g}"
    places = (2 - math.floor(math.log10(value)), 1 - math.floor(math.log10(1 - value)))
    return repr(round(value, max(places)))

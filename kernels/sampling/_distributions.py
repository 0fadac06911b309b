"""Quantiles of Student's t distribution: what an interval from few labels needs, without SciPy."""

import math
from statistics import NormalDist
from typing import Final

_NEARLY_NORMAL: Final = 1e7
_TINY: Final = 1e-300


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function by Lentz's method (Press et al. 2007, section 6.4)."""
    c, d = 1.0, 1.0 / max(1.0 - (a + b) * x / (a + 1.0), _TINY)
    fraction = d
    for m in range(1, 10_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + numerator / c
            c = c if abs(c) > _TINY else _TINY
            fraction *= d * c
        if abs(d * c - 1.0) < 1e-16:
            break
    return fraction


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), a and b above 0, x from 0 to 1."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def t_quantile(probability: float, df: float) -> float:
    """The value below which a t variable with ``df`` degrees of freedom lies with this probability, 0 to 1 exclusive.

    P(|T| <= t) = I_y(1/2, df/2) with y = t^2 / (df + t^2) (Abramowitz and Stegun 26.7.1), solved by bisection.
    """
    if not 0.0 < probability < 1.0:
        raise ValueError(f"probability: expected a number between 0 and 1, got {probability!r}")
    if not df >= 1.0:
        raise ValueError(f"df: expected a number from 1, got {df!r}")
    if df > _NEARLY_NORMAL:
        return NormalDist().inv_cdf(probability)
    central = abs(2.0 * probability - 1.0)
    low, high = 0.0, 1.0
    while True:
        middle = 0.5 * (low + high)
        if middle in {low, high}:
            break
        if incomplete_beta(0.5, 0.5 * df, middle) < central:
            low = middle
        else:
            high = middle
    return math.copysign(math.sqrt(df * low / (1.0 - low)), probability - 0.5)

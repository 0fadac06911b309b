"""95 % intervals of figures that were counted over many events, which need no design of `kernels.estimates`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from kernels.sampling._distributions import t_quantile

_Z: Final = 1.959963984540054
"""97.5 % quantile of the normal distribution."""
_SAME: Final = 1e-9
"""Closer to 0 or 1 than this, an average precision has no logit."""
_PRIOR_POSITIVES: Final = 1.0
"""Positives whose share's variance joins that of an average precision: with three its intervals are a tenth wider where
positives are few, and hold the truth no more often where they are many."""
_FREEDOM: Final = 1.0
"""Degrees of freedom of Student's t beyond the number of positives: with one less than that number, as a sample's mean
has, fifty answers with a few positives tell next to nothing, and hold the truth in more than 99 %."""


def wilson(share: float, n: float, *, freedom: float | None = None) -> tuple[float, float]:
    """Wilson's score interval of a share seen in n draws (Wilson 1927); the whole [0, 1] for none.

    freedom: degrees of freedom of Student's t, which takes the place of the normal's quantile.
    """
    if n <= 0:
        return 0.0, 1.0
    z = _Z if freedom is None else _quantile(freedom)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share))


def agresti_coull(share: float, n: float, *, answers: int | None = None) -> tuple[float, float]:
    """Agresti and Coull's interval of a share: Wilson's centre, and seldom below 95 % where shares are near 0 or 1.

    Args:
        share: 0 to 1, possibly a mean of unequal weights.
        n: draws it rests on; of unequal weights their effective number. Need not be whole.
        answers: draws that tell how far to trust `n`: Student's t of so many takes the place of the normal's quantile.

    Returns:
        The ends, within [0, 1], with `share` between them; the whole [0, 1] where `n` is 0.

    References: Agresti and Coull 1998, "Approximate is better than exact"; Korn and Graubard 1998 for effective sizes.

    """
    if not n > 0:
        return 0.0, 1.0
    z = _Z if answers is None else _quantile(answers - 1)
    size = n + z * z
    middle = (share * n + z * z / 2) / size
    reach = z * math.sqrt(max(middle * (1 - middle), 0.0) / size)
    return max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share))


def of_average_precision(value: float, error: float, positives: float, others: float) -> tuple[float, float]:
    """Interval of an average precision on the logit scale, with Student's t of so many positives.

    Args:
        value: the average precision.
        error: its standard error by linearisation (`metrics.average_precision_error`), which is too small while
            positives are few. It is shrunk towards that of a share of as many positives, which is too large.
        positives: effective number of positives it rests on.
        others: `metrics.average_precision_of_others`, where the lower end is reckoned from: few positives make a model
            look better than it is, and nearly all intervals that missed the truth lay above it.

    Returns:
        The ends, within [0, 1]; the whole [0, 1] below two positives. Coverage by simulation is in
        `benchmarks.labels.headline`.

    """
    if positives < 2 or not 0 <= value <= 1:
        return 0.0, 1.0
    t = _quantile(round(positives + _FREEDOM, 1))
    spread = value * (1 - value)
    if spread < _SAME:
        low, high = agresti_coull(value, positives, answers=round(positives))
        return min(low, others), high
    of_share = spread / positives
    variance = (positives * error**2 + _PRIOR_POSITIVES * of_share) / (positives + _PRIOR_POSITIVES)
    reach = t * math.sqrt(variance) / spread
    lower = min(max(others, _SAME), value)
    return _expit(_logit(lower) - reach), _expit(_logit(value) + reach)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


@lru_cache(maxsize=4096)
def _quantile(df: float) -> float:
    return t_quantile(0.975, max(df, 1.0))


def newcombe(share: float, n: float, other: float, of: float) -> tuple[float, float]:
    """Interval of a share less another, of independent draws: each one's Wilson interval squared and added.

    Args:
        share: seen in `n` draws.
        n: above 0.
        other: seen in `of` draws.
        of: above 0.

    Returns:
        The ends, within [-1, 1].

    References: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.

    """
    (low, high), (least, most) = wilson(share, n), wilson(other, of)
    difference = share - other
    below = math.hypot(share - low, most - other)
    return difference - below, difference + math.hypot(high - share, other - least)


def of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """Interval of a median, whatever the distribution: two of the values, by their places in order.

    Args:
        values: draws, in any order.

    Returns:
        The ends; None for fewer values than can hold the median in 95 %.

    References: Conover 1999, "Practical nonparametric statistics", section 3.2.

    """
    n = len(values)
    place = math.floor(n / 2 - _Z / 2 * math.sqrt(n))
    if place < 1:
        return None
    ordered = sorted(values)
    return ordered[place - 1], ordered[n - place]


def normal(mean: float, error: float) -> tuple[float, float]:
    """Interval of a mean with a known standard error."""
    return mean - _Z * error, mean + _Z * error


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

"""95 % intervals of figures that were counted over many events, which need no design of `kernels.estimates`."""

from __future__ import annotations

import math
from typing import Final

_Z: Final = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of a share seen in n draws (Wilson 1927); the whole [0, 1] for none."""
    if n <= 0:
        return 0.0, 1.0
    middle = (share + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
    reach = _Z / (1 + _Z * _Z / n) * math.sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    return max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share))


def normal(mean: float, error: float) -> tuple[float, float]:
    """Interval of a mean with a known standard error."""
    return mean - _Z * error, mean + _Z * error


def logit(value: float, positives: float) -> tuple[float, float]:
    """Interval of an average precision estimated from so many (effective) positives; [0, 1] at 0, 1 or none.

    On the logit scale with standard error (positives * value * (1 - value))^-1/2: Boyd, Eng, Page 2013, "Area under
    the precision-recall curve: point estimates and confidence intervals", section 3.2.
    """
    if not 0 < value < 1 or positives <= 0:
        return 0.0, 1.0
    middle = math.log(value / (1 - value))
    reach = _Z / math.sqrt(positives * value * (1 - value))
    return _expit(middle - reach), _expit(middle + reach)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

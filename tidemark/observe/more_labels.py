"""What a hundred more labels would bring, by what labels have brought so far.

The headlines of successive champions are points of a learning curve: quality = most - b / sqrt(labels), whose b is
fitted by least squares, narrow intervals counting for more. What the next hundred bring is b times the difference of
1 / sqrt(n) and 1 / sqrt(n + 100). Its upper end takes the points to scatter about the curve as they do. Successive
headlines share most of their answers, so they scatter less about it than they would by chance alone; the error is
therefore not taken to be smaller than if the earlier and the later half of them were one headline each.

Labels may stop once even the upper end is less than half a point: `ENOUGH`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kernels.sampling._distributions import t_quantile

NEXT: Final = 100
ENOUGH: Final = 0.005
"""Gain of the next hundred labels below which they may stop: half a point of accuracy, recall or average precision."""
_FEWEST: Final = 5
_SPAN: Final = 2.0
"""The last champion must have learnt from so many times the labels of the first: a short piece of a curve is a line."""
_NARROWEST: Final = 0.01


@dataclass(frozen=True, slots=True)
class Gain:
    """What the next hundred labels bring: about `expected`, and less than `most` (95 %)."""

    expected: float
    most: float

    @property
    def enough(self) -> bool:
        """Whether people may stop answering."""
        return self.most < ENOUGH


@dataclass(frozen=True, slots=True)
class Point:
    """A champion's headline. labels: that it has learnt from.  width: of its 95 % interval."""

    labels: int
    value: float
    width: float


def next_hundred(points: Sequence[Point]) -> Gain | None:
    """The gain to expect.

    Args:
        points: headlines of champions by the same measure, in any order.

    Returns:
        The gain; None where the points are too few, or of too few labels, to tell.

    """
    known = sorted((each for each in points if each.labels > 0 and each.width > 0), key=lambda each: each.labels)
    if len(known) < _FEWEST or known[-1].labels < _SPAN * known[0].labels:
        return None
    x = [1 / math.sqrt(each.labels) for each in known]
    y = [each.value for each in known]
    heavy = [1 / max(each.width, _NARROWEST) ** 2 for each in known]
    weight = [each / sum(heavy) for each in heavy]
    middle, level = _mean(weight, x), _mean(weight, y)
    away = [each - middle for each in x]
    spread = _mean(weight, [each**2 for each in away])
    if not spread > 0:
        return None
    slope = -_mean(weight, [a * (b - level) for a, b in zip(away, y, strict=True)]) / spread
    scatter = [b - level + slope * a for a, b in zip(away, y, strict=True)]
    freedom = len(known) - 2
    squares = sum((w * a * e) ** 2 for w, a, e in zip(weight, away, scatter, strict=True))
    variance = squares / spread**2 * len(known) / freedom
    half = len(known) // 2
    apart = sum(x[:half]) / half - sum(x[half:]) / (len(x) - half)
    halves = math.hypot(known[half - 1].width / 4, known[-1].width / 4) / apart
    error = max(math.sqrt(variance), halves)
    step = 1 / math.sqrt(known[-1].labels) - 1 / math.sqrt(known[-1].labels + NEXT)
    most = slope + t_quantile(0.95, freedom) * error
    return Gain(max(slope * step, 0.0), max(most * step, 0.0))


def _mean(weight: Sequence[float], values: Sequence[float]) -> float:
    return sum(w * value for w, value in zip(weight, values, strict=True))

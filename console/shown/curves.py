"""Curves of two models laid out as drawings of one size: precision against recall, and reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from console.shown.formatting import share
from tidemark.comparison import Compared, Side

_LEFT: Final = 36.0
_TOP: Final = 8.0
_SIZE: Final = 240.0
"""Units of the square that a share of 0 to 1 takes, within a drawing of 288 by 284."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A bin of the reliability curve. low, high: heights of its interval's ends."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One model's. line, band: of an SVG path; band "" where there is none.  table: rows of figures behind it."""

    version: str
    line: str
    band: str
    dots: list[Dot]
    table: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Drawings:
    """What is drawn of a comparison: a curve for each model.

    base: height of the line that a model without skill reaches in the first drawing.
    """

    precision: list[Curve]
    reliability: list[Curve]
    base: float


def drawings(found: Compared) -> Drawings | None:
    """The drawings of a comparison; None where it tells nothing."""
    sides = (found.first, found.second)
    if found.why or not any(side.curve or side.reliability for side in sides):
        return None
    share_of_class = _base_rate(found)
    return Drawings([_precision(side) for side in sides], [_reliability(side) for side in sides], _y(share_of_class))


def _base_rate(found: Compared) -> float:
    """Share of the class among all that the answers stand for: what flagging everything comes to."""
    bins = found.first.reliability
    return sum(each.observed * each.weight for each in bins)


def _precision(side: Side) -> Curve:
    points = side.curve
    line = _path([(point.recall, point.precision) for point in points])
    edge = [(point.recall, point.high) for point in points] + [(point.recall, point.low) for point in reversed(points)]
    table = [
        (
            f"{point.threshold:.3f}",
            f"{point.flagged:,}",
            share(point.recall),
            share(point.precision),
            f"{share(point.low)} to {share(point.high)}",
        )
        for point in points
    ]
    return Curve(side.version, line, f"{_path(edge)}Z" if len(points) > 1 else "", [], table)


def _reliability(side: Side) -> Curve:
    bins = side.reliability
    dots = [Dot(_x(each.predicted), _y(each.observed), _y(each.low), _y(each.high)) for each in bins]
    table = [
        (f"{each.predicted:.3f}", f"{each.n:,}", share(each.observed), f"{share(each.low)} to {share(each.high)}")
        for each in bins
    ]
    return Curve(side.version, _path([(each.predicted, each.observed) for each in bins]), "", dots, table)


def _path(points: list[tuple[float, float]]) -> str:
    return "".join(f"{'L' if number else 'M'}{_x(x):g} {_y(y):g}" for number, (x, y) in enumerate(points))


def _x(value: float) -> float:
    return round(_LEFT + _SIZE * value, 1)


def _y(value: float) -> float:
    return round(_TOP + _SIZE * (1 - value), 1)

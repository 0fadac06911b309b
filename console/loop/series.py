"""What `P.metrics` has told so far, as series for charts. Of bounded size, whatever the topic holds."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tidemark.records import Metric

MOST: Final = 20_000
"""Points of one series; the newest are kept."""
MOST_DRAWN: Final = 600
CHARTED: Final = (
    "prediction_rate",
    "prediction_delay_p50",
    "prediction_delay_p99",
    "late_share",
    "budget_spent",
    "quality",
    "inputs_drift",
)
"""Metrics that are kept."""
_PARTS: Final = 8
"""Named parts of a figure that are kept."""


@dataclass(frozen=True, slots=True)
class Point:
    """A figure at a time (seconds since 1970), with its interval where it has one.

    parts: names of what it is made of, and the figure of each, where the metric tells them.
    """

    at: float
    value: float
    low: float | None
    high: float | None
    n: int
    model: str
    parts: Sequence[tuple[str, float]] = ()


class Series:
    """The series. Filled by one thread, read by others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: dict[str, deque[Point]] = {name: deque(maxlen=MOST) for name in CHARTED}

    def take(self, metric: Metric) -> None:
        """Keep a figure, if it is charted and has a value."""
        points = self._points.get(metric.name)
        if points is None or metric.value is None:
            return
        parts = parts_of(metric.detail)
        with self._lock:
            points.append(Point(metric.at / 1e6, metric.value, metric.low, metric.high, metric.n, metric.model, parts))

    def since(self, name: str, begin: float) -> list[Point]:
        """Points from `begin` (seconds since 1970) on, in the order of their times; of many, some evenly spread."""
        with self._lock:
            found = [point for point in self._points[name] if point.at >= begin]
        found.sort(key=lambda point: point.at)
        step = -(-len(found) // MOST_DRAWN)
        return found if step <= 1 else [*found[::-1][::step][::-1]]


def strongest(points: Sequence[Point], most: int) -> list[tuple[str, list[float | None]]]:
    """The parts that reach furthest, as series along the points.

    Args:
        points: of a figure that has parts.
        most: how many parts.

    Returns:
        Name and values of each part, the one that reaches furthest first; None at points that do not tell it.

    """
    furthest: dict[str, float] = {}
    for point in points:
        for name, value in point.parts:
            furthest[name] = max(furthest.get(name, -math.inf), value)
    chosen = sorted(furthest, key=lambda name: (-furthest[name], name))[:most]
    told = [dict(point.parts) for point in points]
    return [(name, [each.get(name) for each in told]) for name in chosen]


def parts_of(detail: Mapping[str, object]) -> tuple[tuple[str, float], ...]:
    """Parts that a metric tells as `column_1` and `evidence_1`, and so on. Anybody may have written it."""
    found = []
    for number in range(1, _PARTS + 1):
        name, value = detail.get(f"column_{number}"), detail.get(f"evidence_{number}")
        if isinstance(name, str) and isinstance(value, int | float) and math.isfinite(value):
            found.append((name, float(value)))
    return tuple(found)

"""What `P.metrics` has told so far, as series for charts. Of bounded size, whatever the topic holds."""

from __future__ import annotations

import threading
from collections import deque
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
)
"""Metrics that are kept."""


@dataclass(frozen=True, slots=True)
class Point:
    """A figure at a time (seconds since 1970), with its interval where it has one."""

    at: float
    value: float
    low: float | None
    high: float | None
    n: int
    model: str


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
        with self._lock:
            points.append(Point(metric.at / 1e6, metric.value, metric.low, metric.high, metric.n, metric.model))

    def since(self, name: str, begin: float) -> list[Point]:
        """Points from `begin` (seconds since 1970) on, in the order of their times; of many, some evenly spread."""
        with self._lock:
            found = [point for point in self._points[name] if point.at >= begin]
        found.sort(key=lambda point: point.at)
        step = -(-len(found) // MOST_DRAWN)
        return found if step <= 1 else [*found[::-1][::step][::-1]]

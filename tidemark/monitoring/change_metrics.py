"""Alarms, and how near one is, as metrics."""

from __future__ import annotations

from typing import Final, Literal

from tidemark.drift.detector import Change, Detector
from tidemark.records import Metric

_LONGEST: Final = 200
"""Letters of a feature's name that are told."""
NAMED: Final = 8
"""Features whose evidence is told."""
Detail = dict[str, str | float | int | None]
Source = Literal["labels", "outcomes", "stream", "budget"]


def change_metric(
    name: str, change: Change, at: int, *, model: str = "", source: Source = "stream", detail: Detail | None = None
) -> Metric:
    """An alarm.

    Args:
        name: of the metric.
        change: what has changed.
        at: when it was noticed, µs.
        model: that it is about, if any.
        source: what it was found in.
        detail: what else there is to tell.

    Returns:
        The metric: the rows that it took.

    """
    told: Detail = {"since": change.since, "event_time": change.at, **(detail or {})}
    for number, moved in enumerate(change.moved, 1):
        told |= {f"moved_{number}": moved.name[:_LONGEST], f"how_{number}": moved.how}
    return Metric(
        name=name,
        value=float(change.rows),
        low=None,
        high=None,
        n=change.rows,
        at=at,
        model=model,
        source=source,
        detail=told,
    )


def level_metric(name: str, detector: Detector, at: int, *, model: str = "", source: Source = "stream") -> Metric:
    """How near an alarm is.

    Args:
        name: of the metric.
        detector: that is asked.
        at: time, µs.
        model: that it is about, if any.
        source: what it looks at.

    Returns:
        The metric, whose detail names what has the most evidence.

    """
    told: Detail = {"watches": int(detector.watches)}
    for number, moved in enumerate(detector.strongest(NAMED), 1):
        told |= {f"column_{number}": moved.name[:_LONGEST], f"evidence_{number}": moved.evidence}
    return Metric(
        name=name,
        value=detector.level,
        low=None,
        high=None,
        n=detector.rows,
        at=at,
        model=model,
        source=source,
        detail=told,
    )

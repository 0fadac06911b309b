"""The threshold of alerts, as a metric: from which probability on to flag, and how many alerts that makes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tidemark.evaluation.thresholds import Guaranteed
from tidemark.pipeline.model import Alerts
from tidemark.records import Label, Metric
from tidemark.records.metric_kind import MetricKind

NAME: Final = "alert_threshold"
METRICS: Final = (
    MetricKind(
        NAME,
        "probability",
        "retrain",
        "labels",
        "Probability of the positive class from which on events are to be flagged so that `alerts.recall` of the class "
        "is found. The detail has the alerts a day that this makes.",
    ),
)
_DAY: Final = 86_400_000_000


def events_a_day(drawn: Iterable[Label], tile: int) -> float | None:
    """Events a day, by the tiles that random cases were drawn from.

    Args:
        drawn: labels of the random draw.
        tile: length of a tile, µs.

    Returns:
        Their mean; None where there is no label.

    """
    counts = {(label.policy, label.tile): label.tile_count for label in drawn}
    return sum(counts.values()) / len(counts) * (_DAY / tile) if counts else None


def alert_metric(found: Guaranteed, wanted: Alerts, a_day: float | None, model: str, at: int) -> Metric:
    """What is told of alerts.

    Args:
        found: the threshold.
        wanted: as the pipeline says.
        a_day: events.
        model: version of the champion.
        at: µs since 1970.

    Returns:
        The record; its value is None where no threshold is known to find enough.

    """
    events = 0.0 if a_day is None else a_day
    fits = None
    if wanted.per_day is not None and found.threshold is not None and events > 0:
        fits = int(found.fits(wanted.per_day / events))
    return Metric(
        name=NAME,
        value=found.threshold,
        low=None,
        high=None,
        n=found.positives,
        at=at,
        model=model,
        source="labels",
        detail={
            "recall": wanted.recall,
            "recall_seen": found.recall,
            "flagged": found.alerts.value,
            "per_day": None if found.alerts.value is None else found.alerts.value * events,
            "per_day_low": found.alerts.low * events,
            "per_day_high": found.alerts.high * events,
            "most_per_day": wanted.per_day,
            "fits": fits,
            "more_positives": found.more,
        },
    )

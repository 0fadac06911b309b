"""How near each alarm of drift is, and which features have most of the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from console.loop.series import parts_of
from console.shown.facts import words
from console.shown.formatting import share
from tidemark.records import Metric

_WATCHED: Final = (
    ("inputs_drift", "features", "sampled events"),
    ("predictions_drift", "predictions", "sampled events"),
    ("labels_drift", "labels", "random answers"),
    ("quality_drift", "quality", "random answers"),
)
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Drift:
    """Evidence that something has changed. level: of what raises an alarm, for people.  width: of its bar, percent.

    of: what it is of, and how many.  most: names and words of the features that have most of it.  watches: False while
    too little has come to compare with.
    """

    what: str
    level: str
    width: float
    of: str
    most: list[tuple[str, str]]
    watches: bool


def drifts(metrics: Mapping[str, Metric]) -> list[Drift]:
    """What is watched for drift.

    Args:
        metrics: the latest by name.

    Returns:
        One for each thing that is watched, in the order of the loop.

    """
    found = []
    for name, what, unit in _WATCHED:
        metric = metrics.get(name)
        if metric is None or metric.value is None:
            continue
        level = min(max(metric.value, 0.0), 1.0)
        named = parts_of(metric.detail)[:_NAMED] if name == "inputs_drift" else ()
        most = [(each, words(each)) for each, _ in named if each]
        watches = bool(metric.detail.get("watches", 1))
        found.append(Drift(what, share(level), round(100 * level, 2), f"{metric.n:,} {unit}", most, watches))
    return found

"""Alarms of drift as records: the figure for people, and where the pipeline follows it, word for those who do."""

from __future__ import annotations

from collections.abc import Callable

from tidemark.pipeline.model import Pipeline
from tidemark.records import Metric, encode
from tidemark.runtime.processor import Output

Announce = Callable[[str, int], Output]
"""Makes the record by which flows that follow an alarm hear of it, of its name and its time, µs."""


class Alarms:
    """Makes the records. announce: None where nobody follows."""

    def __init__(self, pipeline: Pipeline, announce: Announce | None = None) -> None:
        self._topic, self._announce = pipeline.topics.metrics, announce
        reaction = pipeline.drift.reaction
        self._followed = frozenset[str]() if reaction is None else frozenset[str](reaction.alarms)

    def records(self, metric: Metric) -> list[Output]:
        """Those of an alarm.

        Args:
            metric: that tells it.

        Returns:
            The metric's, and where the alarm is followed its own.

        """
        told = [Output(self._topic, encode(metric), metric.name.encode())]
        if self._announce is not None and metric.name in self._followed and metric.at >= 0:
            told.append(self._announce(metric.name, metric.at))
        return told

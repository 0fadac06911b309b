"""What a source tells of itself in `P.metrics`: how many records it brought, and that it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tidemark.records import Metric, encode
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.processor import Output

METRICS: Final = (
    MetricKind(
        "source_records",
        "records a second",
        "every source",
        "sources",
        "Records of a source that came into Kafka since it last told so. `n` is how many since its process began; the "
        "detail names the `source` and the `process`, and how many were `refused` as dead letters at once.",
    ),
)
NAME: Final = "source_records"
EVERY: Final = 10.0
"""Seconds between two that tell of new records."""
AT_LEAST: Final = 30.0
"""Seconds after which a source says that it runs, though nothing came."""
_SECOND: Final = 1_000_000


@dataclass(slots=True)
class Counts:
    """records: that are in Kafka.  refused: of these, dead letters at once.  failures: transactions in a row."""

    records: int = 0
    refused: int = 0
    failures: int = 0


class Telling:
    """Makes the metrics of one process of a source."""

    def __init__(self, topic: str, source: str) -> None:
        """Begin.

        Args:
            topic: of the metrics.
            source: its name in the pipeline file.

        """
        self._topic, self._source = topic, source
        self._tried_at: float | None = None
        self._told_at: float | None = None
        self._told = 0

    def due(self, counts: Counts, now: float) -> bool:
        """Whether it is time. now: s since 1970."""
        if self._tried_at is None:
            return True
        return now - self._tried_at >= (EVERY if counts.records > self._told else AT_LEAST)

    def metric(self, counts: Counts, now: float, process: str, *, runs: bool = True) -> Output:
        """The metric; `told` says that it is in Kafka.

        Args:
            counts: of what is in Kafka.
            now: s since 1970.
            process: which of several that run the source.
            runs: false where the process ends.

        Returns:
            What to send.

        """
        seconds = now - self._told_at if self._told_at is not None else 0.0
        told = Metric(
            name=NAME,
            value=(counts.records - self._told) / seconds if seconds > 0 else None,
            low=None,
            high=None,
            n=counts.records,
            at=int(now * _SECOND),
            model="",
            source="sources",
            detail={"source": self._source, "process": process, "refused": counts.refused, "runs": int(runs)},
        )
        self._tried_at = now
        return Output(self._topic, encode(told), f"{NAME}/{self._source}".encode())

    def told(self, counts: Counts, now: float) -> None:
        """Take note that the metric of these counts, made at this time, is committed."""
        self._told_at, self._told = now, counts.records

"""How many rows come late, how many have a clock that runs ahead, and whose: to `P.metrics`."""

from __future__ import annotations

from typing import Final

import numpy as np

from tidemark.records import Metric
from tidemark.records.metric_kind import MetricKind
from tidemark.stream.rows import Rows

METRICS: Final = (
    MetricKind("late_share", "share", "stream", "stream", "Share of rows whose windows may have lost rows."),
    MetricKind(
        "ahead_share",
        "share",
        "stream",
        "stream",
        "Share of rows further ahead of Kafka's timestamp than `time.skew`. The detail names the keys that lead.",
    ),
)

LATE: Final = "late_share"
AHEAD: Final = "ahead_share"
_EVERY: Final = 10.0
_SHOWN: Final = 5
_SHOWN_TEXT: Final = 60
_MOST_KEYS: Final = 1_000
_SECOND: Final = 1_000_000


class Punctuality:
    """Counts the rows that are predicted, and tells every ten seconds in which any were late or ahead; then once more.

    A row is late where windows may have lost rows that belong to it, and ahead where its time lies further beyond
    Kafka's timestamp than `time.skew`: it does not move the watermark that far.
    """

    def __init__(self) -> None:
        self._told_at: float | None = None
        self._worth_telling = False
        self._reset()

    def _reset(self) -> None:
        self._rows = self._late = self._ahead = 0
        self._leading: dict[str, tuple[int, int]] = {}

    def add(self, rows: Rows) -> None:
        """Count rows, and note the keys of those that are ahead: how many each has, and by how much (µs)."""
        self._rows += len(rows)
        self._late += int(np.count_nonzero(rows.late))
        lead = rows.times - rows.bounded
        ahead = np.flatnonzero(lead > 0)
        self._ahead += len(ahead)
        for key, by in zip(rows.keys[0][ahead].to_list(), lead[ahead].tolist(), strict=True):
            if key in self._leading or len(self._leading) < _MOST_KEYS:
                count, most = self._leading.get(key, (0, 0))
                self._leading[key] = count + 1, max(most, by)

    def tell(self, now: float, model: str, *, rebuilding: bool) -> list[Metric]:
        """What was counted since the last time, if it is time, and not while windows are rebuilt. now: s since 1970."""
        if self._told_at is None or rebuilding:
            self._told_at = now
        if now - self._told_at < _EVERY or not self._rows:
            return []
        before, self._worth_telling = self._worth_telling, self._late + self._ahead > 0
        if not before and not self._worth_telling:
            self._told_at = now
            self._reset()
            return []
        leading = sorted(self._leading.items(), key=lambda item: (-item[1][0], item[0]))[:_SHOWN]
        detail: dict[str, str | float | int | None] = {"late": self._late, "ahead": self._ahead}
        for place, (key, (count, by)) in enumerate(leading, 1):
            detail |= {f"key_{place}": key[:_SHOWN_TEXT], f"rows_{place}": count, f"ahead_s_{place}": by / _SECOND}
        told = [
            Metric(
                name=name,
                value=count / self._rows,
                low=None,
                high=None,
                n=self._rows,
                at=int(now * _SECOND),
                model=model,
                source="stream",
                detail=detail,
            )
            for name, count in ((LATE, self._late), (AHEAD, self._ahead))
        ]
        self._told_at = now
        self._reset()
        return told

"""How long predictions take: which of them it is asked of, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.records import Record, decode
from tidemark.runtime.processor import Batch

Delays = Callable[[Mapping[str, int]], tuple[float, float, int] | None]
"""Event ids and when their predictions were written (ms, Kafka's), to the median and the 99 % quantile of the seconds
since the events' records were, and of how many; None where that can't be told."""
_MOST: Final = 300


class _Named(Record, frozen=True):
    """What a prediction is of."""

    event_id: str


class Newest:
    """The last predictions since a measurement: Kafka's timestamps (ms) of their records, by event."""

    def __init__(self) -> None:
        self._written: dict[str, int] = {}

    def take(self, batch: Batch, rows: NDArray[np.int64]) -> None:
        """Take in rows of a batch of predictions."""
        for row in rows[-_MOST:].tolist():
            self._written[decode(_Named, batch.values[row]).event_id] = int(batch.timestamps[row])
        for event in list(self._written)[:-_MOST]:
            del self._written[event]

    def took(self, delays: Delays | None) -> list[tuple[str, float, int]]:
        """Name, value and number of predictions of each figure; none where nobody can tell."""
        if not self._written or delays is None or (told := delays(self._written)) is None:
            return []
        p50, p99, n = told
        return [("prediction_delay_p50", p50, n), ("prediction_delay_p99", p99, n)]

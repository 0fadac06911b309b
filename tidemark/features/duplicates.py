"""Records that were sent more than once: found by a key of their own, within a time.

A row is a duplicate where an earlier row of its partition had the same key, its time at most `within` away. The earlier
row may have been a duplicate itself: so what is a duplicate follows from the rows of that time alone, and a state that
is rebuilt from them finds the same.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.features.windows import NO_WATERMARK, key_hashes
from tidemark.pipeline import Pipeline

_MOST: Final = 200_000
"""Keys after which those are looked for that can't matter any more."""


class Seen:
    """The keys that a partition has had lately.

    What lies further back than `within` and `time.lateness` behind the watermark does not count, whatever comes late.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        rule = pipeline.deduplicate
        self._within = 0 if rule is None else rule.within
        self._back = self._within + pipeline.time.lateness
        self._latest: dict[int, int] = {}
        self._look_at = _MOST

    def first(
        self, hashes: NDArray[np.uint64], times: NDArray[np.int64], bounded: NDArray[np.int64], watermark: int
    ) -> NDArray[np.bool_]:
        """Which rows are no duplicates.

        Args:
            hashes: (n,) of the rows' keys; 0: it has none, and is no duplicate.
            times: (n,) event times, µs.
            bounded: (n,) how far each moves the watermark, if it is no duplicate.
            watermark: before the first row.

        Returns:
            (n,) bool.

        """
        keep = np.ones(len(times), np.bool_)
        latest, within, back = self._latest, self._within, self._back
        for i, (key, at, moves) in enumerate(zip(hashes.tolist(), times.tolist(), bounded.tolist(), strict=True)):
            if key:
                known = latest.get(key)
                counts = known is not None and (watermark == NO_WATERMARK or known > watermark - back)
                if counts and known is not None and abs(at - known) <= within:
                    keep[i] = False
                if not counts or known is None or at > known:
                    latest[key] = at
            if keep[i]:
                watermark = max(watermark, moves)
        if len(latest) > self._look_at:
            self._latest = {key: at for key, at in latest.items() if at > watermark - back}
            self._look_at = 2 * len(self._latest) + _MOST
        return keep


def duplicate_keys(pipeline: Pipeline, columns: pl.DataFrame) -> NDArray[np.uint64]:
    """Hashes of the keys by which duplicates are found, 0 where a row has none."""
    rule = pipeline.deduplicate
    if rule is None:
        return np.zeros(len(columns), np.uint64)
    keys = columns[rule.key].cast(pl.String)
    hashes = key_hashes(keys.fill_null(""))
    return np.where(keys.is_null().to_numpy(), np.uint64(0), np.maximum(hashes, np.uint64(1)))


def without_duplicates(pipeline: Pipeline, history: pl.DataFrame, times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows of a history are no duplicates, its rows coming in the order of their times.

    Args:
        pipeline: whose `[deduplicate]` counts.
        history: its columns, cleaned as the stream has them.
        times: (n,) event times, µs.

    Returns:
        (n,) bool.

    """
    order = np.argsort(times, kind="stable")
    keep = np.ones(len(times), np.bool_)
    hashes = duplicate_keys(pipeline, history)
    keep[order] = Seen(pipeline).first(hashes[order], times[order], times[order], NO_WATERMARK)
    return keep

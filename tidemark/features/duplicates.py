"""Records that were sent more than once: found by a key of their own, within a time.

A row is a duplicate where an earlier row of the same first key had the same key, its time at most `within` away. The
earlier row may have been a duplicate itself: so what is a duplicate follows from the rows of that time alone, and a
state that is rebuilt from them finds the same. Rows of one first key meet in one partition, so that a stream of any
number of partitions and a history find the same duplicates.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.features.windows import NO_WATERMARK, key_hashes
from tidemark.pipeline import Pipeline

_MOST: Final = 200_000
"""Keys after which those are looked for that can't matter any more."""
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
"""Tells the two hashes of a row apart: 2^64 over the golden ratio (Knuth, TAOCP 3, 6.4)."""


class Seen:
    """The keys that a partition has had lately.

    What lies further back than `within` and `time.lateness` behind the watermark does not count, whatever comes late.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        rule = pipeline.deduplicate
        self._within = 0 if rule is None else rule.within
        self._back = self._within + pipeline.time.lateness
        self._times: dict[int, list[int]] = {}
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
        for i, (key, at, moves) in enumerate(zip(hashes.tolist(), times.tolist(), bounded.tolist(), strict=True)):
            forgotten = NO_WATERMARK if watermark == NO_WATERMARK else watermark - self._back
            if key and at > forgotten:
                known = self._times.get(key)
                if known is None:
                    self._times[key] = [at]
                else:
                    keep[i] = self._is_first(known, at, forgotten)
            if keep[i]:
                watermark = max(watermark, moves)
        if len(self._times) > self._look_at:
            self._times = {key: kept for key, kept in self._times.items() if kept[-1] > watermark - self._back}
            self._look_at = 2 * len(self._times) + _MOST
        return keep

    def has(self, hashes: NDArray[np.uint64], times: NDArray[np.int64], watermark: int) -> NDArray[np.bool_]:
        """Which rows would be duplicates if each came now, alone. Arguments as for `first`; nothing is changed."""
        forgotten = NO_WATERMARK if watermark == NO_WATERMARK else watermark - self._back
        return np.array(
            [
                key != 0
                and at > forgotten
                and any(time > forgotten and abs(at - time) <= self._within for time in self._times.get(key, ()))
                for key, at in zip(hashes.tolist(), times.tolist(), strict=True)
            ],
            np.bool_,
        )

    def _is_first(self, known: list[int], at: int, forgotten: int) -> bool:
        """Whether no time of a key lies near to `at`, which is among them from then on."""
        del known[: bisect_right(known, forgotten)]
        after = bisect_left(known, at)
        near = known[max(after - 1, 0) : after + 1]
        if at not in near:
            known.insert(after, at)
            self._thin(known, after)
        return all(abs(at - time) > self._within for time in near)

    def _thin(self, times: list[int], new: int) -> None:
        """Leave out a time near to the one at `new` that lies between two not further than `within` apart.

        Whatever is near to it is near to one of these two. So a key that all rows have takes bounded memory.
        """
        for i in range(max(new - 1, 1), min(new + 2, len(times) - 1)):
            if times[i + 1] - times[i - 1] <= self._within:
                del times[i]
                return


def duplicate_keys(pipeline: Pipeline, columns: pl.DataFrame, first_keys: pl.Series) -> NDArray[np.uint64]:
    """Hashes of the keys by which duplicates are found, 0 where a row has none. An empty text is none.

    Args:
        pipeline: whose `[deduplicate]` counts.
        columns: the rows.
        first_keys: (n,) texts of the first of `keys`, none of them null.

    Returns:
        (n,) uint64.

    """
    rule = pipeline.deduplicate
    if rule is None:
        return np.zeros(len(columns), np.uint64)
    keys = columns[rule.key].cast(pl.String)
    hashes = key_hashes(keys.fill_null("")) * _ODD ^ key_hashes(first_keys)
    named = (keys != "").fill_null(value=False).to_numpy()
    return np.where(named, np.maximum(hashes, np.uint64(1)), np.uint64(0))


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
    hashes = duplicate_keys(pipeline, history, history[pipeline.keys[0]].cast(pl.String))
    keep[order] = Seen(pipeline).first(hashes[order], times[order], times[order], NO_WATERMARK)
    return keep

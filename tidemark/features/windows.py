"""Windowed features over one key, and where their state can be rebuilt from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels import WindowSpec, WindowState, hash_strings
from tidemark.features.segments import SEGMENTS
from tidemark.pipeline import Pipeline
from tidemark.pipeline.aggregates import function_of
from tidemark.pipeline.model import Window

NO_WATERMARK: Final = -(2**63)
"""Watermark before the first row."""
_ROWS_A_SEGMENT: Final = 100


class KeyWindows:
    """The pipeline's windows over one key: what they need, and the state they keep."""

    def __init__(self, pipeline: Pipeline, key: str) -> None:
        own = {feature.name for feature in pipeline.features}
        windows = [window for window in pipeline.windows if window.key == key]
        sources = list(dict.fromkeys(w.column for w in windows if w.column is not None))
        self.names = [window.name for window in windows]
        self.lateness = pipeline.time.lateness
        self.reach = max((window.size for window in windows), default=0) + self.lateness
        """How far behind the watermark a row can still matter, µs."""
        self.features = [name for name in sources if name in own]
        """Features of the row that are aggregated."""
        self.columns = [name for name in sources if name not in own]
        """Cleaned columns that are aggregated."""
        order = [*self.features, *self.columns]
        self._specs = [_spec(window, order) for window in windows]

    def state(self, watermark: int) -> WindowState | None:
        """Empty state as of a watermark; None where the key has no windows."""
        if not self._specs:
            return None
        n_columns = len(self.features) + len(self.columns)
        return WindowState.with_watermark(self._specs, n_columns, self.lateness, watermark)

    def values(self, features: pl.DataFrame, columns: pl.DataFrame) -> NDArray[np.float64]:
        """(n, columns aggregated) float64 for `WindowState.update`; NaN where missing or infinite.

        n is the height of `columns`: a pipeline may have no features of its own.
        """
        numbers = [features[name].cast(pl.Float64).to_numpy() for name in self.features]
        numbers += [as_numbers(columns[name]).to_numpy() for name in self.columns]
        matrix = np.empty((len(columns), len(numbers)))
        for i, values in enumerate(numbers):
            matrix[:, i] = np.where(np.isfinite(values), values, np.nan)
        return matrix


def _spec(window: Window, order: list[str]) -> WindowSpec:
    column = -1 if window.column is None else order.index(window.column)
    parameter = window.probability if window.half_life is None else float(window.half_life)
    return WindowSpec(
        window.aggregate,
        column,
        window.size,
        window.include_current,
        parameter or 0.0,
        window.error or 0.0,
        function_of(window.aggregate),
        window.rows or 0,
        window.gap or 0,
    )


def as_numbers(column: pl.Series) -> pl.Series:
    """float64; of a text 53 bits of its hash, which tell texts apart as a count of different ones needs it."""
    if column.dtype != pl.String:
        return column.cast(pl.Float64)
    hashes = key_hashes(column.fill_null("")) >> np.uint64(11)
    return pl.select(pl.when(column.is_not_null()).then(pl.Series(hashes).cast(pl.Float64))).to_series()


def key_hashes(keys: pl.Series) -> NDArray[np.uint64]:
    """XXH64 of the UTF-8 of each key, which are texts and none of them null: (n,) uint64."""
    texts = keys.to_list()
    data = "".join(texts)
    if data.isascii():
        encoded, lengths = data.encode(), map(len, texts)
    else:
        parts = [text.encode() for text in texts]
        encoded, lengths = b"".join(parts), map(len, parts)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, len(texts)), out=offsets[1:])
    return hash_strings(offsets, np.frombuffer(encoded, np.uint8))


def partitions_of(keys: pl.Series, partitions: int) -> NDArray[np.int64]:
    """Number of the partition that keeps the windows of each key, of so many: (n,)."""
    found: NDArray[np.int64] = (key_hashes(keys) % np.uint64(partitions)).astype(np.int64)
    return found


@dataclass(slots=True)
class _Segment:
    """Rows in a row of the log: where they begin, the watermark before them, their latest time."""

    first_offset: int
    watermark: int
    latest: int
    rows: int


class Rewind:
    """The oldest position of a partition that its state depends on.

    A row matters while its time lies above `watermark - reach`. Rows are kept track of in segments of about a hundred,
    or less where they come seldom, so a replay may begin that much earlier than it must, which changes nothing.
    """

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._segments: deque[_Segment] = deque()

    def add(self, first_offset: int, watermark: int, latest: int, rows: int) -> None:
        """Rows that followed: their first offset, the watermark before and the latest time among them."""
        last = self._segments[-1] if self._segments else None
        near = last is not None and watermark - last.watermark <= self._reach // SEGMENTS
        if last is not None and near and last.rows < _ROWS_A_SEGMENT:
            last.latest = max(last.latest, latest)
            last.rows += rows
        else:
            self._segments.append(_Segment(first_offset, watermark, latest, rows))

    def position(self, watermark: int) -> tuple[int | None, int]:
        """Offset to begin a replay at and the watermark before it; None and the watermark if nothing matters."""
        while self._segments and self._segments[0].latest <= watermark - self._reach:
            self._segments.popleft()
        if not self._segments:
            return None, watermark
        return self._segments[0].first_offset, self._segments[0].watermark


def running_watermarks(watermark: int, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) watermark before each row: the highest of `watermark` and how far the rows before it move it."""
    before = np.empty(len(times), np.int64)
    if len(times):
        before[0] = watermark
        np.maximum.accumulate(times[:-1], out=before[1:])
        np.maximum(before, watermark, out=before)
    return before

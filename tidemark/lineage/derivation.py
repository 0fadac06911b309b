"""An event's features derived again: by the steps of the stream, over rows that are read back from the topics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels.windows.specs import PANES
from tidemark.features.windows import NO_WATERMARK
from tidemark.lineage.story import WindowPart, WindowRow
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Window
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import RoundContext
from tidemark.stream.arriving import Arriving
from tidemark.stream.checkpoint import Position
from tidemark.stream.rows import Arrival, Rows
from tidemark.stream.stages import Stage
from tidemark.stream.steps import WindowFeaturesStep
from tidemark.stream.steps.window_features import Featured

_LISTED: Final = 20
"""Rows of a window that are told, the newest."""
_OF_EARLIER: Final = frozenset({"since_last", "since_first", "rate"})
"""Aggregates of earlier rows, though the window may include the event itself."""


@dataclass(frozen=True, slots=True)
class Event:
    """Which event is derived: its raw record's partition and offset."""

    partition: Partition
    offset: int

    def row_in(self, rows: Rows) -> int | None:
        """Number of the event's row, None if it is not among them."""
        own = [number for number, origin in enumerate(rows.origins) if _same(origin, self.partition)]
        at = np.flatnonzero(np.isin(rows.origin, own) & (rows.offsets == self.offset))
        return int(at[-1]) if len(at) else None


@dataclass(frozen=True, slots=True)
class AtStage:
    """The event behind a stage. row: number of its row in the last portion.  refused: why it goes no further."""

    stage: Stage
    portions: Sequence[Featured]
    row: int | None
    refused: str | None = None

    @property
    def featured(self) -> Featured:
        """The portion that the event is in."""
        return self.portions[-1]

    @property
    def rows(self) -> Rows:
        """The event's own row alone."""
        rows = self.featured.rows
        mask = np.zeros(len(rows), np.bool_)
        mask[self.row] = True
        return rows.only(mask)

    @property
    def watermark(self) -> int:
        """Before the event."""
        return int(self.featured.watermarks[self.row or 0])


class Derivation:
    """Derives events of one pipeline as its file is now."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._arriving = Arriving(pipeline)
        self.stages = self._arriving.stages

    def reach(self, stage: Stage) -> int:
        """How far before an event's time a row can matter, µs."""
        return self._arriving.reach(stage)

    def arrivals(self, stage: Stage, batch: Batch) -> tuple[list[Arrival], list[tuple[int, str]]]:
        """Rows of records that reach a stage; offset and reason of each record that is refused."""
        found = self._arriving.rows(stage, batch)
        refused = [(int(each.batch.offsets[each.row]), f"{each.step}: {each.reason}") for each in found.errs]
        return found.oks, refused

    def at(self, stage: Stage, arrivals: Sequence[Arrival], event: Event) -> AtStage:
        """The event behind the windows of a stage.

        Args:
            stage: one of the pipeline's.
            arrivals: rows of one partition that came before the event, oldest first, and the event's among the last.
            event: which.

        Returns:
            It; without a row where the stage drops the event as a duplicate.

        """
        partition = arrivals[0].parts[0].partition
        windows = WindowFeaturesStep(self._pipeline, stage)
        windows.open(partition, Position())
        context = RoundContext(wall_clock(), [partition])
        portions = list(windows.process(list(arrivals), context).portions)
        row = event.row_in(portions[-1].rows) if portions else None
        refused = None if row is not None else "deduplicate: an earlier record of the same key came within the time"
        return AtStage(stage, portions, row, refused)

    def windows(self, at: AtStage) -> list[WindowPart]:
        """Each window of a stage over the event, with the rows that it saw."""
        own = [window for window in self._pipeline.windows if window.name in at.stage.windows.names]
        if not own or at.row is None:
            return []
        seen = _Seen.of(at)
        values = at.featured.rows.features
        return [seen.part(window, values[window.name][at.row], self._pipeline) for window in own]


@dataclass(frozen=True, slots=True)
class _Seen:
    """n rows of the event's key that came before it, and itself at the end; what they give to windows."""

    ids: list[str]
    key: str
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    columns: list[str]
    watermark: int

    @classmethod
    def of(cls, at: AtStage) -> _Seen:
        stage, last = at.stage, at.row or 0
        key = str(at.featured.rows.keys[stage.key][last])
        ids: list[str] = []
        times, values = [], []
        for number, portion in enumerate(at.portions):
            rows = portion.rows
            mine = (rows.keys[stage.key] == key).to_numpy()
            if number == len(at.portions) - 1:
                mine = mine & (np.arange(len(rows)) <= last)
            places = np.flatnonzero(mine)
            ids += [_id(rows, place) for place in places.tolist()]
            times.append(rows.times[places])
            values.append(stage.windows.values(rows.features, rows.columns)[places])
        columns = [*stage.windows.features, *stage.windows.columns]
        return cls(ids, key, np.concatenate(times), np.concatenate(values), columns, at.watermark)

    def part(self, window: Window, value: float | None, pipeline: Pipeline) -> WindowPart:
        """One window, by its definition in `docs/contributing/internals.md`."""
        time, lateness = int(self.times[-1]), pipeline.time.lateness
        begin = time - window.size
        if self.watermark != NO_WATERMARK:
            begin = max(begin, self.watermark - window.size - lateness)
        if window.aggregate == "approx_quantile":
            pane = max(1, window.size // PANES)
            begin = (begin + pane) // pane * pane - 1
        inside = (self.times > begin) & (time > begin)
        if not window.aggregate.startswith("approx"):
            inside &= self.times <= time
        column = None if window.column is None else self.columns.index(window.column)
        if window.gap is not None:
            inside &= self.times >= self._session_began(inside, window.gap)
        if not window.include_current:
            inside[-1] = False
        if window.rows is not None:
            inside &= self._newest(inside, window.rows, column, begin + window.size)
        if window.aggregate in _OF_EARLIER:  # the event itself is one of so many rows, where it is included
            inside[-1] = False
        places = np.flatnonzero(inside).tolist()
        if places and (window.gap is not None or window.rows is not None):
            begin = int(self.times[places].min()) - 1
        rows = [
            WindowRow(
                event_id=self.ids[place],
                time=int(self.times[place]),
                value=None if column is None else known(self.values[place, column]),
            )
            for place in places[-_LISTED:]
        ]
        return WindowPart(
            name=window.name,
            key=window.key,
            key_value=self.key,
            aggregate=window.aggregate,
            column=window.column,
            size=window.size,
            span=window.span,
            begin=begin,
            end=time,
            value=known(value),
            count=len(places),
            rows=rows,
        )

    def _session_began(self, inside: NDArray[np.bool_], gap: int) -> int:
        """Time of the first row of the session that the event continues."""
        began = int(self.times[-1])
        for time in np.sort(self.times[inside])[::-1].tolist():
            if began - time > gap:
                break
            began = time
        return began

    def _newest(self, inside: NDArray[np.bool_], rows: int, column: int | None, latest: int) -> NDArray[np.bool_]:
        """Which rows are the newest of a window. latest: the event's time, or, if it is too late, where late begins."""
        counted = np.ones(len(self.times), np.bool_) if column is None else ~np.isnan(self.values[:, column])
        order = np.argsort(self.times, kind="stable")

        def newest(among: NDArray[np.bool_]) -> NDArray[np.bool_]:
            return np.isin(np.arange(len(order)), order[among[order]][-rows:])

        found = newest(inside & counted)
        if latest > self.times[-1]:
            others = counted & (self.times <= latest)
            others[-1] = False
            kept = newest(others)
            kept[-1] = True
            found &= kept
        return found


def known(value: float | None) -> float | None:
    """A number as records have it: none where it is missing."""
    return None if value is None or not np.isfinite(value) else float(value)


def columns_of(frame: pl.DataFrame) -> dict[str, str | float | int | bool | None]:
    """The one row of a frame, times as text."""
    row = frame.row(0, named=True)
    return {
        name: value if value is None or isinstance(value, bool | int | float | str) else str(value)
        for name, value in row.items()
    }


def _same(one: Partition, other: Partition) -> bool:
    return (one.topic, one.index, one.incarnation) == (other.topic, other.index, other.incarnation)


def _id(rows: Rows, place: int) -> str:
    origin = rows.origins[int(rows.origin[place])]
    return f"{origin.topic}-{origin.index}-{int(rows.offsets[place])}-{origin.incarnation}"

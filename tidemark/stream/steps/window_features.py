"""Windows over one key: added to rows that meet in the partitions which keep them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels import WindowState
from tidemark.features.duplicates import Seen as SeenKeys
from tidemark.features.duplicates import duplicate_keys
from tidemark.features.windows import NO_WATERMARK, KeyWindows, Rewind, key_hashes, running_watermarks
from tidemark.pipeline import Pipeline
from tidemark.runtime.processor import EARLIEST, Partition
from tidemark.runtime.steps import RoundContext
from tidemark.stream.checkpoint import Position
from tidemark.stream.outputs import Meta
from tidemark.stream.rows import Arrival, Rows
from tidemark.stream.stages import Stage

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Featured:
    """Rows with the windows of a stage, the watermark before each of them, and where their parts come from.

    metas: for each part, the rows it begins and ends at.
    """

    rows: Rows
    watermarks: NDArray[np.int64]
    metas: list[tuple[int, int, Meta]]


@dataclass(frozen=True, slots=True)
class Windowed:
    """What a round gives: portions of rows, partitions that have just become idle, and how many rows were dropped."""

    portions: Sequence[Featured] = ()
    idle: Sequence[Meta] = ()
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Looks:
    """What windows must know of n rows that look at them.

    hashes: (n,) uint64 of their keys.  times: (n,) event times, µs.  values: (n, columns aggregated).
    ids: (n,) uint64 hashes of their `[deduplicate]` keys; 0 where there is none.
    """

    hashes: NDArray[np.uint64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    ids: NDArray[np.uint64]

    def only(self, keep: NDArray[np.bool_]) -> Looks:
        """Some of the rows. keep: (n,) which."""
        return Looks(self.hashes[keep], self.times[keep], self.values[keep], self.ids[keep])


@dataclass(frozen=True, slots=True)
class Seen:
    """What rows would see of a partition if they came now, each alone.

    added: (n, windows) features.  watermark: before them.  follows: offset after the last record of the partition
    whose rows are in the windows; None where there was none.  known: (n,) bool, rows that were there before.
    """

    added: NDArray[np.float64]
    watermark: int
    follows: int | None
    known: NDArray[np.bool_]


@dataclass(slots=True)
class _State:
    """What is kept of one partition.

    lock: held while rows enter the windows, and by others while they look.
    whole: all rows that the windows need are in them, as far as the partition was processed before.
    follows: offset after the last record whose rows are in the windows.
    latest: event time that the batch last processed moved to.
    reached: watermark at the end of the replay, until that is over; None: as far as the replayed rows move it.
    touched: rows have come since the last tick.  quiet_since: wall time, s, of the first tick without rows.
    """

    partition: Partition
    watermark: int
    windows: WindowState | None
    rewind: Rewind
    reached: int | None = None
    latest: int | None = None
    seen: SeenKeys | None = None
    touched: bool = True
    quiet_since: float = 0.0
    idle: bool = False
    whole: bool = False
    follows: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin_anew(self, windows: KeyWindows) -> None:
        """Forget the watermark as well: all that the topic still holds is read again."""
        self.watermark = NO_WATERMARK
        self.windows = windows.state(NO_WATERMARK)

    def end_replay(self) -> None:
        """Rows that nobody has processed come now: the watermark is what it was when the last one was processed.

        What is in the windows follows from the rows and this watermark alone, whatever way it came there.
        """
        if self.whole:
            return
        with self.lock:
            reached, self.reached, self.whole = self.reached, None, True
            if reached is not None and reached > self.watermark:
                self.watermark = reached
                if self.windows is not None:
                    self.windows.watermark = reached

    def moved_to(self, bounded: NDArray[np.int64]) -> NDArray[np.int64]:
        """How far rows move the watermark: not beyond where it was when they were first processed."""
        return bounded if self.reached is None else np.minimum(bounded, self.reached)


class WindowFeaturesStep:
    """Adds the windows over a stage's key, and keeps them for its partitions.

    keeps: topics whose partitions it keeps windows of.
    """

    def __init__(self, pipeline: Pipeline, stage: Stage) -> None:
        self.keeps = frozenset(stage.topics)
        self._pipeline = pipeline
        drops = pipeline.deduplicate if stage.drops_duplicates else None
        self._drops = drops is not None
        self._reach = stage.windows.reach + (0 if drops is None else drops.within)
        self._dropped = 0
        self._key, self._windows = stage.key, stage.windows
        self._tells_idle = stage.leaving is None
        self._idle_timeout = pipeline.selection.idle_timeout
        self._max_ahead = pipeline.time.max_ahead
        self._states: dict[Partition, _State] = {}

    def open(self, partition: Partition, position: Position) -> int | None:
        """Begin with a partition: empty windows, and the watermark that held at the offset to rewind to."""
        windows = self._windows
        watermark = NO_WATERMARK if position.watermark is None else position.watermark
        state = _State(partition, watermark, windows.state(watermark), Rewind(self._reach), reached=position.reached)
        state.seen = SeenKeys(self._pipeline) if self._drops else None
        self._states[partition] = state
        if position.rebuild or (position.reach is not None and self._reach > position.reach):
            # The pipeline file was edited since, and what was kept to rebuild shorter windows is too little; or the
            # operator has reset the flow.
            state.begin_anew(windows)
            return EARLIEST
        return position.rewind

    def close(self, partition: Partition) -> None:
        """Drop the windows of a partition."""
        self._states.pop(partition, None)

    def fields(self, partition: Partition) -> dict[str, Any]:
        """Where the windows can be rebuilt from, the watermark there and now, and how far back they reach."""
        state = self._states[partition]
        state.end_replay()
        rewind, watermark = state.rewind.position(state.watermark)
        return {
            "rewind": rewind,
            "watermark": _known(watermark),
            "reached": _known(state.watermark),
            "reach": self._reach,
        }

    def latest(self, partition: Partition) -> int | None:
        """How far the batch last processed of the partition moved event time; None if it had no good row."""
        return self._states[partition].latest

    def look(self, partition: Partition, looks: Looks) -> Seen | None:
        """What rows would see if they came now, each alone, and by this partition. Any thread may ask.

        Args:
            partition: by which the rows' key is kept.
            looks: n rows.

        Returns:
            What they would see; None where the partition is not kept here, or its windows are being rebuilt.

        """
        state = self._states.get(partition)
        if state is None or not state.whole:
            return None
        known = np.zeros(len(looks.times), np.bool_)
        added = np.empty((len(looks.times), 0))
        with state.lock:
            if state.windows is not None:
                added = state.windows.peek(looks.hashes, looks.times, looks.values)
            if state.seen is not None:
                known = state.seen.has(looks.ids, looks.times, state.watermark)
            return Seen(added, state.watermark, state.follows, known)

    def holds(self, partition: Partition, looks: Looks) -> NDArray[np.bool_]:
        """Whose keys have rows in a partition's windows, or have been seen there. Any thread may ask.

        Args:
            partition: another than that by which the keys should be kept.
            looks: n rows.

        Returns:
            (n,) bool.

        """
        state, held = self._states.get(partition), np.zeros(len(looks.times), np.bool_)
        if state is None:
            return held
        with state.lock:
            if state.windows is not None:
                held |= state.windows.holds(looks.hashes)
            if state.seen is not None:
                held |= state.seen.has(looks.ids, looks.times, state.watermark)
        return held

    def kept(self) -> list[Partition]:
        """Partitions whose windows are whole. Any thread may ask."""
        return [partition for partition, state in list(self._states.items()) if state.whole]

    def process(self, arrivals: Sequence[Arrival], context: RoundContext) -> Windowed:
        """The rows with their windows' features; nothing where they are replayed."""
        if context.tick is not None:
            return Windowed(idle=self._now_idle(context.tick))
        for partition in context.partitions:
            state = self._states.get(partition)
            if state is not None:
                state.latest = None
                if not context.replay:
                    state.touched = True
                    state.end_replay()
        if context.replay:
            # While a partition rebuilds its windows, what feeds the others is not idle but late.
            for state in self._states.values():
                state.touched = True
        self._dropped = 0
        portions = [self._featured(arrival, replay=context.replay) for arrival in arrivals]
        return Windowed([portion for portion in portions if portion is not None], dropped=self._dropped)

    def _now_idle(self, now: float) -> list[Meta]:
        """Partitions of which nothing has come for the idle time-out, each told once. now: s since 1970."""
        idle = []
        for state in self._states.values():
            state.end_replay()
            if not self._tells_idle:
                continue
            if state.touched:
                state.touched, state.idle, state.quiet_since = False, False, now
            elif not state.idle and (now - state.quiet_since) * _SECOND >= self._idle_timeout:
                state.idle = True
                idle.append(Meta(state.partition, None, None, _known(state.watermark)))
        return idle

    def _first(self, arrival: Arrival, *, replay: bool) -> Arrival:
        """The rows that are no duplicates."""
        rows = arrival.rows
        hashes = duplicate_keys(self._pipeline, rows.columns, rows.keys[self._key])
        keep = np.ones(len(rows), np.bool_)
        for part in arrival.parts:
            state, own = self._states[part.partition], slice(part.begin, part.end)
            if state.seen is not None:
                bounded = state.moved_to(rows.bounded[own])
                with state.lock:
                    keep[own] = state.seen.first(hashes[own], rows.times[own], bounded, state.watermark)
            latest = int(np.minimum(rows.times[own], rows.bounded[own] + self._max_ahead).max())
            state.rewind.add(part.first_offset, state.watermark, latest, part.end - part.begin)
        if keep.all():
            return arrival
        self._dropped += 0 if replay else int((~keep).sum())
        ends = np.cumsum(keep)
        parts = []
        for part in arrival.parts:
            begin, end = (int(ends[part.begin - 1]) if part.begin else 0), int(ends[part.end - 1])
            if end > begin:
                parts.append(replace(part, begin=begin, end=end))
        return Arrival(rows.only(keep), parts)

    def _featured(self, arrival: Arrival, *, replay: bool) -> Featured | None:
        """The rows with their windows' features; the states of the partitions of the parts, after them."""
        if self._drops:
            arrival = self._first(arrival, replay=replay)
            if not arrival.parts:
                return None
        rows = arrival.rows
        windows = self._windows
        before = np.empty(len(rows), np.int64)
        added = np.empty((len(rows), len(windows.names)))
        hashes = key_hashes(rows.keys[self._key]) if windows.names else None
        values = windows.values(rows.features, rows.columns)
        metas = []
        for part in arrival.parts:
            state, own = self._states[part.partition], slice(part.begin, part.end)
            times, bounded = rows.times[own], state.moved_to(rows.bounded[own])
            latest = int(bounded.max())
            before[own] = running_watermarks(state.watermark, bounded)
            if state.windows is not None and hashes is not None:
                with state.lock:
                    added[own] = state.windows.update(hashes[own], times, values[own], bounded)
                    state.follows = part.last_offset + 1
                # A hop of an older version may hold a time that is refused today: it must not be kept for ever.
                kept = int(np.minimum(times, rows.bounded[own] + self._max_ahead).max())
                state.rewind.add(part.first_offset, state.watermark, kept, len(times))
            state.watermark = max(state.watermark, latest)
            state.latest = latest if state.latest is None else max(state.latest, latest)
            meta = Meta(state.partition, part.first_offset, part.last_offset, state.watermark)
            metas.append((part.begin, part.end, meta))
        if replay:
            return None
        if not windows.names:
            return Featured(rows, before, metas)
        features = pl.DataFrame(added, schema=windows.names)
        if rows.features.width:  # a frame of no columns has no height either
            features = rows.features.hstack(features)
        late = rows.late | (rows.times + windows.lateness < before)
        return Featured(replace(rows, features=features, late=late), before, metas)


def _known(watermark: int) -> int | None:
    return None if watermark == NO_WATERMARK else watermark

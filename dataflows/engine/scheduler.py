"""Which rows are processed next, and which of them together.

A flow that tells event times only of rows that it has processed is given a batch of each partition that need not wait
for others (`dataflows.engine.alignment`). One that tells them beforehand (`TimedState`) is given rounds: a batch of
each partition of a group, all ending near the same event time. It hands rows on in the order of their event times, so a
round may span far more than the bound of alignment, and rows come to the next key no later than the partitions' ends
lie apart. A round that is small although many rows wait is put off for a moment, and so is the first one after a
silence: the backlog of one partition may have arrived before those of the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dataflows.engine.alignment import Bounds, allowed_rows
from dataflows.engine.config import EngineConfig
from dataflows.engine.partition_buffer import Lane, arrival
from tidemark.runtime.processor import UNKNOWN_TIME, Batch, TaskState, TimedState

_MARKS: Final = 16
_LINGER: Final = 0.02
"""Seconds for which a round is put off, in the hope of rows that are being fetched."""
_SMALL: Final = 4
"""A round is small if it has less than one part in so many of the rows that it may have."""
_BACKLOG: Final = 100
"""Rows that come at once where there were none: more than a stream at its own pace gives."""


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """A partition before a round.

    rows: those that it may process at most.  event_time: latest (µs) processed; None: not known.
    marks: rising numbers of its rows, the last one `rows`, each with the event time of the last of them; rows whose
        time can't be read have none.
    silent: it has no rows, and has had none for so long that nobody waits for it.
    arrived: latest Kafka timestamp (µs), where no row has told an event time.
    replaying: rows below the committed offset are to come; they give no output, so it neither waits nor is waited for.
    """

    rows: int
    event_time: int | None = None
    marks: Sequence[tuple[int, int]] = ()
    silent: bool = False
    replaying: bool = False
    arrived: int | None = None

    @property
    def reach(self) -> int | None:
        """Latest event time (µs) after all its rows, or when they arrived if none tells one; None: no row has come."""
        times = [time for _, time in self.marks if time != UNKNOWN_TIME]
        if self.event_time is not None:
            times.append(self.event_time)
        return max(times, default=self.arrived)

    def up_to(self, limit: float) -> int:
        """Rows before the first mark that lies beyond an event time."""
        rows = 0
        for count, time in self.marks:
            if time != UNKNOWN_TIME and time > limit:
                break
            rows = count
        return rows


def together(partitions: Sequence[PartitionProgress], ahead: int) -> list[int]:
    """Rows that each partition of a group processes in a round.

    The one that comes least far with all its rows takes them all; the others go up to `ahead` (µs) further. One of
    which no row has come yet is waited for. Rows that tell no event time go with those before them; a partition that
    has no others is taken to be where Kafka received them, so that it holds up nobody for long.
    """
    reaches = [s.reach for s in partitions if not s.replaying and not s.silent]
    floor = min((-math.inf if reach is None else reach for reach in reaches), default=math.inf)
    return [
        partition.rows if partition.replaying or partition.reach is None else partition.up_to(floor + ahead)
        for partition in partitions
    ]


class Rounds:
    """Chooses from the rows that a session's lanes hold.

    batch_rows: most rows of one batch, or of all batches of a round; may be made smaller.
    """

    def __init__(self, config: EngineConfig, state: TaskState) -> None:
        self.batch_rows = config.batch_rows
        self._config = config
        self._timed = state if isinstance(state, TimedState) else None
        self._bounds = Bounds(config.align or 0, config.idle_timeout, config.min_rows, config.batch_rows)
        self._since: dict[str, float] = {}
        self._awake: set[str] = set()

    def choose(self, lanes: Iterable[Lane], now: float) -> list[list[tuple[Lane, Batch]]]:
        """Batches to process, those in one list together. now: monotonic seconds."""
        groups: dict[str, list[Lane]] = {}
        for lane in lanes:
            if lane.is_open:
                groups.setdefault(self._config.align_groups.get(lane.topic, lane.topic), []).append(lane)
        if self._timed is None:
            return [[pair] for group in groups.values() for pair in self._one_by_one(group, now)]
        rounds = [self._round(self._timed, name, group, now) for name, group in groups.items()]
        return [chosen for chosen in rounds if chosen]

    def _one_by_one(self, group: list[Lane], now: float) -> list[tuple[Lane, Batch]]:
        config = self._config
        chosen = []
        for lane in group:
            if lane.rows:
                rows = lane.rows if config.align is None else allowed_rows(lane, group, self._bounds, now)
                if rows:
                    chosen.append((lane, min(rows, self.batch_rows)))
        return [(lane, lane.take(rows, config.batch_bytes)) for lane, rows in chosen]

    def _round(self, timed: TimedState, name: str, group: list[Lane], now: float) -> list[tuple[Lane, Batch]]:
        waiting = sorted((lane for lane in group if lane.rows), key=_progress)
        if not waiting:
            self._awake.discard(name)
            return []
        share = max(1, self.batch_rows // len(waiting))
        if self._config.align is None:
            rows = {lane.key: min(lane.rows, share) for lane in waiting}
        else:
            partitions = [self._progress_of(timed, lane, min(lane.rows, share), now) for lane in group]
            allowed = together(partitions, self._config.align)
            rows = {lane.key: count for lane, count in zip(group, allowed, strict=True) if count}
        held = sum(lane.rows for lane in waiting)
        small = held >= self.batch_rows > sum(rows.values()) * _SMALL
        waking = name not in self._awake and held >= _BACKLOG and len(waiting) < len(group)
        if (small or waking) and now - self._since.setdefault(name, now) < _LINGER:
            return []
        self._since.pop(name, None)
        self._awake.add(name)
        most_bytes = self._config.batch_bytes // len(waiting)
        chosen: list[tuple[Lane, Batch]] = []
        left = self.batch_rows
        for lane in waiting:
            if (count := min(rows.get(lane.key, 0), left)) > 0:
                left -= count
                chosen.append((lane, lane.take(count, most_bytes)))
        return chosen

    def _progress_of(self, timed: TimedState, lane: Lane, rows: int, now: float) -> PartitionProgress:
        if lane.replaying or not rows:
            silent = now - lane.last_row >= self._config.idle_timeout
            arrived = lane.arrived
            return PartitionProgress(rows, lane.event_time, silent=silent, replaying=lane.replaying, arrived=arrived)
        step = -(-rows // _MARKS)
        counts = [*range(step, rows, step), rows]
        seen = lane.at([count - 1 for count in counts])
        times = timed.event_times(seen)
        return PartitionProgress(rows, lane.event_time, list(zip(counts, times, strict=True)), arrived=arrival(seen))


def _progress(lane: Lane) -> float:
    return -math.inf if lane.event_time is None else lane.event_time

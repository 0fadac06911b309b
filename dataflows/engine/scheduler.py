"""Which rows are processed next, and which of them together.

A flow that tells event times only of rows that it has processed is given a batch of each partition that need not wait
for others (`dataflows.engine.alignment`). One that tells them beforehand (`TimedState`) is given rounds: a batch of
each partition of a group, all ending near the same event time. It hands rows on in the order of their event times, so a
round may span far more than the bound of alignment, and rows come to the next key no later than the partitions' ends
lie apart. A round that is small although many rows wait is put off for a moment, and so is the first one after a
silence: the backlog of one partition may have arrived before those of the others. Where others hold records that are
not shown yet, they are waited for longer: what one transaction has written is shown partition by partition.

While a group catches up, its rounds are cut at one event time, before which no partition that has more to come has
rows left (`common_end`): rows go on in the order of their event times over rounds too, and windows over the next key
are those of a computation in event order. Rows that go on to no further key (`EngineConfig.last`) are not cut so, for
what is kept of a partition follows from its own order. A live stream is not: a partition would wait for the next row of
each other one.
"""

from __future__ import annotations

import bisect
import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dataflows.engine.alignment import Bounds, allowed_rows
from dataflows.engine.config import EngineConfig
from dataflows.engine.partition_buffer import Lane, arrival
from tidemark.runtime.processor import UNKNOWN_TIME, Batch, TaskState, TimedState

_MARKS: Final = 16
_READ_AT_ONCE: Final = 64
"""Rows whose event times are all read, instead of those at marks."""
_LINGER: Final = 0.02
"""Seconds for which a round is put off, in the hope of rows that are being fetched."""
_SMALL: Final = 4
"""A round is small if it has less than one part in so many of the rows that it may have."""
_BACKLOG: Final = 100
"""Rows that come at once where there were none: more than a stream at its own pace gives."""
_BEHIND: Final = 1.0
"""Seconds without having been at the end of the log, after which a partition catches up."""
_STALLED: Final = 4
"""A partition without rows that is not at the end of its log is waited for so many times as long as one that is."""
_MOST_SHARES: Final = 2
"""Of a round that is cut at one event time, a partition with dense rows has at most so many even shares."""


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
    more: bool = False

    @property
    def reach(self) -> int | None:
        """Latest event time (µs) after all its rows, or when they arrived if none tells one; None: no row has come."""
        times = [time for _, time in self.marks if time != UNKNOWN_TIME]
        if self.event_time is not None:
            times.append(self.event_time)
        return max(times, default=self.arrived)

    def up_to(self, limit: float) -> int:
        """Rows before the first mark that lies beyond an event time."""
        return self.between(limit)[0]

    def between(self, limit: float) -> tuple[int, int]:
        """Rows up to the last mark before the first that lies beyond an event time, and up to that one."""
        rows = 0
        for count, mark in self.marks:
            if mark != UNKNOWN_TIME and mark > limit:
                return rows, count
            rows = count
        return rows, rows


def _waited_for(partitions: Sequence[PartitionProgress]) -> list[PartitionProgress]:
    return [each for each in partitions if not each.replaying and not each.silent]


def together(partitions: Sequence[PartitionProgress], ahead: int) -> list[int]:
    """Rows that each partition of a group processes in a round.

    The one that comes least far with all its rows takes them all; the others go up to `ahead` (µs) further. One of
    which no row has come yet is waited for. Rows that tell no event time go with those before them; a partition that
    has no others is taken to be where Kafka received them, so that it holds up nobody for long.
    """
    reaches = [each.reach for each in _waited_for(partitions)]
    floor = min((-math.inf if reach is None else reach for reach in reaches), default=math.inf)
    return [
        partition.rows if partition.replaying or partition.reach is None else partition.up_to(floor + ahead)
        for partition in partitions
    ]


def furthest(partitions: Sequence[PartitionProgress], ahead: int) -> float:
    """Event time (µs) that no partition of a group that catches up goes beyond.

    Those that have more to come stay behind what is known of each other; those that have not are waited for as in
    `together`.

    Args:
        partitions: of the group.
        ahead: µs.

    Returns:
        Infinite if nobody has more to come, and -infinite if one of which nothing is known is waited for.

    """
    reaches = [(-math.inf if each.reach is None else each.reach, each.more) for each in _waited_for(partitions)]
    return min((reach if more else reach + ahead for reach, more in reaches), default=math.inf)


def common_end(partitions: Sequence[PartitionProgress], end: float, most: int) -> float:
    """Event time (µs), at most `end`, before which about `most` rows lie at most, where marks are near enough to tell.

    Args:
        partitions: of the group.
        end: as `furthest` gives it.
        most: rows of the round.

    Returns:
        Rows before it, and not those at it, are processed.

    """
    live = _waited_for(partitions)
    ends = sorted({end, *(mark for each in live for _, mark in each.marks if UNKNOWN_TIME != mark <= end)})
    fits = bisect.bisect_right(ends, most, key=lambda mark: sum(each.between(mark - 1)[1] for each in live))
    return ends[max(fits - 1, 0)]


class Rounds:
    """Chooses from the rows that a session's lanes hold.

    batch_rows: most rows of one batch, or of all batches of a round; may be made smaller.
    withholds: whether a partition at its end holds records that are not shown yet.
    """

    def __init__(
        self,
        config: EngineConfig,
        state: TaskState,
        wall: Callable[[], float] = time.time,
        withholds: Callable[[Lane], bool] = lambda _: False,
    ) -> None:
        self.batch_rows = config.batch_rows
        self._wall = wall
        self._withholds = withholds
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
        for lane in group:
            lane.given_up = not lane.at_end and self._is_silent(lane, now)
        share = max(1, self.batch_rows // len(waiting))
        held = sum(lane.rows for lane in waiting)
        if self._config.align is None:
            rows = {lane.key: min(lane.rows, share) for lane in waiting}
        elif name not in self._config.last and self._catches_up(group, share, now):
            rows = self._backlog(timed, group, share, self._config.align, now)
        else:
            partitions = self._progress_of(timed, group, [min(lane.rows, share) for lane in group], now)
            allowed = together(partitions, self._config.align)
            rows = {lane.key: count for lane, count in zip(group, allowed, strict=True) if count}
        cut = any(lane.rows > rows.get(lane.key, 0) >= share for lane in waiting)  # more would not help it
        small = held >= self.batch_rows > sum(rows.values()) * _SMALL and not cut
        waking = name not in self._awake and held >= _BACKLOG and len(waiting) < len(group)
        if small or waking:
            # A transaction's records are shown partition by partition.
            withheld = waking and any(not lane.rows and self._withholds(lane) for lane in group)
            patience = self._config.idle_timeout * _STALLED if withheld else _LINGER
            if now - self._since.setdefault(name, now) < patience:
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
        return sorted(chosen, key=_name)  # rows of the same event time: in the order of partitions, then of offsets

    def _catches_up(self, group: list[Lane], share: int, now: float) -> bool:
        """Whether a group has a backlog, and its partitions must be told apart by event time."""
        some = [
            lane
            for lane in group
            if not lane.replaying and (lane.rows or not lane.is_told or not self._is_silent(lane, now))
        ]
        came = (self._wall() - _BEHIND) * 1_000  # a partition that never rests is not told to be at its end either
        behind = any(now - lane.behind_since >= _BEHIND and lane.stamp <= came for lane in some if not lane.at_end)
        replayed = any(lane.replaying and not self._is_silent(lane, now) for lane in group)
        return len(some) + replayed > 1 and (behind or any(lane.rows > share for lane in some))

    def _is_silent(self, lane: Lane, now: float) -> bool:
        patience = self._config.idle_timeout * (1 if lane.at_end else _STALLED)
        return not lane.rows and now - lane.last_row >= patience

    def _backlog(
        self, timed: TimedState, group: list[Lane], share: int, ahead: int, now: float
    ) -> dict[tuple[str, int], int]:
        """Rows of each partition up to one event time."""
        most_bytes = self._config.batch_bytes // sum(lane.rows > 0 for lane in group)
        most = [lane.fitting(share if lane.replaying else share * _MOST_SHARES, most_bytes) for lane in group]
        if not all(lane.rows or lane.is_told for lane in group):  # the client may hold rows of an empty one
            most = [min(rows, lane.told) for lane, rows in zip(group, most, strict=True)]
        partitions = self._progress_of(timed, group, most, now)
        replayed = [each for each in partitions if each.replaying and not each.silent]
        if replayed:  # what lies before the rows to come of these must not be overtaken by those of another backlog
            partitions = [
                replace(each, rows=0, marks=()) if each.more and not each.replaying else each for each in partitions
            ]
        last = furthest(partitions, ahead)
        end = common_end(partitions, last, self.batch_rows - sum(each.rows for each in replayed))
        # All may be of one event time; or the end is that of a row behind later rows of its own partition.
        first = min((each.marks[0][1] for each in partitions if each.marks), default=UNKNOWN_TIME)
        rows: dict[tuple[str, int], int] = {}
        for limit in (end - 1, end, min(first, last)):
            rows = _rows_up_to(timed, group, partitions, limit)
            if any(rows.values()):
                break
        return rows

    def _progress_of(
        self, timed: TimedState, group: Sequence[Lane], most: Sequence[int], now: float
    ) -> list[PartitionProgress]:
        """How far each partition of a group comes with so many rows."""
        looked = {
            lane.key: _marks(0, rows) for lane, rows in zip(group, most, strict=True) if rows and not lane.replaying
        }
        seen = {lane.key: _looked_at(lane, looked[lane.key]) for lane in group if lane.key in looked}
        told = dict(zip(seen, _times_of(timed, list(seen.values())), strict=True))
        partitions = []
        for lane, rows in zip(group, most, strict=True):
            more = lane.rows > rows or not lane.at_end
            if (look := seen.get(lane.key)) is not None:
                marks = list(zip(looked[lane.key], told[lane.key], strict=True))
                each = PartitionProgress(rows, lane.event_time, marks, arrived=arrival(look), more=more)
            else:
                silent = self._is_silent(lane, now)
                each = PartitionProgress(
                    rows, lane.event_time, silent=silent, replaying=lane.replaying, arrived=lane.arrived, more=more
                )
            partitions.append(each)
        return partitions


def _looked_at(lane: Lane, counts: Sequence[int]) -> Batch:
    """The last of so many rows each."""
    return lane.at([count - 1 for count in counts])


def _times_of(timed: TimedState, looks: Sequence[Batch]) -> list[list[int]]:
    """Event times of the rows of each batch. Those of one topic are read together: a call costs more than a row."""
    topics: dict[str, list[int]] = {}
    for place, look in enumerate(looks):
        topics.setdefault(look.partition.topic, []).append(place)
    found: list[list[int]] = [[] for _ in looks]
    for places in topics.values():
        times = iter(timed.event_times(Batch.joined([looks[place] for place in places])))
        for place in places:
            found[place] = list(itertools.islice(times, len(looks[place])))
    return found


def _rows_up_to(
    timed: TimedState, group: Sequence[Lane], partitions: Sequence[PartitionProgress], limit: float
) -> dict[tuple[str, int], int]:
    """Rows of each partition before its first that lies beyond an event time: ever nearer, all of them in turn."""
    found: dict[tuple[str, int], int] = {}
    between: dict[tuple[str, int], tuple[int, int]] = {}
    for lane, partition in zip(group, partitions, strict=True):
        if partition.replaying or partition.reach is None:
            found[lane.key] = partition.rows
        else:
            between[lane.key] = partition.between(limit)
    while searched := [lane for lane in group if lane.key in between and _is_wide(between[lane.key])]:
        counts = [_marks(*between[lane.key]) for lane in searched]
        looks = [_looked_at(lane, own) for lane, own in zip(searched, counts, strict=True)]
        for lane, own, times in zip(searched, counts, _times_of(timed, looks), strict=True):
            past = (place for place, told in enumerate(times) if told != UNKNOWN_TIME and told > limit)
            place = next(past, len(times) - 1)
            between[lane.key] = [between[lane.key][0], *own][place], own[place]
    return found | {key: rows for key, (rows, _) in between.items()}


def _is_wide(between: tuple[int, int]) -> bool:
    """Whether there is a row between those that are within and the first that is known to lie beyond."""
    return between[1] - between[0] > 1


def _marks(begin: int, end: int) -> list[int]:
    """Rising numbers of rows above `begin`, the last one `end`: all of them, or where they are many some of them."""
    step = 1 if end - begin <= _READ_AT_ONCE else -(-(end - begin) // _MARKS)
    return [*range(begin + step, end, step), end]


def _name(chosen: tuple[Lane, Batch]) -> tuple[str, int]:
    return chosen[0].key


def _progress(lane: Lane) -> float:
    return -math.inf if lane.event_time is None else lane.event_time

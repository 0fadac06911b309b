"""Source alignment: partitions that one worker drains together are kept near each other in event time.

One consumer that drains several partitions sees them far out of time order. State that is kept per partition does
not mind; a hop to another key does, for its rows then come late. So a partition that is ahead of the slowest of its
group by more than a bound waits, unless the slowest is idle. Batches are cut to what the bound allows, by the pace
(event time a row) of the partition's last batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Aligned(Protocol):
    """What alignment has to know of a partition (`dataflows.engine.partition_buffer.Lane`)."""

    @property
    def rows(self) -> int:
        """Rows read and not yet processed."""
        ...

    @property
    def event_time(self) -> int | None:
        """Latest event time (µs) processed."""
        ...

    @property
    def arrived(self) -> int | None:
        """Latest Kafka timestamp (µs) of the rows processed, where no event time is known though there were rows."""
        ...

    @property
    def pace(self) -> float:
        """Event time (µs) a row."""
        ...

    @property
    def last_row(self) -> float:
        """When a row last arrived (monotonic seconds)."""
        ...

    @property
    def replaying(self) -> bool:
        """Whether rows below the committed offset are still to come."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """ahead: µs of event time; idle: seconds without a row after which a partition holds nobody back."""

    ahead: int
    idle: float
    min_rows: int
    max_rows: int


def allowed_rows(lane: Aligned, others: Iterable[Aligned], bounds: Bounds, now: float) -> int:
    """Rows of its buffer that a partition may process now, 0 if it has to wait for the slowest of its group.

    `others`: the group, the partition itself included or not.  now: monotonic seconds.
    A partition that is being replayed gives no output, so it neither waits nor is waited for.
    One of which no row has come yet is waited for, and goes first. One whose rows tell no event time is taken to be
    where Kafka received them: unreadable rows hold up nobody for long.
    """
    if lane.replaying or lane.event_time is None:
        return min(lane.rows, bounds.max_rows)
    floor = lane.event_time
    for other in others:
        if other.replaying or (other.rows == 0 and now - other.last_row >= bounds.idle):
            continue
        reached = other.arrived if other.event_time is None else other.event_time
        if reached is None:
            return 0
        floor = min(floor, reached)
    room = floor + bounds.ahead - lane.event_time
    if room < 0:
        return 0
    fits = bounds.max_rows if lane.pace * bounds.max_rows <= room else int(room / lane.pace)
    return min(lane.rows, bounds.max_rows, max(fits, bounds.min_rows))

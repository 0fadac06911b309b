"""Time for the queue: injected, so that tests move it, and steady, so that a jump of the wall clock ends no lease."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings, both in microseconds since 1970."""

    def now(self) -> int:
        """Queue time: never runs backwards; leases are measured by it."""
        ...

    def wall(self) -> int:
        """What the machine's clock says: for `answered_at` and the default of `known_at`."""
        ...


class SteadyClock:
    """Queue time is the wall clock at the start, or `floor` if that is later, plus what has passed since.

    `floor` is the queue time last written to the database: a wall clock that was set back while the service was
    down can't make leases longer than they were.  anchor: what to start from in the wall clock's place, µs: replicas
    on several machines go by the database's.
    """

    def __init__(self, floor: int = 0, anchor: int | None = None) -> None:
        self._anchor = max(time.time_ns() // 1_000 if anchor is None else anchor, floor)
        self._start = time.monotonic_ns()

    def now(self) -> int:
        """Queue time in microseconds."""
        return self._anchor + (time.monotonic_ns() - self._start) // 1_000

    def wall(self) -> int:
        """Wall clock in microseconds."""
        return time.time_ns() // 1_000

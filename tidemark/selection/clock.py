"""Event time of the whole stream, from the watermarks of its partitions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Watermark (µs of event time, None before the first) and idleness of each partition."""

    times: tuple[int | None, ...]
    idle: tuple[bool, ...]

    @classmethod
    def unknown(cls, partitions: int) -> Watermarks:
        """Before the first record: every partition is waited for."""
        return cls((None,) * partitions, (False,) * partitions)

    def advanced(self, partition: int, time: int | None, *, idle: bool) -> Watermarks:
        """After a record of a partition. A watermark never goes back."""
        known = self.times[partition]
        times, idles = list(self.times), list(self.idle)
        times[partition] = known if time is None or (known is not None and known > time) else time
        idles[partition] = idle
        return Watermarks(tuple(times), tuple(idles))

    def passed(self) -> int | None:
        """Time that every partition has passed, idle ones left out; None while one that is not idle is unknown.

        Where all are idle it is the latest time any of them has passed: silence alone never moves time, or a slow
        stream would close a tile, and spend a budget, at each pause.
        """
        active = [time for time, idle in zip(self.times, self.idle, strict=True) if not idle]
        if not active:
            return max((time for time in self.times if time is not None), default=None)
        known = [time for time in active if time is not None]
        return min(known) if len(known) == len(active) else None

    def extended(self, partitions: int) -> Watermarks:
        """For a topic that has grown to so many partitions: the new ones are waited for."""
        new = partitions - len(self.times)
        return Watermarks(self.times + (None,) * new, self.idle + (False,) * new)

"""How long to wait before a process that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubling waits, from `first` to `most` seconds; a process that stayed up for `settled` seconds begins anew."""

    first: float = 0.5
    most: float = 30.0
    settled: float = 30.0
    _next: float = 0.0

    def wait_after(self, uptime: float) -> float:
        """Seconds to wait after a process that had been up for `uptime` seconds ended."""
        if uptime >= self.settled or self._next == 0.0:
            self._next = self.first
        wait = self._next
        self._next = min(self._next * 2, self.most)
        return wait

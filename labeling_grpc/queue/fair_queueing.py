"""Whose turn it is: among the lanes, and among the segments of the active one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

_REMEMBERED: Final = 256


@dataclass(slots=True)
class FairQueueing:
    """While both lanes have cases, they take turns; so do the segments, each with equal weight.

    Start-time fair queueing: a segment's next case starts when its last one ended, and no sooner than the newest case
    that was given out, so that one that was empty for a while has no claim to what it did not ask for.
    Goyal, Vin and Cheng 1996, "Start-time fair queuing".
    """

    explore_next: bool = True
    _virtual: int = 0
    _ended: dict[str, int] = field(default_factory=dict)

    def copy(self) -> FairQueueing:
        """One that can be moved on without this one."""
        return FairQueueing(self.explore_next, self._virtual, self._ended.copy())

    def order(self, segments: Collection[str]) -> list[str]:
        """Segments, the one whose turn it is first."""
        return (
            sorted(segments, key=lambda segment: (self._start(segment), segment)) if len(segments) > 1 else [*segments]
        )

    def took(self, segment: str) -> None:
        """A segment had its turn."""
        self._virtual = self._start(segment)
        self._ended[segment] = self._virtual + 1
        if len(self._ended) > _REMEMBERED:  # one that ended before now is as one that never was
            self._ended = {name: end for name, end in self._ended.items() if end > self._virtual}

    def _start(self, segment: str) -> int:
        return max(self._virtual, self._ended.get(segment, 0))

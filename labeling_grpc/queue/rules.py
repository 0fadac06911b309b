"""What a pipeline's queue is held to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueRules:
    """What a pipeline's queue is held to.

    max_open: cases waiting or leased, never more.  release_hold_us: how long a released case is kept from the one
    who released it.  max_bytes: of the candidates of one lease call.  segment, skill: context columns, see `Labeling`.
    """

    classes: tuple[str, ...]
    max_open: int = 100_000
    release_hold_us: int = 300_000_000
    max_bytes: int = 3_000_000
    segment: str | None = None
    skill: str | None = None

    @property
    def plain(self) -> bool:
        """Whether any open case that is not for reviewers may be given to anybody."""
        return self.segment is None and self.skill is None

"""An open tile: what the partitions have proposed of it so far, merged."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from tidemark.selection.clock import Watermarks


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed event. score: NaN where there is none; higher is more worth asking about.

    coin, draw: its two independent coins, for the random draw and for the order of equal or missing scores.
    """

    event_id: str
    business_id: str | None
    key: str | None
    time: int
    coin: int
    draw: int
    score: float
    uncertainty: float | None
    probabilities: list[float] | None
    model: str
    features: dict[str, float | None]
    context: dict[str, str | float | int | bool | None]

    @property
    def by_coin(self) -> tuple[int, str]:
        """Order of the random draw; ties go by event id."""
        return self.coin, self.event_id

    @property
    def by_score(self) -> tuple[bool, float, int, str]:
        """Order of the active choice, as in `tidemark.stream.proposals.ranked`."""
        unscored = math.isnan(self.score)
        return unscored, 0.0 if unscored else -self.score, self.draw, self.event_id


@dataclass(slots=True)
class OpenTile:
    """A tile until it closes. Holds no more than can still be chosen.

    first_offset: of the first record with events of the tile; `watermarks` and `first_open` held before it.
    drawable: size of the random draw that the proposals carry, less one for the inclusion probability's coin.
    """

    number: int
    first_offset: int
    watermarks: Watermarks
    first_open: int
    explore: int
    active: int
    events: int = 0
    offered: int = 0
    drawable: int = sys.maxsize
    model: str = ""
    smallest: list[Proposal] = field(default_factory=list)
    best: list[Proposal] = field(default_factory=list)

    def merge(self, events: int, coins: Sequence[Proposal], scores: Sequence[Proposal], model: str) -> None:
        """Take in a record's part of the tile.

        events: all events of the part.  coins: those with its smallest coins; fewer than all means that the part kept
        only so many, and then no more can be drawn exactly (a partition may still run with an older budget).
        scores: those with its best scores.
        """
        self.events += events
        self.offered += len(coins) + len(scores)
        self.model = model
        if len(coins) < events:
            self.drawable = min(self.drawable, max(len(coins) - 1, 0))
        self.smallest = sorted([*self.smallest, *coins], key=lambda row: row.by_coin)[: self.explore + 1]
        self.best = sorted([*self.best, *scores], key=lambda row: row.by_score)[: self.active]

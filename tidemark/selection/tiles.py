"""An open tile: what the partitions have proposed of it so far, merged."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Final

from tidemark.selection.clock import Watermarks

_ANY_COIN: Final = 2**64 - 1


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
    definitions: dict[str, str] | None = None

    @property
    def by_coin(self) -> tuple[int, str]:
        """Order of the random draw; ties go by event id."""
        return self.coin, self.event_id

    @property
    def by_score(self) -> tuple[bool, float, int, str]:
        """Order of the active choice, as in `tidemark.selection.proposals.ranked`."""
        unscored = math.isnan(self.score)
        return unscored, 0.0 if unscored else -self.score, self.draw, self.event_id


@dataclass(frozen=True, slots=True)
class Part:
    """A record's part of one tile: all its events, those it drew by coin, and those it proposes, counted.

    coins, scores: of those it proposes by coin and by score, the ones that can still be chosen.
    """

    tile: int
    events: int
    drawn: int
    offered: int
    coins: list[Proposal]
    scores: list[Proposal]


@dataclass(frozen=True, slots=True)
class Bars:
    """What a row must reach to matter to a tile: a coin of at most `coin`, or a score of at least `score`."""

    coin: int = _ANY_COIN
    score: float = -math.inf


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

    def bars(self) -> Bars:
        """What a further proposal must reach to be among those kept."""
        coin = _ANY_COIN if len(self.smallest) <= self.explore else self.smallest[-1].coin
        full = self.best and len(self.best) == self.active and not math.isnan(self.best[-1].score)
        return Bars(coin, self.best[-1].score if full else -math.inf)

    def merge(self, part: Part, model: str) -> None:
        """Take in a record's part of the tile.

        A part that drew fewer than all its events kept only so many, and then no more can be drawn exactly from the
        tile (a partition may still run with an older budget).
        """
        self.events += part.events
        self.offered += part.offered
        self.model = model
        if part.drawn < part.events:
            self.drawable = min(self.drawable, part.drawn - 1)
        self.smallest = sorted([*self.smallest, *part.coins], key=lambda row: row.by_coin)[: self.explore + 1]
        self.best = sorted([*self.best, *part.scores], key=lambda row: row.by_score)[: self.active]

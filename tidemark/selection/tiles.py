"""An open tile: what the partitions have proposed of it so far, merged."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Final

from tidemark.selection.clock import Watermarks

_ANY_COIN: Final = 2**64 - 1
_MOST_SEGMENTS: Final = 1_000
"""Segments of a tile that a row is kept of."""

Estimate = tuple[float, float, float]
"""A number and the ends of its interval."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed event. score: NaN where there is none; higher is more worth asking about.

    coin, draw: its two independent coins, for the random draw and for the order of equal or missing scores.
    estimate: where the label is a number, what the model says it is.
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
    stage: str = ""
    estimate: Estimate | None = None

    @property
    def cold(self) -> bool:
        """Whether no model scored it."""
        return self.probabilities is None

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
    unsure: mean of 1 - margin over all its events; None without a model.
    share: of the active cases for what the start looks for, where labels have told something.
    floors: of the rows that it proposes, one of each segment, where there are segments.
    """

    tile: int
    events: int
    drawn: int
    offered: int
    coins: list[Proposal]
    scores: list[Proposal]
    unsure: float | None = None
    share: float | None = None
    floors: dict[str, Proposal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bars:
    """What a row must reach to matter to a tile: a coin of at most `coin`, or a score of at least `score`.

    draw: coin that a row without a score must not exceed.
    """

    coin: int = _ANY_COIN
    score: float = -math.inf
    draw: int = _ANY_COIN


@dataclass(slots=True)
class OpenTile:
    """A tile until it closes. Holds no more than can still be chosen.

    first_offset: of the first record with events of the tile; `watermarks` and `first_open` held before it.
    drawable: size of the random draw that the proposals carry, less one for the inclusion probability's coin.
    explore, active, cold: rows to keep by coin, by score, and without a model.
    unsure: sum of 1 - margin over `judged` events.  share: as its newest part has it, which a model has scored or not.
    best: rows with a model by score, then those without.  floors: the row of each segment with the smallest draw.
    """

    number: int
    first_offset: int
    watermarks: Watermarks
    first_open: int
    explore: int
    active: int
    cold: int = 0
    events: int = 0
    judged: int = 0
    unsure: float = 0.0
    share: float | None = None
    offered: int = 0
    drawable: int = sys.maxsize
    model: str = ""
    smallest: list[Proposal] = field(default_factory=list)
    best: list[Proposal] = field(default_factory=list)
    floors: dict[str, Proposal] = field(default_factory=dict)

    def bars(self) -> Bars:
        """What a further proposal must reach to be among those kept."""
        coin = _ANY_COIN if len(self.smallest) <= self.explore else self.smallest[-1].coin
        scored = sum(not row.cold for row in self.best)
        if scored >= self.active > 0:
            return Bars(coin, self.best[scored - 1].score)
        kept = max(self.active, self.cold)
        last = self.best[-1] if len(self.best) - scored >= kept > 0 else None
        return Bars(coin, draw=_ANY_COIN if last is None or not math.isnan(last.score) else last.draw)

    @property
    def uncertainty(self) -> float | None:
        """Mean of 1 - margin over the events that a model has scored; None where it scored none."""
        return self.unsure / self.judged if self.judged else None

    @property
    def seen_by_a_model(self) -> bool:
        """Whether a model has scored any of its events."""
        return self.judged > 0 or any(not row.cold for row in self.best)

    def merge(self, part: Part, model: str) -> None:
        """Take in a record's part of the tile.

        A part that drew fewer than all its events kept only so many, and then no more can be drawn exactly from the
        tile (a partition may still run with an older budget).
        """
        self.events += part.events
        self.offered += part.offered
        self.model = model
        if part.unsure is not None:
            self.judged += part.events
            self.unsure += part.unsure * part.events
        if part.unsure is not None or part.share is not None:
            self.share = part.share
        if part.drawn < part.events:
            self.drawable = min(self.drawable, part.drawn - 1)
        self.smallest = sorted([*self.smallest, *part.coins], key=lambda row: row.by_coin)[: self.explore + 1]
        rows = sorted([*self.best, *part.scores], key=lambda row: row.by_score)
        cold = [row for row in rows if row.cold]
        self.best = [row for row in rows if not row.cold][: self.active] + cold[: max(self.active, self.cold)]
        for segment, row in part.floors.items():
            before = self.floors.get(segment)
            if before is None and len(self.floors) >= _MOST_SEGMENTS:
                continue
            if before is None or (row.draw, row.event_id) < (before.draw, before.event_id):
                self.floors[segment] = row

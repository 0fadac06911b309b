"""What is asked of a tile: the random draw first, then the strategy's picks with what is left of the budget.

There is no carry-over: a tile spends at most `budget`, and what it leaves is not spent later. An empty night must not
flood the morning, and a tile's choice depends on nothing but the tile and what is spent and left of `total`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

import kernels
from kernels import hash64, unit
from tidemark.errors import ConfigError
from tidemark.evaluation import focus
from tidemark.pipeline.model import Selection, Start
from tidemark.records import Reason
from tidemark.selection.asked import AskedCases
from tidemark.selection.cost import cost_of, dearest
from tidemark.selection.proposals import has_start
from tidemark.selection.segments import due
from tidemark.selection.start import AT_FIRST, pick_cold
from tidemark.selection.tiles import OpenTile, Proposal
from tidemark.strategies import Pool, Strategy, left_to_chance, make, narrowed

EXPLORE_PRIORITY: Final = 1.0
"""Priority of every exploration case, above any active one (below 1): a draw that waits behind the hard cases is
answered late or never, and what is missing then is not missing at random."""


Reasoned = tuple[Proposal, Reason]


@dataclass(frozen=True, slots=True)
class Pick:
    """A chosen event. inclusion_probability: of exploration picks only."""

    proposal: Proposal
    reason: Reason
    priority: float
    inclusion_probability: float | None


def choose(
    tile: OpenTile,
    selection: Selection,
    left: int | None,
    start: Start | None = None,
    asked: AskedCases | None = None,
    units: int | None = None,
) -> Iterator[Pick]:
    """Picks of a tile that closes, at most `selection.budget` and at most `left` of them, no event twice.

    Exploration: the k smallest coins of all the tile's events, k the reserved share, or what the strategy has drawn, or
    what the start leaves to chance. It depends on coins alone (k on none of them), so that each has the inclusion
    probability unit((k + 1)-th smallest coin), or 1 if there is none (Cohen, Kaplan 2007). Of the focused draw coins
    are stretched (`tidemark.evaluation.focus`).
    Active: a case of each segment that was asked about too little, then the strategy's picks among the rest of the best
    scores, first pick highest priority. An event that both ways would choose is an exploration case, and the strategy's
    next one takes its place. Near-duplicates of what was asked, and rows beyond a segment's quota, come last.
    All together they cost at most `units`. How many are drawn must not depend on which, so each drawn one is reckoned
    as the dearest; what is left goes to the strategy's picks, those that it suffices for.

    Args:
        tile: what was proposed of it.
        selection: the pipeline's settings.
        left: cases that may be asked; None if only `selection.budget` bounds them. Exploration goes first where it runs
            short.
        start: the pipeline's settings for events without a model.
        asked: what was asked before this tile; None: nothing.
        units: what they may cost; None if nothing bounds it.

    Yields:
        The picks.

    """
    strategy, start = make(selection), start or Start()
    budget = selection.budget if left is None else min(selection.budget, left)
    special = _special(tile, selection, start, max(budget - selection.explore, 0))
    affordable = budget if units is None else units // dearest(selection)
    drawn = tile.smallest[: min(_drawn(tile, strategy, selection, special), budget, affordable, tile.drawable)]
    beyond = tile.smallest[len(drawn) : len(drawn) + 1]
    for proposal in drawn:
        yield Pick(proposal, "explore", EXPLORE_PRIORITY, _inclusion(proposal, beyond, selection))
    if not strategy.ranks:
        return
    slots = budget - len(drawn)
    asked = asked or AskedCases(selection)
    purse = _Purse(selection, units, drawn)
    floors = purse.paid(_floors(tile, selection, asked, drawn, slots))
    taken = {proposal.event_id for proposal in (*drawn, *floors)}
    pool = [proposal for proposal in tile.best if proposal.event_id not in taken]
    seed = hash64(f"{selection.version}/{tile.number}".encode())

    def pick(rows: Sequence[Proposal], most: int) -> list[Reasoned]:
        return _picks(strategy, selection, start, tile.events, rows, most, special or 0, seed)

    picks: list[Reasoned] = [(row, "diverse") for row in floors]
    while len(picks) < slots:
        gone = {row.event_id for row, _ in picks}
        rows = [row for row in pool if row.event_id not in gone and purse.suffices(row)]
        found = _spread_out(pick, rows, slots - len(picks), asked, [asked.segment(row) for row, _ in picks])
        bought = set(map(id, purse.paid([row for row, _ in found])))
        picks += [each for each in found if id(each[0]) in bought]
        if len(bought) == len(found):
            break
    for rank, (proposal, reason) in enumerate(picks):
        yield Pick(proposal, reason, 1 - (rank + 1) / (slots + 1), None)


class _Purse:
    """What a tile may still spend. units: in all; None: nothing bounds it.  drawn: what is asked anyway."""

    def __init__(self, selection: Selection, units: int | None, drawn: Sequence[Proposal]) -> None:
        self._selection = selection
        self._left = None if units is None else units - sum(cost_of(selection, row.context) for row in drawn)

    def suffices(self, row: Proposal) -> bool:
        """Whether a case can be paid for."""
        return self._left is None or cost_of(self._selection, row.context) <= self._left

    def paid(self, rows: Sequence[Proposal]) -> list[Proposal]:
        """Of cases in order those that can be paid for, paid."""
        if self._left is None:
            return list(rows)
        paid = []
        for row in rows:
            if self.suffices(row):
                self._left -= cost_of(self._selection, row.context)
                paid.append(row)
        return paid


def _inclusion(drawn: Proposal, beyond: list[Proposal], selection: Selection) -> float:
    if not beyond:
        return 1.0
    first_left = beyond[0].coin
    return focus.inclusion(drawn.probabilities, first_left) if selection.focused else unit(first_left)


def _floors(
    tile: OpenTile, selection: Selection, asked: AskedCases, drawn: Sequence[Proposal], slots: int
) -> list[Proposal]:
    """A case of each segment that was asked about too little."""
    if selection.segments is None:
        return []
    seen = [asked.segment(row) for row in drawn]
    return due(tile.floors, asked.by_segment(), seen, selection.segments.least, -(-slots // 2))


def _spread_out(
    pick: Callable[[Sequence[Proposal], int], list[Reasoned]],
    pool: Sequence[Proposal],
    slots: int,
    asked: AskedCases,
    taken: Sequence[str],
) -> list[Reasoned]:
    """Picks that are like nothing asked, no segment beyond its quota; with what is left over where there are too few.

    taken: segments of the active cases that the tile has already.
    """
    segments, counts = asked.selection.segments, Counter(taken)
    most = slots + len(taken) if segments is None else max(1, round(segments.most * (slots + len(taken))))
    fresh, _ = asked.parted(pool)
    picks: list[Reasoned] = []
    while len(picks) < slots:
        rows = [row for row in fresh if counts[asked.segment(row)] < most]
        found = pick(rows, slots - len(picks))
        if not found:
            break
        for row, reason in found:
            if counts[asked.segment(row)] < most:
                counts[asked.segment(row)] += 1
                picks.append((row, reason))
        gone = {row.event_id for row, _ in found}
        fresh = [row for row in fresh if row.event_id not in gone]
    gone = {row.event_id for row, _ in picks}
    return [*picks, *pick([row for row in pool if row.event_id not in gone], slots - len(picks))]


def _special(tile: OpenTile, selection: Selection, start: Start, slots: int) -> int | None:
    """How many of `slots` cases are chosen for what they are in a tile that no model has seen; None with a model.

    It goes by labels of earlier tiles, and by no coin of this one.
    """
    if tile.seen_by_a_model or not has_start(selection, start):
        return None
    return _whole((AT_FIRST if tile.share is None else tile.share) * slots, tile.number)


def _drawn(tile: OpenTile, strategy: Strategy, selection: Selection, special: int | None) -> int:
    """How many cases of a tile are drawn by coin: of the start, all but those that it chooses."""
    if not strategy.ranks:
        return selection.budget
    if special is not None:
        return max(selection.explore, selection.budget - special)
    if tile.uncertainty is None:
        return selection.explore
    if tile.share is not None:
        sought = _whole(tile.share * max(selection.budget - selection.explore, 0), tile.number)
        return max(selection.explore, selection.budget - sought)
    share = strategy.random_share(tile.uncertainty) if strategy.draws else 0.0
    if selection.mixed:
        share = max(share, left_to_chance(tile.uncertainty))
    return max(selection.explore, round(share * selection.budget))


def _whole(cases: float, tile: int) -> int:
    """A whole number of cases in each tile: rounded up in some and down in others, so that they add up to the share.

    Of a budget of four, a third is one case in most tiles and two in some. It goes by the tile's number, by no coin.
    """
    return math.floor((tile + 1) * cases) - math.floor(tile * cases)


def _picks(
    strategy: Strategy,
    selection: Selection,
    start: Start,
    events: int,
    pool: Sequence[Proposal],
    slots: int,
    special: int,
    seed: int,
) -> list[Reasoned]:
    """The strategy's picks, then the likeliest positives while they are looked for, then those of the start.

    A tile may hold rows of all three kinds, where a model came while it was open. events: of the tile.  special: rows
    without a model that are picked for what they are, at most.
    """
    ranked = [row for row in pool if not row.cold and not row.stage]
    likely = [row for row in pool if not row.cold and row.stage]
    cold = [row for row in pool if row.cold]
    picks: list[Reasoned] = []
    if ranked and slots:
        offered = Pool(ranked, events)
        if strategy.narrows:
            offered = narrowed(offered, slots, selection.candidates_per_pick)
        places = _checked(strategy, strategy.pick(offered, min(slots, len(offered)), seed), len(offered), slots)
        picks = [(ranked[row], strategy.reason) for row in places]
    picks += [(row, "cold") for row in likely[: slots - len(picks)]]
    if slots > len(picks) and cold:
        picks += [(row, "cold") for row in pick_cold(start, cold, special, slots - len(picks), seed)]
    return picks


def _checked(strategy: Strategy, places: object, size: int, slots: int) -> list[int]:
    """Positions that a strategy has picked; those of others may be anything.

    Raises:
        ConfigError: they are not different rows of the pool, or too many.

    """
    found = np.asarray(places)
    whole = found.ndim == 1 and (found.dtype.kind in "iu" or not found.size)
    numbers: list[int] = found.tolist() if whole else []
    known = all(0 <= place < size for place in numbers)
    if not whole or not known or len(numbers) > slots or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"selection.policy: '{strategy.settings.policy}' must pick at most {slots} different positions from 0 to "
            f"{size - 1}, and gave {str(places)[:100]}; mend its 'pick'"
        )
    return numbers


def warm() -> None:
    """Compile, or load from the cache, the kernels that picks need: a flow calls it before it joins its group."""
    table = kernels.robust_scale(np.arange(40, dtype=np.float64).reshape(20, 2))
    kernels.kmeans_pp(table, 2, 0)
    kernels.isolation(table, 0, trees=1)
    kernels.badge(np.full((20, 2), 0.5), table, 2, 0, bias=1.0)
    kernels.novelty(table[:2], table[2:])

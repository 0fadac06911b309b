"""What each closed tile asks people about, within a budget that is never exceeded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tidemark.pipeline.model import Pipeline, Selection
from tidemark.records import Candidate
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.steps import RoundContext
from tidemark.selection.asked import AskedCases, remembered
from tidemark.selection.choice import Pick, choose
from tidemark.selection.cost import bounds, cost_of
from tidemark.selection.ledger import Ledger
from tidemark.selection.reaction import in_force, most_asked, noticed, raised
from tidemark.selection.steps.close_tiles import ClosedTile
from tidemark.selection.tiles import OpenTile


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked of a tile.

    ledger: what is spent with it.  at: when it closed, µs.  budget: cases that it might ask.  cost: of the picks.
    follows: until when (µs) an alarm of drift is followed; 0 where none is.
    """

    tile: OpenTile
    picks: list[Pick]
    ledger: Ledger
    at: int
    budget: int
    cost: int
    follows: int = 0


class ChooseStep:
    """Chooses by the pipeline's policy, and keeps the ledger of what was asked.

    wall: this machine's clock, µs, up to which Kafka's timestamps are believed where hours are counted.
    read_asked: the newest candidates that are committed, oldest first.
    alarmed: time of the newest alarm of drift that is to be followed, µs; None where there is none.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        wall: Callable[[], int] = wall_clock,
        read_asked: Callable[[], Iterable[Candidate]] = tuple,
        alarmed: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._selection = pipeline.selection
        self._reaction = pipeline.drift.reaction
        self._alarmed = alarmed
        self._start = pipeline.start
        self._wall = wall
        self._read_asked = read_asked
        self.ledger = Ledger()
        self._asked = AskedCases(self._selection)

    def open(self, ledger: Ledger) -> None:
        """Begin with what was asked before. ledger: what was spent."""
        self.ledger = ledger
        self._asked = AskedCases(self._selection)
        if remembered(self._selection):
            self._asked.read(self._read_asked())

    def process(self, tiles: list[ClosedTile], context: RoundContext) -> list[Choice]:  # noqa: ARG002 a step's
        """The choice of each tile."""
        choices = []
        for closed in tiles:
            now = min(closed.at, self._wall())
            selection, most, ledger, follows = self._settings(self.ledger.at(now), now)
            cases, units = bounds(selection, most, ledger.left(selection))
            picks = list(choose(closed.tile, selection, cases, self._start, self._asked, units))
            cost = sum(cost_of(selection, pick.proposal.context) for pick in picks)
            self._asked.add(pick.proposal for pick in picks)
            extra = max(len(picks) - ledger.allowance(self._selection), 0) if follows else 0
            self.ledger = ledger.spent(cost, extra)
            choices.append(Choice(closed.tile, picks, self.ledger, closed.at, selection.budget, cost, follows))
        return choices

    def _settings(self, ledger: Ledger, now: int) -> tuple[Selection, int, Ledger, int]:
        """Those of a tile that closes now, the most that it may ask, the ledger, until when an alarm is followed."""
        reaction, usual = self._reaction, self._selection
        if reaction is not None:
            ledger = noticed(ledger, reaction, self._alarmed(), now)
            if in_force(ledger, reaction, now):
                most = most_asked(ledger, usual, reaction)
                return raised(usual, reaction), most, ledger, ledger.alarm + reaction.lasts
        return usual, ledger.allowance(usual), ledger, 0

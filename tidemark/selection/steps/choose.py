"""What each closed tile asks people about, within a budget that is never exceeded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tidemark.pipeline.model import Pipeline
from tidemark.records import Candidate
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.steps import RoundContext
from tidemark.selection.asked import AskedCases, remembered
from tidemark.selection.choice import Pick, choose
from tidemark.selection.ledger import Ledger
from tidemark.selection.steps.close_tiles import ClosedTile
from tidemark.selection.tiles import OpenTile


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked of a tile. ledger: what is spent with it. at: when it closed, µs."""

    tile: OpenTile
    picks: list[Pick]
    ledger: Ledger
    at: int


class ChooseStep:
    """Chooses by the pipeline's policy, and keeps the ledger of what was asked.

    wall: this machine's clock, µs, up to which Kafka's timestamps are believed where hours are counted.
    read_asked: the newest candidates that are committed, oldest first.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        wall: Callable[[], int] = wall_clock,
        read_asked: Callable[[], Iterable[Candidate]] = tuple,
    ) -> None:
        self._selection = pipeline.selection
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
            ledger = self.ledger.at(min(closed.at, self._wall()))
            left, allowed = ledger.left(self._selection), ledger.allowance(self._selection)
            most = allowed if left is None else min(allowed, left)
            picks = list(choose(closed.tile, self._selection, most, self._start, self._asked))
            self._asked.add(pick.proposal for pick in picks)
            self.ledger = ledger.spent(len(picks))
            choices.append(Choice(closed.tile, picks, self.ledger, closed.at))
        return choices

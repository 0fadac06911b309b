"""How often each two people gave one answer to the same case, counted from the annotations as they come."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tidemark.evaluation.intervals import wilson
from tidemark.records import Label

_EVENTS: Final = 100_000
"""Events whose votes are held; the oldest is counted when there are more."""
_PEOPLE: Final = 15
_PAIRS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Cell:
    """Of two people: cases that both answered, the share answered alike, and its 95 % interval."""

    cases: int
    share: float
    low: float
    high: float


class Agreements:
    """Counts pairs. Of bounded size, whatever comes."""

    def __init__(self, agree: Callable[[str, str], bool], events: int = _EVENTS) -> None:
        """agree: whether two answers say the same.  events: whose votes are held."""
        self._agree = agree
        self._events = events
        self._votes: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._same: Counter[tuple[str, str]] = Counter()
        self._both: Counter[tuple[str, str]] = Counter()

    def take(self, label: Label) -> None:
        """Take in an annotation; of somebody who has answered the case before, it replaces that answer."""
        if label.status != "vote" or label.label is None:
            return
        self._votes.setdefault(label.event_id, {})[label.annotator] = label.label
        if len(self._votes) > self._events:
            self._count(self._votes.popitem(last=False)[1])

    def matrix(self) -> tuple[list[str], list[list[Cell | None]]]:
        """Those who share most cases with others, and a row of cells for each; None: no case that both answered."""
        while self._votes:
            self._count(self._votes.popitem(last=False)[1])
        shared: Counter[str] = Counter()
        for (first, second), count in self._both.items():
            shared[first] += count
            shared[second] += count
        names = sorted(sorted(shared, key=lambda name: (-shared[name], name))[:_PEOPLE])
        return names, [[self._cell(first, second) for second in names] for first in names]

    def _cell(self, first: str, second: str) -> Cell | None:
        pair = (min(first, second), max(first, second))
        cases = self._both[pair]
        if first == second or not cases:
            return None
        share = self._same[pair] / cases
        return Cell(cases, share, *wilson(share, cases))

    def _count(self, votes: dict[str, str]) -> None:
        names = sorted(votes)
        for number, first in enumerate(names):
            for second in names[number + 1 :]:
                pair = (first, second)
                if pair not in self._both and len(self._both) >= _PAIRS:
                    continue
                self._both[pair] += 1
                self._same[pair] += self._agree(votes[first], votes[second])

"""Dead letters by what was wrong with them: a thousand records of one mistake are one line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tidemark.replay.letters import Letter, State

_VARYING: Final = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?\d+(?:[.,:]\d+)*")
"""Quoted texts and numbers: what tells one record from another of the same mistake."""

_MOST: Final = 1_000
"""Groups that are kept apart; what is of others is counted together."""

OTHERS: Final = "(others)"


@dataclass(slots=True)
class Group:
    """Dead letters of one step and topic whose reasons differ in numbers and quoted texts alone.

    reason: with `…` for these.  first, last: when the first and the last was made, µs; None where none tells.
    example: the last one's offset.  states: how many are open, replayed, resolved.
    """

    step: str
    topic: str
    reason: str
    first: int | None = None
    last: int | None = None
    example: int = -1
    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.states.values())


class Kinds:
    """Tells the group of each dead letter: step, topic and reason. Give it all of them, in their order."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str]] = set()

    def of(self, letter: Letter) -> tuple[str, str, str]:
        """The group of the next dead letter."""
        place = letter.step, letter.source.topic if letter.source else "", kind(letter.reason)
        if place not in self._known:
            if len(self._known) >= _MOST:
                return "", "", OTHERS
            self._known.add(place)
        return place


def grouped(letters: Iterable[tuple[Letter, State]]) -> list[Group]:
    """Group dead letters.

    Args:
        letters: Each with what became of it.

    Returns:
        Groups, those with the most open ones first.

    """
    groups: dict[tuple[str, str, str], Group] = {}
    kinds = Kinds()
    for letter, state in letters:
        place = kinds.of(letter)
        group = groups.setdefault(place, Group(*place))
        group.states[state] += 1
        group.example = letter.offset
        moments = [at for at in (group.first, group.last, letter.at) if at is not None]
        group.first, group.last = (min(moments), max(moments)) if moments else (None, None)
    return sorted(groups.values(), key=lambda group: (-group.states[State.open], -group.count, group.reason))


def kind(reason: str) -> str:
    """A reason without what tells one record from another."""
    return _VARYING.sub("…", reason)

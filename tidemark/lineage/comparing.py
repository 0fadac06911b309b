"""What was derived against what was recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from tidemark.lineage.story import Difference, Shown

SAME: Final = 1e-9
"""Relative: sums over a batch of another size round their last bits otherwise."""
SMALLEST: Final = 1e-12
"""Absolute: for what is nearly zero."""


class Comparison:
    """Gathers differences, and counts what was compared."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.compared = 0

    def one(self, what: str, where: str, derived: Shown, recorded: Shown) -> None:
        """Compare two values. where: topic that recorded the second."""
        self.compared += 1
        if not same(derived, recorded):
            self.differences.append(Difference(what=what, where=where, derived=derived, recorded=recorded))

    def named(self, what: str, where: str, derived: Mapping[str, Shown], recorded: Mapping[str, Shown]) -> None:
        """Compare values by their names, those that are in both."""
        for name, value in recorded.items():
            if name in derived:
                self.one(f"{what} {name}", where, derived[name], value)

    def each(
        self,
        what: str,
        where: str,
        names: Sequence[str],
        derived: Sequence[float] | None,
        recorded: Sequence[float] | None,
    ) -> None:
        """Compare numbers one by one; None stands for none at all."""
        if derived is None or recorded is None:
            self.one(what, where, _count(derived), _count(recorded))
            return
        if len(derived) != len(recorded):
            self.one(f"{what}: how many", where, len(derived), len(recorded))
            return
        for place, (ours, theirs) in enumerate(zip(derived, recorded, strict=True)):
            name = names[place] if place < len(names) else str(place)
            self.one(f"{what} of {name}", where, ours, theirs)


def same(one: Shown, other: Shown) -> bool:
    """Whether two values are equal; numbers but for their last bits, missing ones to missing ones."""
    one, other = _plain(one), _plain(other)
    if isinstance(one, str | None) or isinstance(other, str | None):
        return one == other
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return math.isclose(one, other, rel_tol=SAME, abs_tol=SMALLEST)


def _plain(value: Shown) -> str | float | int | None:
    if isinstance(value, float) and math.isnan(value):
        return None
    return int(value) if isinstance(value, bool) else value


def _count(numbers: Sequence[float] | None) -> int | None:
    return None if numbers is None else len(numbers)

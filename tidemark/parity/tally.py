"""Counts what is equal, what differs and what can't be compared, event by event, in columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.lineage.comparing import SAME, SMALLEST
from tidemark.parity.event_table import EventTable
from tidemark.parity.report import DifferencePart, ReasonPart

SEEN, DIFFERS, INCOMPARABLE = 1, 2, 4
_MOST_KINDS: Final = 2_000
Shown = str | float | bool | None
Floats = NDArray[np.float64]


@dataclass
class _Kind:
    """Rows that differ in one thing, and the largest difference."""

    rows: set[int] = field(default_factory=set)
    largest: float = -1.0
    row: int = -1
    derived: Shown = None
    recorded: Shown = None


class Tally:
    """Counts for the events of a table.

    state: (n,) uint8 bits: `SEEN` a prediction, something `DIFFERS`, something is `INCOMPARABLE`.
    compared: figures that were.
    """

    def __init__(self, table: EventTable) -> None:
        self._table = table
        self.state = np.zeros(len(table), np.uint8)
        self.compared = 0
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._reasons: dict[str, set[int]] = {}

    def numbers(self, what: str, where: str, rows: NDArray[np.int64], derived: Floats, recorded: Floats) -> None:
        """Compare numbers; NaN is missing, and equal to missing.

        Args:
            what: they are, for people.
            where: topic that recorded the second.
            rows: (n,) of the table.
            derived: (n,) computed once more.
            recorded: (n,).

        """
        self.compared += len(rows)
        differs = ~np.isclose(derived, recorded, rtol=SAME, atol=SMALLEST, equal_nan=True)
        for at in np.flatnonzero(differs).tolist():
            self.differ(what, where, int(rows[at]), _known(derived[at]), _known(recorded[at]))

    def texts(self, what: str, where: str, row: int, derived: Shown, recorded: Shown) -> None:
        """Compare two values that are no measured numbers."""
        self.compared += 1
        if derived != recorded:
            self.differ(what, where, row, derived, recorded)

    def differ(self, what: str, where: str, row: int, derived: Shown, recorded: Shown) -> None:
        """Note a difference."""
        self.state[row] |= DIFFERS
        key = (what, where)
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            return
        kind = self._kinds.setdefault(key, _Kind())
        kind.rows.add(row)
        numbers = isinstance(derived, float) and isinstance(recorded, float)
        by = abs(derived - recorded) if numbers else 0.0  # type: ignore[operator]  # both are floats
        if by > kind.largest:
            kind.largest, kind.row, kind.derived, kind.recorded = by, row, derived, recorded

    def incomparable(self, reason: str, rows: NDArray[np.int64]) -> None:
        """Note that something of events can't be compared."""
        if not len(rows):
            return
        self.state[rows] |= INCOMPARABLE
        if reason in self._reasons or len(self._reasons) < _MOST_KINDS:
            self._reasons.setdefault(reason, set()).update(rows.tolist())

    def differences(self) -> list[DifferencePart]:
        """What differs, in most events first."""
        ordered = sorted(self._kinds.items(), key=lambda item: (-len(item[1].rows), item[0]))
        examples = self._table.ids(np.array([kind.row for _, kind in ordered], np.int64)) if ordered else []
        return [
            DifferencePart(what, where, len(kind.rows), kind.largest or None, example, kind.derived, kind.recorded)
            for ((what, where), kind), example in zip(ordered, examples, strict=True)
        ]

    def reasons(self) -> list[ReasonPart]:
        """Why something was not compared, of most events first."""
        ordered = sorted(self._reasons.items(), key=lambda item: (-len(item[1]), item[0]))
        return [ReasonPart(reason, len(rows)) for reason, rows in ordered]


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None

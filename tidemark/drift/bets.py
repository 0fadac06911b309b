"""Bets that numbers are not uniform on 0 to 1, and the evidence that they make up since whenever it began.

While all is as before, the numbers are uniform, and no bet that is made before its number is known gains on average.
Evidence of a change at any time so far is the sum over all times of what bets from then on have become
(Shiryaev-Roberts; "e-detectors", Shin, Ramdas and Rinaldo 2023): R <- (R + dt) L, where L is what the bet gains and dt
how much time has passed, in years. R less the time is a martingale while nothing changes, so an alarm at R >= 1 / a
that begins anew comes a times a year at most, on average, whatever the numbers are of.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tidemark.drift.bins import Floats

_LOCATION: Final = np.array([-0.4, -0.12, 0.12, 0.4])
_SPREAD: Final = np.array([-0.35, -0.12, 0.12, 0.4])
_ENDS: Final = np.array([0.0, 0.001, 0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99, 0.999, 1.0])
CELLS: Final = len(_ENDS) - 1
_WIDTHS: Final = np.diff(_ENDS)
_FORGET: Final = np.array([1 / 100, 1 / 1_000])
_KEPT: Final = 1 - _FORGET
_PRIOR: Final = 30.0
"""Rows' worth of belief that cells hold what they are wide."""
BOTH: Final = len(_LOCATION) + len(_SPREAD) + len(_FORGET)
UPWARD: Final = 2


class Bets:
    """Evidence about D columns.

    evidence: (D, bets) of each way to bet.  seen: (D, 2, cells) how often numbers fell in each cell, older ones less.
    upward: bet on larger numbers alone.
    """

    def __init__(self, columns: int, *, upward: bool) -> None:
        self.upward = upward
        self.evidence = np.zeros((columns, UPWARD if upward else BOTH))
        self.seen = np.zeros((columns, len(_FORGET), CELLS))
        self._own = np.arange(columns)
        self._stakes = _LOCATION[2:] if upward else _LOCATION
        self._gains = np.empty_like(self.evidence)

    @property
    def sums(self) -> Floats:
        """(bets,) how many numbers are remembered, older ones less."""
        total: Floats = self.seen[0].sum(axis=1)
        return total

    def take(self, numbers: Floats, passed: float) -> Floats:
        """Bet on the next numbers.

        Args:
            numbers: (D,) from 0 to 1.
            passed: years since those before.

        Returns:
            (D,) evidence of each column.

        """
        gains = self._gains
        gains[:, : len(self._stakes)] = 1 + (np.sqrt(3.0) * (2 * numbers - 1))[:, None] * self._stakes
        if not self.upward:
            own, cells = self._own, np.searchsorted(_ENDS[1:-1], numbers, side="right")
            spread = np.sqrt(5.0) * (6 * numbers * (numbers - 1) + 1)
            gains[:, len(_LOCATION) : -len(_FORGET)] = 1 + spread[:, None] * _SPREAD
            # What is believed of the cell that the number fell in, in relation to its width.
            believed = self.seen[own, :, cells] / _WIDTHS[cells][:, None] + _PRIOR
            gains[:, -len(_FORGET) :] = believed / (self.sums + _PRIOR)
            self.seen *= _KEPT[:, None]
            self.seen[own, :, cells] += 1
        self.evidence += passed
        self.evidence *= gains
        mean: Floats = self.evidence.mean(axis=1)
        return mean

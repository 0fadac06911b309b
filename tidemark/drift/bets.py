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

    def take(self, numbers: Floats, passed: float) -> Floats:
        """Bet on the next numbers.

        Args:
            numbers: (D,) from 0 to 1.
            passed: years since those before.

        Returns:
            (D,) evidence of each column.

        """
        shifted = np.sqrt(3.0) * (2 * numbers - 1)
        stakes = _LOCATION[2:] if self.upward else _LOCATION
        gains = [1 + stakes * shifted[:, None]]
        cells = np.searchsorted(_ENDS[1:-1], numbers, side="right")
        if not self.upward:
            spread = np.sqrt(5.0) * (6 * numbers * (numbers - 1) + 1)
            gains.append(1 + _SPREAD * spread[:, None])
            own = self.seen[np.arange(len(numbers)), :, cells]
            width = _WIDTHS[cells][:, None]
            gains.append((own / width + _PRIOR) / (self.seen.sum(axis=2) + _PRIOR))
        self.seen *= 1 - _FORGET[None, :, None]
        self.seen[np.arange(len(numbers)), :, cells] += 1
        self.evidence = (self.evidence + passed) * np.concatenate(gains, axis=1)
        mean: Floats = self.evidence.mean(axis=1)
        return mean

"""Power margin: a lottery in which an event's chance rises with its margin uncertainty."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Floats, Scored, Strategy

_LEAST = 2.0**-53
_NEVER = -1e3


class PowerMargin(Strategy):
    """Draws in proportion to margin^beta, without replacement: unlike `margin` it asks everywhere now and then."""

    name = "power_margin"
    source = "Kirsch et al. 2023, stochastic batch acquisition"
    fails = "positives are very rare: chance is spent on the crowd"
    options = {"beta": 4.0}  # noqa: RUF012 - read only

    def score(self, rows: Scored) -> Floats:
        """(n,) ln(margin) + Gumbel / beta, by each event's own coin."""
        lots = np.clip(kernels.unit(rows.draws), _LEAST, 1 - _LEAST)
        value = kernels.power_margin(rows.probabilities, lots, beta=self.number("beta"))
        return np.maximum(np.asarray(value, np.float64), _NEVER)

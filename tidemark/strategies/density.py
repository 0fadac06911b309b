"""Information density: events that are uncertain and where many others are."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy

_SKETCH = 256


class Density(Strategy):
    """Margin uncertainty times density^beta, over a random sketch of the pool."""

    name = "density"
    source = "Settles and Craven 2008, 3.4"
    fails = "positives are rare: they are where few are"
    options = {"beta": 1.0}  # noqa: RUF012 - read only

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:  # noqa: ARG002
        """The largest products; equal ones in the pool's order."""
        if not len(pool):
            return np.empty(0, np.int64)
        x = pool.features
        sketch = x[np.sort(np.argsort(pool.draws, kind="stable")[:_SKETCH])]
        near = kernels.density(x, sketch, scale=float(np.sqrt(max(1, x.shape[1]))))
        return np.argsort(-pool.margins * near ** self.number("beta"), kind="stable")[:slots]

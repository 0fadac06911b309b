"""Cost: events about which not knowing is dearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

import kernels
from tidemark.strategies.base import Floats, Scored, Settings, Strategy


class Cost(Strategy):
    """Expected cost of the best decision, with the cost of missing each class under `[selection.options]`, else 1."""

    name = "cost"
    source = "Elkan 2001; Margineantu 2005"
    fails = "costs are guessed, or probabilities far from calibrated"
    of_classes = "its costs are of classes"

    @classmethod
    def problems(cls, settings: Settings, classes: Sequence[str]) -> Iterator[str]:
        """Options are costs by class."""
        for name, value in (settings.options or {}).items():
            if name not in classes:
                yield f"'{name}' is no class; the classes are {', '.join(classes)}"
            elif isinstance(value, (bool, str)) or value < 0:
                yield f"'{name}' = {value!r} is no cost; write a number from 0"

    def score(self, rows: Scored) -> Floats:
        """(n,) in units of the costs."""
        named = self.settings.options or {}
        classes = self.classes or [""] * rows.probabilities.shape[1]
        given = [float(named.get(name, 1.0)) for name in classes]
        table = np.array([[0.0 if t == d else cost for d in range(len(given))] for t, cost in enumerate(given)])
        return np.asarray(kernels.expected_cost(rows.probabilities, table), np.float64)

"""Variable uncertainty: a rule for one event at a time, with a threshold that follows the stream."""

from __future__ import annotations

import numpy as np

import kernels
from tidemark.strategies.base import Pool, Strategy


class VariableUncertainty(Strategy):
    """Žliobaitė's rule over the pool, the rest of the budget by margin: for comparison with other systems."""

    name = "variable_uncertainty"
    source = "Žliobaitė et al. 2014"
    fails = "a tile may be seen whole, as here: the best of it are better"

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:  # noqa: ARG002
        """What the rule takes first, in the order of the events' coins."""
        if not len(pool):
            return np.empty(0, np.int64)
        order = np.argsort(pool.draws, kind="stable")
        share, confidence = min(1.0, slots / len(pool)), pool.probabilities[order].max(axis=1)
        taken = kernels.variable_uncertainty(confidence, pool.draws[order], kernels.ThresholdState(), share).chosen
        first = order[taken][:slots]
        rest = np.setdiff1d(np.arange(len(pool)), first, assume_unique=True)
        return np.concatenate([first, rest])[:slots]

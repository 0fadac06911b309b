"""Committee: events about which the stages of the boosted forest disagree."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from tidemark.strategies.base import Floats, Scored, Strategy


@runtime_checkable
class Committee(Protocol):
    """A model that is several."""

    def disagreement(self, rows: Floats, /) -> Floats:
        """(n,) what the members' predictions of each row differ by."""
        ...


class VirtualEnsemble(Strategy):
    """Mutual information of the label and the member, of a virtual ensemble of one forest; margin where there is none.

    What is left of the uncertainty when noise that every member sees is taken away.
    """

    name = "committee"
    source = "Malinin et al. 2021; Houlsby et al. 2011 (BALD)"
    fails = "the forest has few trees: its stages are much alike"
    of_classes = "its members disagree about classes"

    def score(self, rows: Scored) -> Floats:
        """(n,) in nats."""
        if not isinstance(rows.model, Committee):
            return self.uncertainty(rows.probabilities)
        return np.asarray(rows.model.disagreement(rows.features), np.float64)

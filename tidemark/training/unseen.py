"""Probabilities for labeled events, each by a model that had not learnt from the event's label, nor from later ones.

Labels since the champion: the champion's own. Labels that it has learnt from: forward validation. The same trainer
makes stand-ins, each of which has learnt from the labels that were known before those it answers. The *base* are the
champion's earliest labels, as many as a grid of numbers allows (each a quarter more than the one before), so that the
next champions have the same base and stand-ins are seldom made anew. Labels between base and champion are answered by
a stand-in that has learnt from the whole base; those of the base in five blocks, each by one that has learnt from the
blocks before. Nobody can answer the first block: its labels are left out.

A stand-in has learnt from fewer labels than the champion, so what it says of the champion is rather too little. To
learn from later labels, too (cross-fitting), says far too much where a case has several events: on hospital stays an
average precision of .92, where later stays gave .28.

Everything is a function of the labels and of which of them the champion has learnt from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.training.dataset import Dataset

Probabilities = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Learner = Callable[[Dataset], Probabilities]

BLOCKS: Final = 5
_GROWTH: Final = 1.25
_SMALLEST: Final = 20


class Unseen:
    """Answers for labeled events. Keeps stand-ins from one call to the next.

    learn: makes a model of rows.  classes: number of columns of what models answer.
    """

    def __init__(self, learn: Learner, classes: int) -> None:
        self._learn = learn
        self._classes = classes
        self._base = ""
        self._of_blocks: NDArray[np.float64] = np.empty((0, classes))
        self._after: Probabilities | None = None

    def probabilities(self, rows: Dataset, learnt: NDArray[np.bool_], champion: Probabilities) -> NDArray[np.float64]:
        """Probabilities (n, classes) of all rows.

        Args:
            rows: labeled events.
            learnt: (n,) which of them the champion has learnt from.
            champion: its probabilities of rows of features.

        Returns:
            A row for each row; NaN in those that no model can answer.

        """
        found = np.full((len(rows), self._classes), np.nan)
        fresh = np.flatnonzero(~learnt)
        if len(fresh):
            found[fresh] = champion(rows.features[fresh])
        old = _in_order(rows)
        old = old[learnt[old]]
        if len(old):
            base, later = np.split(old, [base_size(len(old))])
            self._rest_on(rows, base)
            found[base] = self._of_blocks
            if len(later):
                if self._after is None:
                    self._after = self._stand_in(rows, base)
                found[later] = self._after(rows.features[later])
        return found

    def _rest_on(self, rows: Dataset, base: NDArray[np.int64]) -> None:
        """Answer the base's blocks, unless that is done. base: places of its rows, in the order they were known."""
        chosen = np.zeros(len(rows), np.bool_)
        chosen[base] = True
        of = rows.rows(chosen)
        identity = f"{of.content_sha256} {hashlib.sha256(of.features.tobytes()).hexdigest()}"
        if identity == self._base:
            return
        self._base, self._after = identity, None
        self._of_blocks = np.full((len(base), self._classes), np.nan)
        for block in np.array_split(np.arange(len(base)), BLOCKS)[1:]:
            if len(block):
                self._of_blocks[block] = self._stand_in(rows, base[: block[0]])(rows.features[base[block]])

    def _stand_in(self, rows: Dataset, chosen: NDArray[np.int64]) -> Probabilities:
        """A model of some rows; where none can be trained, one that knows the shares of their classes."""
        mask = np.zeros(len(rows), np.bool_)
        mask[chosen] = True
        try:
            return self._learn(rows.rows(mask))
        except ModelError:
            # To leave these labels out would leave out those of a class that only they have, and flatter the model.
            shares = (np.bincount(rows.target[chosen], minlength=self._classes) + 1) / (len(chosen) + self._classes)
            return lambda features: np.tile(shares, (len(features), 1))


def base_size(labels: int) -> int:
    """How many of the champion's labels are its base: the largest number of the grid, or all below its first."""
    size = _SMALLEST
    if labels <= size:
        return labels
    while (larger := int(size * _GROWTH)) <= labels:
        size = larger
    return size


def _in_order(rows: Dataset) -> NDArray[np.int64]:
    """Places of the rows in the order in which their labels were known."""
    return np.argsort(rows.known, kind="stable")

"""Probabilities for labeled events, each by a model that had not learnt from the event's label.

Labels since the champion: the champion's own. Labels that it has learnt from are answered by stand-ins of the same
trainer, each of which has learnt from about as many labels as the champion. The *base* are the champion's earliest
labels, as many as a grid of numbers allows (each a quarter more than the one before), so that the next champions have
the same base and stand-ins are seldom made anew. Labels between base and champion are answered by a stand-in that has
learnt from the whole base; those of the base by cross-fitting: each fold by one that has learnt from the other folds.

To learn from later labels says too much where events tell each other's answers, and where the stream changes. All
events of an entity are therefore in one fold (`tidemark.training.folds`): ungrouped, hospital stays had an average
precision of .92 where later stays gave .28. And the newest fifth of the base is answered a second time, by a stand-in
that has learnt from the four fifths before: from as many labels, none of them later. Where cross-fitting is better than
that by more than chance, the stream changes, or entities tell each other's answers: then forward validation takes its
place, in which each of the newest three fifths is answered by a stand-in that has learnt from other entities' labels
before it.

Everything is a function of the labels and of which of them the champion has learnt from.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.evaluation.metrics import Floats, by_entity
from tidemark.training.dataset import Dataset
from tidemark.training.folds import FOLDS, Folds, are_many, entities
from tidemark.training.target import Target

Probabilities = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Learner = Callable[[Dataset], Probabilities]
Way = Literal["cross-fitting", "forward validation"]

_log = logging.getLogger(__name__)

_GROWTH: Final = 1.25
_SMALLEST: Final = 20
_LEARNT_FIRST: Final = 2
"""Fifths of the base that nobody answers by forward validation: a stand-in of fewer labels says too little."""
_MOST: Final = 3.0
"""Nats that a label counts at most where both ways are compared: one sure mistake does not decide."""
_SURE: Final = 1.645
"""Standard errors by which cross-fitting must be ahead to be distrusted: by chance in one base of twenty."""
_FEWEST: Final = 10
"""Labels of the newest fifth below which nothing can be told."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What was said of labeled events.

    table: (n, classes) probabilities; NaN in rows that no model can answer.  way: by which labels that the champion has
    learnt from were answered.  ahead: nats by which cross-fitting was better than forward validation on the newest
    labels; None where that can't be told.
    """

    table: Floats
    way: Way
    ahead: float | None = None


class Unseen:
    """Answers for labeled events. Keeps stand-ins from one call to the next.

    learn: makes a model of rows.  target: what labels are.  reach: µs that windows reach back.
    """

    def __init__(self, learn: Learner, target: Target, reach: int = 0) -> None:
        self._learn = learn
        self._target = target
        self._reach = reach
        self._base = ""
        self._of_base: Answers = Answers(np.empty((0, target.width)), "cross-fitting")
        self._after: Probabilities | None = None

    def probabilities(self, rows: Dataset, learnt: NDArray[np.bool_], champion: Probabilities) -> Answers:
        """Probabilities of all rows.

        Args:
            rows: labeled events.
            learnt: (n,) which of them the champion has learnt from.
            champion: its probabilities of rows of features.

        Returns:
            A row for each row.

        """
        table = np.full((len(rows), self._target.width), np.nan)
        fresh = np.flatnonzero(~learnt)
        if len(fresh):
            table[fresh] = champion(rows.features[fresh])
        old = _in_order(rows)
        old = old[learnt[old]]
        if not len(old):
            return Answers(table, "cross-fitting")
        base, later = np.split(old, [base_size(len(old))])
        self._rest_on(rows, base)
        table[base] = self._of_base.table
        if len(later):
            if self._after is None:
                self._after = self._stand_in(rows, base)
            table[later] = self._after(rows.features[later])
        return Answers(table, self._of_base.way, self._of_base.ahead)

    def _rest_on(self, rows: Dataset, base: NDArray[np.int64]) -> None:
        """Answer the base, unless that is done. base: places of its rows, in the order they were known."""
        of = rows.rows(_chosen(rows, base))
        identity = f"{of.content_sha256} {hashlib.sha256(of.features.tobytes()).hexdigest()}"
        if identity == self._base:
            return
        self._base, self._after = identity, None
        crossed = self._crossed(rows, base)
        *earlier, newest = np.array_split(np.arange(len(base)), FOLDS)
        if len(newest) < _FEWEST:
            self._of_base = Answers(crossed, "cross-fitting")
            return
        entity = entities(rows)[base]
        forward = np.full_like(crossed, np.nan)
        self._answer_forward(rows, base, newest, forward, entity)
        forth, across = (self._target.losses(rows, base[newest], each[newest]) for each in (forward, crossed))
        ahead, error = _difference(forth, across, entity[newest])
        if ahead <= _SURE * error:
            self._of_base = Answers(crossed, "cross-fitting", ahead)
            return
        for block in earlier[_LEARNT_FIRST:]:
            self._answer_forward(rows, base, block, forward, entity)
        self._of_base = Answers(forward, "forward validation", ahead)

    def _answer_forward(
        self,
        rows: Dataset,
        base: NDArray[np.int64],
        block: NDArray[np.int64],
        answers: Floats,
        entity: NDArray[np.int64],
    ) -> None:
        """Answer a block of the base by a stand-in that has learnt from other entities' labels before it."""
        before = np.arange(block[0])
        if are_many(entity):
            before = before[~np.isin(entity[before], entity[block])]
        answers[block] = self._stand_in(rows, base[before])(rows.features[base[block]])

    def _crossed(self, rows: Dataset, base: NDArray[np.int64]) -> Floats:
        """(base, classes) each fold by a stand-in that has learnt from the others."""
        places = np.sort(base)  # as `Dataset.rows` has them
        folds = Folds(rows.rows(_chosen(rows, base)), self._reach)
        answers = np.full((len(rows), self._target.width), np.nan)
        for fold in np.unique(folds.number).tolist():
            own = places[folds.number == fold]
            answers[own] = self._stand_in(rows, places[folds.learnable(fold)])(rows.features[own])
        found: Floats = answers[base]
        return found

    def _stand_in(self, rows: Dataset, chosen: NDArray[np.int64]) -> Probabilities:
        """A model of some rows; where none can be trained, one that knows the shares of their classes."""
        if len(chosen):
            try:
                return self._learn(rows.rows(_chosen(rows, chosen)))
            except ModelError as error:
                _log.debug("no stand-in from %d labels: %s", len(chosen), error)
        # To leave these labels out would leave out those of a class that only they have, and flatter the model.
        constant = self._target.constant(rows.rows(_chosen(rows, chosen)))
        return lambda features: np.tile(constant, (len(features), 1))


def base_size(labels: int) -> int:
    """How many of the champion's labels are its base: the largest number of the grid, or all below its first."""
    size = _SMALLEST
    if labels <= size:
        return labels
    while (larger := int(size * _GROWTH)) <= labels:
        size = larger
    return size


def _difference(forward: Floats, crossed: Floats, entity: NDArray[np.int64]) -> tuple[float, float]:
    """Nats by which cross-fitting is better, and the standard error over entities. forward, crossed: (n,) losses."""
    gain = np.minimum(forward, _MOST) - np.minimum(crossed, _MOST)
    mean = float(gain.mean())
    sums = by_entity(gain - mean, entity)
    n = len(sums)
    if n < 2:
        return mean, math.inf
    return mean, math.sqrt(float(np.square(sums).sum()) * n / (n - 1)) / len(gain)


def _chosen(rows: Dataset, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.zeros(len(rows), np.bool_)
    mask[places] = True
    return mask


def _in_order(rows: Dataset) -> NDArray[np.int64]:
    """Places of the rows in the order in which their labels were known."""
    return np.argsort(rows.known, kind="stable")

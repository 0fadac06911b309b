"""Labels in folds: what a model that has not learnt from a fold says of it is what a champion says of new events.

All events of an entity (the pipeline's first key: a hospital stay, a customer, a drive) are in one fold. They tell each
other's answers, and events to come are mostly of other entities. Where there are too few entities for that, as for one
machine over years, each is cut into pieces of time; labels nearer to a piece than windows reach are left out when its
stand-in learns, for their features hold the same events.

Folds of entities have about their share of every class. Folds follow from the labels alone.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.training.dataset import Dataset

FOLDS: Final = 5
_MORE_FOLDS: Final = 10
_FEW: Final = 400
"""Labels below which there are ten folds: each label tells much, and stand-ins are made in no time."""
_ENTITIES: Final = 4
"""Entities of a fold at least."""
_MOST_EMBARGO: Final = 20
"""Of all the time that labels are from, at most so small a part is left out beside a fold."""


class Folds:
    """Folds of labels.

    number: (n,) the fold of each row, from 0.
    """

    def __init__(self, rows: Dataset, reach: int) -> None:
        """Put rows into folds.

        Args:
            rows: labeled events. Of those whose entity nobody knows each is one of its own.
            reach: µs that windows reach back.

        """
        self._entity, self._time = entities(rows), rows.moments
        self._embargo = 0
        folds = _MORE_FOLDS if len(rows) < _FEW else FOLDS
        if not len(rows) or are_many(self._entity):
            self.number = _shared_out(self._entity, rows, folds)
            return
        order = np.argsort(self._time, kind="stable")
        self.number = np.empty(len(rows), np.int64)
        for fold, part in enumerate(np.array_split(order, folds)):
            self.number[part] = fold
        self._embargo = min(reach, -(-(int(np.ptp(self._time)) + 1) // _MOST_EMBARGO))

    def learnable(self, fold: int) -> NDArray[np.bool_]:
        """(n,) rows that the stand-in of a fold may learn from."""
        own = self.number == fold
        allowed: NDArray[np.bool_] = ~own
        if not self._embargo:
            return allowed
        for entity in np.unique(self._entity[own]).tolist():
            mine = self._entity == entity
            asked = np.sort(self._time[own & mine])
            place = np.searchsorted(asked, self._time[mine])
            after = asked[np.minimum(place, len(asked) - 1)] - self._time[mine]
            before = self._time[mine] - asked[np.maximum(place - 1, 0)]
            near = (np.abs(after) < self._embargo) | (np.abs(before) < self._embargo)
            allowed[mine] &= ~near
        return allowed


def entities(rows: Dataset) -> NDArray[np.int64]:
    """(n,) number of each row's entity. Of one that nobody knows each row is one of its own."""
    names = [
        f"e{event}" if key is None else f"k{key}"
        for event, key in zip(rows.event_ids, rows.keys or [None] * len(rows), strict=True)
    ]
    # In the order of a hash: that of names may tell of time, and so of the class.
    coins = [hashlib.sha256(name.encode()).digest() for name in names]
    place = {coin: index for index, coin in enumerate(sorted(set(coins)))}
    return np.array([place[coin] for coin in coins], np.int64)


def are_many(entity: NDArray[np.int64]) -> bool:
    """Whether events to come are mostly of other entities: these are many, and none has too large a part."""
    sizes = np.bincount(entity)
    return int((sizes > 0).sum()) >= FOLDS * _ENTITIES and int(sizes.max()) * FOLDS <= len(entity)


def _shared_out(group: NDArray[np.int64], rows: Dataset, folds: int) -> NDArray[np.int64]:
    """Fold of each row: groups, the largest first, each to the fold that has the least of the group's classes."""
    groups, classes = int(group.max(initial=-1)) + 1, int(rows.target.max(initial=-1)) + 1
    counts = np.zeros((groups, classes))
    np.add.at(counts, (group, rows.target), 1.0)
    share = counts / np.maximum(counts.sum(axis=0), 1.0)
    held = np.zeros((folds, classes))
    fold = np.zeros(groups, np.int64)
    for each in np.argsort(-share.max(axis=1), kind="stable").tolist():
        fold[each] = int(np.argmin(held @ share[each]))
        held[fold[each]] += share[each]
    return fold[group]

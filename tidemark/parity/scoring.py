"""Scores replayed events, each by the model that is said to have scored it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError, TopicError
from tidemark.lineage.models import Models
from tidemark.parity.event_table import EventTable
from tidemark.records import NO_MODEL
from tidemark.registry.serving import ActiveModel

_ROWS: Final = 10_000


class Scoring:
    """Probabilities of a table's events.

    versions: of models, by their numbers.  model: (n,) number of the model that has scored each, -1 for none.
    probabilities: (n, classes), NaN where there are none.
    """

    def __init__(self, table: EventTable, models: Models, classes: int) -> None:
        self._table, self._models = table, models
        self.versions: list[str] = [NO_MODEL]
        self.model = np.full(len(table), -1, np.int32)
        self.probabilities = np.full((len(table), classes), np.nan)
        self._known: dict[str, ActiveModel | str] = {}

    def named(self, version: str) -> ActiveModel | str:
        """The model of a version, or why it can't be used."""
        if version not in self._known:
            try:
                self._known[version] = self._models.named(version)
            except (ModelError, TopicError) as error:
                self._known[version] = str(error)
        return self._known[version]

    def whole(self, version: str, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether all features that a model takes are whole."""
        model = self.named(version)
        if isinstance(model, str):
            return np.zeros(len(rows), np.bool_)
        columns = model.own(np.arange(len(self._table.names), dtype=np.float64)[None, :])[0].astype(np.intp)
        found: NDArray[np.bool_] = self._table.whole[np.ix_(rows, columns)].all(axis=1)
        return found

    def score(self, version: str, rows: NDArray[np.int64]) -> None:
        """Score events by a model, as far as their features are whole. version: `NO_MODEL` for none."""
        if version not in self.versions:
            self.versions.append(version)
        self.model[rows] = self.versions.index(version)
        model = None if version == NO_MODEL else self.named(version)
        if not isinstance(model, ActiveModel):
            return
        scored = rows[self.whole(version, rows)]
        for begin in range(0, len(scored), _ROWS):
            own = scored[begin : begin + _ROWS]
            self.probabilities[own] = model.probabilities(np.ascontiguousarray(self._table.features[own]))

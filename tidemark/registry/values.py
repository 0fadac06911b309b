"""Values of features that were computed under some pipeline file, put in the order of a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.registry.schema import ModelSchema

Given = Mapping[str, float | None]
Ids = Mapping[str, str]
_REMEMBERED: Final = 1_000


class Values:
    """Puts recorded features into rows of a schema.

    A value counts where its definition is the schema's, under whatever name; everything else is missing. A record that
    does not tell its definitions is of a version that knew none: `assumed` says what they were, by default those of
    the schema.
    """

    def __init__(self, schema: ModelSchema, assumed: Sequence[Ids] = ()) -> None:
        self._schema = schema
        self._assumed = [dict(ids) for ids in assumed]
        self._sources: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str | None]] = {}

    def rows(self, records: Sequence[tuple[Given, Ids | None]]) -> NDArray[np.float64]:
        """(n, features) float64 of n records (features, ids of their definitions or None); NaN is missing."""
        table = np.full((len(records), len(self._schema.features)), np.nan)
        for row, (features, ids) in enumerate(records):
            for column, source in enumerate(self.sources(features, ids)):
                value = None if source is None else features.get(source)
                if value is not None:
                    table[row, column] = value
        return table

    def sources(self, features: Given, ids: Ids | None) -> list[str | None]:
        """The recorded name of each of the schema's features; None where it was not computed by this definition."""
        if ids is None:
            ids = self._guess(features)
        key = tuple(ids), tuple(ids.values())
        found = self._sources.get(key)
        if found is None:
            if len(self._sources) >= _REMEMBERED:  # a stranger's records must not fill the memory
                self._sources.clear()
            found = self._sources[key] = self._schema.sources(ids)
        return found

    def _guess(self, features: Given) -> Ids:
        """Definitions of a record that does not tell them: those of the oldest file with just these features."""
        names = features.keys()
        by_name = {name: identity for name, identity in self._schema.ids.items() if name in features}
        return next((ids for ids in self._assumed if ids.keys() == names), by_name)

"""A model in use: probabilities for batches of rows, on the caller's thread, without LightGBM in the process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.forest.forest import Forest
from tidemark.errors import ModelError
from tidemark.registry.validate import CheckedModel, golden_difference, golden_rows

_WARM_ROWS = 64


class ActiveModel:
    """A checked model, ready: its kernels are compiled. Use from several threads is safe.

    It may have been trained under an earlier pipeline file: it is given rows of the pipeline as it is now, and takes
    its own columns of them. A class that it has never seen has the probability 0.

    version: as predictions and labels name it.  schema_hash: of the pipeline it was trained for.
    classes: names of the columns of `probabilities`, the pipeline's.  forest: for what else it can tell (virtual
    ensembles, contributions) of rows that `own` gives.

    Raises:
        ModelError: our own forest gives the golden rows other scores than LightGBM did.

    """

    def __init__(self, model: CheckedModel) -> None:
        self.manifest = model.manifest
        self.version = model.manifest.version
        self.schema_hash = model.manifest.schema_hash
        self.classes = model.classes
        self.forest = Forest(model.forest)
        self._columns = np.array(model.columns, np.intp)
        self._places = np.array(model.places, np.intp)
        rows, expected = golden_rows(self.manifest)
        if why := golden_difference(self.forest.raw(rows).reshape(expected.shape), expected):
            raise ModelError(f"model {self.version}: our forest disagrees with LightGBM: {why}")
        self._probabilities(np.repeat(rows[:1], _WARM_ROWS, axis=0))

    def own(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The model's own features, in its order, of rows (n, features of the pipeline)."""
        if len(self._columns) == rows.shape[1] and bool((np.diff(self._columns) == 1).all()):
            return rows
        return np.ascontiguousarray(rows[:, self._columns])

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, classes), each row sums to 1, of rows (n, features) float64; NaN is missing."""
        given = self._probabilities(self.own(rows))
        if given.shape[1] == len(self.classes):
            return given
        table = np.zeros((len(rows), len(self.classes)))
        table[:, self._places] = given
        return table

    def _probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        given = self.forest.probability(rows)
        if given.ndim == 1:
            return np.column_stack((1 - given, given))
        table: NDArray[np.float64] = given / given.sum(axis=1, keepdims=True)  # one-against-all does not sum to 1
        return table

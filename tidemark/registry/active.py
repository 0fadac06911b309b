"""A model in use: probabilities for batches of rows, on the caller's thread."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from tidemark.registry.validate import CheckedModel


class ActiveModel:
    """A checked model, loaded. Use from several threads is safe.

    version: as predictions and labels name it.  schema_hash: of the pipeline it was trained for.
    classes: names of the columns of `probabilities`.
    """

    def __init__(self, model: CheckedModel) -> None:
        self.manifest = model.manifest
        self.version = model.manifest.version
        self.schema_hash = model.manifest.schema_hash
        self.classes = tuple(model.manifest.classes)
        self._booster = lgb.Booster(model_str=model.text)

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, classes), each row sums to 1, of rows (n, features) float64; NaN is missing."""
        if not len(rows):
            return np.empty((0, len(self.classes)), np.float64)
        given = np.asarray(self._booster.predict(rows, num_threads=1), np.float64)
        return given if given.ndim == 2 else np.column_stack((1 - given, given))

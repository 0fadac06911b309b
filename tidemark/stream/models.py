"""What the stream processor needs of models."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ActiveModel(Protocol):
    """A model that may be used for predictions."""

    @property
    def version(self) -> str:
        """Name of the model, as predictions carry it."""
        ...

    def probabilities(self, rows: NDArray[np.float64], /) -> NDArray[np.float64]:
        """(n, classes) probabilities of (n, features) rows in the order of `Pipeline.feature_names`; NaN is missing."""
        ...


class ModelSource(Protocol):
    """Where the model in force comes from."""

    def current(self) -> ActiveModel | None:
        """The model in force now; None before the first. Never waits."""
        ...


class NoModel:
    """A source that has no model yet."""

    def current(self) -> ActiveModel | None:
        """None."""
        return None

"""What the stream processor needs of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tidemark.registry.label_counts import LabelCounts


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


@runtime_checkable
class Estimates(Protocol):
    """A model of a number."""

    def estimates(self, rows: NDArray[np.float64], /) -> NDArray[np.float64]:
        """(n, 3) the number and the ends of its interval (`tidemark.registry.estimates`), of rows as above."""
        ...


@runtime_checkable
class Scales(Protocol):
    """A model that scales some of what it is given."""

    def scaled(self, rows: NDArray[np.float64], /) -> Mapping[str, int]:
        """How many values of rows (n, features) each scale changes, by feature and rule."""
        ...


@runtime_checkable
class CountsLabels(Protocol):
    """A source of models that knows what labels have told before there is one."""

    def label_counts(self) -> LabelCounts | None:
        """The counts; None where nothing is known. Never waits."""
        ...


@runtime_checkable
class Shadows(Protocol):
    """A source of models that has another ready beside the one in force."""

    def shadow(self) -> ActiveModel | None:
        """The other model; None where there is none. Never waits."""
        ...


class NoModel:
    """A source that has no model yet."""

    def current(self) -> ActiveModel | None:
        """None."""
        return None

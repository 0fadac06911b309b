"""What a member of the family of learners is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.forest.model_text import ForestModel
from tidemark.registry.schema import ModelSchema

Parameters = dict[str, float | int | str | bool]


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt, and how.

    schema: features and classes.  seed, threads: of LightGBM.  params: LightGBM parameters that replace a learner's.
    """

    schema: ModelSchema
    seed: int = 0
    threads: int = 1
    params: Parameters | None = None

    @property
    def classes(self) -> int:
        """Classes of the task."""
        return len(self.schema.classes)

    @property
    def outputs(self) -> int:
        """Scores of a row: one for two classes, else one for each class."""
        return 1 if self.classes == 2 else self.classes


@dataclass(frozen=True, slots=True)
class Fitted:
    """A member that has learnt.

    model: a forest whose scores are sums of leaves.
    held_out: (n, outputs) scores of the rows, each by a model that has not learnt from the row; of the model's scale.
        NaN where there is none.
    """

    model: ForestModel
    held_out: NDArray[np.float64]


Weights = NDArray[np.float64] | None
"""Of rows (n,), on average about 1; None: all alike."""


class Fit(Protocol):
    """Learns from rows (n, d), NaN is missing, their classes (n,) and their weights."""

    def __call__(
        self, x: NDArray[np.float64], y: NDArray[np.int64], task: Task, weights: Weights = None, /
    ) -> ForestModel:
        """The model."""


class FitHeldOut(Protocol):
    """Learns as `Fit`, and scores each row by a model that has not learnt from it."""

    def __call__(self, x: NDArray[np.float64], y: NDArray[np.int64], task: Task, weights: Weights = None, /) -> Fitted:
        """The model and the scores."""


@dataclass(frozen=True, slots=True)
class Member:
    """A way to learn from labels.

    fit: the model alone.  fit_held_out: the model, and scores by which it is calibrated.
    slope: log-odds for a score of one, as calibration takes it where labels say nothing, by the share of the positive
        class (two classes) or of an average class.
    """

    fit: Fit
    fit_held_out: FitHeldOut
    slope: Callable[[float], float]


FOLDS: Final = 4
LEAST_ROWS: Final = 2 * FOLDS
"""Of fewer rows none are held out: LightGBM can't draw a sample of one row."""

MANY_ROWS: Final = 3_000
"""Of more rows a part is held out and foretold: as much is known of it, and a training stays within seconds."""


def unknown(model: ForestModel, rows: int) -> Fitted:
    """A member that has learnt from so few rows that its scores of others are not known."""
    return Fitted(model, np.full((rows, model.outputs), np.nan))


def part(weights: Weights, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Weights:
    """Weights of some rows."""
    return None if weights is None else weights[rows]


def folds_of(target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold of each row: rows of a class go to the folds in turn, in the order of time, so that each has its share."""
    order = np.argsort(target, kind="stable")
    folds = np.empty(len(target), np.int64)
    folds[order] = np.arange(len(target)) % FOLDS
    return folds

"""What a member of the family of learners is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.forest.combination import affine, joined
from kernels.forest.forest import Forest
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
    def is_number(self) -> bool:
        """Whether a number is learnt."""
        return self.schema.is_number

    @property
    def classes(self) -> int:
        """Classes of the task."""
        return len(self.schema.classes)

    @property
    def outputs(self) -> int:
        """Scores of a row: one for two classes or a number, else one for each class."""
        return 1 if self.is_number or self.classes == 2 else self.classes


class Model(Protocol):
    """What was learnt. Its forest is made when it is asked for: that takes longer than to score some rows."""

    def scores(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Raw scores (n, outputs) of rows (n, d)."""

    def forest(self) -> ForestModel:
        """The forest that gives these scores, as sums of leaves."""


@dataclass(frozen=True, slots=True)
class Grown:
    """A model that is a forest."""

    model: ForestModel

    def scores(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """As `Model.scores`."""
        return Forest(self.model).raw(x).reshape(len(x), self.model.outputs)

    def forest(self) -> ForestModel:
        """As `Model.forest`."""
        return self.model


@dataclass(frozen=True, slots=True)
class Weighted:
    """Models whose scores are put together.

    parts: each model, and the slope and intercept (outputs,) of its scores in the sum.
    """

    parts: Sequence[tuple[Model, float, NDArray[np.float64]]]

    def scores(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """As `Model.scores`."""
        total: NDArray[np.float64] = np.sum([a * model.scores(x) + b for model, a, b in self.parts], axis=0)
        return total

    def forest(self) -> ForestModel:
        """As `Model.forest`."""
        return joined([affine(model.forest(), a, b) for model, a, b in self.parts])


@dataclass(frozen=True, slots=True)
class Fitted:
    """A member that has learnt.

    held_out: (n, outputs) scores of the rows, each by a model that has not learnt from the row; of the model's scale.
        NaN where there is none.
    """

    model: Model
    held_out: NDArray[np.float64]


Weights = NDArray[np.float64] | None
"""Of rows (n,), on average about 1; None: all alike."""


Labels = NDArray[Any]
"""Of rows (n,): int64, the classes, or float64, the numbers where the task is one."""


class Fit(Protocol):
    """Learns from rows (n, d), NaN is missing, their labels (n,) and their weights."""

    def __call__(self, x: NDArray[np.float64], y: Labels, task: Task, weights: Weights = None, /) -> Model:
        """The model."""


class FitHeldOut(Protocol):
    """Learns as `Fit`, and scores each row by a model that has not learnt from it."""

    def __call__(self, x: NDArray[np.float64], y: Labels, task: Task, weights: Weights = None, /) -> Fitted:
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


def unknown(model: Model, rows: int, task: Task) -> Fitted:
    """A member that has learnt from so few rows that its scores of others are not known."""
    return Fitted(model, np.full((rows, task.outputs), np.nan))


def part(weights: Weights, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Weights:
    """Weights of some rows."""
    return None if weights is None else weights[rows]


def folds_of(target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold of each row: rows of a class go to the folds in turn, in the order of time, so that each has its share."""
    order = np.argsort(target, kind="stable")
    folds = np.empty(len(target), np.int64)
    folds[order] = np.arange(len(target)) % FOLDS
    return folds

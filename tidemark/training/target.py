"""What labels are, for who judges models: classes by their probabilities, or a number by how far off it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tidemark.evaluation import metrics
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import GateMetric
from tidemark.registry.estimates import COLUMNS
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import Dataset

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
_TINY: Final = 1e-12
_UNIFORM: Final = 12
"""The square of a uniform distribution's width over its variance."""


class Target(Protocol):
    """What a model says of rows is a table of so many columns; what it should have said, a loss tells."""

    @property
    def metric(self) -> GateMetric:
        """The figure that `figure` makes of a mean loss."""
        ...

    @property
    def words(self) -> str:
        """That figure's name, for people."""
        ...

    @property
    def width(self) -> int:
        """Columns of the table."""
        ...

    def losses(self, rows: Dataset, places: Places, table: Floats) -> Floats:
        """Losses (n,) of what was said (n, width) of the labeled events at some places, in nats."""
        ...

    def constant(self, rows: Dataset) -> Floats:
        """(width,) what is said of every event by a model that knows labels and no features."""
        ...

    def measured_by(self, learnt: Dataset) -> Target:
        """The target whose losses are measured by labels that were known before: no later label changes a loss."""
        ...

    def figure(self, loss: float) -> float:
        """A mean loss as people know it, of a target that is measured by known labels. loss: 0 or more."""
        ...


@dataclass(frozen=True, slots=True)
class ClassTarget:
    """One of some classes. width: how many."""

    width: int
    metric: GateMetric = "log_loss"
    words: str = "log loss"

    def losses(self, rows: Dataset, places: Places, table: Floats) -> Floats:
        """As `Target.losses`: log-losses."""
        return metrics.losses(rows.target[places], table)

    def constant(self, rows: Dataset) -> Floats:
        """As `Target.constant`: the classes' shares."""
        counts = np.bincount(rows.target, minlength=self.width) + 1
        shares: Floats = counts / (len(rows) + self.width)
        return shares

    def measured_by(self, learnt: Dataset) -> Target:  # noqa: ARG002 - a log loss needs no measure
        """As `Target.measured_by`: itself."""
        return self

    def figure(self, loss: float) -> float:
        """As `Target.figure`: the log loss itself."""
        return loss


@dataclass(frozen=True, slots=True)
class NumberTarget:
    """A number, of which estimates tell.

    bounds: the least and the greatest that can be right.  variance: that errors are measured by; None: of the labels
    that they are of.
    """

    bounds: tuple[float, float]
    variance: float | None = None
    width: int = len(COLUMNS)
    metric: GateMetric = "rmse"
    words: str = "RMSE"

    def losses(self, rows: Dataset, places: Places, table: Floats) -> Floats:
        """As `Target.losses`: squared errors over twice the numbers' own variance, as of a Gaussian."""
        truth = rows.of_numbers[places]
        least, greatest = self.bounds
        variance = max(float(truth.var()), _TINY * (greatest - least) ** 2) if self.variance is None else self.variance
        off: Floats = np.square(table[:, 0] - truth) / (2 * variance)
        return off

    def constant(self, rows: Dataset) -> Floats:
        """As `Target.constant`: the mean, with no interval."""
        mean = float(rows.of_numbers.mean()) if len(rows) else 0.0
        return np.array([mean, np.nan, np.nan])

    def measured_by(self, learnt: Dataset) -> NumberTarget:
        """As `Target.measured_by`: by their variance; while it is not known, by that of all from bound to bound."""
        numbers = learnt.of_numbers
        known = float(numbers.var()) if len(learnt) and numbers.min() < numbers.max() else 0.0  # else it is rounded
        least, greatest = self.bounds
        return replace(self, variance=known if known > 0 else (greatest - least) ** 2 / _UNIFORM)

    def figure(self, loss: float) -> float:
        """As `Target.figure`: the root of the mean squared error, in the number's unit."""
        assert self.variance is not None  # noqa: S101 - the target is measured by known labels
        return math.sqrt(2 * self.variance * loss)


def target_of(pipeline: Pipeline) -> Target:
    """What the labels of a pipeline are."""
    bounds = ModelSchema.of(pipeline).bounds
    return ClassTarget(len(pipeline.label.classes)) if bounds is None else NumberTarget(bounds)

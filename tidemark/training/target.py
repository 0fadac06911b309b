"""What labels are, for who judges models: classes by their probabilities, or a number by how far off it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tidemark.evaluation import metrics
from tidemark.pipeline import Pipeline
from tidemark.registry.estimates import COLUMNS
from tidemark.training.dataset import Dataset

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
_TINY: Final = 1e-12


class Target(Protocol):
    """What a model says of rows is a table of so many columns; what it should have said, a loss tells."""

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


@dataclass(frozen=True, slots=True)
class ClassTarget:
    """One of some classes. width: how many."""

    width: int

    def losses(self, rows: Dataset, places: Places, table: Floats) -> Floats:
        """As `Target.losses`: log-losses."""
        return metrics.losses(rows.target[places], table)

    def constant(self, rows: Dataset) -> Floats:
        """As `Target.constant`: the classes' shares."""
        counts = np.bincount(rows.target, minlength=self.width) + 1
        shares: Floats = counts / (len(rows) + self.width)
        return shares


@dataclass(frozen=True, slots=True)
class NumberTarget:
    """A number, of which estimates tell."""

    width: int = len(COLUMNS)

    def losses(self, rows: Dataset, places: Places, table: Floats) -> Floats:
        """As `Target.losses`: squared errors over twice the numbers' own variance, as of a Gaussian."""
        truth = rows.of_numbers[places]
        off: Floats = np.square(table[:, 0] - truth) / (2 * max(float(truth.var()), _TINY))
        return off

    def constant(self, rows: Dataset) -> Floats:
        """As `Target.constant`: the mean, with no interval."""
        mean = float(rows.of_numbers.mean()) if len(rows) else 0.0
        return np.array([mean, np.nan, np.nan])


def target_of(pipeline: Pipeline) -> Target:
    """What the labels of a pipeline are."""
    label = pipeline.label
    return NumberTarget() if label.is_number else ClassTarget(len(label.classes))

"""What two models are measured by on the same answers: those of classes, or those of a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tidemark.comparison.story import Figure, MadeOf, Side
from tidemark.evaluation import measures, numbers
from tidemark.evaluation.curves import calibration_error, precision_recall, reliability
from tidemark.evaluation.measures import Measured, Sample
from tidemark.evaluation.metrics import Floats
from tidemark.evaluation.numbers import NumberFigure, NumberSample
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import NumberMetric
from tidemark.training.dataset import Dataset
from tidemark.training.folds import are_many, entities
from tidemark.training.proof import pairs_of, worth
from tidemark.training.target import target_of

Places = NDArray[np.int64]
Weights = Mapping[str, float]
_OF: Final = ", second less first"


class Exam(Protocol):
    """Answers that neither of two models has learnt from."""

    @property
    def positives(self) -> int:
        """Answers of the class that is looked for; 0 where the label is a number."""
        ...

    def side(self, version: str, made: MadeOf, table: Floats) -> Side:
        """What is told of one model. table: what it says of the answers' events."""
        ...

    def difference(self, first: Floats, second: Floats) -> Figure:
        """The second's loss less the first's. first, second: what they say of the answers' events."""
        ...


class ClassExam:
    """Answers that are classes."""

    def __init__(self, pipeline: Pipeline, rows: Dataset, tested: Places, weights: Weights) -> None:
        self._pipeline, self._rows, self._tested, self._weights = pipeline, rows, tested, weights
        self._index = pipeline.label.classes.index(pipeline.label.positive)
        self._weight, self._entity = _weighed(rows, tested, weights)

    @property
    def positives(self) -> int:
        """As `Exam.positives`."""
        return int((self._rows.target[self._tested] == self._index).sum())

    def side(self, version: str, made: MadeOf, table: Floats) -> Side:
        """As `Exam.side`."""
        index = self._index
        sample = Sample(self._rows.target[self._tested], table, self._weight, self._entity)
        bins = reliability(sample, index)
        return Side(
            version=version,
            made_of=made,
            figures=[
                _figure("average precision", measures.average_precision(sample, index)),
                _figure("accuracy", measures.accuracy(sample)),
                _figure("precision at 0.5", measures.precision(sample, index)),
                _figure("recall at 0.5", measures.recall(sample, index)),
            ],
            curve=precision_recall(sample, index),
            reliability=bins,
            calibration_error=calibration_error(bins),
        )

    def difference(self, first: Floats, second: Floats) -> Figure:
        """As `Exam.difference`: by the gate's own test, which may be looked at after every label."""
        pairs = pairs_of(target_of(self._pipeline), self._rows, self._tested, second, first, self._weights)
        found = pairs.verdict("", passed=False, least=worth(self._pipeline.gates))
        return Figure(name=f"log loss{_OF}", value=found.difference, low=found.low, high=found.high)


class NumberExam:
    """Answers that are numbers."""

    positives = 0

    def __init__(self, pipeline: Pipeline, rows: Dataset, tested: Places, weights: Weights) -> None:
        self._truth = rows.of_numbers[tested]
        self._weight, self._entity = _weighed(rows, tested, weights)
        self._unit = pipeline.label.unit or ""
        self._metric: NumberMetric = "mae" if pipeline.gate_metric == "mae" else "rmse"

    def side(self, version: str, made: MadeOf, table: Floats) -> Side:
        """As `Exam.side`."""
        sample = self._sample(table)
        figures = [
            _number_figure("R²", numbers.r_squared(sample)),
            _number_figure("RMSE", numbers.rmse(sample), self._unit),
            _number_figure("mean absolute error", numbers.mae(sample), self._unit),
            _number_figure("numbers within their interval", numbers.coverage(sample)),
        ]
        return Side(version=version, made_of=made, figures=figures, curve=[], reliability=[], calibration_error=None)

    def difference(self, first: Floats, second: Floats) -> Figure:
        """As `Exam.difference`: of the error that `gates.metric` names."""
        found = numbers.error_difference(self._sample(first), self._sample(second), self._metric)
        name = "RMSE" if self._metric == "rmse" else "mean absolute error"
        return _number_figure(f"{name}{_OF}", found, self._unit)

    def _sample(self, table: Floats) -> NumberSample:
        return NumberSample(self._truth, table, self._weight, self._entity)


def exam_of(pipeline: Pipeline, rows: Dataset, tested: Places, weights: Weights) -> Exam:
    """What the labels of a pipeline ask of models.

    Args:
        pipeline: whose labels they are.
        rows: labeled events.
        tested: which of them neither model has learnt from.
        weights: events of the random draw with what each stands for.

    Returns:
        The answers that the models are measured on.

    """
    exam = NumberExam if pipeline.label.is_number else ClassExam
    return exam(pipeline, rows, tested, weights)


def unmeasured(version: str, made: MadeOf) -> Side:
    """A model of which nothing can be told."""
    return Side(version=version, made_of=made, figures=[], curve=[], reliability=[], calibration_error=None)


def _weighed(rows: Dataset, tested: Places, weights: Weights) -> tuple[Floats, Places | None]:
    """How many events each answer stands for, and whose each is."""
    weight = np.array([weights.get(rows.event_ids[place], 1.0) for place in tested.tolist()], np.float64)
    entity = entities(rows)[tested]
    return weight, entity if are_many(entity) else None


def _figure(name: str, found: Measured) -> Figure:
    known = found.value is not None
    return Figure(name=name, value=found.value, low=found.low if known else None, high=found.high if known else None)


def _number_figure(name: str, found: NumberFigure, unit: str | None = None) -> Figure:
    return Figure(name=name, value=found.value, low=found.low, high=found.high, unit=unit)

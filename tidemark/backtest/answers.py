"""What the labels of a history are, and how good it is what a model says of them: classes, or numbers."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.backtest.quality import of_constant, quality
from tidemark.evaluation.numbers import share_foretold
from tidemark.pipeline import Pipeline
from tidemark.pipeline.classes import NO_CLASS, ClassReader
from tidemark.pipeline.numbers import NumberReader
from tidemark.training.schedule import looked_for

Floats = NDArray[np.float64]
Truth = NDArray[Any]
"""(n,) int64 classes, `NO_CLASS` where there is no label; or float64 numbers, NaN where there is none."""
_FEWEST_POSITIVE: Final = 5
"""Labels of what is looked for that an exam needs."""


class Answers(Protocol):
    """What labels are. Quality is 1 at best, and higher is better."""

    metric: str
    """What quality is, for people."""
    first: str
    """What a first model needs beside labels, for people."""
    needs: str
    """The same of an exam."""

    def column(self, column: pl.Series) -> Truth:
        """The label of each row.

        Raises:
            ValueError: a value means none; says what was expected.

        """
        ...

    def text(self, label: Any) -> str:  # noqa: ANN401 - an element of `Truth`
        """A label as people answer it."""
        ...

    def sought(self, truth: Truth) -> NDArray[np.bool_]:
        """(n,) which labels are of the positive class."""
        ...

    def counts(self, truth: Truth) -> list[int]:
        """Of n labels, none of them missing, what `tidemark.training.schedule.first_is_due` goes by."""
        ...

    def shown(self, truth: Truth) -> str:
        """Of n labels, none of them missing, what is told beside their number."""
        ...

    def tell_apart(self, truth: Truth) -> bool:
        """Whether good models can be told from bad ones by n labels, none of them missing."""
        ...

    def quality(self, truth: Truth, said: Floats) -> float:
        """Quality of what a model said (n, outputs) of n labels, none of them missing."""
        ...

    def of_constant(self, truth: Truth) -> float:
        """Quality of a model that says the same of every row."""
        ...

    def spread(self, truth: Truth) -> float | None:
        """Of numbers their standard deviation: how far off a model is that always says their mean."""
        ...


class ClassAnswers:
    """One of some classes; quality as `tidemark.backtest.quality` has it."""

    def __init__(self, pipeline: Pipeline) -> None:
        label = pipeline.label
        self._pipeline, self._classes, self._name = pipeline, label.classes, label.positive
        self._positive = label.classes.index(label.positive)
        two = len(label.classes) == 2
        self.metric = "average precision" if two else "mean F1 of the classes"
        self._what = f"'{label.positive}'" if two else "not of the commonest class"
        self.first = f" ({pipeline.training.min_positive:,})"
        self.needs = f" ({_FEWEST_POSITIVE}), of two classes at least"

    def column(self, column: pl.Series) -> Truth:
        """As `Answers.column`."""
        return ClassReader(self._classes, self._name).column(column)

    def text(self, label: Any) -> str:  # noqa: ANN401
        """As `Answers.text`: the class's name."""
        name: str = self._classes[label]
        return name

    def sought(self, truth: Truth) -> NDArray[np.bool_]:
        """As `Answers.sought`."""
        return np.asarray(truth == self._positive)

    def counts(self, truth: Truth) -> list[int]:
        """As `Answers.counts`: of each class."""
        found: list[int] = np.bincount(truth, minlength=len(self._classes)).tolist()
        return found

    def shown(self, truth: Truth) -> str:
        """As `Answers.shown`: how many are looked for."""
        return f" ({looked_for(self._pipeline, self.counts(truth)):,} {self._what})"

    def tell_apart(self, truth: Truth) -> bool:
        """As `Answers.tell_apart`."""
        counts = self.counts(truth)
        return looked_for(self._pipeline, counts) >= _FEWEST_POSITIVE and sum(count > 0 for count in counts) > 1

    def quality(self, truth: Truth, said: Floats) -> float:
        """As `Answers.quality`. said: probabilities of the classes."""
        return quality(truth, said, self._positive)

    def of_constant(self, truth: Truth) -> float:
        """As `Answers.of_constant`."""
        return of_constant(truth, len(self._classes), self._positive)

    def spread(self, truth: Truth) -> float | None:  # noqa: ARG002 - classes have none
        """As `Answers.spread`: there is none."""
        return None


class NumberAnswers:
    """A number; quality is R², the share of the numbers' variance that is foretold."""

    metric = "R²"
    first = ""
    needs = ", not all alike"

    def __init__(self, pipeline: Pipeline) -> None:
        self._reader = NumberReader(pipeline.label)

    def column(self, column: pl.Series) -> Truth:
        """As `Answers.column`."""
        return self._reader.column(column)

    def text(self, label: Any) -> str:  # noqa: ANN401
        """As `Answers.text`."""
        return self._reader.text(float(label))

    def sought(self, truth: Truth) -> NDArray[np.bool_]:
        """As `Answers.sought`: none."""
        return np.zeros(len(truth), np.bool_)

    def counts(self, truth: Truth) -> list[int]:
        """As `Answers.counts`: one, of all."""
        return [len(truth)]

    def shown(self, truth: Truth) -> str:  # noqa: ARG002 - nothing is looked for
        """As `Answers.shown`: nothing."""
        return ""

    def tell_apart(self, truth: Truth) -> bool:
        """As `Answers.tell_apart`."""
        return len(truth) > 0 and bool(truth.min() < truth.max())

    def quality(self, truth: Truth, said: Floats) -> float:
        """As `Answers.quality`. said: estimates (`tidemark.registry.estimates`)."""
        return share_foretold(truth, said[:, 0])

    def of_constant(self, truth: Truth) -> float:  # noqa: ARG002 - by definition
        """As `Answers.of_constant`: of the mean."""
        return 0.0

    def spread(self, truth: Truth) -> float | None:
        """As `Answers.spread`."""
        return float(truth.std())


def answers_of(pipeline: Pipeline) -> Answers:
    """What the labels of a pipeline are."""
    return NumberAnswers(pipeline) if pipeline.label.is_number else ClassAnswers(pipeline)


def missing(truth: Truth) -> NDArray[np.bool_]:
    """(n,) of which events there is no label."""
    return np.isnan(truth) if truth.dtype.kind == "f" else np.asarray(truth == NO_CLASS)

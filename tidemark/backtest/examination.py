"""Later events that models are examined on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.backtest.answers import answers_of
from tidemark.backtest.stream import LabeledStream
from tidemark.pipeline import Pipeline

_MOST: Final = 20_000


class Examination:
    """Rows with labels that a model is examined on, at most 20,000, at equal distances.

    rows: their numbers in the stream.  truth: (n,) their labels.  constant: quality of a model that says the same of
    every row.  spread: as `tidemark.backtest.answers.Answers` has it.
    """

    def __init__(self, stream: LabeledStream, pipeline: Pipeline, rows: NDArray[np.int64]) -> None:
        rows = rows[stream.askable[rows]]
        self.rows = rows[:: max(1, len(rows) // _MOST)]
        self.truth = stream.target[self.rows]
        self.features = stream.features[self.rows]
        self._answers = answers_of(pipeline)
        self.constant = self._answers.of_constant(self.truth)

    def of(self, given: NDArray[np.float64]) -> float:
        """Quality of what a model says (n, outputs) of the rows."""
        return self._answers.quality(self.truth, given)

    def with_blocks(self, given: NDArray[np.float64], blocks: int) -> tuple[float, tuple[float, ...]]:
        """Quality of what a model says, and the same without each of so many parts, in the order of time."""
        return self.of(given), tuple(
            self._answers.quality(self.truth[rest], given[rest]) for rest in self._without_each(blocks)
        )

    def constant_with_blocks(self, blocks: int) -> tuple[float, tuple[float, ...]]:
        """The same of a model that says the same of every row."""
        return self.constant, tuple(self._answers.of_constant(self.truth[rest]) for rest in self._without_each(blocks))

    def _without_each(self, blocks: int) -> Iterator[NDArray[np.int64]]:
        rows = np.arange(len(self.truth))
        for block in np.array_split(rows, blocks):
            yield np.delete(rows, block)

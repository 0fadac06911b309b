"""The newest labels, from which quality by the random draw is measured."""

from __future__ import annotations

from dataclasses import dataclass

from tidemark.errors import RecordError
from tidemark.monitoring.labels import LabelBook
from tidemark.monitoring.options import Options
from tidemark.pipeline.model import Pipeline
from tidemark.records import Label, decode
from tidemark.runtime.by_topic import Received
from tidemark.runtime.steps import Outcome, Refused, RoundContext


@dataclass(frozen=True, slots=True)
class KeptLabels:
    """All labels that are held, and how many of them are new in this round, none of a replay."""

    book: LabelBook
    new: int


class KeepLabelsStep:
    """Holds the newest labels.

    book: which these are.
    """

    def __init__(self, pipeline: Pipeline, options: Options) -> None:
        self._spec, self._options = pipeline.label, options
        self.reset()

    def reset(self) -> None:
        """Begin with none."""
        self.book = LabelBook(self._spec, most=self._options.most_labels, threshold=self._options.threshold)

    def process(self, received: Received, context: RoundContext) -> Outcome[KeptLabels]:
        """The labels, and the records that are none, or contradict others."""
        new = 0
        refused = []
        for batch in received.batches:
            for row in range(len(batch)):
                try:
                    self.book.add(decode(Label, batch.values[row]), int(batch.offsets[row]))
                except RecordError as error:
                    refused.append(Refused(batch, row, error.step, error.reason))
                else:
                    new += not context.replay
        return Outcome(KeptLabels(self.book, new), refused)

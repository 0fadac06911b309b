"""Records of `P.labels` to labels that can be learnt from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tidemark.errors import RecordError
from tidemark.pipeline import Pipeline
from tidemark.records import Label
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch
from tidemark.runtime.steps import Outcome, Refused, RoundContext
from tidemark.training.dataset import check


@dataclass(frozen=True, slots=True)
class CheckedLabels:
    """A batch and the label of each of its rows; None where it has none that can be learnt from."""

    batch: Batch
    labels: list[Label | None]


class CheckLabelsStep:
    """Checks labels. former: classes of earlier pipeline files, whose answers count as none."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._schema = ModelSchema.of(pipeline)
        self._raw_topics = pipeline.raw_topics
        self.former: Collection[str] = ()

    def process(self, received: Received, context: RoundContext) -> Outcome[list[CheckedLabels]]:  # noqa: ARG002
        """The labels of each batch, and the rows without."""
        checked, refused = [], []
        for batch in received.batches:
            labels: list[Label | None] = []
            for row, value in enumerate(batch.values):
                try:
                    labels.append(check(value, self._schema, self._raw_topics, self.former))
                except RecordError as error:
                    labels.append(None)
                    refused.append(Refused(batch, row, error.step, error.reason))
            checked.append(CheckedLabels(batch, labels))
        return Outcome(checked, refused)

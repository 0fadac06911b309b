"""The retrain flow's steps in one piece: labels in, models and verdicts out.

`dataflows.retrain` draws the same steps as a dataflow; `tests/dataflows/operators` holds that both give the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidemark.pipeline import Pipeline
from tidemark.records.dead_letters import dead_letters
from tidemark.runtime.by_topic import ByTopicStep
from tidemark.runtime.processor import Batch, Output
from tidemark.runtime.steps import RoundContext
from tidemark.training.state import RetrainState
from tidemark.training.steps import CheckLabelsStep, LearnStep


class RetrainProcessor(RetrainState):
    """Trains from `P.labels` (a `tidemark.runtime.processor.Processor`).

    options: of `tidemark.training.steps.LearnStep`.
    """

    def __init__(self, pipeline: Pipeline, **options: Any) -> None:  # noqa: ANN401 those of the step
        self._deadletter = pipeline.topics.deadletter
        super().__init__(
            {
                "labels": ByTopicStep([pipeline.topics.labels]),
                "check": CheckLabelsStep(pipeline),
                "learn": LearnStep(pipeline, **options),
            }
        )

    def process(self, batch: Batch) -> list[Output]:
        """Take in labels; train where one is due. What can't be learnt from becomes a dead letter."""
        return self._round([batch], RoundContext(0, [batch.partition], batch.replay))

    def tick(self, now: float) -> list[Output]:
        """Train where time alone brings a model. now: s since 1970."""
        return self._round([], RoundContext(0, tick=now))

    def _round(self, batches: Sequence[Batch], context: RoundContext) -> list[Output]:
        checked = self._check.process(self._source.process(batches, context), context)
        learnt = self._learn.process(checked.oks, context)
        return [] if context.replay else [*dead_letters(self._deadletter, batches, checked.errs), *learnt]

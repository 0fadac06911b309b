"""The select flow's steps in one piece: proposals of all partitions to candidates, tile by tile, under a hard budget.

Everything is a function of `P.proposals` (its order, and Kafka's timestamps: no partition moves time far beyond them)
and the pipeline file. What is committed with an offset is enough to rebuild the open tiles from
the records after the rewind offset, so that a replay makes the very choices that a run without a crash would have made
(see `checkpoint`). `dataflows.select` draws the same steps as a dataflow; `tests/dataflows/operators` holds that both
give the same records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tidemark.pipeline.model import Pipeline
from tidemark.records import Candidate
from tidemark.records.dead_letters import dead_letters
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.by_topic import ByTopicStep
from tidemark.runtime.processor import Batch, Output
from tidemark.runtime.steps import RoundContext
from tidemark.selection.state import SelectState
from tidemark.selection.steps import (
    BudgetMetricsStep,
    CandidatesStep,
    ChooseStep,
    CloseTilesStep,
    DecodeProposalsStep,
)


class SelectProcessor(SelectState):
    """Chooses the events that people are asked about (a `tidemark.runtime.processor.Processor`)."""

    def __init__(
        self,
        pipeline: Pipeline,
        wall: Callable[[], int] = wall_clock,
        read_asked: Callable[[], Iterable[Candidate]] = tuple,
        alarmed: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`wall`, `read_asked`, `alarmed`: of `tidemark.selection.steps.ChooseStep`."""
        choose = ChooseStep(pipeline, wall, read_asked, alarmed)
        source = ByTopicStep([pipeline.topics.proposals])
        super().__init__(pipeline, {"proposals": source, "tiles": CloseTilesStep(pipeline), "choose": choose})
        self._decode = DecodeProposalsStep(pipeline)
        self._candidates, self._metrics = CandidatesStep(pipeline), BudgetMetricsStep(pipeline)

    def process(self, batch: Batch) -> list[Output]:
        """Merge proposals; candidates and budget metrics of the tiles that close."""
        context = RoundContext(0, [batch.partition], batch.replay)
        decoded = self._decode.process(self._source.process([batch], context), context)
        closed = self._tiles.process(decoded.oks, context)
        choices = self._choose.process(closed.oks, context)
        if batch.replay:
            return []
        letters = dead_letters(self._pipeline.topics.deadletter, [batch], [*decoded.errs, *closed.errs])
        told = (step.process([choice], context) for choice in choices for step in (self._candidates, self._metrics))
        return [*letters, *(output for outputs in told for output in outputs)]

    def tick(self, now: float) -> list[Output]:  # noqa: ARG002 - time closes no tile, records do
        """Nothing: silence is told by idle records."""
        return []

"""Records to the rows that reach a stage: for whoever runs the stream's definition once more."""

from __future__ import annotations

from tidemark.pipeline import Pipeline
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch
from tidemark.runtime.steps import Outcome, RoundContext
from tidemark.stream.rows import Arrival
from tidemark.stream.stages import Stage, cleaned_schema, stages
from tidemark.stream.steps import DecodeStep, ReceiveStep, RowFeaturesStep


class Arriving:
    """Reads records as the stream does: raw ones are decoded, cleaned and given the features of a row; hops are taken.

    cleaned: columns after cleaning, and their types.  stages: of the pipeline.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.cleaned = cleaned_schema(pipeline)
        self.stages = stages(pipeline, self.cleaned)
        self._decode, self._features = DecodeStep(pipeline), RowFeaturesStep(pipeline)
        self._receive = {
            stage.arriving.topic: ReceiveStep(pipeline, stage.arriving.topic, stage.arriving.layout)
            for stage in self.stages
            if stage.arriving is not None
        }

    def reach(self, stage: Stage) -> int:
        """How far before an event's time a row can matter to a stage, µs."""
        drops = self._pipeline.deduplicate if stage.drops_duplicates else None
        return stage.windows.reach + (0 if drops is None else drops.within)

    def rows(self, stage: Stage, batch: Batch) -> Outcome[list[Arrival]]:
        """Rows of records that reach a stage, and the records that are none.

        Args:
            stage: of the pipeline.
            batch: of a partition of its topics.

        Returns:
            Both.

        """
        now = wall_clock()
        received, context = Received([batch], [now]), RoundContext(now, [batch.partition])
        if stage.arriving is not None:
            return self._receive[stage.arriving.topic].process(received, context)
        decoded = self._decode.process(received, context)
        found = self._features.process(decoded.oks, context)
        return Outcome(found.oks, [*decoded.errs, *found.errs])

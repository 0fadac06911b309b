"""The stream flow's steps in one piece: raw records in; hops, predictions, proposals and dead letters out.

`dataflows.stream` draws the same steps as a dataflow; `tests/dataflows/operators` holds that both give the same
records. Here they are called one after the other: for tests, for what is warmed before the flow runs, and for whoever
has batches and no Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tidemark.pipeline import Pipeline
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.runtime.steps import Outcome, Refused, RoundContext
from tidemark.stream.models import ModelSource
from tidemark.stream.rows import Arrival
from tidemark.stream.stages import Stage, cleaned_schema, stages
from tidemark.stream.step_group import StepGroup
from tidemark.stream.steps import (
    ByTopicStep,
    DecodeStep,
    DuplicateCountsStep,
    PredictStep,
    ProposeStep,
    Received,
    ReceiveStep,
    RepartitionStep,
    RowFeaturesStep,
    RuleCountsStep,
    SampleStep,
    Windowed,
    WindowFeaturesStep,
    dead_letters,
    has_rules,
)


class _Reading:
    """The way of raw records to rows."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.steps = (DecodeStep(pipeline), RowFeaturesStep(pipeline))
        self._counts = RuleCountsStep(pipeline) if has_rules(pipeline) else None
        self.told: list[Output] = []

    def process(self, batches: Received, context: RoundContext) -> Outcome[list[Arrival]]:
        decode, features = self.steps
        decoded = decode.process(batches, context)
        self.told = [] if self._counts is None else self._counts.process(decoded.oks, context)
        rows = features.process(decoded.oks, context)
        return Outcome(rows.oks, [*decoded.errs, *rows.errs])


@dataclass(frozen=True, slots=True)
class _StageSteps:
    """Steps of one stage. leaving: None where rows are predicted."""

    received: ByTopicStep
    reading: _Reading | ReceiveStep
    windows: WindowFeaturesStep
    leaving: RepartitionStep | None
    drops_duplicates: bool


def _steps(pipeline: Pipeline, stage: Stage) -> _StageSteps:
    hop, leaving = stage.arriving, stage.leaving
    return _StageSteps(
        ByTopicStep(stage.topics),
        _Reading(pipeline) if hop is None else ReceiveStep(pipeline, hop.topic, hop.layout),
        WindowFeaturesStep(pipeline, stage),
        None if leaving is None else RepartitionStep(pipeline, leaving),
        stage.drops_duplicates,
    )


class StreamProcessor:
    """`tidemark.runtime.processor.RoundProcessor` of the stream flow.

    models: where the model in force comes from; asked once a round, so that a round is scored by one model.
    clock: this machine's, µs since 1970: no record came later, whatever its timestamp says.
    """

    def __init__(self, pipeline: Pipeline, models: ModelSource, clock: Callable[[], int] = wall_clock) -> None:
        cleaned = cleaned_schema(pipeline)
        self._deadletter = pipeline.topics.deadletter
        self._clock = clock
        self._stages = [_steps(pipeline, stage) for stage in stages(pipeline, cleaned)]
        self._predict = PredictStep(pipeline, models, cleaned)
        self._propose = ProposeStep(pipeline, cleaned)
        self._sample = SampleStep(pipeline)
        self._duplicates = None if pipeline.deduplicate is None else DuplicateCountsStep(pipeline)
        own: list[object] = [self._predict, self._propose, self._sample]
        for stage in self._stages:
            reading = stage.reading.steps if isinstance(stage.reading, _Reading) else (stage.reading,)
            own += [stage.received, *reading, stage.windows]
        self._group = StepGroup({str(number): step for number, step in enumerate(own)})

    @property
    def topics(self) -> Sequence[str]:
        """The raw topics and the hops."""
        return self._group.topics

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Begin with a partition: empty windows, and the watermark that held at the offset to rewind to.

        Raises:
            TopicError: the metadata is not of this flow.

        """
        return self._group.open(partition, metadata)

    def close(self, partition: Partition) -> None:
        """Drop the state of a partition."""
        self._group.close(partition)

    def process(self, batch: Batch) -> list[Output]:
        """Take in the rows of a batch.

        Raises:
            ModelError: the model gives probabilities of the wrong shape.

        """
        return self.process_round([batch])

    def process_round(self, batches: Sequence[Batch]) -> list[Output]:
        """Take in the rows of batches of different partitions, those to replay first.

        Raises:
            ModelError: the model gives probabilities of the wrong shape.

        """
        now = self._clock()
        outputs: list[Output] = []
        for replay in (True, False):
            own = [batch for batch in batches if batch.replay == replay]
            if own:
                partitions = [batch.partition for batch in own]
                outputs += self._round(own, RoundContext(now, partitions, replay))
        return outputs

    def tick(self, now: float) -> list[Output]:
        """Say once of each partition of the last stage that nothing has come for the idle time-out, and who is late."""
        return self._round([], RoundContext(self._clock(), tick=now))

    def metadata(self, partition: Partition) -> str:
        """Where the state can be rebuilt from, the watermark there, and the model in force."""
        return self._group.metadata(partition)

    def event_time(self, batch: Batch) -> int | None:
        """How far the batch last processed of the partition moved event time; None if it had no good row."""
        return self._group.event_time(batch)

    def event_times(self, batch: Batch) -> list[int]:
        """How far each raw record or hop may move event time (µs); `UNKNOWN_TIME` where it tells none."""
        return self._group.event_times(batch)

    def _round(self, batches: Sequence[Batch], context: RoundContext) -> list[Output]:
        """One round through all steps, in the order in which the dataflow commits what they give."""
        refused: list[Refused] = []
        hops: list[Output] = []
        windowed = Windowed()
        for stage in self._stages:
            rows = stage.reading.process(stage.received.process(batches, context), context)
            refused += rows.errs
            hops += stage.reading.told if isinstance(stage.reading, _Reading) else []
            windowed = stage.windows.process(rows.oks, context)
            if self._duplicates is not None and stage.drops_duplicates:
                hops += self._duplicates.process(windowed, context)
            if stage.leaving is not None:
                hops += stage.leaving.process(windowed, context)
        predicted = self._predict.process(windowed, context)
        letters = [] if context.replay else dead_letters(self._deadletter, batches, refused)
        sample, proposals = self._sample.process(predicted, context), self._propose.process(predicted, context)
        return [*letters, *hops, *predicted.outputs, *sample, *proposals]

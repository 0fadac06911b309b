"""What the steps of the monitor flow keep together, and what is committed of it.

State is what lies in Kafka: predictions whose truth may still come or has come lately, outcomes of that time, the
latest labels, and what the watch over the sample has saved there. Each partition's committed metadata says from where
to read them again, and up to which event time outcomes without a prediction have been given up, so that none is given
up twice. The join needs all partitions in one process: the flow has one active member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tidemark.monitoring.checkpoint import decode_mark
from tidemark.monitoring.steps import (
    CheckParityStep,
    DecodePredictionsStep,
    JoinOutcomesStep,
    KeepLabelsStep,
    MeasureStep,
    WatchLabelsStep,
    WatchSampleStep,
)
from tidemark.pipeline.model import Pipeline
from tidemark.runtime.by_topic import ByTopicStep
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import step_of


class MonitorState:
    """The rows and labels that one worker holds (a `tidemark.runtime.processor.TaskState`).

    steps: of the flow, by name.
    """

    def __init__(self, pipeline: Pipeline, steps: Mapping[str, object]) -> None:
        self._topics = pipeline.topics
        self._sources = {
            topic: step for step in steps.values() if isinstance(step, ByTopicStep) for topic in step.topics
        }
        self.decode = step_of(steps, DecodePredictionsStep)
        self.join = step_of(steps, JoinOutcomesStep)
        self.labels = step_of(steps, KeepLabelsStep)
        self.measure = step_of(steps, MeasureStep)
        self.watch = step_of(steps, WatchSampleStep)
        self.parity = step_of(steps, CheckParityStep)
        self.answers = step_of(steps, WatchLabelsStep)

    @property
    def topics(self) -> Sequence[str]:
        """`P.predictions`, `P.labels`, `P.outcomes`, `P.sample`."""
        return list(self._sources)

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Take up a partition; where to read again from.

        Raises:
            TopicError: the committed metadata is another program's.

        """
        mark = decode_mark(partition, metadata) if metadata else None
        self._sources[partition.topic].open(partition)
        self.join.open(partition, mark)
        if partition.topic == self._topics.sample:
            return self.watch.open(mark)
        return None if mark is None else mark.rewind

    def close(self, partition: Partition) -> None:
        """Drop what came from a partition."""
        self._sources[partition.topic].close(partition)
        nothing_held = self.join.close(partition)
        if nothing_held:
            self.decode.forget_names()
            self.measure.reset()
        if nothing_held or partition.topic == self._topics.labels:
            self.labels.reset()
            self.answers.reset()
        if partition.topic == self._topics.sample:
            self.watch.close()
            self.parity.reset()

    def metadata(self, partition: Partition) -> str:
        """Where to rewind to, and the clock."""
        if partition.topic == self._topics.labels:
            rewind = self.labels.book.rewind()
        elif partition.topic == self._topics.sample:
            rewind = self.watch.rewind()
        else:
            rewind = self.join.rewind(partition)
        mark = self.join.mark(partition, rewind)
        if partition.topic == self._topics.sample:
            mark = msgspec.structs.replace(mark, saved=self.watch.saved)
        return mark.encode()

    def event_time(self, batch: Batch) -> int | None:
        """Latest event time of predictions, latest `known_at` of outcomes: these two belong in one alignment group.

        Labels are not aligned: people's clocks are no event time.
        """
        return self.join.latest(batch.partition)

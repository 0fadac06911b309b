"""What the steps of the retrain flow keep together, and what is committed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidemark.errors import TopicError
from tidemark.runtime.by_topic import ByTopicStep
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import step_of
from tidemark.training.steps import CheckLabelsStep, LearnStep


class RetrainState:
    """The labels and the champion of one worker (a `tidemark.runtime.processor.TaskState`).

    steps: of the flow, by name.
    """

    def __init__(self, steps: Mapping[str, object]) -> None:
        self._source = step_of(steps, ByTopicStep)
        self._check = step_of(steps, CheckLabelsStep)
        self._learn = step_of(steps, LearnStep)

    @property
    def topics(self) -> Sequence[str]:
        """`P.labels`."""
        return self._source.topics

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Begin with the labels: they are read again from the first one.

        Raises:
            TopicError: the topic has several partitions.

        """
        if partition.index != 0:
            raise TopicError(
                f"{partition.topic} has more than one partition; labels are one history in one order: "
                "re-create the topic with a single partition"
            )
        self._source.open(partition)
        self._learn.open(partition, metadata)
        self._check.former = self._learn.former
        return 0

    def close(self, partition: Partition) -> None:
        """Drop what was read; it is read again when the partition is opened again."""
        self._source.close(partition)
        self._learn.close(partition)

    def metadata(self, partition: Partition) -> str:
        """Position and when a model was last trained."""
        return self._learn.metadata(partition)

    def event_time(self, batch: Batch) -> int | None:  # noqa: ARG002 - the contract's
        """None: labels are aligned with nothing."""
        return None

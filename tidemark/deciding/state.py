"""What the decide flow commits with its offsets: from where it reads the threshold again that it follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tidemark.deciding.step import DecideStep
from tidemark.errors import TopicError
from tidemark.pipeline.model import Pipeline
from tidemark.runtime.by_topic import ByTopicStep
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import step_of

PREFIX: Final = "decide1:"


class DecideState:
    """The decisions that one worker knows of (a `tidemark.runtime.processor.TaskState`).

    They lie in `P.decisions`, and are read when the first partition is taken up. steps: of the flow, by name.
    """

    def __init__(self, pipeline: Pipeline, steps: Mapping[str, object]) -> None:
        self._metrics = pipeline.topics.metrics
        self._source = step_of(steps, ByTopicStep)
        self._decide = step_of(steps, DecideStep)
        self._held: set[Partition] = set()

    @property
    def topics(self) -> Sequence[str]:
        """`P.predictions` and `P.metrics`."""
        return self._source.topics

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Take up a partition; of metrics, where the threshold is.

        Raises:
            TopicError: the committed metadata is another program's.

        """
        if not self._held:
            self._decide.open()
        self._held.add(partition)
        self._source.open(partition)
        if not metadata:
            return None
        place = metadata.removeprefix(PREFIX)
        if not metadata.startswith(PREFIX) or not (place == "" or (place.isdecimal() and len(place) < 19)):
            raise TopicError(
                f"the state committed for the decide flow at {partition.topic!r} partition {partition.index}, "
                f"{metadata[:40]!r}, is not one it wrote; to begin anew, run `tidemark reset FILE decide --to latest`"
            )
        return int(place) if place else None

    def close(self, partition: Partition) -> None:
        """Give up a partition; with the last one all is forgotten."""
        self._source.close(partition)
        self._held.discard(partition)
        if not self._held:
            self._decide.close()

    def metadata(self, partition: Partition) -> str:
        """Of metrics, the offset of the threshold that is followed."""
        at = self._decide.threshold_at if partition.topic == self._metrics else None
        return PREFIX if at is None else f"{PREFIX}{at}"

    def event_time(self, batch: Batch) -> int | None:  # noqa: ARG002 - decisions are made in the order of coming
        """None: there is nothing to align with."""
        return None

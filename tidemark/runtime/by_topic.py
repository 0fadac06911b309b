"""The batches of some topics, out of all that a round has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import RoundContext


@dataclass(frozen=True, slots=True)
class Received:
    """Batches of different partitions, and for each the clock of the process that read it first, µs since 1970."""

    batches: Sequence[Batch] = ()
    clocks: Sequence[int] = ()


class ByTopicStep:
    """Passes on the batches of its topics. It knows of each partition when its rows were first read.

    topics: to subscribe to.
    before_replayed: called before the rows of a partition from an offset on are replayed, while no step has seen them.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self.topics = list(topics)
        self.before_replayed: Callable[[Partition, int], None] | None = None
        self._clocks: dict[Partition, int | None] = {}
        self._processed: set[Partition] = set()
        self._spans: dict[Partition, tuple[int, int]] = {}
        self._now = 0

    def open(self, partition: Partition, clock: int | None = None) -> None:
        """Begin with a partition: until its replay is over, the clock is that of the process that committed (µs)."""
        self._clocks[partition] = clock

    def close(self, partition: Partition) -> None:
        """Forget a partition."""
        self._clocks.pop(partition, None)
        self._processed.discard(partition)
        self._spans.pop(partition, None)

    def process(self, batches: Sequence[Batch], context: RoundContext) -> Received:
        """The batches of the topics, in their order."""
        if context.tick is None:
            self._now = context.now
        own = [batch for batch in batches if batch.partition.topic in self.topics]
        clocks = []
        for batch in own:
            if context.replay and self.before_replayed is not None and batch.partition in self._spans:
                self.before_replayed(batch.partition, int(batch.offsets[0]))
            first, _ = self._spans.get(batch.partition, (int(batch.offsets[0]), 0))
            self._spans[batch.partition] = first, int(batch.offsets[-1]) + 1
            if not context.replay:
                self._processed.add(batch.partition)
                self._clocks[batch.partition] = None
            clock = self._clocks[batch.partition]
            clocks.append(context.now if clock is None else clock)
        return Received(own, clocks)

    def has_processed(self, partition: Partition) -> bool:
        """Whether rows of the partition came that are no replay: its position is no longer that of the start."""
        return partition in self._processed

    def span(self, partition: Partition) -> tuple[int, int]:
        """Offset of the first record that came since the partition was opened, and the one after the last."""
        return self._spans[partition]

    def fields(self, partition: Partition) -> dict[str, Any]:  # noqa: ARG002 one clock for all partitions
        """The clock up to which timestamps were believed."""
        return {"clock": self._now}

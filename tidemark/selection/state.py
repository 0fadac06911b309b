"""What the steps of the select flow keep together, and what is committed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tidemark.errors import ConfigError, TopicError
from tidemark.pipeline.model import Pipeline
from tidemark.runtime.by_topic import ByTopicStep
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import step_of
from tidemark.selection.checkpoint import Checkpoint, check_fits
from tidemark.selection.ledger import Ledger
from tidemark.selection.reading import Lanes
from tidemark.selection.steps import ChooseStep, CloseTilesStep


class SelectState:
    """The open tiles and the ledger of one worker (a `tidemark.runtime.processor.TaskState`).

    steps: of the flow, by name.
    Raises ConfigError where the pipeline has more partitions than the committed state has room for.
    """

    def __init__(self, pipeline: Pipeline, steps: Mapping[str, object]) -> None:
        self._pipeline = pipeline
        self._lanes = len(Lanes(pipeline))
        selection = pipeline.selection
        self._windows = selection.per_hour is not None or selection.per_day is not None
        self._follows = pipeline.drift.reaction is not None
        check_fits(self._lanes, windows=self._windows, alarm=self._follows)
        self._source = step_of(steps, ByTopicStep)
        self._tiles = step_of(steps, CloseTilesStep)
        self._choose = step_of(steps, ChooseStep)

    @property
    def topics(self) -> Sequence[str]:
        """`P.proposals`."""
        return self._source.topics

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Take up the committed state; the offset to rewind to, None where no tile was open.

        Raises:
            TopicError: the topic has several partitions, whose order would not be one.
            ConfigError: the tile length has changed, or there are fewer partitions than before.

        """
        if partition.index != 0:
            raise TopicError(
                f"topic {partition.topic!r} has more than one partition, so its order is not one; recreate it with one"
            )
        checkpoint = Checkpoint.decode(metadata) if metadata else None
        if checkpoint is not None:
            self._check(checkpoint)
        self._source.open(partition)
        self._tiles.open(checkpoint)
        self._choose.open(Ledger() if checkpoint is None else checkpoint.ledger)
        return None if checkpoint is None else checkpoint.rewind

    def close(self, partition: Partition) -> None:
        """Drop the state."""
        self._source.close(partition)
        self._tiles.close()

    def metadata(self, partition: Partition) -> str:  # noqa: ARG002 - there is one
        """Checkpoint after the batch last processed."""
        ledger = self._choose.ledger
        kept = ledger if self._windows else Ledger(ledger.in_all)
        if self._follows:
            kept = replace(kept, alarm=ledger.alarm, extra=ledger.extra)
        return self._tiles.checkpoint(kept).encode()

    def event_time(self, batch: Batch) -> int | None:  # noqa: ARG002 - one partition
        """None: there is nothing to align with."""
        return None

    def _check(self, checkpoint: Checkpoint) -> None:
        name, tile = self._pipeline.name, self._pipeline.selection.tile
        if checkpoint.tile_length != tile:
            raise ConfigError(
                f"pipeline {name}: selection.tile is {tile} µs now and was {checkpoint.tile_length} µs "
                "when the last tile was decided, and tiles are numbered by it; set it back, or run under another name"
            )
        if len(checkpoint.watermarks.times) > self._lanes:
            raise ConfigError(
                f"pipeline {name}: partitions (times raw topics) is {self._lanes} now and was "
                f"{len(checkpoint.watermarks.times)}; Kafka topics never shrink, so set it back"
            )

"""Raw records to columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.formats.decoder import BadRow, Decoded, Decoder
from tidemark.pipeline import Pipeline
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import Outcome, Refused, RoundContext


class RecordDecoder(Protocol):
    """What turns the raw records of a pipeline into columns: `tidemark.formats.json_records.Decoder` is one."""

    def decode(self, batch: Batch, now: int | NDArray[np.int64] | None = None) -> Decoded:
        """The good rows of a batch as columns, and the others. now: which bounds the timestamps; one, or for each."""
        ...

    def event_times(self, batch: Batch) -> list[int]:
        """How far each record may move event time (µs); `UNKNOWN_TIME` where it tells none."""
        ...


@dataclass(frozen=True, slots=True)
class DecodedBatches:
    """Columns of the good rows of batches of different partitions, one after the other.

    joined: the records of all batches.
    """

    batches: Sequence[Batch]
    joined: Batch
    decoded: Decoded

    @property
    def frame(self) -> pl.DataFrame:
        """The columns."""
        return self.decoded.frame

    def counts(self) -> list[tuple[Partition, int]]:
        """How many of the rows come from each partition, in their order."""
        ends = np.cumsum([len(batch) for batch in self.batches])
        cuts = np.searchsorted(self.decoded.rows, ends).tolist()
        counts = np.diff(cuts, prepend=0).tolist()
        return [(batch.partition, count) for batch, count in zip(self.batches, counts, strict=True)]

    def with_columns(self, *columns: pl.Series) -> DecodedBatches:
        """The rows with columns of other values: those in whose place the given ones stand, by their names."""
        return replace(self, decoded=replace(self.decoded, frame=self.frame.with_columns(*columns)))

    def with_frame(self, frame: pl.DataFrame, keep: NDArray[np.bool_]) -> DecodedBatches:
        """Some of the rows, with other columns.

        Args:
            frame: columns of the rows that are kept.
            keep: (rows,) bool, whether each row is kept.

        """
        old = self.decoded
        rows, times, bounded = old.rows[keep], old.times[keep], old.bounded[keep]
        return replace(self, decoded=replace(old, frame=frame, rows=rows, times=times, bounded=bounded))

    def refused(self, bad: Sequence[BadRow]) -> list[Refused]:
        """Rows of `joined` that are refused, as rows of their batches."""
        if not bad:
            return []
        ends = np.cumsum([len(batch) for batch in self.batches])
        refused = []
        for one in bad:
            number = int(np.searchsorted(ends, one.row, "right"))
            batch = self.batches[number]
            refused.append(Refused(batch, one.row - int(ends[number]) + len(batch), one.step, one.reason))
        return refused


class DecodeStep:
    """Decodes the raw records of a pipeline.

    decoder: by default that of the pipeline's JSON records.
    """

    def __init__(self, pipeline: Pipeline, decoder: RecordDecoder | None = None) -> None:
        self.reads = frozenset(pipeline.raw_topics)
        self._decoder: RecordDecoder = Decoder(pipeline) if decoder is None else decoder

    def process(self, received: Received, context: RoundContext) -> Outcome[list[DecodedBatches]]:  # noqa: ARG002
        """Columns of the batches together; none where nothing was received."""
        if not received.batches:
            return Outcome([])
        joined = Batch.joined(received.batches)
        clocks = np.repeat(received.clocks, [len(batch) for batch in received.batches])
        rows = DecodedBatches(received.batches, joined, self._decoder.decode(joined, clocks))
        return Outcome([rows], rows.refused(rows.decoded.bad))

    def event_times(self, batch: Batch) -> list[int]:
        """How far each record may move event time (µs); `UNKNOWN_TIME` where it tells none."""
        return self._decoder.event_times(batch)

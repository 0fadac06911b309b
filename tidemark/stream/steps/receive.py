"""Hops to rows: what another worker has handed on."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np

from tidemark.errors import RecordError
from tidemark.pipeline import Pipeline
from tidemark.runtime.broker_time import broker_times
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import Outcome, Refused, RoundContext
from tidemark.stream.hops import Hop, decode_hop, latest_time, merge
from tidemark.stream.rows import Arrival, Layout, Part

_PORTION: Final = 10_000
"""Rows of hops that are handled together: enough for columns to pay, and bounded in memory."""


class _Record(NamedTuple):
    """A hop, where it came from, and how far it may move the watermark (µs)."""

    partition: Partition
    offset: int
    limit: int
    hop: Hop


class ReceiveStep:
    """Decodes the records of a hop topic in portions of bounded size.

    topic: of the hops.  layout: of their rows.
    """

    def __init__(self, pipeline: Pipeline, topic: str, layout: Layout) -> None:
        self.reads = frozenset([topic])
        self._layout = layout
        self._skew = pipeline.time.most_skew

    def process(self, received: Received, context: RoundContext) -> Outcome[list[Arrival]]:  # noqa: ARG002
        """The rows of the batches, batch after batch; the records that are no hops are refused."""
        arrivals: list[Arrival] = []
        refused: list[Refused] = []
        portion: list[_Record] = []
        size = 0
        for batch, clock in zip(received.batches, received.clocks, strict=True):
            limits = broker_times(batch.timestamps, clock) + self._skew
            for row in range(len(batch)):
                try:
                    hop = self._decoded(batch, row)
                except RecordError as error:
                    refused.append(Refused(batch, row, error.step, error.reason))
                    continue
                if not len(hop.rows):
                    continue
                if portion and size + len(hop.rows) > _PORTION:
                    arrivals.append(self._arrival(portion))
                    portion, size = [], 0
                portion.append(_Record(batch.partition, int(batch.offsets[row]), int(limits[row]), hop))
                size += len(hop.rows)
        if portion:
            arrivals.append(self._arrival(portion))
        return Outcome(arrivals, refused)

    def event_times(self, batch: Batch) -> list[int]:
        """How far each hop may move event time (µs); `UNKNOWN_TIME` where it tells none."""
        return [latest_time(headers) for headers in batch.headers]

    def _decoded(self, batch: Batch, row: int) -> Hop:
        hop = decode_hop(batch.values[row], batch.headers[row])
        hop = Hop(hop.origins, self._layout.fitting.fit(hop.rows, batch.headers[row]))
        self._layout.check(hop)
        return hop

    def _arrival(self, records: list[_Record]) -> Arrival:
        parts = []
        begin = 0
        for partition, group in groupby(records, key=attrgetter("partition")):
            own = list(group)
            end = begin + sum(len(record.hop.rows) for record in own)
            parts.append(Part(partition, begin, end, own[0].offset, own[-1].offset))
            begin = end
        limits = np.repeat([record.limit for record in records], [len(record.hop.rows) for record in records])
        return Arrival(self._layout.unpack(merge([record.hop for record in records]), limits), parts)

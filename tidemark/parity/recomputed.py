"""Events of a range, computed once more from what the topics hold."""

from __future__ import annotations

from typing import Final

import numpy as np

from tidemark.errors import TopicError
from tidemark.features.windows import partitions_of
from tidemark.parity.event_table import EventTable
from tidemark.parity.spans import Offsets
from tidemark.pipeline import Pipeline
from tidemark.stream.arriving import Arriving
from tidemark.stream.past import Past, Range
from tidemark.stream.replaying import FeatureReplay, Replayed, Spans
from tidemark.stream.stages import Stage

_PATIENCE: Final = 120.0
"""Seconds without a record after which a reading is given up."""


class Recomputation:
    """Computes the events of a range.

    table: what was computed.  notes: what could not be, and why, for people.
    """

    def __init__(self, pipeline: Pipeline, past: Past, spans: Offsets) -> None:
        self._pipeline, self._past, self._spans = pipeline, past, spans
        self._arriving = Arriving(pipeline)
        self._replay = FeatureReplay(pipeline, Spans(spans))
        self._waiting: dict[int, int] = {}
        self.table = EventTable(pipeline, spans)
        self.notes: list[str] = []

    def run(self) -> None:
        """Compute.

        Raises:
            TopicError: a raw topic is gone.
            BrokerError: Kafka can't be read.

        """
        first = self._first_time()
        for number, stage in enumerate(self._arriving.stages):
            self._stage(number, stage, first)
        self.table.derive()

    def _first_time(self) -> int:
        """Event time of the earliest event, µs: from there back windows reach."""
        first, stage = None, self._arriving.stages[0]
        for place, (start, end) in self._spans.items():
            for batch in self._past.read(Range(place, start, end, truncated=False), timeout=_PATIENCE, renewed=True):
                outcome = self._arriving.rows(stage, batch)
                self.table.take_raw(batch, outcome.errs)
                times = [int(arrival.rows.times.min()) for arrival in outcome.oks if len(arrival.rows)]
                first = min([*times, *([] if first is None else [first])], default=None)
        return first or 0

    def _stage(self, number: int, stage: Stage, first: int) -> None:
        """Take the events through a stage. number: how many come before it."""
        waiting, self._waiting = self._waiting, {}
        for topic in stage.topics:
            last = None if number else {place: end for place, (_, end) in self._spans.items()}
            try:
                ranges = self._past.ranges(topic, first, last)
            except TopicError as error:
                if not number:
                    raise
                self.notes.append(str(error))
                continue
            for span in ranges:
                if not number or waiting.get(span.partition.index):
                    self._read(number, span, waiting)

    def _read(self, number: int, span: Range, waiting: dict[int, int]) -> None:
        """Read a range. waiting: of each partition of a hop's topic, how many events are to be found there."""
        self._replay.begin(span.partition, truncated=span.truncated)
        for batch in self._past.read(span, timeout=_PATIENCE, renewed=True):
            for replayed in self._replay.take(batch)[0]:
                self.table.take(replayed, number)
                self._hand_on(replayed)
                if number:
                    waiting[span.partition.index] -= len(replayed.rows)
            if number and waiting[span.partition.index] <= 0:
                break
        self._replay.end(span.partition)

    def _hand_on(self, replayed: Replayed) -> None:
        """Note to which partitions of the next stage's topic events go."""
        leaving = replayed.stage.leaving
        if leaving is None:
            return
        for index in partitions_of(replayed.rows.keys[leaving.key], self._pipeline.partitions).tolist():
            self._waiting[index] = self._waiting.get(index, 0) + 1


def full_from(table: EventTable) -> tuple[int | None, int]:
    """From which event time on all features of all events are whole, µs, and how many events lack a part.

    Args:
        table: of the events.

    Returns:
        The time, None where no event is without a gap; and the number.

    """
    rows = np.flatnonzero(table.passed > 0)
    lacking = rows[np.logical_not(np.all(table.whole[rows], axis=1))]
    if not len(lacking):
        return (int(table.times[rows].min()) if len(rows) else None), 0
    after = table.times[rows][table.times[rows] > table.times[lacking].max()]
    return (int(after.min()) if len(after) else None), len(lacking)

"""Replayed events as columns: each has the row that its offset gives it, whatever stage its features come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.features.rows import DerivedFeatures
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import definitions
from tidemark.records.event_id import EventPosition
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import Refused
from tidemark.stream.hops import event_ids
from tidemark.stream.outputs import Offers
from tidemark.stream.replaying import Replayed
from tidemark.stream.stages import cleaned_schema

_MOST_REASONS: Final = 10_000
_LONGEST: Final = 200


class EventTable:
    """n raw records, those among them that are events, and what was computed of these.

    names: of all features, in the pipeline's order.
    times, came: (n,) event time and Kafka's timestamp of the raw record, µs.  there: (n,) whether the offset is a
    record's.  passed: (n,) how many stages it has passed.  late: (n,).  keys, business_ids: n texts.
    features: (n, names), NaN is missing.  whole: (n, names) whether all rows were there that it is made of.
    refused: why records are no events, by row.
    """

    def __init__(self, pipeline: Pipeline, spans: dict[Partition, tuple[int, int]]) -> None:
        self._pipeline = pipeline
        self._offers = Offers(pipeline, cleaned_schema(pipeline))
        self.names = list(pipeline.feature_names)
        self._column = {name: at for at, name in enumerate(self.names)}
        self.partitions = list(spans)
        sizes = [end - begin for begin, end in spans.values()]
        ends = np.cumsum([0, *sizes]).tolist()
        self._base = {place: ends[at] - spans[place][0] for at, place in enumerate(self.partitions)}
        self._spans = spans
        n = ends[-1]
        self.origin = np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)
        self.offsets = np.concatenate([np.arange(*spans[place], dtype=np.int64) for place in self.partitions])
        self.times, self.came = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.there, self.late = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        self.passed = np.zeros(n, np.int8)
        self.keys: list[str | None] = [None] * n
        self.business_ids: list[str | None] = [None] * n
        self.features = np.full((n, len(self.names)), np.nan)
        self.whole = np.zeros((n, len(self.names)), np.bool_)
        self.refused: dict[int, str] = {}

    def __len__(self) -> int:
        """Number of rows: of offsets."""
        return len(self.offsets)

    def row(self, event: EventPosition) -> int:
        """Number of an event's row, -1 where it is not of the replay."""
        place = Partition(event.topic, event.partition, event.incarnation)
        begin, end = self._spans.get(place, (0, 0))
        return self._base[place] + event.offset if begin <= event.offset < end else -1

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Event ids of rows."""
        found: list[str] = event_ids(self.partitions, self.origin[rows], self.offsets[rows]).to_list()
        return found

    def take_raw(self, batch: Batch, refused: Sequence[Refused]) -> None:
        """Note that raw records are there, and which of them are no rows."""
        rows, own = self._rows(batch.partition, batch.offsets)
        self.there[rows] = True
        self.came[rows] = batch.timestamps[own] * 1_000
        for each in refused:
            at, _ = self._rows(batch.partition, each.batch.offsets[each.row : each.row + 1])
            if len(at) and len(self.refused) < _MOST_REASONS:
                self.refused[int(at[0])] = f"{each.step}: {each.reason}"[:_LONGEST]

    def take(self, replayed: Replayed, stage: int) -> None:
        """Take in events that have passed a stage. stage: its number."""
        rows, _ = self._rows(replayed.origin, replayed.rows.offsets)
        for name, whole in replayed.whole.items():
            column = self._column[name]
            self.features[rows, column] = replayed.rows.features[name].to_numpy()
            self.whole[rows, column] = whole
        self.passed[rows] = stage + 1
        self.times[rows] = replayed.rows.times
        if replayed.stage.leaving is None:
            self.late[rows] = replayed.rows.late
            identity = self._offers.identity(replayed.rows, pl.Series("event_id", [""]).new_from_index(0, len(rows)))
            told = zip(rows.tolist(), identity["key"].to_list(), identity["business_id"].to_list(), strict=True)
            for row, key, business_id in told:
                self.keys[row], self.business_ids[row] = key, business_id

    def derive(self) -> None:
        """Compute the derived features, once all stages were taken in."""
        derived = DerivedFeatures(self._pipeline)
        plain = [name for name in self.names if name not in derived.names]
        rows = np.flatnonzero(self.passed)
        if not len(rows) or not derived.names:
            return
        frame = derived(pl.DataFrame(self.features[rows][:, [self._column[name] for name in plain]], schema=plain))
        reads = {name: definition.reads for name, definition in definitions(self._pipeline).items()}
        for name in (each.name for each in self._pipeline.derived):  # in their order: one may read another
            column = self._column[name]
            self.features[rows, column] = frame[name].to_numpy()
            self.whole[:, column] = self.whole[:, [self._column[read] for read in reads[name]]].all(axis=1)

    def _rows(self, partition: Partition, offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of those offsets that are of the replay, and which these are."""
        begin, end = self._spans.get(partition, (0, 0))
        own = (offsets >= begin) & (offsets < end)
        return self._base.get(partition, 0) + offsets[own], own

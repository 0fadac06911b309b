"""Features of some events, computed once more by the stream's own engine from what the topics still hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from tidemark.pipeline import Pipeline
from tidemark.records.event_id import EventPosition, event_id
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import Batch, Headers, Partition
from tidemark.runtime.steps import RoundContext
from tidemark.stream.checkpoint import Position
from tidemark.stream.hops import latest_time
from tidemark.stream.rows import Arrival, Rows
from tidemark.stream.stages import Stage, cleaned_schema, stages
from tidemark.stream.steps import (
    DecodeStep,
    Featured,
    Received,
    ReceiveStep,
    RowFeaturesStep,
    WindowFeaturesStep,
)

_LONG_AGO: Final = -(2**63)
Found = dict[str, dict[str, float | None]]


class FeatureReplay:
    """Takes raw records and hops as the stream does, and keeps the features of the events that are asked for.

    Rows of a raw topic give a row's own features and the windows over the first key; those of a hop topic the windows
    over its key, in the order that the hops recorded. A window is kept only if all its rows were there to be read.

    found: of each event the features, by name; NaN is None.
    """

    def __init__(self, pipeline: Pipeline, wanted: Collection[EventPosition]) -> None:
        self._pipeline = pipeline
        self._decode, self._row_features = DecodeStep(pipeline), RowFeaturesStep(pipeline)
        self._stage_of: dict[str, Stage] = {}
        self._received: dict[str, ReceiveStep] = {}
        self._windows: dict[str, WindowFeaturesStep] = {}
        for stage in stages(pipeline, cleaned_schema(pipeline)):
            self._stage_of |= dict.fromkeys(stage.topics, stage)
            self._windows |= dict.fromkeys(stage.topics, WindowFeaturesStep(pipeline, stage))
            if stage.arriving is not None:
                hop = stage.arriving
                self._received[hop.topic] = ReceiveStep(pipeline, hop.topic, hop.layout)
        self._sizes = {window.name: window.size for window in pipeline.windows}
        self._inputs = {window.name: window.column for window in pipeline.windows}
        self._lateness = pipeline.time.lateness
        self._whole_from: dict[tuple[Partition, str], int] = {}
        self._truncated: set[Partition] = set()
        self._wanted: dict[tuple[str, int, str], np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        self.found: Found = {}
        offsets: dict[tuple[str, int, str], set[int]] = {}
        for event in wanted:
            offsets.setdefault((event.topic, event.partition, event.incarnation), set()).add(event.offset)
        for place, numbers in offsets.items():
            self._wanted[place] = np.array(sorted(numbers), np.int64)

    def begin(self, partition: Partition, *, truncated: bool) -> None:
        """Begin with a partition. truncated: retention has removed records that windows may have held."""
        self._windows[partition.topic].open(partition, Position())
        if truncated:
            self._truncated.add(partition)

    def take(self, batch: Batch) -> None:
        """Take in the records of one partition that follow."""
        topic = batch.partition.topic
        stage = self._stage_of[topic]
        for headers in batch.headers:
            self._note_lacks(stage, batch.partition, headers)
        context = RoundContext(wall_clock(), [batch.partition])
        windowed = self._windows[topic].process(self._rows(batch, context), context)
        for portion in windowed.portions:
            self._keep_wanted(stage, portion)

    def _rows(self, batch: Batch, context: RoundContext) -> list[Arrival]:
        received = Received([batch], [context.now])
        if batch.partition.topic in self._received:
            return self._received[batch.partition.topic].process(received, context).oks
        return self._row_features.process(self._decode.process(received, context).oks, context).oks

    def _note_lacks(self, stage: Stage, partition: Partition, headers: Headers | None) -> None:
        """Windows whose inputs a hop does not carry are whole only when its rows have left them."""
        if stage.arriving is None:
            return
        lacks = stage.arriving.layout.fitting.lacks(headers)
        for name in stage.windows.names if lacks else ():
            column = self._inputs[name]
            if column is not None and (column in lacks or f"f_{column}" in lacks):
                known = self._whole_from.get((partition, name), _LONG_AGO)
                self._whole_from[partition, name] = max(known, latest_time(headers))

    def _keep_wanted(self, stage: Stage, featured: Featured) -> None:
        rows = featured.rows
        names = list(stage.windows.names)
        if stage.arriving is None:
            names = [*(feature.name for feature in self._pipeline.features), *names]
        for begin, end, meta in featured.metas:
            if meta.partition in self._truncated:  # the rows that are gone lie before the first that is left
                self._truncated.discard(meta.partition)
                latest = int(rows.times[begin:end].max()) + self._lateness
                for name in stage.windows.names:
                    known = self._whole_from.get((meta.partition, name), _LONG_AGO)
                    self._whole_from[meta.partition, name] = max(known, latest)
            for row in self._chosen(rows, begin, end):
                self._keep(rows, row, names, meta.partition)

    def _chosen(self, rows: Rows, begin: int, end: int) -> list[int]:
        chosen = np.zeros(end - begin, np.bool_)
        for index, origin in enumerate(rows.origins):
            offsets = self._wanted.get((origin.topic, origin.index, origin.incarnation))
            if offsets is not None:
                own = rows.origin[begin:end] == index
                chosen |= own & np.isin(rows.offsets[begin:end], offsets)
        return [begin + row for row in np.flatnonzero(chosen).tolist()]

    def _keep(self, rows: Rows, row: int, names: Sequence[str], partition: Partition) -> None:
        origin, time = rows.origins[int(rows.origin[row])], int(rows.times[row])
        event = event_id(origin.topic, origin.index, int(rows.offsets[row]), origin.incarnation)
        kept = self.found.setdefault(event, {})
        for name in names:
            size = self._sizes.get(name)
            if size is not None and time - size <= self._whole_from.get((partition, name), _LONG_AGO):
                continue
            value = float(rows.features[name][row])
            kept[name] = None if np.isnan(value) else value

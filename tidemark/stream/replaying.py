"""Features of some events, computed once more by the stream's own engine from what the topics still hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tidemark.pipeline import Pipeline
from tidemark.records.event_id import EventPosition, event_id
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import Batch, Headers, Partition
from tidemark.runtime.steps import Refused, RoundContext
from tidemark.stream.arriving import Arriving
from tidemark.stream.checkpoint import Position
from tidemark.stream.hops import latest_time
from tidemark.stream.rows import Rows
from tidemark.stream.stages import Stage
from tidemark.stream.steps import Featured, WindowFeaturesStep

_LONG_AGO: Final = -(2**63)
Found = dict[str, dict[str, float | None]]


class Wanted(Protocol):
    """Which events are asked for."""

    def among(self, origin: Partition, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether the events of (n,) offsets of a raw partition are."""
        ...


class Events:
    """Events one by one."""

    def __init__(self, events: Collection[EventPosition]) -> None:
        offsets: dict[Partition, set[int]] = {}
        for event in events:
            offsets.setdefault(Partition(event.topic, event.partition, event.incarnation), set()).add(event.offset)
        self._offsets = {place: np.array(sorted(numbers), np.int64) for place, numbers in offsets.items()}

    def among(self, origin: Partition, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """As `Wanted` has it."""
        own = self._offsets.get(origin)
        return np.zeros(len(offsets), np.bool_) if own is None else np.isin(offsets, own)


class Spans:
    """All events of spans of offsets. spans: of each raw partition the first offset, and the one behind the last."""

    def __init__(self, spans: Mapping[Partition, tuple[int, int]]) -> None:
        self._spans = spans

    def among(self, origin: Partition, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """As `Wanted` has it."""
        begin, end = self._spans.get(origin, (0, 0))
        found: NDArray[np.bool_] = (offsets >= begin) & (offsets < end)
        return found


@dataclass(frozen=True, slots=True)
class Replayed:
    """n events that are asked for, behind a stage.

    rows: with the features so far.  origin: the raw partition that all of them came from.
    whole: of each feature that the stage has computed, (n,) whether all rows that it is made of were there to be read.
    """

    stage: Stage
    rows: Rows
    origin: Partition
    whole: dict[str, NDArray[np.bool_]]


class FeatureReplay:
    """Takes raw records and hops as the stream does, and gives the events that are asked for.

    Rows of a raw topic give a row's own features and the windows over the first key; those of a hop topic the windows
    over its key, in the order that the hops recorded.
    """

    def __init__(self, pipeline: Pipeline, wanted: Wanted) -> None:
        self._wanted = wanted
        self._features = [feature.name for feature in pipeline.features]
        self._arriving = Arriving(pipeline)
        self._stage_of: dict[str, Stage] = {}
        self._windows: dict[str, WindowFeaturesStep] = {}
        for stage in self._arriving.stages:
            self._stage_of |= dict.fromkeys(stage.topics, stage)
            self._windows |= dict.fromkeys(stage.topics, WindowFeaturesStep(pipeline, stage))
        self._sizes = {window.name: window.size for window in pipeline.windows}
        self._inputs = {window.name: window.column for window in pipeline.windows}
        self._lateness = pipeline.time.lateness
        self._whole_from: dict[tuple[Partition, str], int] = {}
        self._truncated: set[Partition] = set()

    def begin(self, partition: Partition, *, truncated: bool) -> None:
        """Begin with a partition. truncated: retention has removed records that windows may have held."""
        self._windows[partition.topic].open(partition, Position())
        if truncated:
            self._truncated.add(partition)

    def end(self, partition: Partition) -> None:
        """Drop the windows of a partition."""
        self._windows[partition.topic].close(partition)

    def take(self, batch: Batch) -> tuple[list[Replayed], Sequence[Refused]]:
        """Take in the records of one partition that follow.

        Returns:
            Events that are asked for, in the order of the records; and the records that are no rows.

        """
        stage = self._stage_of[batch.partition.topic]
        for headers in batch.headers:
            self._note_lacks(stage, batch.partition, headers)
        arrived = self._arriving.rows(stage, batch)
        context = RoundContext(wall_clock(), [batch.partition])
        windowed = self._windows[batch.partition.topic].process(arrived.oks, context)
        found = [each for portion in windowed.portions for each in self._of_portion(stage, portion)]
        return found, arrived.errs

    def _note_lacks(self, stage: Stage, partition: Partition, headers: Headers | None) -> None:
        """Windows whose inputs a hop does not carry are whole only when its rows have left them."""
        if stage.arriving is None:
            return
        lacks = stage.arriving.layout.fitting.lacks(headers)
        for name in stage.windows.names if lacks else ():
            column = self._inputs[name]
            if column is not None and (column in lacks or f"f_{column}" in lacks):
                self._whole_after(partition, name, latest_time(headers))

    def _whole_after(self, partition: Partition, name: str, time: int) -> None:
        self._whole_from[partition, name] = max(self._whole_from.get((partition, name), _LONG_AGO), time)

    def _of_portion(self, stage: Stage, featured: Featured) -> list[Replayed]:
        found = []
        for begin, end, meta in featured.metas:
            if meta.partition in self._truncated:  # the rows that are gone lie before the first that is left
                self._truncated.discard(meta.partition)
                latest = int(featured.rows.times[begin:end].max()) + self._lateness
                for name in stage.windows.names:
                    self._whole_after(meta.partition, name, latest)
            found += self._chosen(stage, featured.rows, begin, end, meta.partition)
        return found

    def _chosen(self, stage: Stage, rows: Rows, begin: int, end: int, partition: Partition) -> list[Replayed]:
        found = []
        for index, origin in enumerate(rows.origins):
            mask = np.zeros(len(rows), np.bool_)
            mask[begin:end] = rows.origin[begin:end] == index
            own = np.flatnonzero(mask)
            mask[own] = self._wanted.among(origin, rows.offsets[own])
            if mask.any():
                chosen = rows.only(mask)
                found.append(Replayed(stage, chosen, origin, self._whole(stage, chosen, partition)))
        return found

    def _whole(self, stage: Stage, rows: Rows, partition: Partition) -> dict[str, NDArray[np.bool_]]:
        names = [] if stage.arriving is not None else self._features
        whole = {name: np.ones(len(rows), np.bool_) for name in names}
        for name in stage.windows.names:
            after = self._whole_from.get((partition, name))
            everything = np.ones(len(rows), np.bool_)
            whole[name] = everything if after is None else rows.times > after + self._sizes[name]
        return whole


def gather(found: Found, replayed: Sequence[Replayed]) -> None:
    """Note the features of events that are whole, by event id and name; NaN is None."""
    for each in replayed:
        rows, place = each.rows, each.origin
        ids = [event_id(place.topic, place.index, offset, place.incarnation) for offset in rows.offsets.tolist()]
        kept = [found.setdefault(event, {}) for event in ids]
        for name, whole in each.whole.items():
            values = rows.features[name].to_list()
            for features, value, is_whole in zip(kept, values, whole.tolist(), strict=True):
                if is_whole:
                    features[name] = None if value is None or np.isnan(value) else value

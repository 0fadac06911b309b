"""Where an event's records stand: found by what is known of it, never by reading a whole topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from confluent_kafka import Message

from tidemark.errors import RecordError
from tidemark.features.windows import partitions_of
from tidemark.formats.arrow import from_ipc
from tidemark.kafka import headers_of
from tidemark.kafka.batches import batch_of
from tidemark.kafka.partitioning import partition_of
from tidemark.lineage.derivation import Derivation, Event, known
from tidemark.lineage.topic_reader import TopicReader, milliseconds, offset_of, value_of
from tidemark.pipeline import Pipeline
from tidemark.records import Prediction, decode
from tidemark.runtime.processor import Partition
from tidemark.selection.proposals import META, ProposalMeta, decode_proposals
from tidemark.stream.hops import decode_hop
from tidemark.stream.rows import Arrival
from tidemark.stream.stages import Stage

_GROWTH: Final = 4
_BEFORE: Final = 100
"""Rows in a row that lie before all windows: nothing older is in them."""
_PIECES: Final = 6
"""Records of one batch's proposals that are looked at."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a partition is read back for an event's windows.

    first: records that are read first.  records, rows: at most; a hop's record holds many rows.
    """

    first: int = 4_000
    records: int = 200_000
    rows: int | None = None

    def next_read(self, size: int, records: int, rows: int) -> int:
        """How many records to read next, 0: no more. size: read last.  records, rows: read so far."""
        left = self.records - records
        if self.rows is not None:
            left = min(left, (self.rows - rows) * records // max(rows, 1))
        return max(min(size * _GROWTH, left), 0)


class Finder:
    """Finds the records of events of one pipeline."""

    def __init__(self, pipeline: Pipeline, reader: TopicReader, derivation: Derivation) -> None:
        self._pipeline = pipeline
        self._reader = reader
        self._derivation = derivation

    def history(
        self, stage: Stage, partition: Partition, last: int, time: int, bounds: Bounds, *, whole: bool = False
    ) -> tuple[list[Arrival], bool]:
        """Rows of a partition up to a record, as far back as they can be in its windows.

        Args:
            stage: that the rows reach.
            partition: of the stage's topic.
            last: offset of the record.
            time: event time, µs.
            bounds: of what is read.
            whole: read so much, wherever the windows seem to begin.

        Returns:
            The rows, oldest first; and whether the beginnings of the windows were reached.

        """
        low, _ = self._reader.bounds(partition.topic, partition.index)
        since = time - self._derivation.reach(stage)
        begin, size, rows = last + 1, bounds.first, 0
        arrivals: list[Arrival] = []
        while begin > low and size:
            start = max(low, begin - size)
            messages = list(self._reader.read(partition.topic, partition.index, start, begin))
            if messages:
                found, _ = self._derivation.arrivals(stage, batch_of(partition, messages))
                arrivals = [*found, *arrivals]
                rows += sum(len(arrival.rows) for arrival in found)
                if not whole and found and _lies_before(found[0], since):
                    return arrivals, True
            begin, size = start, bounds.next_read(size, last + 1 - start, rows)
        return arrivals, begin <= low == 0

    def hop(self, stage: Stage, event: Event, key: str) -> Message | None:
        """The record that handed an event on to a stage; None: it is not there (any more, or yet)."""
        topic, index = stage.topics[0], self._hop_partition(key)
        place = _PlaceInHops(event)
        around = self._reader.search(topic, index, place.last, event.offset)
        return self._reader.near(topic, index, around, place.holds)

    def partition_of_hop(self, stage: Stage, key: str) -> Partition:
        """The partition that keeps a stage's windows of a key."""
        return Partition(stage.topics[0], self._hop_partition(key), "00000000")

    def handed_on(self, message: Message, event: Event) -> dict[str, float | None]:
        """Features of an event as the record that handed it on has them."""
        try:
            hop = decode_hop(value_of(message), headers_of(message))
        except RecordError:
            return {}
        own = [number for number, origin in enumerate(hop.origins) if origin == event.partition]
        row = hop.rows.filter(pl.col("_origin").is_in(own) & (pl.col("_offset") == event.offset))
        names = [name for name in row.columns if name.startswith("f_") and row.schema[name] == pl.Float64]
        return {name[2:]: known(row[name][0]) for name in names} if len(row) else {}

    def prediction(
        self, event_id: str, event: Event, key: str, hops: Sequence[Message]
    ) -> tuple[Prediction, int] | None:
        """What was predicted, and Kafka's timestamp of it, ms. hops: records that handed the event on."""
        topic = self._pipeline.topics.predictions
        partitions = self._reader.partitions(topic)
        if not partitions:
            return None
        index = partition_of(key.encode(), len(partitions))
        needle = b'"' + event_id.encode() + b'"'
        around = self._around(topic, index, event, hops)
        found = self._reader.near(topic, index, around, lambda message: needle in value_of(message))
        if found is None:
            return None
        try:
            prediction = decode(Prediction, value_of(found))
        except RecordError:
            return None
        return (prediction, milliseconds(found)) if prediction.event_id == event_id else None

    def features(self, event_id: str, partition: int, predicted_at: int) -> dict[str, float | None] | None:
        """Features of an event as `P.features` has them; None: they are not there.

        partition: of the last stage.  predicted_at: Kafka's timestamp of the prediction, ms.
        """
        topic = self._pipeline.topics.features
        if partition not in self._reader.partitions(topic):
            return None
        needle = event_id.encode()
        around = self._reader.at_time(topic, partition, predicted_at)
        _, high = self._reader.bounds(topic, partition)
        found = self._reader.near(
            topic, partition, high if around is None else around, lambda message: needle in value_of(message)
        )
        if found is None:
            return None
        try:
            rows = from_ipc(value_of(found), "features")
        except RecordError:
            return None
        own = rows.filter(pl.col("event_id") == event_id) if "event_id" in rows.columns else rows[:0]
        if not len(own):
            return None
        return {
            name: None if own[name][0] is None or not np.isfinite(own[name][0]) else float(own[name][0])
            for name in self._pipeline.feature_names
            if name in own.columns and own.schema[name] == pl.Float64
        }

    def proposed(
        self, event_id: str, topic: str, partition: int, offset: int
    ) -> tuple[int | None, pl.DataFrame | None]:
        """The proposals of the batch that an event was in: their offset, and the event's own row if it was proposed.

        topic, partition, offset: where the event's record of the last stage stands.
        """
        proposals = self._pipeline.topics.proposals
        if not self._reader.partitions(proposals):
            return None, None
        place = _PlaceInProposals(topic, partition, offset)
        around = self._reader.search(proposals, 0, place.first, offset)
        found = self._reader.near(proposals, 0, around, place.covers)
        if found is None:
            return None, None
        at = offset_of(found)
        for message in self._reader.read(proposals, 0, max(at - _PIECES, 0), at + _PIECES):
            if not place.covers(message) or event_id.encode() not in value_of(message):
                continue
            try:
                rows = decode_proposals(value_of(message), headers_of(message)).rows
            except RecordError:
                continue
            own = rows.filter(pl.col("event_id") == event_id)
            if len(own):
                return offset_of(message), own
        return at, None

    def _hop_partition(self, key: str) -> int:
        return int(partitions_of(pl.Series([key]), self._pipeline.partitions)[0])

    def _around(self, topic: str, index: int, event: Event, hops: Sequence[Message]) -> int:
        if hops:
            around = self._reader.at_time(topic, index, milliseconds(hops[-1]))
            return self._reader.bounds(topic, index)[1] if around is None else around
        head = f'"{event.partition.topic}-{event.partition.index}-'.encode()
        tail = f'-{event.partition.incarnation}"'.encode()

        def place(message: Message) -> int | None:
            _, found, rest = value_of(message).partition(head)
            number = rest.partition(tail)[0] if found else b""
            return int(number) if number.isdigit() and len(number) < 20 else None

        return self._reader.search(topic, index, place, event.offset)


class _PlaceInHops:
    """Where a hop's rows of one raw partition stand in it."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._packed = event.offset.to_bytes(8, "little")
        self._named = f'"{event.partition.topic}",{event.partition.index},"{event.partition.incarnation}"'.encode()

    def _offsets(self, message: Message) -> list[int]:
        headers = headers_of(message)
        if not any(self._named in (content or b"") for _, content in headers or ()):
            return []
        try:
            hop = decode_hop(value_of(message), headers)
        except RecordError:
            return []
        own = [number for number, origin in enumerate(hop.origins) if origin == self._event.partition]
        found: list[int] = hop.rows.filter(pl.col("_origin").is_in(own))["_offset"].to_list()
        return found

    def last(self, message: Message) -> int | None:
        """The highest offset among them."""
        return max(self._offsets(message), default=None)

    def holds(self, message: Message) -> bool:
        """Whether the event is among them. Its offset is looked for in the bytes first, which are not compressed."""
        return self._packed in value_of(message) and self._event.offset in self._offsets(message)


class _PlaceInProposals:
    """Where the proposals of batches of one partition stand."""

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        self._topic, self._partition, self._offset = topic, partition, offset

    def _meta(self, message: Message) -> ProposalMeta | None:
        told = next((content for name, content in headers_of(message) or () if name == META), None)
        try:
            meta = decode(ProposalMeta, told)
        except RecordError:
            return None
        return meta if (meta.topic, meta.partition) == (self._topic, self._partition) else None

    def first(self, message: Message) -> int | None:
        """The first offset of a batch of the partition."""
        meta = self._meta(message)
        return None if meta is None else meta.first_offset

    def covers(self, message: Message) -> bool:
        """Whether a batch is the one that the record was in."""
        meta = self._meta(message)
        if meta is None or meta.first_offset is None or meta.last_offset is None:
            return False
        return meta.first_offset <= self._offset <= meta.last_offset


def oldest_time(arrivals: Sequence[Arrival]) -> int:
    """Event time, µs, up to which rows may lie before those that were read. arrivals: oldest first, some of them."""
    return int(arrivals[0].rows.times[:_BEFORE].max())


def _lies_before(arrival: Arrival, since: int) -> bool:
    """Whether rows begin with some, all of which lie before a time (µs)."""
    bounded = arrival.rows.bounded
    return len(bounded) >= 2 * _BEFORE and bool((bounded[:_BEFORE] <= since).all())

"""How far a stream flow has come, told by what it has published: where its committed offsets are lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

import msgspec
import numpy as np

from tidemark.errors import RecordError
from tidemark.pipeline import Pipeline
from tidemark.records.event_id import parse_event_id
from tidemark.runtime.processor import Headers, Partition
from tidemark.stream.hops import decode_hop

_Event = tuple[Partition, int]


class _Named(msgspec.Struct):
    event_id: str


_decode_name: Final = msgspec.json.Decoder(_Named).decode


class Published(NamedTuple):
    """A record of a topic."""

    partition: int
    offset: int
    value: bytes | None
    headers: Headers | None


Read = Callable[[str], Iterable[Published]]


def handled(pipeline: Pipeline, read: Read, incarnations: dict[str, str]) -> dict[Partition, int]:
    """Offsets up to which each partition has been handled, by what came of its records.

    A partition's records are handled in order, so all before the last one that something came of have been. A partition
    of which nothing is published is absent.

    Args:
        pipeline: whose flow it is.
        read: gives every committed record of a topic, oldest first in each partition.
        incarnations: of each topic that the flow reads.

    Returns:
        By partition the offset behind the last record that was handled.

    """
    done: dict[Partition, int] = {}
    _from_letters(read(pipeline.topics.deadletter), incarnations, done)
    stages = pipeline.hop_topics
    known = _predicted(read(pipeline.topics.predictions))
    for topic in reversed(stages):
        events: dict[Partition, list[int]] = {}
        for record in read(topic):
            rows = _rows(record)
            where = Partition(topic, record.partition, incarnations[topic])
            if any(np.isin(offsets, known.get(origin, _NONE)).any() for origin, offsets in rows):
                _note(done, where, record.offset)
            for origin, offsets in rows:
                events.setdefault(origin, []).extend(offsets.tolist())
        known = {origin: np.unique(np.array(offsets, np.int64)) for origin, offsets in events.items()}
    for origin, offsets in known.items():
        if incarnations.get(origin.topic) == origin.incarnation and len(offsets):
            _note(done, origin, int(offsets.max()))
    return done


def first_handled(
    pipeline: Pipeline, read: Read, incarnations: dict[str, str], asked: Collection[Partition]
) -> Partition | None:
    """One of some partitions of which something was published; None if nothing was of any.

    It ends with the first record that tells, and holds none; partitions of hops alone need `handled`.

    Args:
        pipeline: whose flow it is.
        read: gives every committed record of a topic, oldest first in each partition.
        incarnations: of each topic that the flow reads.
        asked: the partitions that are asked about.

    Returns:
        A partition of which something was published.

    """
    for record in read(pipeline.topics.predictions):
        event = _event(record)
        if event is not None and event[0] in asked:
            return event[0]
    for topic in pipeline.hop_topics:
        for record in read(topic):
            found = next((origin for origin, _ in _rows(record) if origin in asked), None)
            if found is not None:
                return found
    letters: dict[Partition, int] = {}
    _from_letters(read(pipeline.topics.deadletter), incarnations, letters)
    found = next((partition for partition in letters if partition in asked), None)
    if found is None and any(partition.topic in pipeline.hop_topics for partition in asked):
        found = next((one for one in handled(pipeline, read, incarnations) if one in asked), None)
    return found


_NONE: Final = np.empty(0, np.int64)


def _note(done: dict[Partition, int], where: Partition, offset: int) -> None:
    done[where] = max(done.get(where, 0), offset + 1)


def _predicted(records: Iterable[Published]) -> dict[Partition, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    offsets: dict[Partition, list[int]] = {}
    for record in records:
        event = _event(record)
        if event is not None:
            offsets.setdefault(event[0], []).append(event[1])
    return {origin: np.unique(np.array(found, np.int64)) for origin, found in offsets.items()}


def _event(record: Published) -> _Event | None:
    """The event that a record is of; None if it is somebody else's, which tells of no event of ours."""
    try:
        event = parse_event_id(_decode_name(record.value or b"").event_id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecordError):
        return None
    return Partition(event.topic, event.partition, event.incarnation), event.offset


def _rows(record: Published) -> list[tuple[Partition, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    try:
        hop = decode_hop(record.value, record.headers)
    except RecordError:
        return []  # a dead letter tells of it
    origin, offsets = hop.rows["_origin"].to_numpy(), hop.rows["_offset"].to_numpy()
    return [(partition, offsets[origin == i]) for i, partition in enumerate(hop.origins)]


def _from_letters(records: Iterable[Published], incarnations: dict[str, str], done: dict[Partition, int]) -> None:
    for record in records:
        told = {name: (content or b"").decode(errors="replace") for name, content in record.headers or []}
        topic, number, offset = (told.get(f"source_{part}", "") for part in ("topic", "partition", "offset"))
        if number.isdecimal() and offset.isdecimal() and incarnations.get(topic) == told.get("source_incarnation"):
            _note(done, Partition(topic, int(number), incarnations[topic]), int(offset))

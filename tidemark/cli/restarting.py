"""What a reset needs to know of a flow: how far it has come, and with which metadata it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dataflows.engine.lost_offsets import published
from dataflows.engine.offset_reset import Place
from tidemark.errors import ConfigError
from tidemark.kafka.headers import headers_of
from tidemark.kafka.reading import each_record
from tidemark.pipeline import Pipeline
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings
from tidemark.selection.restart import Stored, again, anew, ledger, resume
from tidemark.stream.checkpoint import Position, pack
from tidemark.stream.published import handled

_LONGEST: Final = 3_600.0
"""Seconds that reading a topic of days may take."""


def again_metadata() -> str:
    """Metadata with which a partition of the stream flow is read from the oldest record on, to rebuild its windows."""
    return pack(Position(rebuild=True))


def restarted_stream(pipeline: Pipeline, settings: Settings, places: Sequence[Place]) -> dict[Partition, int]:
    """Up to where each partition has been handled: what the flow has committed, else what it has published."""
    if all(place.committed is not None for place in places):
        told: dict[Partition, int] = {}
    else:
        incarnations = {place.partition.topic: place.partition.incarnation for place in places}
        told = handled(pipeline, lambda topic: published(settings, topic), incarnations)
    return {
        place.partition: place.committed
        if place.committed is not None
        else min(max(told.get(place.partition, 0), place.low), place.end)
        for place in places
    }


def restarted_select(
    pipeline: Pipeline, settings: Settings, place: Place, *, trusted: bool = True
) -> tuple[int, str, str, str]:
    """Where selection goes on.

    Args:
        pipeline: whose selection it is.
        settings: name the Kafka.
        place: the partition of its proposals.
        trusted: whether to take what the flow has committed, where it has; else what it has asked tells.

    Returns:
        The offset; the metadata that holds there; metadata to go on with elsewhere; and to ask everything again with.

    """
    topics = pipeline.topics
    known = ledger(pipeline, _stored(settings, topics.candidates), _stored(settings, topics.metrics))
    elsewhere = anew(pipeline, known), again(pipeline, known)
    if trusted and place.committed is not None:
        return place.committed, place.metadata, *elsewhere
    end = place.end if place.committed is None else place.committed
    offset, metadata = resume(pipeline, place.partition, _stored(settings, topics.proposals), end, known)
    return offset, metadata, *elsewhere


def committed_everywhere(places: Sequence[Place], group: str) -> None:
    """Refuse places of which the flow has committed nothing.

    Raises:
        ConfigError: something else has committed offsets there.

    """
    foreign = next((place for place in places if place.foreign), None)
    if foreign is not None:
        raise ConfigError(
            f"the offset of {foreign.partition.topic} partition {foreign.partition.index} in {group} was committed by "
            "something else than the flow; use `tidemark reset` first"
        )


def _stored(settings: Settings, topic: str) -> Iterator[Stored]:
    for message in each_record(settings, topic, timeout=_LONGEST, settled=True):
        yield Stored(message.offset() or 0, message.timestamp()[1], message.value(), headers_of(message))

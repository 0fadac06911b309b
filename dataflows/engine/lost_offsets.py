"""Offsets that are gone while what came of them is there: a flow that began anew would publish all of it again.

Kafka deletes the offsets of a group that has had no member for a week (`offsets.retention.minutes`), and an operator
may delete them. Offsets and outputs are committed in one transaction, so that outputs of a partition without an offset
tell that it had one. A pipeline that has published nothing begins as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from dataflows.engine.offset_reset import Group, Place
from tidemark.errors import RecordError, TopicError
from tidemark.kafka.headers import headers_of
from tidemark.kafka.reading import each_record
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate, decode
from tidemark.records.event_id import parse_event_id
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings
from tidemark.stream.published import Published, first_handled

_LONGEST: Final = 3_600.0
"""Seconds that reading a topic of days may take."""
Told = Callable[[dict[str, str], Collection[Partition]], Partition | None]
"""One of some partitions of which something was published, by the incarnations of the flow's topics."""


def published(settings: Settings, topic: str) -> Iterator[Published]:
    """Every committed record of a topic.

    Args:
        settings: that name the Kafka.
        topic: its name.

    Yields:
        The records.

    Raises:
        BrokerError: Kafka does not answer, or the end is not reached in an hour.

    """
    for message in each_record(settings, topic, timeout=_LONGEST, settled=True):
        yield Published(message.partition() or 0, message.offset() or 0, message.value(), headers_of(message))


def check_stream(pipeline: Pipeline, settings: Settings) -> None:
    """Refuse to begin where the stream flow's offsets are gone and its outputs are there.

    Args:
        pipeline: whose flow is about to start.
        settings: that name the Kafka.

    Raises:
        TopicError: says what happened, and how to go on.
        BrokerError: Kafka does not answer.

    """
    group = Group(settings, f"{pipeline.name}.stream")

    def told(incarnations: dict[str, str], asked: Collection[Partition]) -> Partition | None:
        return first_handled(pipeline, lambda topic: _published(settings, group, topic), incarnations, asked)

    _check(pipeline, group, "stream", [*pipeline.raw_topics, *pipeline.hop_topics], told)


def check_select(pipeline: Pipeline, settings: Settings) -> None:
    """Refuse to begin where the select flow's offsets are gone and it has asked for cases.

    Args:
        pipeline: whose flow is about to start.
        settings: that name the Kafka.

    Raises:
        TopicError: says what happened, and how to go on.
        BrokerError: Kafka does not answer.

    """
    group = Group(settings, f"{pipeline.name}.select")

    def told(_: dict[str, str], asked: Collection[Partition]) -> Partition | None:
        raw = {place.partition for place in group.places(group.present(pipeline.raw_topics))}
        for record in _published(settings, group, pipeline.topics.candidates):
            try:
                candidate = decode(Candidate, record.value)
                event = parse_event_id(candidate.event_id)
            except RecordError:
                continue  # somebody else's
            if candidate.reason != "imported" and Partition(event.topic, event.partition, event.incarnation) in raw:
                return next(iter(asked))
        return None

    _check(pipeline, group, "select", [pipeline.topics.proposals], told)


def _published(settings: Settings, group: Group, topic: str) -> Iterator[Published]:
    return published(settings, topic) if group.present([topic]) else iter(())


def _check(pipeline: Pipeline, group: Group, flow: str, topics: Sequence[str], told: Told) -> None:
    places = group.places(group.present(topics))  # whoever reads a topic that is missing says so
    while asked := _without_offset(places):
        incarnations = {place.partition.topic: place.partition.incarnation for place in places}
        found = told(incarnations, {place.partition for place in asked})
        if found is None:
            return
        # Another process of the flow may have committed its first rows since the offsets were asked for.
        places = group.places(group.present(topics))
        if any(place.partition == found for place in _without_offset(places)):
            raise TopicError(
                f"{pipeline.name}.{flow}: Kafka holds no offset of {found.topic!r} partition {found.index}, but what "
                "the flow published of it is there: the offsets were deleted, or have expired while no process ran "
                "(offsets.retention.minutes, 7 days). To begin anew would publish all of it again. Run "
                f"`tidemark reset {pipeline.name}.toml {flow} --to earliest`: windows are rebuilt, and nothing is "
                "published twice (unless --publish-again is added)"
            )


def _without_offset(places: Sequence[Place]) -> list[Place]:
    return [place for place in places if place.committed is None and not place.foreign and place.end > 0]

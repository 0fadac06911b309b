"""Offsets that are gone while what came of them is there: a flow that began anew would publish all of it again.

Kafka deletes the offsets of a group that has had no member for a week (`offsets.retention.minutes`), and an operator
may delete them. Offsets and outputs are committed in one transaction, so that outputs of a partition without an offset
tell that it had one: each flow has a function here that looks for them. A pipeline that has published nothing begins as
ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from dataflows.engine.offset_reset import Group, Place
from dataflows.engine.start_offsets import how_to_reset
from tidemark.errors import RecordError, TopicError
from tidemark.flows import FLOWS
from tidemark.kafka.headers import headers_of
from tidemark.kafka.reading import each_record
from tidemark.monitoring.steps.measure import RATE
from tidemark.pipeline import Pipeline
from tidemark.publishing import WRITTEN_BY
from tidemark.records import Candidate, Metric, ModelManifest, decode
from tidemark.records.event_id import parse_event_id
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings
from tidemark.stream.published import Published, first_handled

_LONGEST: Final = 3_600.0
"""Seconds that reading a topic of days may take."""


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


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known of a flow that is about to start. lost: partitions that have records and no offset."""

    pipeline: Pipeline
    settings: Settings
    group: Group
    places: list[Place]

    @property
    def lost(self) -> list[Place]:
        return [place for place in self.places if place.committed is None and not place.foreign and place.end > 0]

    def published(self, topic: str) -> Iterator[Published]:
        """Committed records of a topic; none where there is no such topic yet."""
        return published(self.settings, topic) if self.group.present([topic]) else iter(())


def check_offsets(pipeline: Pipeline, settings: Settings, flow: str) -> None:
    """Refuse to begin where a flow's offsets are gone and what it published is there.

    Args:
        pipeline: whose flow is about to start.
        settings: that name the Kafka.
        flow: its name.

    Raises:
        TopicError: says what happened, and how to go on.
        BrokerError: Kafka does not answer.

    """
    group, topics = Group(settings, f"{pipeline.name}.{flow}"), FLOWS.get(flow).reads(pipeline)

    def look() -> _Look:  # whoever reads a topic that is missing says so
        return _Look(pipeline, settings, group, group.places(group.present(topics)))

    now = look()
    while now.lost:
        found = _TOLD[flow](now)
        if found is None:
            return
        # Another process of the flow may have committed its first rows since the offsets were asked for.
        now = look()
        if any(place.partition == found for place in now.lost):
            raise TopicError(
                f"{pipeline.name}.{flow}: Kafka holds no offset of {found.topic!r} partition {found.index}, but what "
                "the flow published of it is there: the offsets were deleted, or have expired while no process ran "
                "(offsets.retention.minutes, 7 days). To begin anew would publish all of it again. Run "
                + how_to_reset(pipeline.name, flow)
            )


def _told_by_stream(look: _Look) -> Partition | None:
    incarnations = {place.partition.topic: place.partition.incarnation for place in look.places}
    return first_handled(look.pipeline, look.published, incarnations, {place.partition for place in look.lost})


def _told_by_select(look: _Look) -> Partition | None:
    raw = {place.partition for place in look.group.places(look.group.present(look.pipeline.raw_topics))}
    for record in look.published(look.pipeline.topics.candidates):
        try:
            candidate = decode(Candidate, record.value)
            event = parse_event_id(candidate.event_id)
        except RecordError:
            continue  # somebody else's
        if candidate.reason != "imported" and Partition(event.topic, event.partition, event.incarnation) in raw:
            return look.lost[0].partition
    return None


def _told_by_retrain(look: _Look) -> Partition | None:
    for record in look.published(look.pipeline.topics.models):
        try:
            manifest = decode(ModelManifest, record.value)
        except RecordError:
            continue  # a model's text, or what else the topic holds
        for labels in manifest.trained_on:
            learnt = Partition(labels.topic, labels.partition, labels.incarnation)
            if any(place.partition == learnt for place in look.lost):
                return learnt
    return None


def _told_by_monitor(look: _Look) -> Partition | None:
    """Its metrics name no partition, and are committed with the offsets of all: lost are all offsets or none."""
    if any(place.committed is not None or place.foreign or place.stale for place in look.places):
        return None
    for record in look.published(look.pipeline.topics.metrics):
        try:
            metric = decode(Metric, record.value)
        except RecordError:
            continue  # somebody else's
        if metric.name == RATE:
            return look.lost[0].partition
    return None


def _told_by_publish(look: _Look) -> Partition | None:
    own = look.pipeline.name.encode()
    for topic in dict.fromkeys(output.topic for output in look.pipeline.outputs):
        if any(dict(record.headers or ()).get(WRITTEN_BY) == own for record in look.published(topic)):
            return look.lost[0].partition
    return None


def _told_by_decide(look: _Look) -> Partition | None:
    """It knows what it has decided: what is read again is decided once all the same."""
    del look
    return None


_TOLD: Final[dict[str, Callable[[_Look], Partition | None]]] = {
    "stream": _told_by_stream,
    "select": _told_by_select,
    "retrain": _told_by_retrain,
    "monitor": _told_by_monitor,
    "publish": _told_by_publish,
    "decide": _told_by_decide,
}
"""By flow: a partition without an offset of which something was published, if there is one."""

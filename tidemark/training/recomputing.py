"""Features of labeled events that were computed by other definitions than the pipeline file has now.

They are computed again from the raw topics and hops, as far back as those reach, by the stream's own engine. What was
found is kept in `P.label-features`, in the transaction of the training that uses it: raw records are removed by
retention, and what was once recomputed must not be lost with them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
import polars as pl
from confluent_kafka import KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tidemark.errors import BrokerError, RecordError, TopicError
from tidemark.features.rows import DerivedFeatures
from tidemark.kafka import admin, headers_of_each, read_all, read_spans, topic_incarnation
from tidemark.kafka.passing import asked_until, topic_metadata
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import definitions
from tidemark.records import Label, LabelFeatures, decode
from tidemark.records.event_id import EventPosition, parse_event_id
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.settings import Settings
from tidemark.stream.replaying import FeatureReplay, Found

_ROWS: Final = 2_000
_TIMEOUT: Final = 10.0
_LONGEST: Final = 900.0
"""Seconds of a replay: half of what the group waits for a member. What it has not reached by then stays missing."""
_log = logging.getLogger(__name__)


class Recomputing(Protocol):
    """Where recomputed features come from."""

    def stored(self) -> dict[str, LabelFeatures]:
        """What was recomputed so far, by event id."""
        ...

    def features(self, known: Mapping[str, Mapping[str, float | None]], labels: Sequence[Label]) -> Found:
        """Features of labeled events, by name, as far as they can be computed.

        Args:
            known: of each event those features that need not be computed, by name.
            labels: of the events.

        """
        ...


class Recomputer:
    """Recomputes from Kafka."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline = pipeline
        self._settings = settings

    def stored(self) -> dict[str, LabelFeatures]:
        """What `P.label-features` holds. A record that is none of ours is logged and passed over.

        Raises:
            BrokerError: Kafka does not answer in time.

        """
        topic = self._pipeline.topics.label_features
        found: dict[str, LabelFeatures] = {}
        # What the flow committed a moment ago, perhaps in another process, must be seen: raw records may be gone.
        for message in read_all(self._settings, topic, settled=True):
            try:
                record = decode(LabelFeatures, message.value())
                parse_event_id(record.event_id)
            except RecordError as error:
                _log.error("%s at offset %s: %s", topic, message.offset(), error)
                continue
            found[record.event_id] = record
        return found

    def features(self, known: Mapping[str, Mapping[str, float | None]], labels: Sequence[Label]) -> Found:
        """As `Recomputing` has it.

        Raises:
            BrokerError: Kafka does not answer.

        """
        events = [parse_event_id(label.event_id) for label in labels]
        missing = {name for name in self._pipeline.feature_names for each in labels if name not in known[each.event_id]}
        replay = FeatureReplay(self._pipeline, events)
        begun = time.monotonic()
        first = min((label.time for label in labels), default=0)
        for topic in self._topics(missing):
            for partition, start, end, truncated in self._ranges(topic, events, first):
                replay.begin(partition, truncated=truncated)
                self._read(replay, partition, start, end, begun + _LONGEST)
        found = {label.event_id: {**replay.found.get(label.event_id, {}), **known[label.event_id]} for label in labels}
        _log.info("features of %d labeled events recomputed in %.1f s", len(labels), time.monotonic() - begun)
        return with_derived(self._pipeline, found)

    def _topics(self, missing: set[str]) -> list[str]:
        pipeline = self._pipeline
        own = {feature.name for feature in pipeline.features}
        windows = {window.name: window.key for window in pipeline.windows}
        needed = {windows.get(name) for name in missing if name in windows}
        hops = pipeline.hops
        first = pipeline.keys[0] in needed and pipeline.keys[0] not in hops
        topics = list(pipeline.raw_topics) if missing & own or first else []
        return topics + [pipeline.topics.hop(key) for key in hops if key in needed]

    def _ranges(
        self, topic: str, events: Sequence[EventPosition], first: int
    ) -> list[tuple[Partition, int, int, bool]]:
        """Partitions to read, from where to where, and whether retention has removed what they need.

        A row of event time t has a timestamp of at least t less `max_ahead`, or it is a dead letter. So what lies
        before the first record of such a timestamp is in no window that is asked for.
        """
        client = admin(self._settings)
        try:
            incarnation = topic_incarnation(client, topic, timeout=_TIMEOUT)
        except TopicError as error:
            _log.warning("features can't be recomputed from %s: %s", topic, error)
            return []
        raw = topic in self._pipeline.raw_topics
        last: dict[int, int] = {}
        for event in events:
            if not raw or (event.topic, event.incarnation) == (topic, incarnation):
                last[event.partition] = max(last.get(event.partition, 0), event.offset + 1)
        indexes = list(last) if raw else _partitions(client, topic)
        reach = max((window.size for window in self._pipeline.windows), default=0) + 2 * self._pipeline.time.lateness
        since = max(first - reach - self._pipeline.time.max_ahead, 0) // 1_000
        low = _offsets(client, topic, indexes, OffsetSpec.earliest())
        high = _offsets(client, topic, indexes, OffsetSpec.latest())
        timed = _offsets(client, topic, indexes, OffsetSpec.for_timestamp(since))
        ranges = []
        for index in indexes:
            start = max(timed[index], low[index]) if timed[index] >= 0 else high[index]
            end = min(last[index], high[index]) if raw else high[index]
            if start < end:
                truncated = start == low[index] > 0
                ranges.append((Partition(topic, index, incarnation), start, end, truncated))
        return ranges

    def _read(self, replay: FeatureReplay, partition: Partition, start: int, end: int, deadline: float) -> None:
        spans = {(partition.topic, partition.index): (start, end)}
        left = deadline - time.monotonic()
        try:
            for messages in read_spans(self._settings, spans, group="tidemark-recompute", timeout=left, most=_ROWS):
                replay.take(_batch(partition, messages))
        except BrokerError as error:
            if time.monotonic() < deadline:
                raise
            _log.warning("recomputing features took too long, and the rest is missing: %s", error)


def with_derived(pipeline: Pipeline, found: Found) -> Found:
    """The features with the derived ones that can be computed from them: those of which every feature is known."""
    derive = DerivedFeatures(pipeline)
    reads = {each.name: each.reads for each in definitions(pipeline).values()}
    plain = [name for name in pipeline.feature_names if name not in derive.names]
    rows = list(found.values())
    table = pl.DataFrame(
        {name: [float("nan") if (value := row.get(name)) is None else value for row in rows] for name in plain},
        schema=dict.fromkeys(plain, pl.Float64),
    )
    whole = derive(table)
    for name in derive.names:
        for row, value in zip(rows, whole[name].to_list(), strict=True):
            if name not in row and all(read in row for read in reads[name]):
                row[name] = None if value is None or np.isnan(value) else value
    return found


def _offsets(client: AdminClient, topic: str, indexes: Iterable[int], spec: OffsetSpec) -> dict[int, int]:
    asked = {TopicPartition(topic, index): spec for index in indexes}
    if not asked:
        return {}

    def ask() -> dict[int, int]:
        futures = client.list_offsets(asked, request_timeout=_TIMEOUT)
        return {where.partition: future.result(_TIMEOUT).offset for where, future in futures.items()}

    try:
        return asked_until(time.monotonic() + _TIMEOUT, ask)
    except (KafkaException, TimeoutError) as error:
        raise BrokerError(f"{topic}: Kafka does not tell its offsets ({error}); it is asked again") from error


def _partitions(client: AdminClient, topic: str) -> list[int]:
    try:
        return list(topic_metadata(client, topic, _TIMEOUT).partitions)
    except KafkaException as error:
        raise BrokerError(f"{topic}: Kafka does not tell its partitions ({error}); it is asked again") from error


def _batch(partition: Partition, messages: list[Message]) -> Batch:
    return Batch(
        partition,
        np.array([message.offset() for message in messages], np.int64),
        np.array([message.timestamp()[1] for message in messages], np.int64),
        [_bytes(message.key()) for message in messages],
        [_bytes(message.value()) for message in messages],
        headers_of_each(messages),
    )


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content

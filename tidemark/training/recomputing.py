"""Features of labeled events that were computed by other definitions than the pipeline file has now.

They are computed again from the raw topics and hops, as far back as those reach, by the stream's own engine. What was
found is kept in `P.label-features`, in the transaction of the training that uses it: raw records are removed by
retention, and what was once recomputed must not be lost with them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np
import polars as pl

from tidemark.errors import BrokerError, RecordError, TopicError
from tidemark.features.rows import DerivedFeatures
from tidemark.kafka import read_all
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import definitions
from tidemark.records import Label, LabelFeatures, decode
from tidemark.records.event_id import EventPosition, parse_event_id
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings
from tidemark.stream.past import Past
from tidemark.stream.replaying import Events, FeatureReplay, Found, gather

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
        begun = time.monotonic()
        recomputed = self._recomputed(events, self._topics(missing), min((label.time for label in labels), default=0))
        found = {label.event_id: {**recomputed.get(label.event_id, {}), **known[label.event_id]} for label in labels}
        _log.info("features of %d labeled events recomputed in %.1f s", len(labels), time.monotonic() - begun)
        return with_derived(self._pipeline, found)

    def _recomputed(self, events: Sequence[EventPosition], topics: Sequence[str], first: int) -> Found:
        """Features of events by what topics hold. first: event time of the earliest, µs."""
        replay, past, found = (
            FeatureReplay(self._pipeline, Events(events)),
            Past(self._pipeline, self._settings),
            Found(),
        )
        last: dict[Partition, int] = {}
        for event in events:
            place = Partition(event.topic, event.partition, event.incarnation)
            last[place] = max(last.get(place, 0), event.offset + 1)
        deadline = time.monotonic() + _LONGEST
        for topic in topics:
            try:
                spans = past.ranges(topic, first, last if topic in self._pipeline.raw_topics else None)
            except TopicError as error:
                _log.warning("features can't be recomputed from %s: %s", topic, error)
                continue
            for span in spans:
                replay.begin(span.partition, truncated=span.truncated)
                try:
                    for batch in past.read(span, timeout=deadline - time.monotonic()):
                        gather(found, replay.take(batch)[0])
                except BrokerError as error:
                    if time.monotonic() < deadline:
                        raise
                    _log.warning("recomputing features took too long, and the rest is missing: %s", error)
                replay.end(span.partition)
        return found

    def _topics(self, missing: set[str]) -> list[str]:
        pipeline = self._pipeline
        own = {feature.name for feature in pipeline.features}
        windows = {window.name: window.key for window in pipeline.windows}
        needed = {windows.get(name) for name in missing if name in windows}
        hops = pipeline.hops
        first = pipeline.keys[0] in needed and pipeline.keys[0] not in hops
        topics = list(pipeline.raw_topics) if missing & own or first else []
        return topics + [pipeline.topics.hop(key) for key in hops if key in needed]


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

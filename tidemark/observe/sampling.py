"""How many records topics hold, how fast they grow, and how long predictions take: from their last records alone.

The end offset of a topic counts transactions' markers, which are no records. So the last few hundred offsets of each
partition are read: what share of them are records holds for the rest, about. A topic that is no longer than that is
counted exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from tidemark.errors import BrokerError, RecordError
from tidemark.kafka import connect, consumer, read_spans
from tidemark.kafka.ends import beginnings
from tidemark.kafka.ends import ends as topic_ends
from tidemark.kafka.passing import topic_metadata
from tidemark.records.event_id import parse_event_id
from tidemark.runtime.settings import Settings

MOST: Final = 300
"""Offsets that are read from the end of a partition of a long topic."""
WHOLE: Final = 10_000
"""Offsets of a topic that is read whole, and so counted exactly."""
MINUTE: Final = 60.0
"""Seconds over which rates are taken."""
_TIMEOUT: Final = 5.0
_PATIENCE: Final = 2.0
_EVENT_TIMES: Final = 3_600.0
_FARTHEST: Final = 3_000

Ends = Mapping[str, Mapping[int, int]]
_Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Count:
    """Records of a topic. exact: all were counted, else about.  a_second: new ones, over the last minute.

    spans: of each partition the first offset that is kept, and its end.  handled: of dead letters, those that somebody
    has dealt with; None of others, and where nobody has looked.
    """

    records: int
    exact: bool
    a_second: float
    spans: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    handled: int | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from an event's record in Kafka to its prediction's, over the last `n` predictions, by Kafka's clock."""

    p50: float
    p99: float
    n: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read.

    counts: by topic.  latency: None where nothing was predicted lately, or (`event_times`) where producers write the
    events' own times as Kafka's, so that nobody knows when a record came.
    """

    counts: dict[str, Count]
    latency: Latency | None
    event_times: bool = False


class _Named(msgspec.Struct):
    event_id: str


def sample(settings: Settings, client: AdminClient, ends: Ends, *, predictions: str, now: float) -> Sample:
    """Counts of topics and the latency of predictions.

    Args:
        settings: that name the Kafka.
        client: connected to it.
        ends: end offsets by topic and partition, of the topics to count.
        predictions: name of the topic of predictions.
        now: seconds since 1970.

    Returns:
        What the topics' last records tell.

    Raises:
        BrokerError: Kafka does not answer.

    """
    first = _earliest(client, ends)
    before = _offsets_at(settings, ends, int((now - MINUTE) * 1_000))
    starts: dict[_Place, int] = {}
    for topic, partitions in ends.items():
        begin = {partition: min(first.get((topic, partition), 0), end) for partition, end in partitions.items()}
        whole = sum(partitions.values()) - sum(begin.values()) <= WHOLE
        for partition, end in partitions.items():
            starts[topic, partition] = begin[partition] if whole else max(begin[partition], end - MOST)
    spans = {place: (start, ends[place[0]][place[1]]) for place, start in starts.items()}
    read, unread = _read(settings, spans)
    counts = {}
    for topic, partitions in ends.items():
        places = [(topic, partition) for partition in partitions]
        looked_at = sum(_reached(read[place], spans[place], cut=place in unread) for place in places)
        found = sum(len(read[place]) for place in places)
        held = sum(max(spans[place][1] - first.get(place, 0), 0) for place in places)
        share = found / looked_at if looked_at else float(held > 0)
        recent = sum(max(spans[place][1] - before.get(place, spans[place][1]), 0) for place in places)
        counts[topic] = Count(
            found if held == looked_at else round(held * share),
            held == looked_at,
            recent * share / MINUTE,
            {place[1]: (first.get(place, 0), spans[place][1]) for place in places},
        )
    told = [message for place, messages in read.items() if place[0] == predictions for message in messages]
    latency, event_times = _latency(settings, told, ends)
    return Sample(counts, latency, event_times)


def _earliest(client: AdminClient, ends: Ends) -> dict[_Place, int]:
    """First offset of each partition."""
    try:
        found = beginnings(client, ends, timeout=_TIMEOUT)
    except KafkaException as error:
        raise BrokerError(f"Kafka does not tell where topics begin: {error.args[0].str()}") from error
    return {
        (topic, partition): offset
        for topic, offsets in found.items()
        for partition, offset in zip(ends[topic], offsets, strict=True)
    }


def _offsets_at(settings: Settings, ends: Ends, moment: int) -> dict[_Place, int]:
    """Offset of each partition's first record since a moment (ms); a partition that has none is absent."""
    asked = [TopicPartition(topic, partition, moment) for topic, partitions in ends.items() for partition in partitions]
    if not asked:
        return {}
    reader = consumer(settings, group="tidemark-observe")
    try:
        found = reader.offsets_for_times(asked, timeout=_TIMEOUT)
    except KafkaException as error:
        raise BrokerError(f"Kafka does not tell offsets by time: {error.args[0].str()}") from error
    finally:
        reader.close()
    return {(each.topic, each.partition): each.offset for each in found if each.error is None and each.offset >= 0}


def _reached(read: list[Message], span: tuple[int, int], *, cut: bool) -> int:
    """Offsets of a span that were read: all, or where the reading was cut, up to the last record that came."""
    start, end = span
    if cut:
        return (read[-1].offset() or 0) + 1 - start if read else 0
    return end - start


def _read(
    settings: Settings, spans: Mapping[_Place, tuple[int, int]]
) -> tuple[dict[_Place, list[Message]], frozenset[_Place]]:
    """Committed records of spans of offsets [start, end), and the spans of which some did not come in two seconds."""
    found: dict[_Place, list[Message]] = {place: [] for place in spans}
    batches = read_spans(
        settings, spans, group="tidemark-observe", timeout=_PATIENCE, most=1_000, auto_offset_reset="earliest"
    )
    try:
        for batch in batches:
            for message in batch:
                found[message.topic() or "", message.partition() or 0].append(message)
    except BrokerError:
        return found, frozenset(spans)
    return found, frozenset()


def _latency(settings: Settings, predictions: list[Message], ends: Ends) -> tuple[Latency | None, bool]:
    """The latency of predictions, and whether it can't be told as Kafka's times are the events' own."""
    written: dict[str, int] = {}
    for message in predictions:
        with suppress(msgspec.DecodeError):  # a stranger's record: it is no prediction of ours
            written[msgspec.json.decode(message.value() or b"", type=_Named).event_id] = message.timestamp()[1]
    return latency_of(settings, written, ends)


def latency_since(settings: Settings, topics: Iterable[str], predictions: Mapping[str, int]) -> Latency | None:
    """How long predictions took from the append of their events' records.

    Args:
        settings: that name the Kafka.
        topics: the raw topics.
        predictions: as `latency_of` takes them.

    Returns:
        None where nobody can tell.

    Raises:
        BrokerError: Kafka does not answer.

    """
    client = connect(settings, timeout=_TIMEOUT)
    try:
        partitions = {topic: sorted(topic_metadata(client, topic, _TIMEOUT).partitions) for topic in topics}
        found = topic_ends(client, partitions, timeout=_TIMEOUT)
    except KafkaException as error:
        raise BrokerError(f"Kafka does not tell where topics end: {error.args[0].str()}") from error
    ends = {topic: dict(zip(partitions[topic], offsets, strict=True)) for topic, offsets in found.items()}
    return latency_of(settings, predictions, ends)[0]


def latency_of(settings: Settings, predictions: Mapping[str, int], ends: Ends) -> tuple[Latency | None, bool]:
    """How long predictions took from the append of their events' records.

    Args:
        settings: that name the Kafka.
        predictions: of each its event's id, and Kafka's timestamp of its record, ms.
        ends: end offsets by topic and partition, of the raw topics; events of others are left out.

    Returns:
        The latency, None where no record was found or nobody can tell; and whether nobody can, as Kafka's timestamps
        are the events' own times.

    """
    written: dict[tuple[str, int, int], int] = {}
    for event_id, at in predictions.items():
        try:
            event = parse_event_id(event_id)
        except RecordError:
            continue  # a stranger's
        if event.topic in ends and event.partition in ends[event.topic]:
            written[event.topic, event.partition, event.offset] = at
    offsets: dict[_Place, list[int]] = defaultdict(list)
    for topic, partition, offset in written:
        offsets[topic, partition].append(offset)
    spans = {
        place: (max(min(these), max(these) - _FARTHEST), min(max(these) + 1, ends[place[0]][place[1]]))
        for place, these in offsets.items()
    }
    waits, created = [], False
    for (topic, partition), messages in _read(settings, spans)[0].items():
        for message in messages:
            kind, came = message.timestamp()
            predicted = written.get((topic, partition, message.offset() or 0))
            if predicted is not None and came > 0:
                waits.append((predicted - came) / 1e3)
                created |= kind == TIMESTAMP_CREATE_TIME
    if not waits:
        return None, False
    import numpy as np  # noqa: PLC0415 - where no prediction is, none is needed

    p50, p99 = np.quantile(np.maximum(waits, 0.0), [0.5, 0.99])
    if created and p50 > _EVENT_TIMES:
        return None, True
    return Latency(float(p50), float(p99), len(waits)), False

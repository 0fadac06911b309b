"""What topics still hold of the rows that windows are made of: which records to read, and the reading of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException

from tidemark.errors import BrokerError
from tidemark.kafka import connect, read_spans, topic_incarnation
from tidemark.kafka.batches import batch_of
from tidemark.kafka.ends import at_time, beginnings, ends
from tidemark.kafka.passing import topic_metadata
from tidemark.pipeline import Pipeline
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.settings import Settings

_ROWS: Final = 2_000
_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Held:
    """What a partition holds.

    start, end: offset of the first record that is kept, and the one behind the last.
    """

    partition: Partition
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Range:
    """Records of a partition to read: offsets `start` to before `end`.

    truncated: retention has removed records that windows may have held.
    """

    partition: Partition
    start: int
    end: int
    truncated: bool


class Past:
    """Reads what topics of one pipeline hold.

    Raises:
        BrokerError: Kafka does not answer.

    """

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._settings = settings
        self._client = connect(settings, timeout=_TIMEOUT)
        drops = 0 if pipeline.deduplicate is None else pipeline.deduplicate.within
        longest = max((window.size for window in pipeline.windows), default=0)
        self._reach = longest + 2 * pipeline.time.lateness + drops + pipeline.time.max_ahead

    def held(self, topic: str) -> list[Held]:
        """The partitions of a topic.

        Raises:
            TopicError: there is no such topic.
            BrokerError: Kafka does not answer.

        """
        incarnation = topic_incarnation(self._client, topic, timeout=_TIMEOUT)
        try:
            indexes = sorted(topic_metadata(self._client, topic, _TIMEOUT).partitions)
            low = beginnings(self._client, {topic: indexes}, timeout=_TIMEOUT)[topic]
            high = ends(self._client, {topic: indexes}, timeout=_TIMEOUT, committed=True)[topic]
        except (KafkaException, TimeoutError) as error:
            raise _untold(topic, error) from error
        places = zip(indexes, low, high, strict=True)
        return [Held(Partition(topic, index, incarnation), start, end) for index, start, end in places]

    def at_time(self, topic: str, milliseconds: int) -> list[int | None]:
        """Offset of the first record of each partition whose Kafka timestamp is not before a time; None: there is none.

        Raises:
            BrokerError: Kafka does not answer.

        """
        try:
            indexes = sorted(topic_metadata(self._client, topic, _TIMEOUT).partitions)
            found = at_time(self._client, {topic: indexes}, milliseconds, timeout=_TIMEOUT)[topic]
        except (KafkaException, TimeoutError) as error:
            raise _untold(topic, error) from error
        return [None if offset < 0 else offset for offset in found]

    def ranges(self, topic: str, first: int, last: Mapping[Partition, int] | None = None) -> list[Range]:
        """What to read of a topic so that the windows of events are whole.

        A row of event time t has a timestamp of at least t less `max_ahead`, or it is a dead letter. So what lies
        before the first record of such a timestamp is in no window that is asked for.

        Args:
            topic: of the pipeline.
            first: event time of the earliest of the events, µs.
            last: of each partition that is wanted the offset behind the last record; None: all, to their ends.

        Returns:
            Ranges that hold records.

        Raises:
            TopicError: there is no such topic.
            BrokerError: Kafka does not answer.

        """
        held = self.held(topic)
        timed = self.at_time(topic, max(first - self._reach, 0) // 1_000)
        found = []
        for place, at in zip(held, timed, strict=True):
            if last is not None and place.partition not in last:
                continue
            start = place.end if at is None else max(at, place.start)
            end = place.end if last is None else min(last[place.partition], place.end)
            if start < end:
                found.append(Range(place.partition, start, end, truncated=start == place.start > 0))
        return found

    def read(self, span: Range, *, timeout: float, renewed: bool = False) -> Iterator[Batch]:
        """The committed records of a range, some thousands at a time.

        Args:
            span: the range.
            timeout: seconds for the whole reading.
            renewed: the time begins anew with each batch.

        Yields:
            Batches, in the order of their offsets.

        Raises:
            BrokerError: the partition can't be read, or not in time.

        """
        spans = {(span.partition.topic, span.partition.index): (span.start, span.end)}
        group = "tidemark-recompute"
        for messages in read_spans(self._settings, spans, group=group, timeout=timeout, renewed=renewed, most=_ROWS):
            yield batch_of(span.partition, messages)


def _untold(topic: str, error: Exception) -> BrokerError:
    return BrokerError(f"{topic}: Kafka does not tell its offsets ({error}); it is asked again")

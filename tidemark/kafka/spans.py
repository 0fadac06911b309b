"""The one loop that reads records up to an end: spans of offsets of any partitions, committed records only."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, Message, TopicPartition

from tidemark.errors import BrokerError
from tidemark.kafka.clients import consumer
from tidemark.runtime.settings import Settings

Place = tuple[str, int]
"""Topic and number of a partition."""
_SLICE: Final = 0.01
_MOST_NAMED: Final = 5


def read_spans(
    settings: Settings,
    spans: Mapping[Place, tuple[int, int]],
    *,
    group: str,
    timeout: float,
    renewed: bool = False,
    most: int = 10_000,
    **over: Any,  # noqa: ANN401 librdkafka's values have no common type
) -> Generator[list[Message], None, None]:
    """Committed records of spans of offsets, batch by batch as they come: of each partition in order.

    Behind the last record of a transaction stands a marker, which no reader sees: an end is reached when Kafka says so.

    Args:
        settings: that name the Kafka.
        spans: of each partition the first offset, and the one behind the last.
        group: under whose name it reads; nothing is committed.
        timeout: seconds for the whole reading.
        renewed: the time begins anew with each batch: for as many records as there may be.
        most: records of a batch.
        over: more librdkafka properties of the consumer.

    Yields:
        Records, never none.

    Raises:
        BrokerError: a partition can't be read, or an end is not reached in time.

    """
    left = {place for place, (start, end) in spans.items() if end > start}
    if not left:
        return
    # Kafka would wait half a second with an answer without records, which is what tells of an end behind a marker.
    reader = consumer(settings, group=group, enable_partition_eof=True, fetch_wait_max_ms=10, **over)
    deadline, count = time.monotonic() + timeout, 0
    try:
        reader.assign([TopicPartition(*place, spans[place][0]) for place in left])
        while left:
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"the end of {_named(left)} was not reached within {timeout:g} s, after {count} records; is Kafka "
                    "overloaded, or a transaction hanging? Try again"
                )
            batch = [message for message in reader.consume(most, _SLICE) if _is_within(message, spans, left)]
            if batch:
                count += len(batch)
                if renewed:
                    deadline = time.monotonic() + timeout
                yield batch
    finally:
        reader.close()


def _is_within(message: Message, spans: Mapping[Place, tuple[int, int]], left: set[Place]) -> bool:
    """Whether a message is a record of its span; `left` is told where the span ends with it.

    Raises:
        BrokerError: the partition can't be read.

    """
    place = message.topic() or "", message.partition() or 0
    offset = -1 if (at := message.offset()) is None else at
    error = message.error()
    _, end = spans[place]
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 librdkafka's own code has no public name
            raise BrokerError(f"reading {place[0]}[{place[1]}] at offset {offset}: {error.str()}")
        if offset >= end:
            left.discard(place)
        return False
    if offset >= end - 1:
        left.discard(place)
    return offset < end


def _named(places: set[Place]) -> str:
    named = [f"{topic}[{index}]" for topic, index in sorted(places)]
    more = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")

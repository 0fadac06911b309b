"""Reading a topic to its end: every committed record there is at the time of the call."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from typing import Final

from confluent_kafka import IsolationLevel, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tidemark.errors import BrokerError, TopicError
from tidemark.kafka.clients import connect, unreachable
from tidemark.kafka.passing import asked_until, topic_metadata
from tidemark.kafka.spans import read_spans
from tidemark.runtime.settings import Settings

_SETTLED_SLICE: Final = 0.05
SETTLED_SECONDS: Final = 30.0
"""Seconds that open transactions are given to end: three times what a dead process's may last."""
_GRACE_SECONDS: Final = 5.0  # librdkafka's own time-out comes first, and says why


def read_all(settings: Settings, topic: str, *, timeout: float = 60.0, settled: bool = False) -> list[Message]:
    """Every committed record of `topic` up to its end at the time of the call, by partition and offset.

    The end of a partition is its last stable offset: records of a transaction that is still open, and what
    lies behind them, are not waited for. Transaction markers and compacted records count as passed.

    A commit is answered before its markers are in every partition, and until then hides what it committed. So whoever
    must see what was committed just now, by itself or by another process, reads `settled`.

    Args:
        settings: that name the Kafka.
        topic: its name.
        timeout: seconds for the whole reading.
        settled: wait first until each transaction that was open at the call has ended. Not for the thread that has to
            end one of them.

    Returns:
        The records.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer, the end is not reached in time, or a transaction stays open.

    """
    return sorted(each_record(settings, topic, timeout=timeout, settled=settled), key=_position)


def each_record(
    settings: Settings, topic: str, *, timeout: float = 60.0, settled: bool = False, last: int | None = None
) -> Generator[Message, None, None]:
    """As `read_all`, record by record as they come: of each partition in order, and no more held than was fetched.

    Args:
        settings: that name the Kafka.
        topic: its name.
        timeout: seconds for the whole reading.
        settled: as `read_all` has it.
        last: offsets before the end of each partition from which on to read; None: all. Some may hold no record.

    Yields:
        The records.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer, the end is not reached in time, or a transaction stays open.

    """
    client = connect(settings, timeout=timeout)
    deadline = time.monotonic() + timeout
    if settled:
        ends = _settled_ends(client, settings, topic, deadline)
    else:
        ends = _offsets(client, settings, topic, OffsetSpec.latest(), deadline)
    starts = _offsets(client, settings, topic, OffsetSpec.earliest(), deadline)
    if last is not None:
        starts = {index: max(start, ends[index] - last) for index, start in starts.items()}
    spans = {(topic, index): (starts[index], end) for index, end in ends.items()}
    left = deadline - time.monotonic()
    with closing(read_spans(settings, spans, group="tidemark-read-all", timeout=left)) as batches:
        for batch in batches:
            yield from batch


def read_record(
    settings: Settings, topic: str, partition: int, offset: int, *, timeout: float = 10.0
) -> Message | None:
    """The committed record at a position; None where there is none (any more).

    Args:
        settings: that name the Kafka.
        topic: its name.
        partition: its partition's number.
        offset: the record's.
        timeout: seconds.

    Returns:
        The record, or None: the position is gone, not written yet, a transaction's marker or an aborted record.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer.

    """
    client = connect(settings, timeout=timeout)
    deadline = time.monotonic() + timeout
    ends = _offsets(client, settings, topic, OffsetSpec.latest(), deadline)
    starts = _offsets(client, settings, topic, OffsetSpec.earliest(), deadline)
    if partition not in ends or not starts[partition] <= offset < ends[partition]:
        return None
    span = {(topic, partition): (offset, offset + 1)}
    left = deadline - time.monotonic()
    with closing(read_spans(settings, span, group="tidemark-read-record", timeout=left, most=1)) as batches:
        return next((message for batch in batches for message in batch), None)


def wait_settled(settings: Settings, topic: str, *, timeout: float = 60.0, patience: float = SETTLED_SECONDS) -> None:
    """Wait until each transaction has ended that is open in a topic now.

    Args:
        settings: that name the Kafka.
        topic: its name.
        timeout: seconds for Kafka to answer.
        patience: seconds for the transactions to end.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer, or a transaction stays open.

    """
    _settled_ends(connect(settings, timeout=timeout), settings, topic, time.monotonic() + timeout, patience)


def hanging(topic: str, partition: int, offset: int, seconds: float = SETTLED_SECONDS) -> BrokerError:
    """The error for a transaction that does not end.

    Args:
        topic: where it is.
        partition: the number of its partition.
        offset: where it begins.
        seconds: how long it was waited for.

    Returns:
        The error: what is wrong, and what to do.

    """
    return BrokerError(
        f"{topic}[{partition}]: a transaction that begins at offset {offset} has been open for more than "
        f"{seconds:g} s, and until it ends nobody can tell what is published. If nobody writes there, Kafka has "
        "lost the marker of its end: see 'A transaction hangs' in docs/how-to/operations.md"
    )


def _settled_ends(
    client: AdminClient, settings: Settings, topic: str, deadline: float, patience: float = SETTLED_SECONDS
) -> dict[int, int]:
    """Ends of the partitions for a reader of committed records, behind all that is written now."""
    latest = OffsetSpec.latest()
    whole = _offsets(client, settings, topic, latest, deadline, IsolationLevel.READ_UNCOMMITTED)
    until = time.monotonic() + patience
    while True:
        ends = _offsets(client, settings, topic, latest, deadline)
        behind = next((index for index, end in whole.items() if ends.get(index, 0) < end), None)
        if behind is None:
            return ends
        if time.monotonic() > until:
            raise hanging(topic, behind, ends.get(behind, 0), patience)
        time.sleep(_SETTLED_SLICE)


def _position(message: Message) -> tuple[int, int]:
    index, offset = message.partition(), message.offset()
    return (-1 if index is None else index), (-1 if offset is None else offset)


def _offsets(
    client: AdminClient,
    settings: Settings,
    topic: str,
    spec: OffsetSpec,
    deadline: float,
    isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
) -> dict[int, int]:
    """Offset of `spec` in each partition, as a reader of committed records sees it unless `isolation` says other."""
    left = max(deadline - time.monotonic(), 0.1)
    try:
        found = topic_metadata(client, topic, left)
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error
    if found.error is not None:
        raise TopicError(f"there is no topic {topic!r} ({found.error.str()}); create it, or correct its name")
    asked = {TopicPartition(topic, index): spec for index in found.partitions}

    def ask() -> dict[int, int]:
        futures = client.list_offsets(asked, isolation_level=isolation, request_timeout=left)
        return {where.partition: future.result(left + _GRACE_SECONDS).offset for where, future in futures.items()}

    try:
        return asked_until(deadline, ask)
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error

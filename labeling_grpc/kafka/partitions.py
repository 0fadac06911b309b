"""What intake and publisher share of Kafka: connecting so that a stop is never waited for, partitions, their ends."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from labeling_grpc.commands.labeling import Source
from labeling_grpc.storage.group_commit import Stopping
from tidemark.errors import TopicError
from tidemark.kafka import admin, topic_incarnation
from tidemark.kafka.clients import unreachable
from tidemark.kafka.passing import asked_until, topic_metadata
from tidemark.kafka.reading import SETTLED_SECONDS, hanging
from tidemark.runtime.settings import Settings

TIMEOUT: Final = 10.0
"""Seconds for one question to Kafka."""

_SLICE: Final = 0.1


class Complaint:
    """Why something starts over: a warning, once until it is another reason, or went well meanwhile."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._last = ""

    def tell(self, why: str) -> None:
        """It starts over, again."""
        level = logging.DEBUG if why == self._last else logging.WARNING
        self._log.log(level, "%s starts over: %s", self._what, why)
        self._last = why

    def over(self) -> None:
        """It goes well."""
        self._last = ""


def always() -> bool:
    """True: there are no other replicas."""
    return True


def connected(settings: Settings, stop: threading.Event) -> AdminClient:
    """Administration client of a Kafka that has just answered.

    Raises:
        BrokerError: Kafka does not answer.
        Stopping: `stop` was set meanwhile.

    """
    errors: list[KafkaError] = []

    trial = admin(settings, error_cb=errors.append, log_level=0)  # and let go, as `tidemark.kafka.clients.connect` does
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            trial.list_topics(timeout=_SLICE)
        except KafkaException as error:
            trial.poll(0)
            if stop.is_set():
                raise Stopping from error
            # Each broker that does not answer is an error of its own, and another may: all down is the end.
            down = any(one.code() == KafkaError._ALL_BROKERS_DOWN for one in errors)  # noqa: SLF001 - its only name
            if down or time.monotonic() > deadline:
                raise unreachable(settings, errors[0].str() if errors else error.args[0].str()) from error
        else:
            return admin(settings, log_level=0)


def sources(client: AdminClient, topic: str) -> list[Source]:
    """The partitions of a topic as it is now.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer.

    """
    incarnation = topic_incarnation(client, topic)
    metadata = topic_metadata(client, topic, TIMEOUT)
    if metadata.error is not None:
        raise TopicError(f"topic {topic!r}: {metadata.error.str()}")
    return [Source(topic, index, incarnation) for index in sorted(metadata.partitions)]


def bounds(client: AdminClient, source: Source) -> tuple[int, int]:
    """First offset of a partition, and its end for a reader of committed records.

    Raises:
        KafkaException: Kafka does not answer.

    """
    low = _offset(client, source, OffsetSpec.earliest(), IsolationLevel.READ_COMMITTED)
    return low, _offset(client, source, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)


def settled(client: AdminClient, source: Source, stop: threading.Event) -> tuple[int, int]:
    """`bounds`, once no transaction is open before the end of all records.

    For a reader of committed records a partition ends where its first open transaction begins. Who has fenced a
    predecessor, and reads what that had published, would overlook what lies behind another's open transaction, and what
    Kafka committed without writing it down (KAFKA-20734: versions 4.2 to 4.4 can lose the marker of a commit when a
    broker is restarted).

    Raises:
        KafkaException: Kafka does not answer.
        BrokerError: a transaction stays open.
        Stopping: `stop` was set meanwhile.

    """
    whole = _offset(client, source, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
    deadline = time.monotonic() + SETTLED_SECONDS
    while (offsets := bounds(client, source))[1] < whole:
        if time.monotonic() > deadline:
            raise hanging(source.topic, source.partition, offsets[1], SETTLED_SECONDS)
        if stop.wait(_SLICE):
            raise Stopping
    return offsets


def _offset(client: AdminClient, source: Source, spec: OffsetSpec, isolation: IsolationLevel) -> int:
    where = TopicPartition(source.topic, source.partition)

    def ask() -> int:
        futures = client.list_offsets({where: spec}, isolation_level=isolation, request_timeout=TIMEOUT)
        return int(futures[where].result(TIMEOUT).offset)

    return asked_until(time.monotonic() + TIMEOUT, ask)

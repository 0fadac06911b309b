"""What intake and publisher share of Kafka: connecting so that a stop is never waited for, partitions, their ends."""

from __future__ import annotations

import threading
import time
from typing import Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from labeling_grpc.commands import Source
from labeling_grpc.writer import Stopping
from tidemark.errors import TopicError
from tidemark.kafka import admin, topic_incarnation
from tidemark.kafka.clients import unreachable
from tidemark.settings import Settings

TIMEOUT: Final = 10.0
"""Seconds for one question to Kafka."""

_SLICE: Final = 0.1


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
    found = client.list_topics(topic, timeout=TIMEOUT).topics[topic]
    if found.error is not None:
        raise TopicError(f"topic {topic!r}: {found.error.str()}")
    return [Source(topic, index, incarnation) for index in sorted(found.partitions)]


def bounds(client: AdminClient, source: Source) -> tuple[int, int]:
    """First offset of a partition, and its end for a reader of committed records.

    Raises:
        KafkaException: Kafka does not answer.

    """
    where = TopicPartition(source.topic, source.partition)
    low, end = (
        client.list_offsets({where: spec}, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=TIMEOUT)[
            where
        ]
        .result(TIMEOUT)
        .offset
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
    )
    return low, end

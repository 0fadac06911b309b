"""Topics: created as specified, visible before anyone uses them, and told apart from re-created ones."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic, TopicDescription

from tidemark.errors import BrokerError, TopicError
from tidemark.kafka.clients import DOWN, admin, connect, unreachable
from tidemark.kafka.passing import asked_until
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

_BROKER_DEFAULT: Final = -1
_GRACE_SECONDS: Final = 5.0  # librdkafka's own time-out comes first, and says why


def ensure_topics(settings: Settings, specs: Iterable[TopicSpec], *, timeout: float = 30.0) -> list[str]:
    """Create the topics that are missing and wait until every partition of each has a leader.

    Topics that exist keep their settings, which are their owner's; only the number of partitions must agree.

    timeout: seconds.  Returns the names of those that were created.

    Raises:
        TopicError: a topic has another number of partitions, or Kafka refuses to create one.
        BrokerError: Kafka does not answer, or the topics are not ready in time.

    """
    wanted = {spec.name: spec for spec in specs}
    client = connect(settings, timeout=timeout, down=DOWN)
    deadline = time.monotonic() + timeout
    try:
        return _settle(client, wanted, timeout, deadline)
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error


def delete_topic(settings: Settings, topic: str, *, timeout: float = 30.0) -> None:
    """Delete a topic with all its records, and wait until it is gone.

    Args:
        settings: that name the Kafka.
        topic: its name. Where there is none, nothing is done.
        timeout: seconds.

    Raises:
        TopicError: Kafka refuses.
        BrokerError: Kafka does not answer, or the topic is not gone in time.

    """
    client = connect(settings, timeout=timeout, down=DOWN)
    deadline = time.monotonic() + timeout
    try:
        client.delete_topics([topic], operation_timeout=timeout, request_timeout=timeout)[topic].result(
            timeout + _GRACE_SECONDS
        )
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        if cause.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicError(f"Kafka refuses to delete topic {topic!r}: {cause.str()}") from error
    while topic in client.list_topics(timeout=timeout).topics:
        if time.monotonic() > deadline:
            raise BrokerError(f"topic {topic!r} is not gone after {timeout:g} s; see the broker's log")
        time.sleep(0.02)


def _settle(client: AdminClient, wanted: dict[str, TopicSpec], timeout: float, deadline: float) -> list[str]:
    present = client.list_topics(timeout=timeout).topics
    missing = [spec for name, spec in wanted.items() if name not in present]
    _create(client, missing, timeout)
    while waiting := _not_ready(client, wanted, deadline - time.monotonic()):
        if time.monotonic() > deadline:
            raise BrokerError(
                f"topics not ready after {timeout:g} s: {', '.join(waiting)}; see the broker's log "
                "(`tidemark broker status` names it)"
            )
        time.sleep(0.02)
    return [spec.name for spec in missing]


def topic_incarnation(kafka: Settings | AdminClient, topic: str, *, timeout: float = 10.0) -> str:
    """8 hex digits that differ between a topic and one re-created under its name.

    They are the start of the SHA-256 of the topic's KIP-516 id in its usual base64 form.

    timeout: seconds.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer.

    """
    client = admin(kafka) if isinstance(kafka, Settings) else kafka

    def ask() -> TopicDescription:
        futures: dict[str, Future[Any]] = client.describe_topics(TopicCollection([topic]), request_timeout=timeout)
        description: TopicDescription = futures[topic].result(timeout + _GRACE_SECONDS)
        return description

    try:
        description = asked_until(time.monotonic() + timeout, ask)
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        if cause.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicError(f"there is no topic {topic!r}; create it, or correct its name") from error
        raise BrokerError(f"Kafka can't describe topic {topic!r}: {cause.str()}") from error
    return incarnation_of(description)


def incarnation_of(description: TopicDescription) -> str:
    """The incarnation of a described topic, as `topic_incarnation` gives it."""
    return hashlib.sha256(str(description.topic_id).encode()).hexdigest()[:8]


def _create(client: AdminClient, specs: list[TopicSpec], timeout: float) -> None:
    if not specs:
        return
    new = [
        NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=_BROKER_DEFAULT, config=spec.config)
        for spec in specs
    ]
    # A copy, for the client looks its own up when the answer comes.
    asked: dict[str, Future[Any]] = dict(client.create_topics(new, operation_timeout=timeout, request_timeout=timeout))
    deadline = time.monotonic() + timeout

    def created(topic: NewTopic) -> None:
        future = asked.pop(topic.topic, None)
        if future is None:  # the first answer was one that passes
            (future,) = client.create_topics([topic], operation_timeout=timeout, request_timeout=timeout).values()
        future.result(timeout + _GRACE_SECONDS)

    for topic in new:
        try:
            asked_until(deadline, partial(created, topic))
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was quicker
                raise TopicError(f"Kafka refuses to create topic {topic.topic!r}: {cause.str()}") from error


def _not_ready(client: AdminClient, wanted: dict[str, TopicSpec], remaining: float) -> list[str]:
    topics = client.list_topics(timeout=max(remaining, 0.1)).topics
    waiting = []
    for name, spec in wanted.items():
        found = topics.get(name)
        if found is None or found.error is not None or any(p.leader < 0 for p in found.partitions.values()):
            waiting.append(name)
        elif len(found.partitions) != spec.partitions:
            raise TopicError(
                f"topic {name!r} has {len(found.partitions)} partitions where {spec.partitions} are configured; "
                "partition numbers are part of the event ids, so neither is changed for you: set the pipeline's "
                "number to the topic's, or use another pipeline name"
            )
    return waiting

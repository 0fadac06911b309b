"""What a Kafka says for a moment after brokers have changed their roles: asked again, within a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, TopicMetadata

_T = TypeVar("_T")
_POLL_SECONDS: Final = 0.05

PASSING: Final = frozenset(
    {
        # Another broker became the partition's leader.
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        # Another broker became the group's coordinator, or the one that is has not read the group's log yet.
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        # Another node became the cluster's controller.
        KafkaError.NOT_CONTROLLER,
    }
)
"""Error codes that go away by themselves."""

SLOW: Final = frozenset({KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT})  # noqa: SLF001 - librdkafka's own codes
"""Error codes of a broker that is there and has too much to do: for those who have time to wait."""


def asked_until(deadline: float, ask: Callable[[], _T], passing: AbstractSet[int] = PASSING) -> _T:
    """The answer to a question, asked again while Kafka says that brokers are changing their roles.

    Args:
        deadline: time of `time.monotonic` until which it is asked again.
        ask: asks once. It must not change anything that asking twice would change twice.
        passing: the error codes after which it is asked again.

    Returns:
        What `ask` returned.

    Raises:
        KafkaException: the answer is another error, or still the same at the deadline.

    """
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in passing or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


def topic_metadata(client: AdminClient, topic: str, timeout: float) -> TopicMetadata:
    """A topic's metadata, asked for again while a new leader of it is chosen.

    Args:
        client: asks Kafka.
        topic: its name.
        timeout: seconds until which it is asked again.

    Returns:
        The metadata; `error` is set where there is no such topic, or the client may not see it.

    Raises:
        KafkaException: Kafka does not answer, or still chooses a leader.

    """

    def ask() -> TopicMetadata:
        found = client.list_topics(topic, timeout=timeout).topics[topic]
        if found.error is not None and found.error.code() in PASSING:
            raise KafkaException(found.error)
        return found

    return asked_until(time.monotonic() + timeout, ask)

"""What a Kafka says for a moment after brokers have changed their roles: asked again, within a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

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
    }
)
"""Error codes that go away by themselves."""


def asked_until(deadline: float, ask: Callable[[], _T]) -> _T:
    """The answer to a question, asked again while Kafka says that brokers are changing their roles.

    Args:
        deadline: time of `time.monotonic` until which it is asked again.
        ask: asks once. It must not change anything that asking twice would change twice.

    Returns:
        What `ask` returned.

    Raises:
        KafkaException: the answer is another error, or still the same at the deadline.

    """
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in PASSING or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)

"""How large an answer of Kafka's the client must take.

Kafka gives a batch whole, however large it is. A client that takes less than the answer (`receive.message.max.bytes`)
drops the connection and asks again, for ever, and no partition gets an error. So a flow's client takes what its topics
take; where that is not enough all the same, the flow ends and says what to set.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from tidemark.errors import BrokerError
from tidemark.kafka.passing import asked_until
from tidemark.runtime.settings import Settings

_log = logging.getLogger(__name__)
DEFAULT: Final = 100_000_000
"""What Kafka's client takes by default."""
_MOST: Final = 2_147_483_647
_ROOM: Final = 1_000_000
"""Bytes of an answer beside its batch."""
_TIMEOUT: Final = 10.0
_PROPERTY: Final = "receive.message.max.bytes"


def response_size(admin: AdminClient, topics: Sequence[str], settings: Settings) -> int:
    """Bytes that a client must take to read any batch of some topics.

    Args:
        admin: asks Kafka.
        topics: their names.
        settings: may say how much is fetched at once, below which the client does not let this be.

    Returns:
        `receive.message.max.bytes`; the client's default where Kafka does not say what the topics take.

    """
    asked = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    fetched = settings.kafka.get("fetch.max.bytes", "")
    largest = int(fetched) if fetched.isdecimal() else 0
    deadline = time.monotonic() + _TIMEOUT
    for resource in asked:
        try:
            largest = max(largest, asked_until(deadline, partial(_takes, admin, resource)))
        except KafkaException as error:
            _log.info("what topic %s takes is not known: %s", resource.name, error.args[0].str())
    return min(max(largest + _ROOM, DEFAULT), _MOST)


def _takes(admin: AdminClient, topic: ConfigResource) -> int:
    (answer,) = admin.describe_configs([topic], request_timeout=_TIMEOUT).values()
    return int(answer.result(_TIMEOUT * 2)["max.message.bytes"].value)


def too_large(error: KafkaError, group: str) -> BrokerError | None:
    """The error that ends a flow whose client takes less than Kafka answers; None where an error is another one."""
    if _PROPERTY not in error.str():  # the code is that of every malformed answer
        return None
    return BrokerError(
        f"{group}: Kafka's client can't take an answer of this size ({error.str()}); set "
        f"TIDEMARK_KAFKA_{_PROPERTY.upper().replace('.', '_')} above the largest max.message.bytes of the topics, or "
        "start again after that was raised"
    )

"""The registry as the models topic holds it now."""

from __future__ import annotations

import logging

from confluent_kafka import Message

from tidemark.errors import ModelError
from tidemark.kafka import as_bytes, headers_of, read_all
from tidemark.registry.codec import Headers, Registry
from tidemark.runtime.settings import Settings

_log = logging.getLogger(__name__)


def read_registry(
    settings: Settings, topic: str, *, secret: bytes | None = None, timeout: float = 60.0, settled: bool = False
) -> Registry:
    """Registry from every committed record of `topic` (`P.models`). Records it refuses are logged and passed over.

    Args:
        settings: that name the Kafka.
        topic: its name.
        secret: the key with which its records are signed, if they are.
        timeout: seconds.
        settled: as `read_all` has it.

    Returns:
        The registry.

    Raises:
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer in time, or a transaction stays open.

    """
    registry = Registry(secret)
    for message in read_all(settings, topic, timeout=timeout, settled=settled):
        try:
            registry.feed(*record_of(message))
        except ModelError as error:
            _log.error("%s at offset %s: %s", topic, message.offset(), error)
    return registry


def record_of(message: Message) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers of a consumed record, as the registry takes them."""
    return as_bytes(message.key()), as_bytes(message.value()), headers_of(message)

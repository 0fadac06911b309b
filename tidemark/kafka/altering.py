"""Settings of a topic that exists are changed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tidemark.errors import BrokerError, TopicError
from tidemark.kafka.clients import connect
from tidemark.kafka.passing import asked_until
from tidemark.runtime.settings import Settings

_TIMEOUT: Final = 10.0
_WRONG: Final = {KafkaError.INVALID_CONFIG, KafkaError.INVALID_REQUEST, KafkaError.POLICY_VIOLATION}


def alter_topic(settings: Settings, topic: str, values: Mapping[str, str], *, dry_run: bool = False) -> None:
    """Set some settings of a topic and leave the others as they are (KIP-339).

    Args:
        settings: that name the Kafka.
        topic: that exists.
        values: by the names of settings.
        dry_run: Kafka only looks whether they can be set.

    Raises:
        TopicError: there is no such topic, or Kafka takes no such setting or value.
        BrokerError: Kafka does not answer, or does not let this client.

    """
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in values.items()]
    asked = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    client = connect(settings, timeout=_TIMEOUT)

    def ask() -> None:
        futures = client.incremental_alter_configs([asked], validate_only=dry_run, request_timeout=_TIMEOUT)
        futures[asked].result(_TIMEOUT)

    try:
        asked_until(time.monotonic() + _TIMEOUT, ask)
    except KafkaException as error:
        refused = error.args[0]
        if refused.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicError(f"there is no topic '{topic}'; `tidemark topic list` shows them") from error
        if refused.code() in _WRONG:
            raise TopicError(f"topic '{topic}': Kafka takes no such setting: {refused.str()}") from error
        raise BrokerError(
            f"topic '{topic}': Kafka does not change it: {refused.str()}; the right to AlterConfigs on it is needed"
        ) from error

"""One producer for all that tests send to a Kafka: librdkafka lets a new idempotent one wait for half a second.

For plain records alone. Tests of producers, of transactions and of brokers that end have their own.
"""

from __future__ import annotations

from confluent_kafka import Producer

from tidemark.kafka import producer_config
from tidemark.runtime.settings import Settings

_made: dict[tuple[tuple[str, object], ...], Producer] = {}


def feeder(settings: Settings) -> Producer:
    """The producer of these settings. Who sends flushes."""
    config = producer_config(settings)
    name = tuple(sorted(config.items()))
    if name not in _made:
        _made[name] = Producer(config)
    return _made[name]


def close_feeders() -> None:
    """Before the Kafka ends: a client that stays looks for it for ever."""
    while _made:
        _made.popitem()[1].close()

"""A look at a topic's newest records."""

from __future__ import annotations

import time
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tidemark.errors import BrokerError, TopicError
from tidemark.kafka import connect, consumer_config
from tidemark.kafka.clients import unreachable
from tidemark.kafka.passing import asked_until, topic_metadata
from tidemark.kafka.reading import TO_THE_END
from tidemark.pipeline.draft import Sample
from tidemark.runtime.settings import Settings


def sample(settings: Settings, topic: str, records: int, *, timeout: float = 20.0) -> tuple[list[Sample], int]:
    """About the newest `records` committed records of a topic, and its number of partitions.

    Raises:
        TopicError: there is no such topic, or it is empty.
        BrokerError: Kafka does not answer in time.

    """
    deadline = time.monotonic() + timeout
    try:
        found = topic_metadata(connect(settings, timeout=timeout), topic, timeout)
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error
    if found.error is not None:
        raise TopicError(f"there is no topic '{topic}' ({found.error.str()}); create it, or correct its name")
    partitions = sorted(found.partitions)
    consumer = Consumer(consumer_config(settings, group=f"{topic}.init", **TO_THE_END))
    try:
        starts = []
        for index in partitions:
            low, high = asked_until(deadline, partial(_bounds, consumer, TopicPartition(topic, index), timeout))
            if high > low:
                starts.append(TopicPartition(topic, index, max(low, high - records // len(partitions) - 1)))
        consumer.assign(starts)
        samples = _read(consumer, {start.partition for start in starts}, topic, deadline)
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error
    finally:
        consumer.close()
    if not samples:
        raise TopicError(f"topic '{topic}' is empty; produce some records, then draft a pipeline from them")
    return samples, len(partitions)


def _bounds(consumer: Consumer, where: TopicPartition, timeout: float) -> tuple[int, int]:
    low, high = consumer.get_watermark_offsets(where, timeout=timeout)
    return low, high


def _read(consumer: Consumer, waiting: set[int], topic: str, deadline: float) -> list[Sample]:
    """Everything up to the end of each partition."""
    samples = []
    while waiting:
        if time.monotonic() > deadline:
            raise BrokerError(f"topic '{topic}': its end was not reached in time; is a transaction hanging?")
        for message in consumer.consume(500, 0.2):
            error = message.error()
            if error is None:
                samples.append(Sample(message.key(), message.value()))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code has no public name
                waiting.discard(message.partition() or 0)
            else:
                raise BrokerError(f"topic '{topic}' can't be read: {error.str()}")
    return samples

"""A look at a topic's newest records."""

from __future__ import annotations

import time

from confluent_kafka import KafkaException

from tidemark.errors import TopicError
from tidemark.kafka import connect, read_spans
from tidemark.kafka.clients import unreachable
from tidemark.kafka.ends import beginnings, ends
from tidemark.kafka.passing import topic_metadata
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
        client = connect(settings, timeout=timeout)
        found = topic_metadata(client, topic, timeout)
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error
    if found.error is not None:
        raise TopicError(f"there is no topic '{topic}' ({found.error.str()}); create it, or correct its name")
    partitions = {topic: sorted(found.partitions)}
    try:
        low = beginnings(client, partitions, timeout=timeout)[topic]
        high = ends(client, partitions, timeout=timeout)[topic]
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error
    each = records // len(low) + 1
    spans = {(topic, index): (max(low[at], high[at] - each), high[at]) for at, index in enumerate(partitions[topic])}
    left = deadline - time.monotonic()
    batches = read_spans(settings, spans, group=f"{topic}.init", timeout=left)
    samples = [
        Sample(message.key(), message.value(), message.partition() or 0) for batch in batches for message in batch
    ]
    if not samples:
        raise TopicError(f"topic '{topic}' is empty; produce some records, then draft a pipeline from them")
    return samples, len(low)

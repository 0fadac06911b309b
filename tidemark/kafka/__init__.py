"""Kafka clients as the guarantees need them: configuration, topics, reading what is committed."""

from __future__ import annotations

from tidemark.kafka.clients import admin, connect, consumer, consumer_config, producer, producer_config
from tidemark.kafka.content import as_bytes
from tidemark.kafka.headers import headers_of, headers_of_each
from tidemark.kafka.reading import each_record, read_all, read_record, wait_settled
from tidemark.kafka.spans import read_spans
from tidemark.kafka.topics import ensure_topics, topic_incarnation

__all__ = [
    "admin",
    "as_bytes",
    "connect",
    "consumer",
    "consumer_config",
    "each_record",
    "ensure_topics",
    "headers_of",
    "headers_of_each",
    "producer",
    "producer_config",
    "read_all",
    "read_record",
    "read_spans",
    "topic_incarnation",
    "wait_settled",
]

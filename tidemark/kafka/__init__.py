"""Kafka clients as the guarantees need them: configuration, topics, reading what is committed."""

from __future__ import annotations

from tidemark.kafka.clients import admin, connect, consumer_config, producer_config
from tidemark.kafka.headers import headers_of, headers_of_each
from tidemark.kafka.reading import each_record, read_all, read_record, wait_settled
from tidemark.kafka.topics import ensure_topics, topic_incarnation

__all__ = [
    "admin",
    "connect",
    "consumer_config",
    "each_record",
    "ensure_topics",
    "headers_of",
    "headers_of_each",
    "producer_config",
    "read_all",
    "read_record",
    "topic_incarnation",
    "wait_settled",
]

"""Consume and produce the same bytes, exactly once, without end: `python -m benchmarks.stream.pass_through IN OUT`."""

from __future__ import annotations

import sys
import time
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

from tidemark.kafka import consumer_config, producer_config
from tidemark.runtime.settings import Settings

COMMIT_SECONDS: Final = 0.1


def pass_through(settings: Settings, source: str, target: str, group: str) -> None:
    """Pass records on, a transaction every 100 ms, until the process is ended."""
    consumer = Consumer(consumer_config(settings, group=group, auto_offset_reset="earliest"))
    producer = Producer(producer_config(settings, transactional_id=group))
    producer.init_transactions(30)
    consumer.subscribe([source])
    began = 0.0
    positions: dict[int, int] = {}
    while True:
        messages = consumer.consume(1_000, 0.01)
        if messages and not positions:
            producer.begin_transaction()
            began = time.monotonic()
        for message in messages:
            if message.error() is not None:
                raise RuntimeError(str(message.error()))
            positions[message.partition() or 0] = (message.offset() or 0) + 1
        if messages:
            producer.produce_batch(target, [{"value": m.value(), "key": m.key()} for m in messages])
        if positions and time.monotonic() - began > COMMIT_SECONDS:
            offsets = [TopicPartition(source, index, offset) for index, offset in positions.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
            producer.commit_transaction(30)
            positions.clear()


if __name__ == "__main__":
    pass_through(Settings.from_environment(), sys.argv[1], sys.argv[2], sys.argv[2])

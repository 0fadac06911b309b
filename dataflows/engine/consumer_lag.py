"""How far a raw topic is ahead of the stream flow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from tidemark import kafka
from tidemark.kafka import admin
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings

_log = logging.getLogger(__name__)
_LOOK_EVERY: Final = 0.5
_TIMEOUT: Final = 5.0


class Lead:
    """Lag of the stream flow; looked up twice a second."""

    def __init__(self, settings: Settings, pipeline: Pipeline, topic: str, clock: Callable[[], float]) -> None:
        self._consumer = kafka.consumer(
            settings, group=f"{pipeline.name}.stream", isolation_level="read_uncommitted", log_level=2
        )
        self._admin = admin(settings)
        self._topic = topic
        self._clock = clock
        self._next = 0.0
        self._rows = 0

    def rows(self) -> int:
        """Rows written and not committed by the flow (transaction markers count too). Kept while Kafka is away."""
        if self._clock() >= self._next:
            try:
                self._rows = self._look()
            except KafkaException as error:
                _log.info("the stream flow's lag is not known: %s", error.args[0].str())
            self._next = self._clock() + _LOOK_EVERY
        return self._rows

    def close(self) -> None:
        """Let the client go."""
        self._consumer.close()

    def _look(self) -> int:
        partitions = self._admin.list_topics(self._topic, timeout=_TIMEOUT).topics[self._topic].partitions
        asked = [TopicPartition(self._topic, index) for index in partitions]
        ends = self._admin.list_offsets({tp: OffsetSpec.latest() for tp in asked}, request_timeout=_TIMEOUT)
        begins = self._admin.list_offsets({tp: OffsetSpec.earliest() for tp in asked}, request_timeout=_TIMEOUT)
        done = {tp.partition: tp.offset for tp in self._consumer.committed(asked, _TIMEOUT)}
        return sum(
            int(ends[tp].result().offset) - max(done[tp.partition], int(begins[tp].result().offset)) for tp in asked
        )

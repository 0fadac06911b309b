"""Puts the simulated events on the raw topic, as fast as the loop keeps up with them."""

from __future__ import annotations

import threading

import polars as pl
from confluent_kafka import KafkaError, Message, Producer

from tidemark.demo.pace import Pace
from tidemark.errors import BrokerError
from tidemark.features.raw_records import Records
from tidemark.kafka import producer_config
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings

_CHUNK = 500
_LOOK_AGAIN_SECONDS = 0.02
_FLUSH_SECONDS = 30.0


class Feed:
    """Produces rows as JSON, keyed as the pipeline's first raw topic is, a chunk at a time, at the pace given."""

    def __init__(self, settings: Settings, pipeline: Pipeline, events: pl.DataFrame, pace: Pace) -> None:
        self._producer = Producer(producer_config(settings, linger_ms=2))
        self._topic, self._pace = pipeline.raw_topics[0], pace
        self._records = Records(pipeline).records(events.write_ndjson().encode().splitlines())
        self._failures: list[str] = []
        self.sent = 0

    @property
    def events(self) -> int:
        """Rows in all."""
        return len(self._records)

    def run(self, stop: threading.Event) -> None:
        """Produce every row, or until `stop`.

        Raises:
            BrokerError: Kafka did not acknowledge a row.

        """
        while self.sent < self.events and not stop.is_set():
            if not self._pace.take(_CHUNK):
                stop.wait(_LOOK_AGAIN_SECONDS)
                continue
            end = min(self.sent + _CHUNK, self.events)
            for record in self._records[self.sent : end]:
                self._producer.produce(self._topic, record.value, record.key, on_delivery=self._delivered)
            self._producer.poll(0)
            self.sent = end
        left = self._producer.flush(_FLUSH_SECONDS)
        if left or self._failures:
            raise BrokerError(f"Kafka did not acknowledge {left + len(self._failures)} events: {self._failures[:1]}")

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(error.str())

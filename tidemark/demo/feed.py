"""Puts the simulated events on the raw topic, as fast as the loop keeps up with them."""

from __future__ import annotations

import threading

import polars as pl

from tidemark.demo.pace import Pace
from tidemark.features.raw_records import Records
from tidemark.formats.json_lines import json_lines
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings
from tidemark.sources.sending import Sender

_CHUNK = 500
_LOOK_AGAIN_SECONDS = 0.02


class Feed:
    """Produces rows as JSON, keyed as the pipeline's first raw topic is, a chunk at a time, at the pace given."""

    def __init__(self, settings: Settings, pipeline: Pipeline, events: pl.DataFrame, pace: Pace) -> None:
        self._sender, self._pace = Sender(settings, pipeline.raw_topics[0], linger_ms=2), pace
        self._records = Records(pipeline).records(json_lines(events))

    @property
    def sent(self) -> int:
        """Rows that were produced."""
        return self._sender.sent

    @property
    def events(self) -> int:
        """Rows in all."""
        return len(self._records)

    def run(self, stop: threading.Event) -> None:
        """Produce every row, or until `stop`; then leave Kafka.

        Raises:
            BrokerError: Kafka did not acknowledge a row.

        """
        try:
            while self.sent < self.events and not stop.is_set():
                if not self._pace.take(_CHUNK):
                    stop.wait(_LOOK_AGAIN_SECONDS)
                    continue
                end = min(self.sent + _CHUNK, self.events)
                for record in self._records[self.sent : end]:
                    self._sender.send(record)
            self._sender.finish()
        finally:
            self._sender.close()

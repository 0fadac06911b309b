"""Raw records to a topic, and that Kafka has them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import KafkaError, Message

from tidemark import kafka
from tidemark.errors import BrokerError
from tidemark.records.raw_record import RawRecord
from tidemark.runtime.settings import Settings

_FLUSH_SECONDS: Final = 30.0
_FULL_SECONDS: Final = 0.1


class Sender:
    """Produces records to a topic that exists. `sent` counts those that were handed to the client."""

    def __init__(self, settings: Settings, topic: str, **options: Any) -> None:  # noqa: ANN401 - as the client has them
        """Make a producer. options: of the client, by their names with `_` for `.`."""
        self._producer = kafka.producer(settings, **options)
        self._topic = topic
        self._failures: list[str] = []
        self._failed = 0
        self.sent = 0

    def send(self, record: RawRecord) -> None:
        """Produce one record, waiting while the client's queue is full."""
        while True:
            try:
                self._producer.produce(self._topic, record.value, record.key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(_FULL_SECONDS)
                continue
            break
        self._producer.poll(0)
        self.sent += 1

    def finish(self) -> None:
        """Wait until Kafka has acknowledged every record.

        Raises:
            BrokerError: it has not.

        """
        left = self._producer.flush(_FLUSH_SECONDS)
        if left or self._failed:
            why = f": {self._failures[0]}" if self._failures else ""
            raise BrokerError(
                f"topic '{self._topic}': of {self.sent:,} records Kafka did not acknowledge "
                f"{left + self._failed:,}{why}"
            )

    def close(self) -> None:
        """Let the client go, and give up what Kafka has not acknowledged.

        One that stays goes on looking for a Kafka that has ended, says so on the terminal, and may hold up the end of
        the process.
        """
        self._producer.purge()
        self._producer.close()

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed += 1
            self._failures = self._failures or [error.str()]


def paced(
    records: Iterable[RawRecord],
    send: Callable[[RawRecord], None],
    *,
    rate: float,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Send records at a rate, until there are no more or `stop` is set.

    Args:
        records: to send.
        send: sends one.
        rate: records a second; infinity for as many as can be.
        stop: ends it.
        clock: seconds, never going back.

    """
    began = clock()
    for number, record in enumerate(records):
        ahead = number / rate - (clock() - began)
        if stop.is_set() or (ahead > 0 and stop.wait(ahead)):
            return
        send(record)

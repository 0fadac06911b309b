"""Events that were asked about, in the raw topic as any other; and what was answered, in `P.answered`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tidemark.asking.answerer import Answer, Refusal, Why
from tidemark.kafka import producer
from tidemark.pipeline import Pipeline
from tidemark.records import Answered, encode
from tidemark.records.event_id import event_id
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.settings import Settings

_MOST_BYTES: Final = 4_000_000
"""Of a record that the client lets go: how large one may be is for the topic to say, as it does to other producers."""
_TIMEOUT_MS: Final = 10_000
"""After it an event that Kafka has not acknowledged is given up, and its caller is told so."""
_POLL: Final = 0.05
_LAST_SECONDS: Final = 3.0

Recorded = Callable[[str | Refusal], None]
"""Told the event's id, or why it could not be recorded. Called in the recorder's thread."""


class Recorder:
    """Produces both. `close` it."""

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        """Connect. settings: that name the Kafka."""
        self._topic = pipeline.topics.answered
        self._producer: Producer = producer(
            settings, linger_ms=0, message_timeout_ms=_TIMEOUT_MS, message_max_bytes=_MOST_BYTES
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name=f"answered-{pipeline.name}", daemon=True)
        self._thread.start()

    def record(self, answer: Answer, recorded: Recorded) -> None:
        """Append the event to its raw topic, in the partition of its key.

        Args:
            answer: to a call that is about it.
            recorded: called once, when Kafka has it or it is given up.

        """
        place, record = answer.place, answer.record

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is not None:
                recorded(_refusal(error, answer))
            elif offset is None:
                recorded(_not_recorded("Kafka did not say where it is"))
            else:
                recorded(event_id(place.topic, place.index, offset, place.incarnation))

        try:
            self._producer.produce(place.topic, record.value, record.key, partition=place.index, on_delivery=delivered)
        except BufferError:
            recorded(_not_recorded("too many events wait for Kafka"))
        except KafkaException as error:
            recorded(_refusal(error.args[0], answer))

    def tell(self, answer: Answer, event: str) -> None:
        """Say what was answered, behind the answer: nobody waits for it. event: the event's id."""
        value, low, high = answer.estimate or (None, None, None)
        beside = answer.shadow
        told = Answered(
            event_id=event,
            business_id=answer.business_id,
            key=answer.key,
            time=answer.time,
            probabilities=_listed(answer.probabilities),
            uncertainty=answer.uncertainty,
            model=answer.model,
            late=answer.late,
            at=wall_clock(),
            value=value,
            low=low,
            high=high,
            shadow=None if beside is None else beside.model,
            shadow_probabilities=_listed(None if beside is None else beside.probabilities),
            shadow_estimate=_listed(None if beside is None else beside.estimate),
            windows=[(each.partition.topic, each.partition.index, each.follows) for each in answer.windows],
        )
        try:
            self._producer.produce(self._topic, encode(told), answer.key.encode())
        except (BufferError, KafkaException):
            return  # it was answered; the event's own prediction is what counts

    def close(self) -> None:
        """Wait shortly for what is on its way, and let the client go."""
        self._stop.set()
        self._thread.join()
        self._producer.flush(_LAST_SECONDS)
        self._producer.purge()
        self._producer.close()

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(_POLL)


def _refusal(error: KafkaError, answer: Answer) -> Refusal:
    """Why an event was not recorded, and whether it may be if it is asked about again."""
    if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
        return _not_recorded(error.str())
    size = len(answer.record.value) + len(answer.record.key or b"")
    return Refusal(
        Why.EVENT,
        f"the event is not recorded, so it is not answered: it has {size:,} bytes, more than Kafka takes in topic "
        f"{answer.place.topic}. Leave out of it what no column reads, or raise the topic's max.message.bytes",
    )


def _not_recorded(why: str) -> Refusal:
    return Refusal(
        Why.NOT_NOW,
        f"the event could not be recorded, so it is not answered ({why}); asked again, it may be there twice",
    )


def _listed(numbers: Sequence[float] | None) -> list[float] | None:
    return None if numbers is None else list(numbers)

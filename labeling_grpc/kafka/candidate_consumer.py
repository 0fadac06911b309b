"""From `P.candidates` into the queue; its database holds the offsets, moved in the transaction of the cases."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol, cast

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient

from labeling_grpc.commands.labeling import Arrival, Message, Source, TakeIn, TakenIn
from labeling_grpc.contract.message_sizes import MAX_CANDIDATE
from labeling_grpc.kafka.partitions import Complaint, bounds, connected, sources
from labeling_grpc.kafka.record_validation import misfit
from labeling_grpc.storage.base import UnfitError
from labeling_grpc.storage.group_commit import Stopping, Writer
from tidemark import kafka
from tidemark.errors import BrokerError, RecordError, TidemarkError, TopicError
from tidemark.kafka import headers_of
from tidemark.records import Candidate, decode
from tidemark.records.dead_letter import dead_letter
from tidemark.records.topics import Topics
from tidemark.runtime.broker_time import broker_times, wall_clock
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.settings import Settings

_BATCH: Final = 500
"""Records that are read at once."""

_POLL_SECONDS: Final = 0.2
_FULL_SECONDS: Final = 0.5
_INCARNATION_SECONDS: Final = 15.0
_BACKOFF: Final = (0.2, 5.0)

log = logging.getLogger(__name__)


class Ranking(Protocol):
    """What ranks the cases that wait by the model in force: `labeling_grpc.assist.ranking.Ranker`."""

    def begin(self) -> None:
        """Look anew at what is ranked: another replica may have taken in meanwhile."""
        ...

    def priorities(self, candidates: Sequence[Candidate | None]) -> list[float | None]:
        """Priority of each candidate by the model in force; None: as it came."""
        ...

    def step(self) -> bool:
        """Re-rank some of what waits, if a newer model is in force; whether there is more to rank."""
        ...


class Intake:
    """A thread that keeps the queue filled, and starts over, with back-off, when Kafka fails it.

    problem: called with what is wrong, "" once it is right again.  fatal: called with a bug that ended it.
    leads: whether this replica is the one that takes in; the thread ends when it is not.  caught_up: set when it is
    known which cases are closed; a new database waits for that, or it would ask for what was answered.
    ranker: None where no model ranks cases.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        writer: Writer,
        problem: Callable[[str], None],
        fatal: Callable[[Exception], None],
        *,
        leads: Callable[[], bool],
        caught_up: threading.Event,
        ranker: Ranking | None = None,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._writer = writer
        self._problem = problem
        self._complaint = Complaint(log, f"intake from {topics.candidates}")
        self._fatal = fatal
        self._leads = leads
        self._caught_up = caught_up
        self._ranker = ranker
        self._positions: dict[Source, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labeling-intake", daemon=True)

    def start(self) -> None:
        """Begin to take in."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """End the thread after the batch it has."""
        self._stop.set()

    def stop(self, timeout: float = 3.0) -> None:
        """End the thread. One that waits for Kafka ends with the process."""
        self.ask_to_stop()
        self._thread.join(timeout)

    def _run(self) -> None:
        pause = _BACKOFF[0]
        while not self._stop.is_set() and self._leads():
            started = time.monotonic()
            try:
                self._session()
            except Stopping:
                return
            except (KafkaException, TidemarkError, TimeoutError) as error:
                self._complaint.tell(str(error))
                self._problem(str(error))
            except Exception as error:  # noqa: BLE001 - the end of the thread, told to who can end the process
                self._fatal(error)
                return
            if time.monotonic() - started > _BACKOFF[1]:
                pause = _BACKOFF[0]
            self._stop.wait(pause)
            pause = min(2 * pause, _BACKOFF[1])

    def _session(self) -> None:
        topic = self._topics.candidates
        client = connected(self._settings, self._stop)
        if not self._known(client):
            return
        self._positions = {source: self._start(client, source) for source in sources(client, topic)}
        if self._ranker is not None:
            self._ranker.begin()
        consumer = kafka.consumer(self._settings, group=f"{self._topics.pipeline}.labeling")
        try:
            consumer.assign([TopicPartition(topic, s.partition, offset) for s, offset in self._positions.items()])
            self._complaint.over()
            self._problem("")
            self._read(client, consumer)
        finally:
            consumer.close()

    def _known(self, client: AdminClient) -> bool:
        """Whether it is known which cases are closed; waits for that. False: the service stops, or is deposed."""
        store = self._writer.store
        if all(store.position("tail", source) is not None for source in sources(client, self._topics.labels)):
            return True
        while not self._caught_up.wait(_POLL_SECONDS):
            if self._stop.is_set() or not self._leads():
                return False
        return True

    def _start(self, client: AdminClient, source: Source) -> int:
        """Where to read on: the stored position, or the first record that Kafka still has."""
        low, high = bounds(client, source)
        stored = self._writer.store.position("intake", source)
        if stored is None or stored < low:
            if stored is not None:
                log.error(
                    "%s[%d]: %d records from offset %d were removed by retention before they were taken in; raise the "
                    "topic's retention.ms above the longest time the labeling service is down",
                    source.topic,
                    source.partition,
                    low - stored,
                    stored,
                )
            taken = self._take(TakeIn(source, stored, low, ()))
            return taken.position
        if stored > high:
            raise TopicError(
                f"{source.topic}[{source.partition}] ends at offset {high}, before the position {stored} of the queue: "
                "records were deleted from its end; re-create the topic, so that the queue can tell"
            )
        return stored

    def _take(self, command: TakeIn) -> TakenIn:
        return cast("TakenIn", self._writer.call(command))

    def _read(self, client: AdminClient, consumer: Consumer) -> None:
        checked = time.monotonic()
        while not self._stop.is_set() and self._leads():
            ranking = self._ranker is not None and self._ranker.step()
            first = consumer.poll(0 if ranking else _POLL_SECONDS)
            messages = [] if first is None else [first, *consumer.consume(_BATCH - 1, 0)]
            for source in self._positions:
                ours_read = [message for message in messages if message.partition() == source.partition]
                if ours_read:
                    self._handle(consumer, source, ours_read)
            if time.monotonic() - checked > _INCARNATION_SECONDS:
                checked = time.monotonic()
                if sources(client, self._topics.candidates) != list(self._positions):
                    raise TopicError(f"topic {self._topics.candidates!r} was re-created or has grown")

    def _handle(self, consumer: Consumer, source: Source, messages: list[KafkaMessage]) -> None:
        start = self._positions[source]
        arrivals = self._ranked([self._arrival(source, message) for message in messages])
        end = arrivals[-1].offset + 1
        taken = self._taken(source, start, arrivals, messages)
        self._positions[source] = taken.position
        if taken.position != end:
            self._problem("" if taken.moved else "the queue is full of exploration cases: waiting for answers")
            self._stop.wait(0 if taken.moved else _FULL_SECONDS)
            consumer.seek(TopicPartition(source.topic, source.partition, taken.position))
        else:
            self._problem("")

    def _taken(
        self, source: Source, start: int | None, arrivals: Sequence[Arrival], messages: Sequence[KafkaMessage]
    ) -> TakenIn:
        """Take arrivals in; the one that the database can't hold, found by halving, becomes a dead letter."""
        end = arrivals[-1].offset + 1
        try:
            return self._take(TakeIn(source, start, end, tuple(arrivals)))
        except UnfitError as error:
            if len(arrivals) == 1:
                letter = self._dead_letter(source, messages[0], RecordError("queue", str(error)))
                return self._take(TakeIn(source, start, end, (Arrival(end - 1, None, b"", letter),)))
        half = len(arrivals) // 2
        first = self._taken(source, start, arrivals[:half], messages[:half])
        if first.moved or first.position != arrivals[half - 1].offset + 1:
            return first
        return self._taken(source, first.position, arrivals[half:], messages[half:])

    def _ranked(self, arrivals: list[Arrival]) -> tuple[Arrival, ...]:
        if self._ranker is None:
            return tuple(arrivals)
        priorities = self._ranker.priorities([arrival.candidate for arrival in arrivals])
        return tuple(replace(each, priority=priority) for each, priority in zip(arrivals, priorities, strict=True))

    def _arrival(self, source: Source, message: KafkaMessage) -> Arrival:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError.OFFSET_OUT_OF_RANGE:
                raise TopicError(f"{source.topic}[{source.partition}]: {error.str()}")
            raise BrokerError(f"reading {source.topic}[{source.partition}]: {error.str()}")
        offset, value = cast("int", message.offset()), message.value() or b""
        try:
            return Arrival(offset, _candidate(value), value, at=_asked_at(message))
        except RecordError as wrong:
            return Arrival(offset, None, b"", self._dead_letter(source, message, wrong))

    def _dead_letter(self, source: Source, message: KafkaMessage, wrong: RecordError) -> Message:
        batch = Batch(
            partition=Partition(source.topic, source.partition, source.incarnation),
            offsets=np.array([message.offset()], np.int64),
            timestamps=np.array([message.timestamp()[1]], np.int64),
            keys=[message.key()],
            values=[message.value()],
            headers=[headers_of(message)],
        )
        output = dead_letter(self._topics.deadletter, batch, 0, wrong.step, wrong.reason)
        return Message(output.topic, output.key, output.value, output.headers)


def _asked_at(message: KafkaMessage) -> int:
    """When a candidate was asked, µs: its Kafka timestamp, at most this machine's clock."""
    timestamp = message.timestamp()[1]
    return int(broker_times(np.array([timestamp], np.int64), wall_clock())[0])


def _candidate(value: bytes) -> Candidate:
    if len(value) > MAX_CANDIDATE:
        raise RecordError("queue", f"a candidate of {len(value)} bytes; at most {MAX_CANDIDATE} can be handed out")
    candidate = decode(Candidate, value)
    why = misfit(candidate)
    if why is not None:
        raise RecordError("queue", why)
    return candidate

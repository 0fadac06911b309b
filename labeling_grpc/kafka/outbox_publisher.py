"""From the outbox to Kafka, exactly once for readers of committed records, whatever dies when.

Each record carries the headers `seq`, its number in the outbox, and `publisher`, the identity of the database. A
transaction holds consecutive records, so the highest `seq` that is committed says how far this database's outbox is
in Kafka. A session begins by fencing its predecessor (`init_transactions` under the stable id, which also ends what
was left open) and by reading that number from the tails of the topics. The mark in the database only says from where
the tails need be read. After any error the producer is thrown away and a new session begins: nothing is retried, for
nobody knows what became of it, until the tail tells.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final, Literal, cast

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient

from labeling_grpc.commands.events import CaseEvent
from labeling_grpc.commands.labeling import (
    AdoptLabels,
    Counts,
    MarkPublished,
    Source,
    TakeIdentity,
)
from labeling_grpc.kafka.partitions import Complaint, always, connected, settled, sources
from labeling_grpc.kafka.record_validation import fitting
from labeling_grpc.storage.base import Outgoing, UnfitError
from labeling_grpc.storage.group_commit import FutureReply, Stopping, Writer
from tidemark import kafka
from tidemark.errors import BrokerError, LabelingError, RecordError, TidemarkError
from tidemark.kafka import headers_of, read_spans
from tidemark.records import OUTCOME, Label, decode
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings

SEQ: Final = "seq"
PUBLISHER: Final = "publisher"

_DIGITS: Final = 18
"""Of a number of the outbox, at most: it fits 64 bits."""

_BATCH: Final = 1_000
_TIMEOUT: Final = 30.0
_IDLE_SECONDS: Final = 1.0
_BACKOFF: Final = (0.2, 5.0)

log = logging.getLogger(__name__)


Hook = Callable[[Literal["produced", "committed"], int], None]


def no_hook(_step: Literal["produced", "committed"], _seq: int) -> None:
    """Nothing."""


class _DeposedError(Exception):
    """Another replica publishes now."""


class RivalError(LabelingError):
    """Another labeling service publishes for the same pipeline, from another database."""


class Publisher:
    """A thread that publishes the outbox.

    problem: called with what is wrong, "" once it is right again.  fatal: called with the error that ended it.
    hook: called at each step of a transaction with its name and the highest number in it; a test raises there.
    leads: whether this replica is the one that publishes; the thread ends when it is not.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        writer: Writer,
        problem: Callable[[str], None],
        fatal: Callable[[Exception], None],
        hook: Hook = no_hook,
        leads: Callable[[], bool] = always,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._writer = writer
        self._problem = problem
        self._complaint = Complaint(log, f"publishing to {topics.labels}")
        self._fatal = fatal
        self._hook = hook
        self._leads = leads
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labeling-publisher", daemon=True)
        self._first = True
        self.caught_up = threading.Event()
        """Set when what `P.labels` holds has been read once: which cases are closed is then known."""
        self._progress = False
        writer.listen(self._changed)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """End the thread as soon as the outbox is empty, or Kafka fails."""
        self._stop.set()
        self._wake.set()

    def stop(self, timeout: float = 3.0) -> None:
        """Publish what is in the outbox and end the thread; what `timeout` seconds did not suffice for stays there."""
        self.ask_to_stop()
        self._thread.join(timeout)
        if self._thread.is_alive():
            log.warning("%s: Kafka does not answer; what is unpublished stays in the queue", self._topics.labels)

    def wake(self) -> None:
        """Look into the outbox: another replica has put something into it."""
        self._wake.set()

    @property
    def running(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def _changed(self, _events: list[CaseEvent], counts: Counts) -> None:
        if counts.unpublished:
            self._wake.set()

    def _run(self) -> None:
        try:
            self._sessions()
        finally:
            self._writer.forget(self._changed)

    def _sessions(self) -> None:
        pause = _BACKOFF[0]
        while True:
            self._progress = False
            try:
                self._session()
            except (Stopping, _DeposedError):
                return
            except RivalError as error:
                log.critical("%s", error)
                self._problem(str(error))
                self._fatal(error.with_traceback(None))  # whose frames would keep the producer alive
                return
            except (KafkaException, TidemarkError, TimeoutError) as error:
                self._complaint.tell(str(error))
                self._problem(str(error))
            except Exception as error:  # noqa: BLE001 - the end of the thread, told to who can end the process
                self._fatal(error)
                return
            if self._stop.is_set():
                return
            pause = _BACKOFF[0] if self._progress else min(2 * pause, _BACKOFF[1])
            self._stop.wait(pause)

    def _session(self) -> None:
        """Until the service stops, or something fails."""
        client = connected(self._settings, self._stop)
        name = f"{self._topics.pipeline}.labeling"
        if not self._leads():  # a session would fence the one who does
            raise _DeposedError
        producer = kafka.producer(self._settings, transactional_id=name, linger_ms=0)
        try:
            producer.init_transactions(_TIMEOUT)
            published, targets = self._read_tails(client)
            self._complaint.over()
            self._problem("")
            self._publish(producer, published, targets)
        except BaseException:
            producer.purge()  # what is in it is in the outbox
            raise

    def _publish(self, producer: Producer, published: int, targets: dict[tuple[str, int], Source]) -> None:
        while True:
            self._wake.clear()
            if not self._leads():
                raise _DeposedError
            rows = self._writer.store.unpublished(published, _BATCH)
            if not rows:
                if self._stop.is_set():
                    return
                self._wake.wait(_IDLE_SECONDS)
                continue
            tails = self._transaction(producer, rows, targets)
            published = rows[-1].seq
            self._progress = True
            self._hook("committed", published)
            self._writer.submit(MarkPublished(published, tails), FutureReply())

    def _transaction(
        self, producer: Producer, rows: list[Outgoing], targets: dict[tuple[str, int], Source]
    ) -> tuple[tuple[Source, int], ...]:
        """One transaction; gives the offset after the last record in each partition."""
        tails: dict[Source, int] = {}
        failures: list[str] = []

        def delivered(error: KafkaError | None, message: KafkaMessage) -> None:
            if error is not None:
                failures.append(error.str())
                return
            source = targets[cast("str", message.topic()), cast("int", message.partition())]
            tails[source] = cast("int", message.offset()) + 1

        producer.begin_transaction()
        identity = self._writer.store.publisher.encode()
        for row in rows:
            message = row.message
            producer.produce(
                message.topic,
                value=message.value,
                key=message.key,
                headers=[*message.headers, (SEQ, str(row.seq).encode()), (PUBLISHER, identity)],
                on_delivery=delivered,
            )
            producer.poll(0)
        self._hook("produced", rows[-1].seq)
        producer.commit_transaction(_TIMEOUT)
        if failures:
            raise BrokerError(f"Kafka committed without {len(failures)} of {len(rows)} records: {failures[0]}")
        return tuple(tails.items())

    def _read_tails(self, client: AdminClient) -> tuple[int, dict[tuple[str, int], Source]]:
        """Highest number of this database's that is committed in Kafka, and the partitions published to."""
        highest = self._writer.store.published
        targets: dict[tuple[str, int], Source] = {}
        ends: list[tuple[Source, int]] = []
        for topic in (self._topics.labels, self._topics.deadletter):
            for source in sources(client, topic):
                targets[topic, source.partition] = source
                number, end = self._read_tail(client, source)
                highest = max(highest, number)
                ends.append((source, end))
        if highest > self._writer.store.last_seq():
            self._writer.call(TakeIdentity(uuid.uuid4().hex))
            raise LabelingError(
                "the queue's database is older than what it published (a copy was put back?): taking a new identity "
                f"and reading {self._topics.labels} from its beginning"
            )
        self._first = False
        self._writer.call(MarkPublished(highest, tuple(ends)))
        self.caught_up.set()
        return highest, targets

    def _read_tail(self, client: AdminClient, source: Source) -> tuple[int, int]:
        labels = source.topic == self._topics.labels
        start = self._writer.store.position("tail", source)
        low, end = settled(client, source, self._stop)
        if start is None:
            # A new database has published nothing. Labels are read all the same, for they close cases.
            start = low if labels else end
        highest = 0
        span = {(source.topic, source.partition): (max(start, low), end)}
        with closing(
            read_spans(self._settings, span, group="tidemark-labels-tail", timeout=_TIMEOUT, renewed=True, most=_BATCH)
        ) as batches:
            for batch in batches:
                own_numbers, others = self._parted(batch)
                highest = max([highest, *own_numbers])
                if labels:
                    self._adopt(source, others)
        return highest, end

    def _parted(self, batch: list[KafkaMessage]) -> tuple[list[int], list[KafkaMessage]]:
        """Numbers of what this database published, and the records of others."""
        identity = self._writer.store.publisher.encode()
        own_numbers: list[int] = []
        others: list[KafkaMessage] = []
        for message in batch:
            headers = dict(headers_of(message) or [])
            if headers.get(PUBLISHER) == identity:
                number = headers.get(SEQ) or b""
                # Whoever may write to the topic may write our identity, with what is no number of ours.
                if number.isdigit() and len(number) <= _DIGITS:
                    own_numbers.append(int(number))
                    continue
            elif PUBLISHER in headers and not self._first and message.topic() == self._topics.labels:
                raise RivalError(
                    f"another labeling service publishes to {self._topics.labels}: each pipeline has one; stop one of "
                    "the two (their databases differ: see TIDEMARK_HOME)"
                )
            others.append(message)
        return own_numbers, others

    def _adopt(self, source: Source, messages: list[KafkaMessage]) -> None:
        labels: list[tuple[int, Label]] = []
        for message in messages:
            offset = cast("int", message.offset())
            try:
                label = fitting(decode(Label, message.value()))
            except RecordError:
                self._pass_over(source, offset, "is no label")
                continue
            if label.reason != OUTCOME:  # nobody answered: the world said it, of events that may be no case
                labels.append((offset, label))
        self._adopt_fitting(source, labels)

    def _adopt_fitting(self, source: Source, labels: Sequence[tuple[int, Label]]) -> None:
        """Adopt labels but those that the database can't hold, which are found by halving."""
        if not labels:
            return
        try:
            self._writer.call(AdoptLabels(tuple(label for _, label in labels)))
        except UnfitError as error:
            if len(labels) == 1:
                self._pass_over(source, labels[0][0], str(error))
                return
            half = len(labels) // 2
            self._adopt_fitting(source, labels[:half])
            self._adopt_fitting(source, labels[half:])

    def _pass_over(self, source: Source, offset: int, why: str) -> None:
        log.warning("%s[%d]: the record at offset %d closes no case: %s", source.topic, source.partition, offset, why)

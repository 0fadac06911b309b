"""The transactional producer of a session: outputs and offsets leave together, or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from dataflows.engine.call_timeout import Hung, bounded
from dataflows.engine.error_codes import FATAL, PURGED
from dataflows.engine.watchdog import Watchdog
from tidemark.errors import BrokerError
from tidemark.runtime.processor import Output

_log = logging.getLogger(__name__)
_CHUNK: Final = 10_000
_ASKING: Final = 100
"""Commits for which every record is asked for a report after one has failed for no known reason."""


class TransactionFailed(Exception):  # noqa: N818 it is an outcome that the session handles, not an error for a person
    """Nothing of the transaction is visible, or nobody knows: begin again from what is committed."""


class RecordTooLarge(TransactionFailed):
    """The same, and it will fail again unless the batches get smaller.

    topic, size: of the record: bytes of its key and value.
    """

    def __init__(self, message: str, topic: str, size: int) -> None:
        super().__init__(message)
        self.topic = topic
        self.size = size


class Delivered(NamedTuple):
    """A record that Kafka has: with its offset, and the number of the transaction that it is part of."""

    message: Message
    transaction: int


class Transactions:
    """One transaction after the other under one transactional id.

    librdkafka lacks KIP-890, so after any failure the producer is thrown away: `renew` makes another, whose
    `init_transactions` ends what its predecessor left, whichever way that was going.

    timeout: seconds of a call to Kafka; commit_timeout: of each of the two that end a transaction.
    untold: records of these topics that Kafka does not have yet, or of which nobody has been told.
    told: topics whose records, as far as they have headers, `delivered` tells once Kafka has them. Then not every
        record is asked for a report, for reports cost more than the records. Where a transaction fails and no reason is
        known, the records of the next ones are: the same will fail again, and be told.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        watchdog: Watchdog,
        *,
        timeout: float,
        commit_timeout: float,
        told: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        errors = {} if told else {"delivery.report.only.error": True, "on_delivery": self._undelivered}
        self._config = {**config, **errors}
        self._told = frozenset(told)
        self._asking = 0
        self._delivered: list[Delivered] = []
        self._number = 0
        self._ended = 0
        self.untold = 0
        self._watchdog = watchdog
        self._timeout = timeout
        self._commit_timeout = commit_timeout
        self._clock = clock
        self._most = int(config.get("queue.buffering.max.messages", 100_000)) - _CHUNK
        self._producer: Producer | None = None
        self._refused: str | None = None
        self._too_large: tuple[str, int] | None = None
        self.opened_at: float | None = None
        self.rows = 0

    @property
    def is_open(self) -> bool:
        """Whether a transaction has begun."""
        return self.opened_at is not None

    @property
    def age(self) -> float:
        """Seconds since it began; 0 when none has."""
        return 0.0 if self.opened_at is None else self._clock() - self.opened_at

    def renew(self, deadline: float) -> None:
        """A new producer in place of the old; its predecessor's transaction has ended when this returns.

        deadline: on the clock; until then a Kafka that does not answer is asked again.

        Raises:
            BrokerError: Kafka refuses, or has not answered by then.

        """
        self.discard()
        self._ended = self._number
        self._delivered.clear()
        self.untold = 0
        wait = 0.05
        while True:
            producer = Producer(dict(self._config))
            try:
                with self._watchdog.guard("init_transactions", self._timeout * 2):
                    producer.init_transactions(self._timeout)
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                _drop(producer)
                if cause.fatal() or not cause.retriable() or self._clock() > deadline:
                    raise BrokerError(
                        f"Kafka gives no transactions to {self._config['transactional.id']}: {cause.str()}; check that "
                        "the broker is up and the client may use this transactional id"
                    ) from error
                _log.warning("init_transactions: %s; trying again", cause.str())
                time.sleep(wait)
                wait = min(wait * 2, 1.0)
            else:
                self._producer = producer
                return

    def begin(self) -> None:
        """Open a transaction if none is.

        Raises:
            TransactionFailed: the producer is no longer good.

        """
        if self.opened_at is not None:
            return
        self._refused, self._too_large = None, None
        try:
            self._good().begin_transaction()
        except KafkaException as error:
            raise TransactionFailed(f"begin_transaction: {error.args[0].str()}") from error
        self.opened_at, self.rows = self._clock(), 0
        self._number += 1

    def delivered(self) -> list[Delivered]:
        """Records that Kafka has by now, since this was asked last; of the topics of which that is told.

        Raises:
            TransactionFailed: the producer is no longer good.

        """
        if self._producer is None or not self._told:
            return []
        self._serve(self._producer)
        delivered, self._delivered = self._delivered, []
        return delivered

    def send(self, outputs: Sequence[Output]) -> None:
        """Produce outputs, in order, in the open transaction.

        Raises:
            TransactionFailed: they could not be queued.

        """
        producer = self._good()
        for plain, run in groupby(outputs, key=_plain):
            if plain is None:
                for output in run:
                    self._send_one(producer, output)
            else:
                self._send_plain(producer, plain, run)
        self._serve(producer)

    def commit(self, positions: list[TopicPartition], group: Any) -> None:  # noqa: ANN401 an opaque type of the client
        """End the transaction with the offsets it covers.

        group: consumer's group metadata, by which the broker refuses a member that has lost its partitions; not looked
        at where there are no positions.

        Raises:
            TransactionFailed: it was aborted, fenced, or its result is unknown.

        """
        producer = self._good()

        def commit() -> None:
            if positions:
                producer.send_offsets_to_transaction(positions, group, self._commit_timeout)
            producer.commit_transaction(self._commit_timeout)

        try:
            bounded("the commit of a transaction", self._commit_timeout * 2 + 1, commit)
        except Hung as hung:
            raise TransactionFailed(str(hung)) from hung
        except KafkaException as error:
            raise self._failure(producer, f"commit: {error.args[0].str()}") from error
        self.opened_at = None
        self.rows = 0
        self._asking = max(self._asking - 1, 0)

    def discard(self) -> None:
        """Throw the producer away, with whatever is in it. The broker aborts its open transaction later."""
        producer, self._producer, self.opened_at = self._producer, None, None
        if producer is not None:
            _drop(producer)

    def abort(self) -> None:
        """Abort the open transaction as well as can be, at the end of a session: others then need not wait for it."""
        producer = self._producer
        if producer is not None and self.is_open:
            try:
                with self._watchdog.guard("abort_transaction", self._timeout * 2):
                    producer.abort_transaction(self._timeout)
            except KafkaException as error:
                _log.warning("abort_transaction: %s; the broker will abort it", error.args[0].str())
        self.discard()

    def _good(self) -> Producer:
        if self._producer is None:
            raise TransactionFailed("there is no producer")
        return self._producer

    @staticmethod
    def _serve(producer: Producer) -> None:
        try:
            producer.poll(0)
        except KafkaException as error:
            raise TransactionFailed(f"produce: {error.args[0].str()}") from error

    def _send_one(self, producer: Producer, output: Output) -> None:
        self._make_room(producer)
        partition = -1 if output.partition is None else output.partition
        headers = list(output.headers) or None
        report: dict[str, Any] = {"on_delivery": partial(self._reported, self._number, headers)} if self._told else {}
        try:
            producer.produce(output.topic, output.value, output.key, partition, headers=headers, **report)
        except KafkaException as error:
            raise self._unsendable(producer, output.topic, size_of(output.key, output.value), error.args[0]) from error
        self.untold += output.topic in self._told

    def _send_plain(self, producer: Producer, topic: str, outputs: Iterable[Output]) -> None:
        messages: list[dict[str, Any]] = [
            {"value": o.value, "key": o.key, "partition": -1 if o.partition is None else o.partition} for o in outputs
        ]
        for begin in range(0, len(messages), _CHUNK):
            chunk = messages[begin : begin + _CHUNK]
            self._make_room(producer)
            if self._told and self._asking:
                queued = producer.produce_batch(topic, chunk, on_delivery=self._undelivered)
            else:
                queued = producer.produce_batch(topic, chunk)
            if queued != len(chunk):
                bad = next(m for m in chunk if "_error" in m)
                raise self._unsendable(producer, topic, size_of(bad["key"], bad["value"]), bad["_error"])

    def _make_room(self, producer: Producer) -> None:
        if len(producer) < self._most:
            return
        with self._watchdog.guard("delivery of the producer's queue", self._timeout * 4):
            while len(producer) >= self._most:
                producer.poll(0.05)
                if self._refused is not None:
                    raise TransactionFailed(self._refused)

    def _unsendable(self, producer: Producer, topic: str, size: int, error: KafkaError) -> TransactionFailed:
        cause = _fatal_cause(producer) if error.code() == FATAL else error
        told = f"a record of {size:,} bytes for topic {topic!r} can't be sent: {cause.str()}"
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return RecordTooLarge(told, topic, size)
        return self._failure(producer, told)

    def _failure(self, producer: Producer, told: str) -> TransactionFailed:
        """What has failed: the record that was refused before, if there is one, for then all else fails too."""
        with suppress(KafkaException):  # a fatal one is what has just been raised
            producer.poll(0)  # serves the delivery report that tells why
        if self._too_large is not None:
            return RecordTooLarge(self._refused or told, *self._too_large)
        if self._refused is None:
            self._asking = _ASKING
        return TransactionFailed(self._refused or told)

    def _reported(self, transaction: int, headers: Any, error: KafkaError | None, message: Message) -> None:  # noqa: ANN401
        """Take a report; the client gives the record without its headers.

        Of a batch that was sent again, since the broker's answer was lost, the report may tell no offset. And it tells
        the latest timestamp of the batch for all of its records, and as the broker's, whichever the topic has. Such
        records are read from Kafka, for what is made of them must be the same after a restart.
        """
        if transaction <= self._ended:
            return  # of a producer that was thrown away; a commit of it that hung still goes on
        if error is not None:
            self._undelivered(error, message)
        elif message.topic() in self._told:
            self.untold -= 1
            if message.offset() is not None and message.timestamp()[0] != TIMESTAMP_LOG_APPEND_TIME:
                message.set_headers(headers or [])
                self._delivered.append(Delivered(message, transaction))

    def _undelivered(self, error: KafkaError | None, message: Any) -> None:  # noqa: ANN401 key and value types vary
        if error is not None and self._refused is None and error.code() != PURGED:
            size = size_of(message.key(), message.value())
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._too_large = (message.topic(), size)
            self._refused = f"a record of {size:,} bytes for topic {message.topic()!r} was refused: {error.str()}"


def size_of(key: bytes | None, value: bytes | None) -> int:
    """Bytes of a record's key and value."""
    return len(key or b"") + len(value or b"")


def _plain(output: Output) -> str | None:
    """Topic of an output that can go in a batch (which has no headers); None for the others."""
    return None if output.headers else output.topic


def _fatal_cause(producer: Producer) -> KafkaError:
    """Why a producer has failed for good: `produce` says only that it has, `begin_transaction` says why."""
    try:
        producer.begin_transaction()
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        return cause
    return KafkaError(FATAL)


def _drop(producer: Producer) -> None:
    """Let go of a producer without waiting for what it still holds."""
    producer.purge(in_queue=True, in_flight=True, blocking=False)

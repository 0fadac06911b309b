"""A webhook: what one process reads, sends and commits.

Deliveries are put into the compacted topic `P.webhooks` in the transaction that moves the positions they were read at;
a delivery is tried once it is read back from there, and a tombstone ends it. So what is under way is known after any
crash, and at most what was sent since the last commit is sent again, with the same identity.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from dataflows.engine.config import EngineConfig
from dataflows.engine.environment import connected
from dataflows.engine.error_codes import OUT_OF_RANGE, REFUSED
from dataflows.engine.shutdown import Stop
from dataflows.engine.transactional_ids import Slot, claim_slot
from dataflows.engine.transactional_producer import TransactionFailed, Transactions
from dataflows.engine.watchdog import Watchdog
from dataflows.engine.webhook_progress import (
    Place,
    Position,
    Progress,
    champion_in,
    gap_letter,
    partitions_of,
    progress_in,
    starts,
)
from tidemark import kafka
from tidemark.errors import BrokerError, ConfigError, TopicError
from tidemark.kafka import connect, ensure_topics, headers_of, producer_config, topic_incarnation
from tidemark.kafka.clients import unreachable
from tidemark.kafka.reading import each_record
from tidemark.pipeline.model import Pipeline, WebhookSpec
from tidemark.records import encode
from tidemark.records.webhook_telling import Deliveries, WebhookTelling
from tidemark.runtime.processor import Output
from tidemark.webhooks.events import Received
from tidemark.webhooks.outbox import Outbox
from tidemark.webhooks.requests import Requests
from tidemark.webhooks.under_way import UnderWay

_log = logging.getLogger(__name__)
_ALONE: Final = "alone"
_BATCH: Final = 500
_MOST_WAITING: Final = 1_000
"""Deliveries that wait, beyond which nothing more is read: what a receiver does not take stays in its topics."""
_WAIT: Final = 0.2
_BURST_SECONDS: Final = 0.5
_BURST: Final = 50
"""Deliveries after which it is committed what became of them: as many may be sent twice by a crash."""
_POSITION_SECONDS: Final = 10.0
_CHECK_SECONDS: Final = 15.0
_LONGEST: Final = 600.0
"""Seconds that reading back may take."""
_SECOND: Final = 1_000_000


class WebhookTask:
    """Runs one webhook. Used by one thread."""

    def __init__(
        self,
        config: EngineConfig,
        pipeline: Pipeline,
        spec: WebhookSpec,
        stop: Stop,
        requests: Requests,
        *,
        secret: bytes | None = None,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            config: how it commits.
            pipeline: whose webhook it is.
            spec: of the webhook.
            stop: asks it to end.
            requests: sends them.
            secret: that the registry's records are signed with, if they are.
            clock: s since 1970.
            jitter: draws a number from 0 to 1.

        """
        self._config, self._pipeline, self._spec, self._stop = config, pipeline, spec, stop
        self._requests, self._secret, self._clock, self._jitter = requests, secret, clock, jitter
        self._topic = pipeline.topics.webhooks
        self._telling = WebhookTelling(pipeline.topics.metrics, spec.name)
        self._slot: Slot | None = None
        self._consumer: Consumer | None = None
        self._failures = 0
        self._counts = Deliveries()
        self._begun = False
        self._complaint = ""
        self._forget()

    def _forget(self) -> None:
        self.under_way = UnderWay(self._pipeline, self._spec, self._secret, counts=self._counts, jitter=self._jitter)
        self._incarnations: dict[str, str] = {}
        self._positions: dict[Place, int] = {}
        self._outputs: list[Output] = []
        self._written = b""
        self._written_at = self._checked_at = time.monotonic()

    @property
    def outbox(self) -> Outbox:
        """The deliveries that wait."""
        return self.under_way.outbox

    def run(self) -> None:
        """Read, send and commit until it is asked to stop.

        Raises:
            ConfigError: another process on this host runs it.
            TopicError: a topic is not there.
            BrokerError: Kafka does not answer, or refuses again and again.

        """
        self.start()
        try:
            while not self._stop.requested:
                self.step()
            self._finish()
        finally:
            self.close()

    def start(self) -> None:
        """Connect, end what a predecessor left pending, and find out what is under way."""
        self._settings = connected(self._config.settings)
        self._slot = claim_slot(
            self._config.group,
            self._settings.bootstrap_servers or "",
            folder=self._settings.state_dir / "slots",
            name=_ALONE,
        )
        self._watchdog = Watchdog(self._slot.transactional_id)
        self._transactions = Transactions(
            producer_config(self._settings, transactional_id=self._slot.transactional_id),
            self._watchdog,
            timeout=self._config.blocking_timeout,
            commit_timeout=self._config.commit_timeout,
        )
        try:
            ensure_topics(self._settings, [self._pipeline.topics.webhooks_spec])
            while not self._begun:
                self._resume()
        except BaseException:
            self.close()
            raise

    def step(self) -> None:
        """Read what came, put it into the outbox, and try what is due."""
        if not self._begun:
            self._resume()
            return
        try:
            self._read()
            self._commit()
            self._try_due()
            self._commit()
            self._look()
        except TransactionFailed as failure:
            self._recover(failure)

    def close(self) -> None:
        """Let everything go."""
        self._requests.close()
        self._leave()
        if self._slot is None:
            return
        self._transactions.abort()
        self._watchdog.close()
        self._slot.release()
        self._slot = None

    # What is read.

    def _read(self) -> None:
        now = self._clock()
        for message in self._messages(now):
            self._take(message, now)
        self.under_way.tell_letters(now)

    def _messages(self, now: float) -> list[Message]:
        consumer = self._consumer
        if consumer is None or len(self.outbox) >= _MOST_WAITING:
            if self.outbox.due(now) is None:
                time.sleep(_WAIT)
            return []
        first = consumer.poll(self._patience(now))
        return [] if first is None else [first, *consumer.consume(_BATCH - 1, 0)]

    def _patience(self, now: float) -> float:
        """Seconds for which there is nothing to do but to read."""
        at = self.under_way.next_at(now)
        return _WAIT if at is None else min(max(at - now, 0.0), _WAIT)

    def _take(self, message: Message, now: float) -> None:
        error = message.error()
        if error is not None:
            if error.code() in OUT_OF_RANGE:
                raise TransactionFailed(f"{message.topic()} no longer has what is read next: {error.str()}")
            if error.code() in REFUSED or error.fatal():
                raise BrokerError(
                    f"Kafka refuses to let webhook '{self._spec.name}' read {message.topic()}: {error.str()}; check "
                    "the permissions of this client"
                )
            return  # it passes
        record = self._received(message)
        self.under_way.take(record, now)
        if record.topic != self._topic:
            self._positions[record.topic, record.partition] = record.offset + 1

    def _received(self, message: Message) -> Received:
        topic = message.topic() or ""
        return Received(
            topic,
            message.partition() or 0,
            message.offset() or 0,
            self._incarnations[topic],
            message.timestamp()[1],
            message.key(),
            message.value(),
            headers_of(message),
        )

    # What is sent.

    def _try_due(self) -> None:
        begun = time.monotonic()
        for _ in range(_BURST):
            now = self._clock()
            held = None if self._ends() else self.outbox.due(now)
            if held is None or time.monotonic() - begun > _BURST_SECONDS:
                return
            attempt = self._requests.send(held.delivery.id, held.delivery.body.encode(), now)
            if self._ends() and not attempt.delivered:
                return  # it was cut short: that tells nothing of the receiver
            self.under_way.settle(held, attempt, self._clock())

    def _ends(self) -> bool:
        return self._stop.requested

    # What is committed.

    def _progress(self) -> bytes:
        read = dict(self._positions)
        for first in self.under_way.letters.untold:
            read[first.topic, first.partition] = first.offset
        positions = [
            Position(topic=topic, partition=index, incarnation=self._incarnations[topic], offset=offset)
            for (topic, index), offset in sorted(read.items())
        ]
        return encode(Progress(positions=positions, champion=self.under_way.teller.champion))

    def _commit(self, *, moved: bool = False, ending: bool = False) -> None:
        """Commit what was put, what became of deliveries, and, with it or after a while, how far it has read."""
        progress = self._progress()
        stale = moved or (
            progress != self._written and (ending or time.monotonic() - self._written_at > _POSITION_SECONDS)
        )
        self._outputs += self.under_way.outputs()
        tells = ending or self._telling.due(self.under_way.standing, self._clock())
        if not (self._outputs or stale or tells):
            return
        outputs, self._outputs = self._outputs, []
        if moved or progress != self._written:
            outputs.append(Output(self._topic, progress, self._spec.name.encode(), 0))
        if tells:
            outputs.append(self._telling.metric(self.under_way.standing, self._clock(), runs=not ending))
        self._transactions.begin()
        self._transactions.send(outputs)
        self._transactions.commit([], None)
        self._written, self._written_at = progress, time.monotonic()
        self._counts = self.under_way.counts
        self._failures = 0

    def _finish(self) -> None:
        try:
            self._commit(ending=True)
        except TransactionFailed as failure:  # what it was about is found again at the next start
            _log.warning("webhook '%s': what came last is not committed: %s", self._spec.name, failure)

    def _recover(self, failure: TransactionFailed) -> None:
        self._failures += 1
        if self._failures > self._config.most_failures:
            raise BrokerError(
                f"webhook '{self._spec.name}': {self._failures} transactions in a row failed, the last because "
                f"{failure}; does another host run it? Else see the broker's log"
            ) from failure
        _log.warning("webhook '%s': %s; beginning again from what is committed", self._spec.name, failure)
        self._begun = False

    # Where it begins.

    def _resume(self) -> None:
        try:
            self._begin()
        except TransactionFailed as failure:
            self._recover(failure)
        else:
            self._begun = True

    def _begin(self) -> None:
        self._leave()
        self._forget()
        self._transactions.renew(time.monotonic() + self._config.recovery_timeout)
        client = connect(self._settings)
        own = [self._topic, *self.under_way.teller.topics]
        self._incarnations = {topic: topic_incarnation(client, topic) for topic in own}
        following, progress = self._read_back()
        models = self._pipeline.topics.models
        self.under_way.teller.champion = champion_in(progress, models, self._incarnations.get(models))
        try:
            begin = starts(client, self.under_way.teller.topics, self._incarnations, progress)
        except KafkaException as error:
            raise unreachable(self._settings, error.args[0].str()) from error
        self._positions = begin.offsets
        letters, step = self._pipeline.topics.deadletter, f"webhook {self._spec.name}"
        self._outputs += [gap_letter(letters, step, position, low, self._clock()) for position, low in begin.gaps]
        if progress is None or self._outputs:
            self._commit(moved=True)  # where it begins is a number before anything is read
        self._written = self._progress()
        self._consumer = kafka.consumer(self._settings, group=self._config.group)
        places = [TopicPartition(*place, offset) for place, offset in self._positions.items()]
        self._consumer.assign([*places, TopicPartition(self._topic, 0, following)])

    def _read_back(self) -> tuple[int, Progress | None]:
        """What is under way. Where to follow the topic from, and how far was read."""
        newest: dict[bytes, Received] = {}
        following, now = 0, self._clock()
        name = self._spec.name.encode()
        for message in each_record(self._settings, self._topic, timeout=_LONGEST, settled=True):
            following = max(following, (message.offset() or 0) + 1)
            key = message.key() or b""
            if key.partition(b"/")[0] != name:
                continue  # another webhook's
            if message.value() is None:
                newest.pop(key, None)
            else:
                newest[key] = self._received(message)
        own = newest.pop(name, None)
        for record in newest.values():
            self.under_way.take(record, now)
        if own is None or own.value is None:
            return following, None
        return following, progress_in(own.value, own.position, self._spec.name)

    def _look(self) -> None:
        """Begin again where a topic was re-created under its name: a client would wait for ever."""
        if time.monotonic() - self._checked_at < _CHECK_SECONDS:
            return
        self._checked_at = time.monotonic()
        self._renew()
        try:
            client = connect(self._settings)
            changed = [t for t, known in self._incarnations.items() if topic_incarnation(client, t) != known]
            partitions = partitions_of(client, self.under_way.teller.topics)
            grown = [t for t, indices in partitions.items() for i in indices if (t, i) not in self._positions]
        except TopicError:
            raise
        except (BrokerError, KafkaException) as error:
            _log.info("webhook '%s': topics can't be looked at now: %s", self._spec.name, error)
            return
        if changed:
            raise TransactionFailed(f"topic {changed[0]} was re-created")
        if grown:
            raise TransactionFailed(f"topic {grown[0]} has more partitions")

    def _renew(self) -> None:
        """Sign by the secrets that are in the file now."""
        try:
            self._requests.renew()
        except ConfigError as error:
            if str(error) != self._complaint:
                _log.error("%s; requests are signed as before", error)
            self._complaint = str(error)
        else:
            self._complaint = ""

    def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

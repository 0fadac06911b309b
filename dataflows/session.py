"""A worker's session with Kafka: one consumer of a group, one transactional producer, and a processor between them.

One transaction carries outputs, source offsets, and with each offset the processor's metadata: where its state can be
rebuilt from. The offsets are sent with the consumer's group metadata (KIP-447), so the broker refuses a worker whose
partitions were given to another. Whatever goes wrong, the way on is the same: throw the producer away, close every
partition, open it again from what is committed.

The worker is in lockstep: it reads on only when the sink has handled all that was read. So whenever partitions are taken
away (Kafka's client says so only while the worker reads) everything processed has been handled too, and the processor's
metadata is that of the offsets being committed. Rows carry the generation of their partition all the same, and the sink
drops those whose generation has passed.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from dataflows.alignment import Bounds, allowed_rows
from dataflows.config import EngineConfig
from dataflows.lanes import Lane
from dataflows.opening import Found, Opening, gap_message, is_gone, pack, start_offset
from dataflows.slots import claim_slot
from dataflows.stop import Stop
from dataflows.topic_watch import Changed, TopicWatch
from dataflows.transactions import TransactionFailed, Transactions
from dataflows.watchdog import Watchdog
from tidemark.errors import BrokerError, TopicError
from tidemark.kafka import admin, consumer_config, producer_config
from tidemark.processor import Batch, Output, Partition, Processor

_log = logging.getLogger(__name__)
_MOST_FAILURES: Final = 8
"""Transactions that may fail one after the other before the process gives up with the last reason."""
_REFUSALS: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.UNSUPPORTED_ASSIGNOR,
    }
)
_SUSPECT: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.INCONSISTENT_TOPIC_ID,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
    }
)


@dataclass(slots=True)
class Work:
    """Source to processor: a batch of a lane, or neither for a tick."""

    session: Session
    lane: Lane | None = None
    generation: int = 0
    batch: Batch | None = None


@dataclass(slots=True)
class Done:
    """Processor to sink: what to produce, and the offset up to which the lane is handled with it."""

    session: Session
    lane: Lane | None = None
    generation: int = 0
    next_offset: int = 0
    rows: int = 0
    replay: bool = False
    outputs: list[Output] = field(default_factory=list)


def process(work: Work) -> Done:
    """The step between source and sink: the processor of the worker that read the rows."""
    return work.session.process(work)


class Session:
    """One worker's reading, processing and committing. Not thread-safe: everything happens on the worker's thread."""

    def __init__(
        self,
        config: EngineConfig,
        processor: Processor,
        stop: Stop,
        *,
        worker: int = 0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._processor = processor
        self._stop = stop
        self._clock = clock
        self._wall = wall
        settings = config.settings
        self._slot = claim_slot(
            config.group, settings.bootstrap_servers or "", folder=settings.state_dir / "slots", worker=worker
        )
        self._watchdog = Watchdog(self._slot.transactional_id)
        self._admin = admin(settings)
        self._transactions = Transactions(
            producer_config(settings, transactional_id=self._slot.transactional_id, linger_ms=5),
            self._watchdog,
            timeout=config.blocking_timeout,
            clock=clock,
        )
        self._topics = TopicWatch(
            self._admin,
            tuple(processor.topics),
            fixed=config.fixed_partitions,
            interval=config.topic_check_interval,
            patience=config.recovery_timeout,
            clock=clock,
        )
        self._bounds = Bounds(config.align or 0, config.idle_timeout, config.min_rows, config.batch_rows)
        self._generations = itertools.count(1)
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._opening: Opening | None = None
        self._opening_since: float | None = None
        self._consumer: Consumer | None = None
        self._in_flight = 0
        self._broken: str | None = None
        self._failures = 0
        self._callback_error: BaseException | None = None
        self._suspect: tuple[KafkaError, str] | None = None
        self._last_tick = 0.0
        self._notices: list[Output] = []
        self._closed = False

    # -- the source's side ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look at the topics, end what an earlier worker of this slot left pending, and join the group.

        Raises:
            TopicError: a topic is missing, or a hop's partitions are not as configured.
            BrokerError: Kafka does not answer.

        """
        self._topics.start()
        self._transactions.renew(self._clock() + self._config.recovery_timeout)
        self._subscribe()

    def poll(self) -> list[Work]:
        """What there is to do now; empty when there is nothing, or when the sink has not handled the last yet.

        Raises:
            TopicError, BrokerError: the flow can't go on; says what to do.

        """
        if self._in_flight:
            return []
        try:
            return self._poll()
        except BaseException:
            self.abandon()
            raise

    @property
    def stopping(self) -> bool:
        """Whether the flow was asked to stop and everything read has been handled."""
        return self._stop.requested and self._in_flight == 0

    # -- the processor -------------------------------------------------------------------------------------------------

    def process(self, work: Work) -> Done:
        """Run the processor over a batch, or tick it."""
        try:
            return self._process(work)
        except BaseException:
            self.abandon()
            raise

    # -- the sink's side -----------------------------------------------------------------------------------------------

    def handle(self, items: Sequence[Done]) -> None:
        """Produce what was processed, and commit when it is time."""
        try:
            for done in items:
                self._in_flight -= 1
                self._handle(done)
                if self._commit_due():
                    self._commit()
        except TransactionFailed as failure:
            self._break(str(failure))
        except BaseException:
            self.abandon()
            raise

    def finish(self) -> None:
        """Commit what was handled, leave the group and let the slot go."""
        if self._closed:
            return
        if self._transactions.is_open and self._broken is None:
            try:
                self._commit()
            except TransactionFailed as failure:
                _log.warning("%s: the last transaction failed: %s", self._config.group, failure)
        self.abandon()

    def abandon(self) -> None:
        """Abort what is open and leave the group at once, so that nobody has to wait for this process to time out."""
        if self._closed:
            return
        self._closed = True
        self._in_flight = 0
        self._transactions.abort()
        if self._consumer is not None:
            with self._watchdog.guard("close of the consumer", self._config.blocking_timeout * 2):
                self._consumer.close()
        for lane in self._lanes.values():
            lane.shut()
        self._lanes.clear()
        self._watchdog.close()
        self._slot.release()

    # -- reading -------------------------------------------------------------------------------------------------------

    def _poll(self) -> list[Work]:
        self._look_at_topics()
        if self._broken is not None:
            self._recover()
        self._advance_opening()
        messages = self._reader.consume(self._config.batch_rows, 0)
        if self._callback_error is not None:
            raise self._callback_error
        now = self._clock()
        if messages:
            self._distribute(messages, now)
        work = self._choose(now)
        if now - self._last_tick >= self._config.tick_interval or (not work and self._commit_due()):
            work.append(Work(self))
        self._in_flight = len(work)
        return work

    @property
    def _reader(self) -> Consumer:
        assert self._consumer is not None  # noqa: S101 for the type checker: `start` made it
        return self._consumer

    def _subscribe(self) -> None:
        config = self._config
        self._consumer = Consumer(
            consumer_config(
                config.settings,
                group=config.group,
                enable_partition_eof=True,
                max_poll_interval_ms=int(config.max_poll_interval * 1_000),
                topic_metadata_refresh_interval_ms=int(config.topic_check_interval * 1_000),
                error_cb=_log_client_error,
            )
        )
        self._consumer.subscribe(
            list(self._processor.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _distribute(self, messages: list[Message], now: float) -> None:
        """Rows to their lanes; what is no row is an event of the client."""
        for (topic, index, is_event), run in itertools.groupby(messages, key=_source):
            if is_event:
                for message in run:
                    self._on_event(message)
                continue
            lane = self._lanes.get((topic, index))
            if lane is not None and lane.is_open:
                lane.add(list(run), now)

    def _on_event(self, message: Message) -> None:
        error = message.error()
        assert error is not None  # noqa: S101 for the type checker
        code = error.code()
        lane = self._lanes.get((message.topic() or "", -1 if message.partition() is None else message.partition() or 0))
        if code == KafkaError._PARTITION_EOF:
            if lane is not None and lane.is_open:
                lane.at_end = True
                offset = message.offset()
                if lane.rows == 0 and lane.replaying and offset is not None and offset >= lane.committed:
                    lane.position = lane.committed  # the last rows below the committed offset are no more
        elif code in _SUSPECT:
            if lane is not None and lane.is_open:
                self._suspect = (error, f"{lane.topic!r} partition {lane.index}, read from {lane.taken + lane.rows}")
            self._topics.look_now()
        elif code in _REFUSALS or error.fatal():
            raise BrokerError(
                f"Kafka refuses to let {self._config.group} read: {error.str()}; check the group's and the topics' "
                "permissions and that all members of the group are of the same version"
            )
        else:
            _log.warning("%s: %s", self._config.group, error.str())

    def _choose(self, now: float) -> list[Work]:
        config = self._config
        if config.align is None:
            rows = {lane: min(lane.rows, config.batch_rows) for lane in self._lanes.values() if lane.rows}
        else:
            groups: dict[str, list[Lane]] = {}
            for lane in self._lanes.values():
                if lane.is_open:
                    groups.setdefault(config.align_groups.get(lane.topic, lane.topic), []).append(lane)
            rows = {
                lane: allowed_rows(lane, group, self._bounds, now)
                for group in groups.values()
                for lane in group
                if lane.rows
            }
        work = [
            Work(self, lane, lane.generation, lane.take(count, config.batch_bytes)) for lane, count in rows.items() if count
        ]
        self._pause_and_resume()
        return work

    def _pause_and_resume(self) -> None:
        config = self._config
        for lane in self._lanes.values():
            full = lane.rows >= config.buffer_rows or lane.bytes >= config.buffer_bytes
            if lane.is_open and full and not lane.paused:
                self._reader.pause([TopicPartition(lane.topic, lane.index)])
                lane.paused = True
            elif lane.paused and lane.rows * 2 < config.buffer_rows and lane.bytes * 2 < config.buffer_bytes:
                self._reader.resume([TopicPartition(lane.topic, lane.index)])
                lane.paused = False

    # -- processing and handling ---------------------------------------------------------------------------------------

    def _process(self, work: Work) -> Done:
        lane, batch = work.lane, work.batch
        if lane is None or batch is None:
            return Done(self, outputs=self._tick())
        if lane.generation != work.generation:
            return Done(self, lane, work.generation)
        outputs = self._processor.process(batch)
        if self._config.align is not None:
            latest = self._processor.event_time(batch)
            if latest is not None:
                if lane.event_time is not None:
                    lane.pace = max(latest - lane.event_time, 0) / len(batch)
                    latest = max(latest, lane.event_time)
                lane.event_time = latest
        return Done(
            self,
            lane,
            work.generation,
            next_offset=int(batch.offsets[-1]) + 1,
            rows=len(batch),
            replay=batch.replay,
            outputs=[] if batch.replay else outputs,
        )

    def _tick(self) -> list[Output]:
        """The processor's tick, once all its state is there: not while a partition is opened or replayed."""
        now = self._clock()
        if now - self._last_tick < self._config.tick_interval:
            return []
        self._last_tick = now
        if not self._lanes or self._broken is not None:
            return []
        if any(not lane.is_open or lane.replaying for lane in self._lanes.values()):
            return []
        notices, self._notices = self._notices, []
        return notices + self._processor.tick(self._wall())

    def _handle(self, done: Done) -> None:
        if self._broken is not None:
            return
        lane = done.lane
        if lane is None:
            if done.outputs:
                self._transactions.begin()
                self._transactions.send(done.outputs)
                for other in self._lanes.values():  # a tick may have changed the state of any
                    other.dirty = True
            return
        if lane.generation != done.generation:
            return
        if not done.replay:
            self._transactions.begin()
            self._transactions.send(done.outputs)
            self._transactions.rows += done.rows
            lane.dirty = True
        lane.position = done.next_offset

    # -- committing ----------------------------------------------------------------------------------------------------

    def _commit_due(self) -> bool:
        if not self._transactions.is_open or self._in_flight:
            return False
        return (
            self._transactions.age >= self._config.commit_interval
            or self._transactions.rows >= self._config.commit_rows
        )

    def _commit(self) -> None:
        """Commit outputs and positions.

        Raises:
            TransactionFailed: begin again from what is committed.

        """
        dirty = [lane for lane in self._lanes.values() if lane.dirty and lane.is_open]
        positions = [
            TopicPartition(
                lane.topic, lane.index, lane.position, pack(partition.incarnation, self._processor.metadata(partition))
            )
            for lane in dirty
            if (partition := lane.partition) is not None
        ]
        self._transactions.commit(positions, self._reader.consumer_group_metadata())
        for lane in dirty:
            lane.dirty = False
            lane.committed = max(lane.committed, lane.position)
        self._failures = 0

    def _break(self, why: str) -> None:
        """Nothing since the last commit counts; the next poll begins again from what is committed."""
        if self._broken is None:
            _log.warning("%s: transaction failed (%s); beginning again from what is committed", self._config.group, why)
            self._broken = why
        for lane in self._lanes.values():
            lane.generation = -1

    def _recover(self) -> None:
        """A new producer, and every partition opened again."""
        self._failures += 1
        if self._failures > _MOST_FAILURES:
            raise BrokerError(
                f"{self._config.group}: {self._failures} transactions in a row failed, the last because: {self._broken}; "
                "if another process uses the same slot, give each its own TIDEMARK_SLOT; else see the broker's log"
            )
        self._transactions.renew(self._clock() + self._config.recovery_timeout)
        self._broken = None
        for lane in self._lanes.values():
            self._close(lane)
            self._reader.pause([TopicPartition(lane.topic, lane.index)])
        self._opening = None

    # -- partitions come and go ----------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take partitions, but read nothing until Kafka has told where to begin."""
        if partitions:
            _log.info("%s: assigned %s", self._config.group, _names(partitions))
        waiting = [TopicPartition(tp.topic, tp.partition, -1) for tp in partitions]  # -1: the end, so out of no range
        consumer.incremental_assign(waiting)
        if waiting:
            consumer.pause(waiting)
        for tp in partitions:
            self._lanes[tp.topic, tp.partition] = Lane(tp.topic, tp.partition)
        self._opening = None

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Commit what the sink has handled, then let go."""
        if partitions:
            _log.info("%s: revoked %s", self._config.group, _names(partitions))
        try:
            if self._transactions.is_open and self._broken is None and not self._closed and partitions:
                if self._in_flight:
                    self._break("partitions were revoked while rows of theirs were under way")
                else:
                    self._commit()
        except TransactionFailed as failure:
            self._break(str(failure))
        self._let_go(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Another has them already: nothing of ours can be committed."""
        _log.warning("%s: lost %s", self._config.group, _names(partitions))
        if self._transactions.is_open:
            self._break("partitions were lost: the group has gone on without this member")
        self._let_go(consumer, partitions)

    def _let_go(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            for tp in partitions:
                lane = self._lanes.pop((tp.topic, tp.partition), None)
                if lane is not None:
                    self._close(lane)
        except Exception as error:  # noqa: BLE001 raised again by `_poll`: an exception must not cross the client's C code
            self._callback_error = error
        consumer.incremental_unassign(partitions)
        self._opening = None

    def _close(self, lane: Lane) -> None:
        partition = lane.partition
        if lane.is_open and partition is not None:
            self._processor.close(partition)
        lane.shut()

    def _advance_opening(self) -> None:
        """Open what is assigned and not open, when Kafka has answered."""
        if self._opening is None:
            waiting = [lane for lane in self._lanes.values() if not lane.is_open]
            if not waiting:
                self._opening_since = None
                return
            if self._opening_since is None:
                self._opening_since = self._clock()
            for lane in waiting:
                lane.generation = next(self._generations)
            self._opening = Opening(self._admin, self._config.group, waiting, self._config.blocking_timeout)
        if not self._opening.ready():
            return
        opening, self._opening = self._opening, None
        try:
            found = opening.found()
        except KafkaException as error:
            if is_gone(error):
                self._topics.look_now()
            self._retry_opening(error)
            return
        for lane, generation in opening.lanes:
            if lane.generation == generation and self._lanes.get(lane.key) is lane:
                self._open(lane, found[lane.key])

    def _retry_opening(self, error: KafkaException) -> None:
        since = self._opening_since
        _log.info("%s: where to begin is not known yet: %s", self._config.group, error.args[0].str())
        if since is not None and self._clock() - since > self._config.recovery_timeout:
            raise BrokerError(
                f"Kafka has not told {self._config.group} for {self._config.recovery_timeout:g} s where to begin: "
                f"{error.args[0].str()}; see the broker's log, and whether a transaction hangs "
                "(kafka-transactions.sh find-hanging)"
            ) from error

    def _open(self, lane: Lane, found: Found) -> None:
        config = self._config
        partition = Partition(lane.topic, lane.index, found.incarnation)
        if found.stale is not None:
            _log.warning(
                "%s: the committed offset %d of %s [%d] belongs to an earlier topic of that name; beginning at %d",
                config.group, found.stale, lane.topic, lane.index, found.low,
            )  # fmt: skip
        rewind = self._processor.open(partition, found.metadata)
        start = start_offset(lane, found, rewind, group=config.group, accept_gap=config.accept_gap)
        if found.committed is not None and start > (rewind if rewind is not None else found.committed):
            self._notice_gap(partition, gap_message(lane, found, found.committed if rewind is None else rewind, group=config.group))
        committed = start if found.committed is None else max(found.committed, start)
        lane.open(partition, generation=next(self._generations), start=start, committed=committed, now=self._clock())
        here = [lane.at(start)]
        self._reader.incremental_unassign([TopicPartition(lane.topic, lane.index)])
        self._reader.incremental_assign(here)
        self._reader.resume(here)
        _log.info(
            "%s: %s [%d] from %d, replaying up to %d", config.group, lane.topic, lane.index, start, committed
        )

    def _notice_gap(self, partition: Partition, message: str) -> None:
        _log.error("%s", message)
        if self._config.deadletter is not None:
            headers = (
                ("source_topic", partition.topic.encode()),
                ("source_partition", str(partition.index).encode()),
                ("source_incarnation", partition.incarnation.encode()),
                ("step", b"resume"),
                ("reason", message.encode()),
                ("at", str(int(self._wall() * 1_000_000)).encode()),
            )
            self._notices.append(Output(self._config.deadletter, None, headers=headers))

    # -- topics --------------------------------------------------------------------------------------------------------

    def _look_at_topics(self) -> None:
        changed = self._topics.look()
        if changed is None:
            return
        suspect, self._suspect = self._suspect, None
        if changed is Changed.RECREATED:
            self._begin_with_new_topics()
        elif suspect is not None and suspect[0].code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise TopicError(
                f"{self._config.group} can't read on in topic {suspect[1]}: {suspect[0].str()}; retention has removed "
                "records that were not processed yet, or the log was cut. Start again: the start checks what is missing "
                "and says what to do"
            )

    def _begin_with_new_topics(self) -> None:
        """A topic was deleted and made again: its consumer would wait for ever, so another one takes its place."""
        self._break("a topic was re-created")
        self._transactions.discard()
        with self._watchdog.guard("close of the consumer", self._config.blocking_timeout * 2):
            self._reader.close()
        for lane in self._lanes.values():
            self._close(lane)
        self._lanes.clear()
        self._opening = None
        self._subscribe()


def _source(message: Message) -> tuple[str, int, bool]:
    return message.topic() or "", message.partition() or 0, message.error() is not None


def _names(partitions: list[TopicPartition]) -> str:
    return ", ".join(f"{tp.topic} [{tp.partition}]" for tp in partitions)


def _log_client_error(error: KafkaError) -> None:
    """Kafka's client recovers by itself from what it reports here; what it can't is raised where it is called."""
    _log.info("Kafka client: %s", error.str())


__all__ = ["Done", "Session", "Work", "process"]

"""A worker's membership of its consumer group: which partitions it has, from where it reads them, and what it has read.

Kafka's client calls back, from within `consume` and `close`, when partitions come and go. On assignment nothing is read
until Kafka has told where to begin (`opening`). On revocation the session is asked to commit first.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from dataflows.engine.batch_size import records_to_read
from dataflows.engine.config import EngineConfig
from dataflows.engine.error_codes import END_OF_PARTITION, OUT_OF_RANGE, REFUSED, TOPIC_SUSPECT, UNREADABLE
from dataflows.engine.partition_buffer import Lane
from dataflows.engine.response_size import DEFAULT, response_size, too_large
from dataflows.engine.start_offsets import Found, Lookup, Opening, check_own, gap_message, start_offset, wanted_offset
from dataflows.engine.transactional_producer import Delivered
from dataflows.engine.unreadable import Gap, Unreadable
from tidemark import kafka
from tidemark.errors import BrokerError, TopicError
from tidemark.runtime.processor import Partition, TaskState

_log = logging.getLogger(__name__)
_LEAVING_POLLS: Final = 50
_LEAVING_SECONDS: Final = 0.1


class Member(Protocol):
    """What a membership tells its session."""

    def before_revocation(self) -> None:
        """Partitions are about to be given up: commit what was handled."""

    def on_loss(self) -> None:
        """Partitions were given to others already: nothing since the last commit counts."""

    def on_gap(self, partition: Partition, message: str) -> None:
        """Records that were needed are gone, and the operator has accepted that."""

    def on_suspicion(self) -> None:
        """A topic may not be what it was."""

    def on_lost_position(self, lane: Lane, error: KafkaError) -> None:
        """A lane can't be read where it is."""


class Membership:
    """The consumer and its lanes, by topic and partition. Used by one thread."""

    def __init__(
        self,
        config: EngineConfig,
        state: TaskState,
        admin: AdminClient,
        member: Member,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._state = state
        self._lookup = Lookup(config.settings, config.group, admin)
        self._unreadable = Unreadable(
            partial(self._client, log_level=2), admin, patience=config.unreadable_after, group=config.group
        )
        self._member = member
        self._clock = clock
        self._generations = itertools.count(1)
        self._opening: Opening | None = None
        self._opening_since: float | None = None
        self._admin = admin
        self._response_size = DEFAULT
        self._callback_error: Exception | None = None
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.consumer: Consumer | None = None

    def join(self) -> None:
        """Become a member of the group."""
        self._response_size = response_size(self._admin, self._state.topics, self._config.settings)
        self.consumer = self._client(error_cb=self._on_client_error)
        self.consumer.subscribe(
            list(self._state.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _client(self, **over: Any) -> Consumer:  # noqa: ANN401 librdkafka's values have no common type
        config = self._config
        larger = {"receive_message_max_bytes": self._response_size} if self._response_size > DEFAULT else {}
        return kafka.consumer(
            config.settings,
            group=config.group,
            enable_partition_eof=True,
            # A fetch that waits for records holds back the first one of a partition just taken over.
            fetch_wait_max_ms=100,
            # What the client holds of one partition lies before what it holds of the next.
            queued_min_messages=max(config.batch_rows, 1),
            max_poll_interval_ms=int(config.max_poll_interval * 1_000),
            topic_metadata_refresh_interval_ms=int(config.topic_check_interval * 1_000),
            **(larger | dict(config.consumer)),
            **over,
        )

    def leave(self) -> None:
        """Leave the group; what is still held is closed. `join` may follow."""
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            self._give_up(consumer)
            consumer.close()
        for lane in self.lanes.values():
            self._close(lane)
        self.lanes.clear()
        self._opening = None

    def close(self) -> None:
        """Leave for good."""
        self.leave()
        self._unreadable.close()
        self._lookup.close()

    def _give_up(self, consumer: Consumer) -> None:
        """Give the partitions up before the close, for within it `incremental_unassign` may never come back.

        librdkafka issue 4884: a group that has ended meanwhile answers no more.
        """
        try:
            consumer.unsubscribe()
            for _ in range(_LEAVING_POLLS):
                if not self.lanes:
                    return
                consumer.poll(_LEAVING_SECONDS)
        except KafkaException as error:
            _log.info("%s: %s; closing all the same", self._config.group, error.args[0].str())

    def read(self, wait: float = 0.0) -> None:
        """Rows that have come, to their lanes; partitions that have come and gone.

        Args:
            wait: seconds to wait for the first row, if none has come.

        Raises:
            TopicError: records that are needed are gone.
            BrokerError: Kafka refuses, or does not answer.

        """
        self._advance_opening()
        held = sum(lane.rows for lane in self.lanes.values())
        hidden = any(lane.is_open and not lane.rows and not lane.is_told for lane in self.lanes.values())
        asked = records_to_read(held, self._config.batch_rows, hidden=hidden)
        messages = self._joined.consume(asked, 0)
        if not messages and wait > 0 and (first := self._joined.poll(wait)) is not None:
            messages = [first, *self._joined.consume(asked - 1, 0)]  # `consume` alone waits for all that it may give
        if self._callback_error is not None:
            raise self._callback_error
        if messages:
            self._distribute(messages)
        now = self._clock()
        for lane in self.lanes.values():
            if lane.is_open and not lane.paused:
                lane.hand_over(now)
            lane.hear(now, all_told=len(messages) < asked)
            lane.end_replay()

    def confirm(self, delivered: Sequence[Delivered]) -> None:
        """What Kafka has of this worker's own records, for the partitions of it that they are in."""
        for each in delivered:
            lane = self.lanes.get((each.message.topic() or "", each.message.partition() or 0))
            if lane is not None and lane.is_open:
                lane.own.confirm(each.message, each.transaction)

    def reopen(self) -> None:
        """Forget all state and begin again from what is committed."""
        for lane in self.lanes.values():
            self._close(lane)
            self._joined.pause([TopicPartition(lane.topic, lane.index)])
        self._opening = None

    def gaps(self) -> list[Gap]:
        """What can't be read, and lies before the next rows of its lane. To be called when all taken was handled."""
        return self._unreadable.found(self._clock())

    def step_over(self, lane: Lane, end: int) -> None:
        """Read a lane, whose rows were all handled, on from offset `end`."""
        lane.position = lane.taken = lane.end = end
        lane.at_end = False
        self._read_from(lane, end)

    def withholds(self, lane: Lane) -> bool:
        """Whether a partition at its end holds records beyond it: of transactions that are open, or just committed."""
        others = lane.at_end and lane.topic not in self._config.handed_over
        here = TopicPartition(lane.topic, lane.index)
        return others and self._joined.get_watermark_offsets(here, cached=True)[1] > lane.ended_at

    def hold_back(self) -> None:
        """Pause the lanes that hold more than they should, resume those that have room again."""
        config = self._config
        for lane in self.lanes.values():
            full = lane.rows >= config.buffer_rows or lane.bytes >= config.buffer_bytes
            if lane.is_open and full and not lane.paused:
                self._joined.pause([TopicPartition(lane.topic, lane.index)])
                lane.paused = True
            elif lane.paused and lane.rows * 2 < config.buffer_rows and lane.bytes * 2 < config.buffer_bytes:
                self._joined.resume([TopicPartition(lane.topic, lane.index)])
                lane.paused = False

    @property
    def complete(self) -> bool:
        """Whether there are partitions, all of them open and with all their state."""
        return bool(self.lanes) and all(lane.is_open and not lane.replaying for lane in self.lanes.values())

    @property
    def _joined(self) -> Consumer:
        assert self.consumer is not None  # noqa: S101 for the type checker: `join` made it
        return self.consumer

    # -- what the consumer gives ---------------------------------------------------------------------------------------

    def _distribute(self, messages: list[Message]) -> None:
        now = self._clock()
        sources = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
        begin = 0
        for (topic, index), run in itertools.groupby(sources):
            lane = self.lanes.get((topic or "", -1 if index is None else index))
            end = begin + len(list(run))
            self._receive(lane if lane is not None and lane.is_open else None, messages[begin:end], now)
            begin = end

    def _receive(self, lane: Lane | None, messages: list[Message], now: float) -> None:
        """What one partition gives: rows, and events of the client's."""
        if any(map(Message.error, messages)):  # an error is true; `==` with one raises SystemError (client 2.16)
            for is_event, run in itertools.groupby(messages, key=_is_event):
                if is_event:
                    for message in run:
                        self._on_event(lane, message)
                elif lane is not None:
                    lane.read(list(run), now)
        elif lane is not None:
            lane.read(messages, now)

    def _on_event(self, lane: Lane | None, message: Message) -> None:
        error = message.error()
        assert error is not None  # noqa: S101 for the type checker
        code = error.code()
        if code == END_OF_PARTITION:
            if lane is not None:
                lane.at_end, lane.ended_at = True, message.offset() or 0
        elif code in OUT_OF_RANGE:
            offset = message.offset()
            # Below what was taken: offset 0, where the partition waited to be opened and which retention has passed.
            if lane is not None and (offset is None or offset >= lane.taken):
                self._member.on_lost_position(lane, error)
                self._member.on_suspicion()
        elif code in TOPIC_SUSPECT:
            self._member.on_suspicion()
        elif code in UNREADABLE and lane is not None and (at := message.offset()) is not None and at >= 0:
            if lane.asked < lane.end and at < lane.end:
                self._read_from(lane, lane.end)  # this worker wrote the batch and has it, so nobody need read it
            else:
                self._unreadable.note(lane, at, error, self._clock())
        elif code in REFUSED or error.fatal():
            raise BrokerError(
                f"Kafka refuses to let {self._config.group} read: {error.str()}; check the group's and the topics' "
                "permissions and that all members of the group are of the same version"
            )
        else:
            _log.warning("%s: %s", self._config.group, error.str())

    # -- partitions come and go: called by Kafka's client --------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            _log.info("%s: assigned %s", self._config.group, _names(partitions))
        # Paused, at a position that needs no question: the answer to one (where does the log end?) can come after the
        # partition was opened, and librdkafka 2.16 then reads on from there, past rows that nobody has processed.
        waiting = [TopicPartition(tp.topic, tp.partition, 0) for tp in partitions]
        self._guarded(partial(consumer.incremental_assign, waiting))
        if waiting:
            self._guarded(partial(consumer.pause, waiting))
        for tp in partitions:
            self.lanes[tp.topic, tp.partition] = Lane(tp.topic, tp.partition)
        self._opening = None

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            _log.info("%s: revoked %s", self._config.group, _names(partitions))
            self._guarded(self._member.before_revocation)
        self._let_go(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        _log.warning("%s: lost %s", self._config.group, _names(partitions))
        self._guarded(self._member.on_loss)
        self._let_go(consumer, partitions)

    def _let_go(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for tp in partitions:
            lane = self.lanes.pop((tp.topic, tp.partition), None)
            if lane is not None:
                self._guarded(partial(self._close, lane))
        self._guarded(partial(consumer.incremental_unassign, partitions))
        self._opening = None

    def _guarded(self, action: Callable[[], None]) -> None:
        """An exception must not cross the client's C code, which may crash then: `read` raises it."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 raised by `read`
            self._callback_error = self._callback_error or error

    def _on_client_error(self, error: KafkaError) -> None:
        """Kafka's client recovers by itself from most of what it reports here; of the rest `read` raises one thing."""
        _log.info("Kafka client: %s", error.str())
        self._callback_error = self._callback_error or too_large(error, self._config.group)

    def _close(self, lane: Lane) -> None:
        partition = lane.partition
        if lane.is_open and partition is not None:
            lane.shut()
            self._state.close(partition)

    # -- where to begin ------------------------------------------------------------------------------------------------

    def _advance_opening(self) -> None:
        """Open what is assigned and not open, when Kafka has answered."""
        if self._opening is None:
            waiting = [lane for lane in self.lanes.values() if not lane.is_open]
            if not waiting:
                self._opening_since = None
                return
            if self._opening_since is None:
                self._opening_since = self._clock()
            for lane in waiting:
                lane.generation = next(self._generations)
            self._opening = self._lookup.ask(waiting)
        if not self._opening.answer.done():
            return
        opening, self._opening = self._opening, None
        try:
            found = opening.answer.result()
        except (KafkaException, BrokerError) as error:
            self._not_told(error)
            return
        for lane, generation in opening.lanes:
            if lane.generation == generation and self.lanes.get(lane.key) is lane:
                self._open(lane, found[lane.key])

    def _not_told(self, error: KafkaException | BrokerError) -> None:
        since = self._opening_since
        _log.info("%s: where to begin is not known yet: %s", self._config.group, error)
        if isinstance(error, TopicError):
            self._member.on_suspicion()
        if since is not None and self._clock() - since > self._config.recovery_timeout:
            raise BrokerError(
                f"Kafka has not told {self._config.group} for {self._config.recovery_timeout:g} s where to begin: "
                f"{error}; see the broker's log, and whether a transaction hangs "
                "(kafka-transactions.sh find-hanging)"
            ) from error

    def _open(self, lane: Lane, found: Found) -> None:
        config = self._config
        partition = Partition(lane.topic, lane.index, found.incarnation)
        check_own(lane, found, group=config.group)
        if found.stale is not None:
            _log.warning(
                "%s: the committed offset %d of %s [%d] belongs to an earlier topic of that name; beginning at %d",
                *(config.group, found.stale, lane.topic, lane.index, found.low),
            )
        rewind = self._state.open(partition, found.metadata)
        start = start_offset(lane, found, rewind, group=config.group, accept_gap=config.accept_gap)
        committed = start
        if found.committed is not None:
            committed = max(found.committed, start)
            wanted = wanted_offset(found.committed, found.low, rewind)
            if start > wanted:
                self._member.on_gap(partition, gap_message(lane, found, wanted, group=config.group))
        lane.open(partition, generation=next(self._generations), start=start, committed=committed, now=self._clock())
        self._read_from(lane, start)
        _log.info("%s: %s [%d] from %d, replaying up to %d", config.group, lane.topic, lane.index, start, committed)

    def _read_from(self, lane: Lane, offset: int) -> None:
        here = [TopicPartition(lane.topic, lane.index, offset)]
        self._joined.incremental_unassign([TopicPartition(lane.topic, lane.index)])
        self._joined.incremental_assign(here)
        self._joined.resume(here)
        lane.paused, lane.asked = False, offset


def _is_event(message: Message) -> bool:
    return message.error() is not None


def _names(partitions: list[TopicPartition]) -> str:
    return ", ".join(f"{tp.topic} [{tp.partition}]" for tp in partitions)

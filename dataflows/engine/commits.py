"""What was processed, into transactions: outputs, offsets and the steps' metadata together, or none of it.

Whatever goes wrong, the way on is the same: nothing since the last commit counts (`break_off`), the producer is thrown
away, and every partition is opened again from what is committed (`recover`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import TopicPartition

from dataflows.engine.batch_size import BatchSize
from dataflows.engine.config import EngineConfig
from dataflows.engine.consumer_group import Membership
from dataflows.engine.oversized import Oversized
from dataflows.engine.partition_buffer import Lane
from dataflows.engine.scheduler import Rounds
from dataflows.engine.start_offsets import pack
from dataflows.engine.transactional_producer import RecordTooLarge, TransactionFailed, Transactions
from dataflows.engine.unreadable import Gap, gap_headers
from dataflows.engine.work import Done
from tidemark.errors import BrokerError
from tidemark.runtime.processor import Output, Partition, TaskState

_log = logging.getLogger(__name__)
_FEW: Final = 8
"""Few rows wait if they are less than one part in so many of a round."""
_HELD: Final = 4
"""What a worker hands on to itself is waited for so many times as long as there are commits while few rows wait."""


class Commits:
    """The transactions of one worker. Used by one thread.

    broken: why nothing since the last commit counts; None while all is well.
    """

    def __init__(
        self,
        config: EngineConfig,
        state: TaskState,
        transactions: Transactions,
        membership: Membership,
        rounds: Rounds,
        wall: Callable[[], float],
    ) -> None:
        self.config = config
        self._state = state
        self._transactions = transactions
        self._membership = membership
        self._rounds = rounds
        self._wall = wall
        self._size = BatchSize(config.batch_rows)
        self._oversized = None if config.deadletter is None or config.must_fit else Oversized(config.deadletter)
        self._notices: list[Output] = []
        self._failures = 0
        self.broken: str | None = None

    @property
    def due(self) -> bool:
        """Whether it is time to commit what was produced."""
        if not self._transactions.is_open or self.broken is not None:
            return False
        config = self.config
        interval: float = config.commit_interval
        rows: float = config.commit_rows
        if config.behind_interval is not None and self._waiting >= config.batch_rows:
            interval, rows = config.behind_interval, rows * config.behind_interval / interval
        elif config.quiet_interval is not None and self._few_wait:
            interval = config.quiet_interval * (_HELD if self._own_under_way else 1)
        return self._transactions.age >= interval or self._transactions.rows >= rows

    def next_lanes(self) -> list[Lane]:
        """Partitions of which rows are processed next: while few rows wait, first those of what was handed on."""
        lanes, quiet = list(self._membership.lanes.values()), self.config.quiet_interval
        if quiet is None or not self._transactions.is_open or not (self._own_under_way and self._few_wait):
            return lanes
        if self._transactions.age >= quiet * _HELD:
            return lanes
        return [lane for lane in lanes if lane.topic in self.config.handed_over]

    @property
    def _waiting(self) -> int:
        return sum(lane.rows for lane in self._membership.lanes.values())

    @property
    def _few_wait(self) -> bool:
        return self._waiting < self.config.batch_rows // _FEW

    @property
    def _own_under_way(self) -> bool:
        """Whether rows that this worker hands on to itself are on their way, or wait to be processed."""
        handed = self.config.handed_over
        lanes = self._membership.lanes.values()
        return self._transactions.untold > 0 or any(lane.rows for lane in lanes if lane.topic in handed)

    def hand_over(self) -> bool:
        """Tell the partitions which of this worker's own records Kafka has. False: the transaction has failed."""
        if self.broken is None:
            try:
                self._membership.confirm(self._transactions.delivered())
            except TransactionFailed as failure:
                self.break_off(str(failure))
        return self.broken is None

    @property
    def pending(self) -> bool:
        """Whether something is to commit."""
        return self._transactions.is_open and self.broken is None

    def take(self, done: Done, *, last: bool) -> None:
        """Produce what a round gives. last: no other round is under way, so that all may be committed if it is time."""
        if self.broken is not None:
            return
        try:
            self._produce(done)
            if last and self.due:
                self._commit()
        except RecordTooLarge as failure:
            self.break_off(str(failure))
            self._make_batches_smaller(failure)
        except TransactionFailed as failure:
            self.break_off(str(failure))

    def commit(self) -> None:
        """Commit what was produced."""
        try:
            self._commit()
        except TransactionFailed as failure:
            self.break_off(str(failure))

    def notice(self, partition: Partition, message: str) -> None:
        """Tell the log, and the dead letters with the next transaction, that records are gone."""
        _log.error("%s", message)
        if self.config.deadletter is not None:
            headers = (
                ("source_topic", partition.topic.encode()),
                ("source_partition", str(partition.index).encode()),
                ("source_incarnation", partition.incarnation.encode()),
                ("step", b"resume"),
                ("reason", message.encode()),
                ("at", str(int(self._wall() * 1_000_000)).encode()),
            )
            self._notices.append(Output(self.config.deadletter, None, headers=headers))

    def step_over(self, gap: Gap) -> None:
        """Go on behind what can't be read; its dead letter and the position after it are committed together."""
        lane, config = gap.lane, self.config
        if self.broken is not None or lane.generation != gap.generation or lane.taken >= gap.end:
            return
        begin = max(gap.begin, lane.taken)
        _log.error(
            "%s: %s [%d] can't be read from offset %d to %d (%s); stepping over it",
            *(config.group, lane.topic, lane.index, begin, gap.end - 1, gap.reason),
        )
        if gap.end > lane.committed:
            try:
                self._transactions.begin()
                if config.deadletter is not None:
                    at = int(self._wall() * 1_000_000)
                    headers = tuple(gap_headers(gap, begin, patience=config.unreadable_after, at=at))
                    self._transactions.send([Output(config.deadletter, None, headers=headers)])
            except TransactionFailed as failure:
                self.break_off(str(failure))
                return
            lane.dirty = True
        self._membership.step_over(lane, gap.end)

    def break_off(self, why: str) -> None:
        """Nothing since the last commit counts; `recover` begins again from what is committed."""
        if self.broken is None:
            _log.warning("%s: transaction failed (%s); beginning again from what is committed", self.config.group, why)
            self.broken = why
        for lane in self._membership.lanes.values():
            lane.generation = -1

    def recover(self, deadline: float) -> None:
        """A new producer, and every partition opened again. deadline: on the clock, for Kafka to answer.

        Raises:
            BrokerError: too many transactions in a row have failed.

        """
        self._failures += 1
        if self._failures > self.config.most_failures:
            raise BrokerError(
                f"{self.config.group}: {self._failures} transactions in a row failed, the last by {self.broken}; "
                "if another process uses the same slot, give each its own TIDEMARK_SLOT; else see the broker's log"
            )
        self._transactions.renew(deadline)
        self.broken = None
        self._membership.reopen()

    def _produce(self, done: Done) -> None:
        if not done.items:
            outputs = [*self._notices, *done.outputs] if done.work.context.tick is not None else done.outputs
            if outputs:
                self._transactions.begin()
                self._transactions.send(outputs)
                self._notices.clear()
                for other in self._membership.lanes.values():  # a tick may have changed the state of any
                    other.dirty = True
            return
        stale = [item.is_stale for item in done.items]
        if any(stale):
            if not all(stale):
                self.break_off("some partitions of a round are no longer what they were")
            return
        live = not done.work.context.replay
        if live:
            self._transactions.begin()
            self._transactions.send(self._fitting(done))
            self._transactions.rows += done.rows
        for item in done.items:
            item.lane.dirty |= live
            item.lane.position = int(item.batch.offsets[-1]) + 1
            if self.config.align is not None:
                item.lane.advance(self._state.event_time(item.batch), item.batch)

    def _fitting(self, done: Done) -> Sequence[Output]:
        """What the round gives; dead letters in place of what topics refuse of a single row."""
        if self._oversized is None or len(done.items) != 1:
            return done.outputs
        return self._oversized.replaced(done.items[0].batch, list(done.outputs))

    def _commit(self) -> None:
        """Commit outputs and positions.

        Raises:
            TransactionFailed: begin again from what is committed.

        """
        dirty = [lane for lane in self._membership.lanes.values() if lane.dirty and lane.is_open]
        consumer = self._membership.consumer
        if not dirty or consumer is None:  # without offsets the broker would not check that this member still is one
            raise TransactionFailed("no partition is left that the outputs belong to")
        positions = [
            TopicPartition(
                lane.topic, lane.index, lane.position, pack(partition.incarnation, self._state.metadata(partition))
            )
            for lane in dirty
            if (partition := lane.partition) is not None
        ]
        self._transactions.commit(positions, consumer.consumer_group_metadata())
        for lane in dirty:
            lane.dirty = False
            lane.committed = max(lane.committed, lane.position)
        self._failures = 0
        if self._size.grow():
            self._rounds.batch_rows = self._size.rows
            if self._oversized is not None:
                self._oversized.forget()

    def _make_batches_smaller(self, failure: RecordTooLarge) -> None:
        """A record made of a batch is too large for its topic: half the rows make one that is half as large."""
        self._failures = 0
        if self._size.rows == 1:
            if self._oversized is None or not self._oversized.learn(failure):
                raise BrokerError(
                    f"{failure}: it comes from a single row, so no smaller batch helps; raise the topic's "
                    "max.message.bytes (and TIDEMARK_KAFKA_MESSAGE_MAX_BYTES)"
                ) from failure
            _log.error("%s: %s; its row becomes a dead letter", self.config.group, failure)
            return
        self._size.shrink()
        self._rounds.batch_rows = self._size.rows
        _log.warning(
            "%s: at most %d rows are processed together from now on", self.config.group, self._rounds.batch_rows
        )

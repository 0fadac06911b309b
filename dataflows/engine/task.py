"""A worker's session with Kafka: one consumer of a group, one transactional producer, the flow's steps between them.

One transaction carries outputs, source offsets, and with each offset the steps' metadata: where their state can be
rebuilt from. The offsets are sent with the consumer's group metadata (KIP-447), so the broker refuses a worker whose
partitions were given to another. Whatever goes wrong, the way on is the same: throw the producer away, close every
partition, open it again from what is committed.

The worker is in lockstep: it reads on only when the sink has handled all that was read. So whenever partitions are
taken away (Kafka's client says so only while the worker reads) everything processed has been handled too, and the
metadata is that of the offsets being committed. Rows carry the generation of their partition all the same,
and the sink drops those whose generation has passed. What becomes of a round's outputs: `dataflows.engine.commits`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError

from dataflows.engine.commits import Commits
from dataflows.engine.config import EngineConfig
from dataflows.engine.consumer_group import Membership
from dataflows.engine.election import Election
from dataflows.engine.partition_buffer import Lane
from dataflows.engine.scheduler import Rounds
from dataflows.engine.shutdown import Stop
from dataflows.engine.topic_monitor import Changed, TopicWatch
from dataflows.engine.transactional_ids import claim_slot
from dataflows.engine.transactional_producer import Transactions
from dataflows.engine.watchdog import Watchdog
from dataflows.engine.work import Done, Item, Work
from tidemark.errors import ConfigError, TopicError
from tidemark.kafka import admin, producer_config
from tidemark.runtime.processor import Batch, Partition, Processor, TaskState
from tidemark.runtime.steps import ProcessorStep, RoundContext

_log = logging.getLogger(__name__)
_LARGE_RECORDS: Final = {"message.max.bytes": 4_000_000}
"""Arrow records compress well, and what a topic takes is the compressed size; librdkafka looks at the other."""
_LOST_AFTER: Final = 30.0
"""Seconds without a sign of a round after which it is lost, if so many polls found that no step was at work:"""
_LOST_POLLS: Final = 1_000


class Session:
    """One worker's reading, processing and committing. Not thread-safe: everything happens on the worker's thread.

    Whatever ends it by an exception, it has left the group and aborted its transaction when the exception is raised.

    state: what is kept of the worker's partitions: a processor in one piece, or that of the flow's steps.
    steps: of this worker, by name.
    """

    def __init__(
        self,
        config: EngineConfig,
        state: TaskState,
        stop: Stop,
        *,
        steps: Mapping[str, Any] | None = None,
        worker: int = 0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._state = state
        self._steps = steps or {}
        self._whole = ProcessorStep(state) if isinstance(state, Processor) else None
        self._stop = stop
        self._clock = clock
        self._wall = wall
        settings = config.settings
        self.slot = claim_slot(
            config.group, settings.bootstrap_servers or "", folder=settings.state_dir / "slots", worker=worker
        )
        self._watchdog = Watchdog(self.slot.transactional_id)
        client = admin(settings, log_level=0)  # what it can't do is told by who asks
        self._transactions = Transactions(
            _LARGE_RECORDS | producer_config(settings, transactional_id=self.slot.transactional_id, **config.producer),
            self._watchdog,
            timeout=config.blocking_timeout,
            commit_timeout=config.commit_timeout,
            told=config.handed_over,
            clock=clock,
        )
        self._topics = TopicWatch(
            client,
            tuple(state.topics),
            fixed=config.fixed_partitions,
            interval=config.topic_check_interval,
            patience=config.recovery_timeout,
            clock=clock,
        )
        self._membership = Membership(config, state, client, self, clock)
        self._election = None if config.elect_by is None else Election(config, config.elect_by, clock)
        self._rounds = Rounds(config, state, withholds=self._membership.withholds)
        self._commits = Commits(config, state, self._transactions, self._membership, self._rounds, wall)
        self._in_flight = 0
        self._waiting_since, self._waits = 0.0, 0
        self._suspicion: str | None = None
        self._last_tick = 0.0
        self._closed = False

    @property
    def poll_interval(self) -> float:
        """Seconds between two polls while nothing comes."""
        return self._config.poll_interval

    @property
    def lanes(self) -> dict[tuple[str, int], Lane]:
        """The partitions this worker has, by topic and number."""
        return self._membership.lanes

    @property
    def steps(self) -> Mapping[str, Any]:
        """The steps of this worker, by name."""
        return self._steps

    @property
    def partitions(self) -> frozenset[tuple[str, int]]:
        """Topic and number of every partition of the flow, whoever has it; empty until the topics were looked at."""
        return self._topics.partitions

    def lag(self) -> float:
        """Seconds by which the furthest partition is behind, or by which Kafka is silent. Any thread may ask."""
        now, wall = self._clock(), self._wall()
        lanes = list(self._membership.lanes.values())
        return max([self._topics.unheard(now), *(lane.lag(now, wall) for lane in lanes)])

    # -- the source's side ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look at the topics, end what an earlier worker of this slot left pending, and join the group.

        Raises:
            TopicError: a topic is missing, or a hop's partitions are not as configured.
            BrokerError: Kafka does not answer.

        """
        try:
            self._topics.start()
            self._transactions.renew(self._clock() + self._config.recovery_timeout)
            self._join()
        except BaseException:
            self.abandon()
            raise

    def poll(self, *, wait: bool = False) -> list[Work]:
        """What there is to do now; empty when there is nothing, or when the sink has not handled the last yet.

        Args:
            wait: for a record for a moment, where there is nothing else to do.

        Raises:
            TopicError, BrokerError: the flow can't go on; says what to do.

        """
        try:
            if self._in_flight:
                self._look_for_lost_rounds()
                return []
            self._waits = 0
            return self._poll(self._patience() if wait else 0.0)
        except BaseException:
            self.abandon()
            raise

    def _look_for_lost_rounds(self) -> None:
        """Steps and sink are of this thread too: many polls without one of them in between wait for nothing."""
        now = self._clock()
        if self._waits == 0:
            self._waiting_since = now
        self._waits += 1
        if self._waits > _LOST_POLLS and now - self._waiting_since > _LOST_AFTER:
            raise ConfigError(
                f"{self._config.group}: a round was read and has not come to `commit` on every branch: an operator "
                "filtered it. Every stream must carry every round once; leave rows out of its payload instead"
            )

    @property
    def stopping(self) -> bool:
        """Whether the flow was asked to stop and everything read has been handled."""
        return self._stop.requested and self._in_flight == 0

    def _patience(self) -> float:
        """Seconds for which nothing but a record gives this worker something to do."""
        if self._commits.pending or self._commits.broken is not None or self._stop.requested:
            return 0.0
        if self._election is not None and self._membership.consumer is None:
            return self._config.idle_wait  # it stands by, and nothing is due of it
        if any(lane.rows or not lane.is_open for lane in self._membership.lanes.values()):
            return 0.0
        until_tick = self._last_tick + self._config.tick_interval - self._clock()
        return max(0.0, min(self._config.idle_wait, until_tick))

    def _poll(self, patience: float) -> list[Work]:
        self._look_at_topics()
        if self._commits.broken is not None:
            self._commits.recover(self._clock() + self._config.recovery_timeout)
        if not self._active(patience):
            return []
        if not self._commits.hand_over():
            return []
        self._membership.read(patience)
        for gap in self._membership.gaps():
            self._commits.step_over(gap)
        if self._commits.broken is not None:
            return []
        if not self._has_all_it_needs:
            self._membership.hold_back()
            return []
        now = self._clock()
        chosen = self._rounds.choose(self._commits.next_lanes(), now)
        work = [work for together in chosen for work in self._work_of(together)]
        self._membership.hold_back()
        if now - self._last_tick >= self._config.tick_interval or (not work and self._commits.due):
            work.append(Work(self, context=self._tick_at(now)))
        self._in_flight = len(work)
        return work

    def _work_of(self, together: Sequence[tuple[Lane, Batch]]) -> list[Work]:
        """Batches that were chosen together: those to replay are a round of their own."""
        wall = int(self._wall() * 1_000_000)
        rounds = []
        for replay in (True, False):
            items = [Item(lane, lane.generation, batch) for lane, batch in together if batch.replay == replay]
            if items:
                partitions = [item.batch.partition for item in items]
                rounds.append(Work(self, items, RoundContext(wall, partitions, replay)))
        return rounds

    def _tick_at(self, now: float) -> RoundContext:
        """A tick, if it is time and all state is there: not while a partition is opened or replayed."""
        wall = self._wall()
        due = now - self._last_tick >= self._config.tick_interval
        if due:
            self._last_tick = now
        return RoundContext(int(wall * 1_000_000), tick=wall if due and self._membership.complete else None)

    def _join(self) -> None:
        """Take part: in the flow's group at once, or first in the election of the process that may."""
        if self._election is None:
            self._membership.join()
        else:
            self._election.join()

    def _active(self, patience: float) -> bool:
        """Whether this process may read. One that has just been elected joins; one that no longer is leaves."""
        if self._election is None:
            return True
        active = self._election.won(patience)
        if active and self._membership.consumer is None:
            self._membership.join()
        elif not active and self._membership.consumer is not None:
            _log.warning("%s: another process is the active one now; this one leaves", self._config.group)
            self.before_revocation()
            with self._watchdog.guard("close of the consumer", self._config.blocking_timeout * 2):
                self._membership.leave()
        return active

    @property
    def _has_all_it_needs(self) -> bool:
        """Whether no partition is missing, for a processor that must have them all: a part of them would be wrong."""
        return self._election is None or self._topics.partitions <= self.lanes.keys()

    # -- the steps -----------------------------------------------------------------------------------------------------

    def run_step(self, name: str, payload: Any, context: RoundContext) -> Any:  # noqa: ANN401 each step has its own types
        """Let a step of this worker process the payload of a round."""
        self._waits = 0
        try:
            return self._steps[name].process(payload, context)
        except BaseException:
            self.abandon()
            raise

    def process(self, work: Work) -> Done:
        """Run a processor in one piece over a round, without a dataflow."""
        assert self._whole is not None  # noqa: S101 for the type checker: else the flow has steps
        try:
            return Done(work, self._whole.process(work.batches, work.context))
        except BaseException:
            self.abandon()
            raise

    # -- the sink's side -----------------------------------------------------------------------------------------------

    def handle(self, items: Sequence[Done]) -> None:
        """Produce what was processed, and commit when it is time."""
        self._waits = 0
        try:
            for done in items:
                self._in_flight -= 1
                self._commits.take(done, last=self._in_flight == 0)
        except BaseException:
            self.abandon()
            raise

    def finish(self) -> None:
        """Commit what was handled, leave the group and let the slot go."""
        if self._closed:
            return
        if self._commits.pending:
            self._commits.commit()
        self.abandon()

    def abandon(self) -> None:
        """Abort what is open and leave the group at once, so that nobody has to wait for this process to time out."""
        if self._closed:
            return
        self._closed = True
        self._in_flight = 0
        self._transactions.abort()
        with self._watchdog.guard("close of the consumer", self._config.blocking_timeout * 2):
            self._membership.close()
            if self._election is not None:
                self._election.leave()
        self._watchdog.close()
        self.slot.release()

    # -- what the membership tells -------------------------------------------------------------------------------------

    def before_revocation(self) -> None:
        """Commit what the sink has handled."""
        if not self._commits.pending or self._closed:
            return
        if self._in_flight:
            self._commits.break_off("partitions were revoked while rows of theirs were under way")
            return
        self._commits.commit()

    def on_loss(self) -> None:
        """The group has gone on without this member: nothing of it can be committed."""
        if self._transactions.is_open:
            self._commits.break_off("partitions were lost: the group has gone on without this member")

    def on_gap(self, partition: Partition, message: str) -> None:
        """Tell the log, and the dead letters with the next transaction."""
        self._commits.notice(partition, message)

    def on_suspicion(self) -> None:
        """Look at the topics at once."""
        self._topics.look_now()

    def on_lost_position(self, lane: Lane, error: KafkaError) -> None:
        """If the topics turn out to be what they were, that is an error."""
        self._suspicion = f"{lane.topic!r} partition {lane.index} at {lane.taken + lane.rows}: {error.str()}"

    def _look_at_topics(self) -> None:
        changed = self._topics.look()
        if changed is None:
            return
        suspicion, self._suspicion = self._suspicion, None
        if changed is Changed.RECREATED:
            self._begin_with_new_topics()
        elif suspicion is not None:
            raise TopicError(
                f"{self._config.group} can't read on in topic {suspicion}; retention has removed records that were not "
                "processed yet, or the log was cut. Start again: the start finds what is missing and says what to do"
            )

    def _begin_with_new_topics(self) -> None:
        """A topic was deleted and made again: its consumer would wait for ever, so another one takes its place."""
        self._commits.break_off("a topic was re-created")
        self._transactions.discard()
        with self._watchdog.guard("close of the consumer", self._config.blocking_timeout * 2):
            self._membership.leave()
            if self._election is not None:
                self._election.leave()
        self._join()

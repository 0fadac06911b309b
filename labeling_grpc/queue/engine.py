"""The rules of the queue (docs/explanation/labeling.md), applied to groups of commands.

A `Queue` applies a group inside one transaction of its caller's. Commands of a group are outstanding together, so none
of them is before another: the queue takes what makes room first (intake, answers, releases, leases that ran out) and
gives out last. It holds no state that the database does not hold, but the counts, whose turn it is among lanes and
segments, and what it read lately of who may be given what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Final

import sqlalchemy as sa

from labeling_grpc.commands import administration
from labeling_grpc.commands.administration import Administer
from labeling_grpc.commands.labeling import (
    AddGold,
    AdoptLabels,
    Amend,
    Applied,
    Command,
    Counts,
    LeaseCases,
    LeasedCase,
    MarkPublished,
    Quarantine,
    RemoveGold,
    Rescore,
    Result,
    Source,
    Sweep,
    TakeIdentity,
    TakeIn,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.commands.sessions import Session
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.queue import gold
from labeling_grpc.queue.annotator_access import AnnotatorAccess
from labeling_grpc.queue.answer_checks import canonical
from labeling_grpc.queue.case_state import ENDS, counted
from labeling_grpc.queue.comments import with_comments
from labeling_grpc.queue.fair_queueing import FairQueueing
from labeling_grpc.queue.handlers.admin import administer
from labeling_grpc.queue.handlers.amendments import amend, voted_on
from labeling_grpc.queue.handlers.intake import take_in
from labeling_grpc.queue.handlers.leases import Held, apply_held, leases_of
from labeling_grpc.queue.handlers.outbox import adopt_labels, mark_published, take_identity
from labeling_grpc.queue.handlers.quarantine import quarantine
from labeling_grpc.queue.handlers.ranking import rescore
from labeling_grpc.queue.handlers.sessions import change_session
from labeling_grpc.queue.leasing import Leasing
from labeling_grpc.queue.offsets import position
from labeling_grpc.queue.program_audit import ProgramAudit
from labeling_grpc.queue.stacks import plain_stacks
from labeling_grpc.queue.unit_of_work import UnitOfWork
from labeling_grpc.security import audit
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import FIRST_LEASE_END, Lane, State, answers, meta, outbox, queue
from tidemark.records.topics import Topics

FromKafka = TakeIn | Rescore | AdoptLabels | MarkPublished | TakeIdentity

_FRESH: Final = 1_000_000
"""µs of queue time for which what is known of annotators, and of stacks, is not looked up again."""

_USUAL: Final = (LeaseCases, Held, Amend, FromKafka, Sweep, Session)
"""Commands that make plain stacks, and change annotators through `UnitOfWork.note_annotators_changed` alone."""


@dataclass(slots=True)
class _Memory:
    """What a queue remembers from one group to the next.

    access: as it was read last, None to read it anew.  looked_at: queue time at which there were no stacks but the
    plain ones, None where there may be others.  version: of the access, by the database.
    """

    turns: FairQueueing = field(default_factory=FairQueueing)
    access: AnnotatorAccess | None = None
    looked_at: int | None = None
    version: str = ""


class Queue:
    """Applies commands to the database of one pipeline.

    Not safe to share: one thread applies at a time, and calls `adopt` after each commit. Where other replicas write the
    database too (`shared`), it calls `adopt_counts` before each group, with what the database says.
    """

    def __init__(self, topics: Topics, rules: QueueRules, connection: sa.Connection, *, shared: bool = False) -> None:
        """Read the counts; `connection` is used for that only."""
        self._topics = topics
        self._rules = rules
        self._shared = shared
        self._memory = _Memory()
        self._next_memory = self._memory
        secret = connection.execute(sa.select(meta.c.value).where(meta.c.key == meta_keys.PUBLISHER)).scalar_one()
        self._gold = gold.GoldTurns(secret, rules.gold_every)
        self._audit = ProgramAudit(secret, rules.programs_audited)
        self.counts = count(connection)
        self.next_lease_end = first_lease_end(connection)

    @property
    def rules(self) -> QueueRules:
        """What this queue is held to."""
        return self._rules

    def position(self, connection: sa.Connection, reader: str, source: Source) -> int | None:
        """Next offset of a reader of Kafka; None: it never read."""
        return position(connection, reader, source)

    def adopt(self, applied: Applied) -> None:
        """Take over the counts of a group that was committed. A group that was rolled back leaves no trace."""
        self.adopt_counts(applied.counts, applied.next_lease_end)
        self._memory = self._next_memory
        audit.tell(applied.entries)

    def adopt_annotators(self, version: str) -> None:
        """Read what is known of annotators anew where `version` is another than before."""
        if version != self._memory.version:
            self._memory = replace(self._memory, version=version, access=None, looked_at=None)

    def adopt_counts(self, counts: Counts, next_lease_end: int | None) -> None:
        """Take over what is true now."""
        self.counts, self.next_lease_end = counts, next_lease_end

    def apply(
        self,
        connection: sa.Connection,
        commands: Sequence[Command],
        now: int,
        wall: int,
        decided: Callable[[], None] = lambda: None,
    ) -> Applied:
        """Results of the commands, in their order; what they change is in `connection`'s transaction.

        now, wall: queue time and wall clock, µs.  decided: called when most that is left is for the database to do.
        """
        commands = [canonical(command, self._rules.scale) for command in commands]
        counts = replace(self.counts)
        work = UnitOfWork(
            connection, self._topics, self._rules, counts, now, wall, shared=self._shared, audit=self._audit
        )
        voted = voted_on(work, commands)
        work.lock([*_touched(commands), *voted])
        work.lock_closed(voted)
        results: list[Result] = [_apart(work, command) for command in commands]
        held = {i: c for i, c in enumerate(commands) if isinstance(c, Held)}
        if held:
            leases = [lease for command in held.values() for lease in leases_of(command)]
            work.load(lease.event_id for lease in leases)
            gold.load(work, leases)
            for index, command in held.items():
                results[index] = apply_held(work, command)
            work.flush()
            for annotator in work.to_give_again:
                self._gold.give_again(annotator)
        amended = {index: command for index, command in enumerate(commands) if isinstance(command, Amend)}
        if amended:
            for index, outcome in zip(amended, amend(work, list(amended.values())), strict=True):
                results[index] = outcome
        _administer(work, commands, results)
        if self.next_lease_end is not None and self.next_lease_end <= now:
            work.end_leases()
        if self._shared and any(isinstance(command, Sweep) for command in commands):
            work.expire_waiting()  # what one replica gave back while another's intake moved the clock
        asked = {index: command for index, command in enumerate(commands) if isinstance(command, LeaseCases)}
        self._next_memory = self._remembered(work, commands)
        if asked:
            for index, tasks in zip(asked, self._lease(work, list(asked.values()), decided), strict=True):
                results[index] = tasks
        else:
            decided()
        work.trust.write()
        end = self._lease_end_after(work, now)
        entries = audit.record(connection, wall, work.acts)
        return Applied(results, work.counts, work.events, end, contended=work.contended, entries=entries)

    def _remembered(self, work: UnitOfWork, commands: Sequence[Command]) -> _Memory:
        """What is left of what was known, after the commands of a group that come before its leases."""
        memory = replace(self._memory, turns=self._memory.turns.copy())
        fresh = range(work.now - _FRESH, work.now + 1)
        if work.annotators_changed or memory.access is None or memory.access.read_at not in fresh:
            memory.access = None
        if not all(isinstance(command, _USUAL) for command in commands):
            memory.access = memory.looked_at = None
        if memory.looked_at is not None and memory.looked_at not in fresh:
            memory.looked_at = None
        return memory

    def _lease(
        self, work: UnitOfWork, asked: list[LeaseCases], decided: Callable[[], None]
    ) -> list[list[LeasedCase] | RefusedError]:
        memory = self._next_memory
        if memory.access is None:
            memory.access = AnnotatorAccess.read(work.connection, work.now)
        plain = self._rules.plain and memory.looked_at is not None and not any(request.review for request in asked)
        leasing = Leasing(work, plain_stacks() if plain else None, memory.access, memory.turns, self._gold)
        leased = leasing.lease(asked)
        decided()
        leasing.write()
        if work.counts.has_comments:
            leased = with_comments(work.connection, leased, work.golden)
        if leasing.looked:
            memory.looked_at = work.now if all(stack.plain for stack in leasing.stacks) else None
        return leased

    def _lease_end_after(self, work: UnitOfWork, now: int) -> int | None:
        """No later than the end of the first lease that ends: swept too early is harmless, too late is not."""
        known = self.next_lease_end
        if known is not None and known <= now:
            return first_lease_end(work.connection)
        ends = [end for end in (known, work.first_lease_end) if end is not None]
        return min(ends, default=None)


def _touched(commands: Sequence[Command]) -> Iterator[str]:
    """Event ids of the cases that a group is about, apart from those that it looks for."""
    for command in commands:
        if isinstance(command, Held):
            yield from (lease.event_id for lease in leases_of(command))
        elif isinstance(command, AdoptLabels):
            yield from (label.event_id for label in command.labels)
        elif isinstance(command, Administer):
            yield from administration.event_ids(command)


def _administer(work: UnitOfWork, commands: Sequence[Command], results: list[Result]) -> None:
    for index, command in enumerate(commands):
        if isinstance(command, Administer):
            results[index] = administer(work, command)
        elif isinstance(command, Session):
            results[index] = change_session(work, command)


def _apart(work: UnitOfWork, command: Command) -> Result:
    """Apply a command that is done by itself; any other is left for later."""
    match command:
        case TakeIn():
            return take_in(work, command)
        case Rescore():
            return rescore(work, command)
        case AdoptLabels():
            adopt_labels(work, command)
        case MarkPublished():
            mark_published(work, command)
        case TakeIdentity(publisher):
            take_identity(work, publisher)
        case AddGold():
            return gold.add(work, command)
        case RemoveGold():
            return gold.remove(work, command)
        case Quarantine():
            quarantine(work, command)
        case _:
            pass
    return None


def count(connection: sa.Connection) -> Counts:
    """The queue in numbers, counted row by row."""
    counts = Counts()
    by_state = sa.select(queue.c.state, queue.c.lane, sa.func.count()).group_by(queue.c.state, queue.c.lane)
    for state, lane, number in connection.execute(by_state):
        if state == State.LEASED:
            counts.leased += number
        elif lane == Lane.EXPLORE:
            counts.waiting_explore = number
        else:
            counts.waiting_active = number
    reopened = sa.select(answers.c.event_id).where(answers.c.status == "requeued")
    once = sa.and_(answers.c.supersedes.is_(None), answers.c.event_id.not_in(reopened))  # an amendment closes no case
    by_status = sa.select(answers.c.status, sa.func.count()).where(once).group_by(answers.c.status)
    for status, number in connection.execute(by_status):
        if status in ENDS:
            setattr(counts, status, number)
    again = sa.select(answers).where(answers.c.event_id.in_(reopened)).order_by(answers.c.event_id)
    for _, rows in groupby(connection.execute(again).mappings(), key=itemgetter("event_id")):
        status = counted(list(rows))
        if status is not None:
            setattr(counts, status, getattr(counts, status) + 1)
    counts.unpublished = connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()
    stored = dict(connection.execute(sa.select(meta.c.key, meta.c.value)).all())
    counts.event_clock = int(stored.get(meta_keys.EVENT_CLOCK, "0"))
    counts.asked_clock = int(stored.get(meta_keys.ASKED_CLOCK, "0"))
    counts.rejected = int(stored.get(meta_keys.REJECTED, "0"))
    counts.has_comments = meta_keys.HAS_COMMENTS in stored
    counts.ranked_by = stored.get(meta_keys.RANKED_BY, "")
    return counts


def first_lease_end(connection: sa.Connection) -> int | None:
    """When the first lease ends, in queue time."""
    end: int | None = connection.execute(FIRST_LEASE_END).scalar_one()
    return end

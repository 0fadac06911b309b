"""Giving out: what is due first, then the most urgent, exploration cases in turn with the others, segments in turn.

Cases wait in stacks: those of one lane, tier, segment and audience, by rank. Whoever may be given one of a stack may be
given all of it, but for what they just released; so a lease looks at cases it can give, however many there are that it
can't.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice
from typing import Any, Final

from labeling_grpc.commands.labeling import LeaseCases, LeasedCase
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.queue import sql
from labeling_grpc.queue.annotator_access import AnnotatorAccess
from labeling_grpc.queue.error_costs import WINDOW, careful, choose, cost_of
from labeling_grpc.queue.fair_queueing import FairQueueing
from labeling_grpc.queue.gold import GoldTurns
from labeling_grpc.queue.handlers.assignments import end_assignments
from labeling_grpc.queue.stacks import Stack, Waiting, find_stacks, names
from labeling_grpc.queue.unit_of_work import UnitOfWork
from labeling_grpc.tables.schema import Lane, Tier

_SLACK: Final = 2
"""Rows beyond those that are needed, for some that an annotator just gave back; more are looked up when need be."""
_PAGE: Final = 500
_ALWAYS: Final = 2**63 - 1
"""A time, µs, before which every case is due."""


@dataclass(slots=True)
class _Offer:
    """Stacks of one tier for one request: exploration's, and the others by segment."""

    explore: list[Stack] = field(default_factory=list)
    active: dict[str, list[Stack]] = field(default_factory=dict)
    due: list[Stack] = field(default_factory=list)


@dataclass(slots=True)
class _Found:
    """A case and its place. both: both lanes have one."""

    stack: Stack
    index: int
    row: Waiting
    both: bool = False


class Leasing:
    """Gives out cases of one transaction. turns: moved on.  stacks: None to look which there are."""

    def __init__(
        self,
        work: UnitOfWork,
        stacks: list[Stack] | None,
        access: AnnotatorAccess,
        turns: FairQueueing,
        gold: GoldTurns,
    ) -> None:
        self._work = work
        self._access = access
        self._turns = turns
        self._gold = gold
        self._updates: list[dict[str, Any]] = []
        self._gone: set[int] = set()
        self._careful: dict[str, bool] | None = None
        self._costs: dict[int, float] = {}
        self.looked = stacks is None
        """Whether it is known that there are no other stacks than these."""
        self.stacks: list[Stack] = []
        self._add(self._found() if stacks is None else stacks)

    def lease(self, asked: Sequence[LeaseCases]) -> list[list[LeasedCase] | RefusedError]:
        """Cases for each request, in its order, or why there are none for it; `write` is to follow."""
        self._prepare(sum(request.count for request in asked))
        return [self._answer(request) for request in asked]

    def write(self) -> None:
        """Write down what was given."""
        sql.LEASE.execute(self._work.connection, self._updates)

    def _found(self) -> list[Stack]:
        """The stacks that there are, once assignments that have lasted until now are over."""
        stacks = find_stacks(self._work.connection)
        if any(stack.assignee is not None for stack in stacks) and end_assignments(self._work):
            stacks = find_stacks(self._work.connection)
        return stacks

    def _add(self, stacks: Sequence[Stack]) -> None:
        """Take stacks, and active ones a second time, by due time, where the pipeline has due times."""
        self.stacks += stacks
        due = self._work.rules.due
        if due is not None:
            due_by = _ALWAYS if due.lead is None else self._work.wall + due.lead
            self.stacks += [
                replace(stack, due_by=due_by, rows=deque()) for stack in stacks if stack.lane == Lane.ACTIVE
            ]

    def _prepare(self, total: int) -> None:
        """Guess how many cases of each stack are needed: while both lanes have some each gives half."""
        counts = self._work.counts
        explore = min(counts.waiting_explore, max(-(-total // 2), total - counts.waiting_active))
        active = total - min(explore, total // 2)
        segments = len({stack.segment for stack in self.stacks if stack.lane == Lane.ACTIVE})
        for stack in self.stacks:
            explores = stack.lane == Lane.EXPLORE
            stack.most = (explore if explores else -(-active // segments)) + _SLACK
            stack.whole = stack.whole or not (counts.waiting_explore if explores else counts.waiting_active)

    def _answer(self, request: LeaseCases) -> list[LeasedCase] | RefusedError:
        who = request.annotator
        pending = sum(update["asker"] == who for update in self._updates) if self._access.of(who).quota else 0
        allowed = self._access.allowed(self._work, request, pending)
        if isinstance(allowed, RefusedError):
            return allowed
        if request.alike:
            return self._alike(request, allowed)
        offers = self._offers(request)
        taken: list[LeasedCase] = []
        size = 0
        while len(taken) < allowed:
            offer = self._next(offers, request)
            if offer is None and not self.looked and self._short():
                self._look()
                offers = self._offers(request)
                offer = self._next(offers, request)
            if offer is None or (taken and size + offer.row.size > self._work.rules.max_bytes):
                break
            skills = self._access.of(request.annotator).skills
            if (gold := self._gold.take(self._work, request, skills, offer.row)) is not None:
                size += 3 * len(gold.candidate)  # more than its message can take
                taken.append(gold)
                continue
            size += offer.row.size
            taken.append(self._give(offer, request))
        return taken

    def _alike(self, request: LeaseCases, allowed: int) -> list[LeasedCase]:
        """Those cases that are like another one and may be given, the nearest; nobody's turn is moved on by them."""
        place = {event_id: number for number, event_id in enumerate(request.alike)}
        skills = self._access.of(request.annotator).skills
        rows = [
            row
            for row in self._work.connection.execute(sql.ALIKE, {"part": list(place)}).all()
            if row.case_id not in self._gone and self._may_have(row, request, skills)
        ]
        taken: list[LeasedCase] = []
        size = 0
        for row in sorted(rows, key=lambda row: place[row.event_id]):
            if taken and size + row.size > self._work.rules.max_bytes:
                break
            gold = None
            if len(taken) < allowed:
                gold = self._gold.take(self._work, request, skills, row)
            if gold is not None:
                size += 3 * len(gold.candidate)
                taken.append(gold)
            if len(taken) >= allowed:
                break
            size += row.size
            taken.append(self._lease(row, request, Lane.ACTIVE, row.segment, row.skill))
        for stack in self.stacks:
            stack.rows = deque(row for row in stack.rows if row.case_id not in self._gone)
        return sorted(taken, key=lambda task: place[task.event_id])

    def _may_have(self, row: Waiting, request: LeaseCases, skills: tuple[str, ...] | None) -> bool:
        """Whether a case of the active lane that anyone may have may be given to the one who asks."""
        held = row.passed_by == request.annotator and row.passed_until > self._work.now
        if row.assignee not in {None, request.annotator}:
            return False
        known = not request.segments or row.segment in request.segments
        skilled = row.skill is None or skills is None or row.skill in skills
        return known and skilled and not held and request.annotator not in names(row.seen)

    def _offers(self, request: LeaseCases) -> list[_Offer]:
        """What there is for a request: what is assigned to who asks, then reviewers' cases, then the others."""
        skills = self._access.of(request.annotator).skills
        assigned = _Offer()
        offers = {int(tier): _Offer() for tier in (Tier.REVIEWERS, Tier.ANYONE)}
        for stack in self.stacks:
            if not stack.is_for(request, skills):
                continue
            offer = offers[stack.tier] if stack.assignee is None else assigned
            if stack.lane == Lane.EXPLORE:
                offer.explore.append(stack)
            elif stack.due_by is not None:
                offer.due.append(stack)
            else:
                offer.active.setdefault(stack.segment, []).append(stack)
        return [assigned, *offers.values()]

    def _next(self, offers: list[_Offer], request: LeaseCases) -> _Found | None:
        """The case whose turn it is."""
        for offer in offers:
            explore = self._first(offer.explore, request)
            active = self._first_due(offer.due, request) or self._first_in_turn(offer.active, request)
            chosen = (explore if self._turns.explore_next else active) or explore or active
            if chosen is not None:
                chosen.both = explore is not None and active is not None
                return chosen
        return None

    def _first_in_turn(self, active: dict[str, list[Stack]], request: LeaseCases) -> _Found | None:
        for segment in self._turns.order(active):
            if (offer := self._first(active[segment], request)) is not None:
                return offer
        return None

    def _first_due(self, stacks: Sequence[Stack], request: LeaseCases) -> _Found | None:
        """The case that would miss its due time first, or one that is due about then, by what an error costs."""
        first, due = self._first(stacks, request), self._work.rules.due
        if first is None or due is None or due.error_cost is None:
            return first
        if self._careful is None:
            self._careful = careful(self._work.connection)
        is_careful = self._careful.get(request.annotator)
        if is_careful is None:
            return first
        until = first.row.due_at + due.about
        offered = [self._offered(stack, request, until) for stack in stacks]
        found = list(islice(merge(*offered, key=lambda each: each.stack.order(each.row)), WINDOW))
        costs = [self._cost(each.row, due.error_cost) for each in found]
        return found[choose(costs, is_careful=is_careful)]

    def _cost(self, row: Waiting, column: str) -> float:
        if row.case_id not in self._costs:
            self._costs[row.case_id] = cost_of(row.candidate, column)
        return self._costs[row.case_id]

    def _offered(self, stack: Stack, request: LeaseCases, until: int) -> Iterator[_Found]:
        """Cases of a stack by due time that the one who asks may have and that are due by some time."""
        index = 0
        while True:
            for row in islice(stack.rows, index, None):
                if row.due_at > until:
                    return
                if self._is_offered(row, request):
                    yield _Found(stack, index, row)
                index += 1
            if stack.whole:
                return
            self._extend(stack)

    def _is_offered(self, row: Waiting, request: LeaseCases) -> bool:
        """Whether a case of a stack that the one who asks may have is not kept from them, nor given."""
        held = row.passed_by == request.annotator and row.passed_until > self._work.now
        held = held or row.assignee not in {None, request.annotator}
        return not held and row.case_id not in self._gone and request.annotator not in names(row.seen)

    def _first(self, stacks: Sequence[Stack], request: LeaseCases) -> _Found | None:
        """The first case of all the stacks, in their order, that the one who asks may have."""
        if len(stacks) == 1:
            return self._first_of(stacks[0], request)
        firsts = [first for stack in stacks if (first := self._first_of(stack, request)) is not None]
        return min(firsts, key=lambda first: first.stack.order(first.row), default=None)

    def _first_of(self, stack: Stack, request: LeaseCases) -> _Found | None:
        while stack.rows and stack.rows[0].case_id in self._gone:  # given from the other stack that it is in
            stack.rows.popleft()
        if stack.rows:
            first = stack.rows[0]
            if first.passed_by is None and first.seen is None and first.assignee is None:  # as nearly all are
                return _Found(stack, 0, first)
        index = 0
        while True:
            for row in islice(stack.rows, index, None):
                if self._is_offered(row, request):
                    return _Found(stack, index, row)
                index += 1
            if stack.whole:
                return None
            self._extend(stack)

    def _extend(self, stack: Stack) -> None:
        """Look up the next rows of a stack."""
        most = stack.most
        here = stack.place | {"most": most}
        by_due_time = stack.due_by is not None
        if by_due_time:
            here["due_by"] = stack.due_by
        if stack.last is None:
            rows = self._work.connection.execute(sql.DUE if by_due_time else sql.HEAD, here).all()
            if not by_due_time:
                self._notice(here, len(rows))
        else:
            here |= {"after_rank": stack.last.rank, "after_case": stack.last.case_id}
            if by_due_time:
                here["after_due"] = stack.last.due_at
            rows = self._work.connection.execute(sql.DUE_AFTER if by_due_time else sql.HEAD_AFTER, here).all()
        stack.rows.extend(row for row in rows if row.case_id not in self._gone)
        stack.whole = len(rows) < most
        if rows:
            stack.last = rows[-1]
        stack.most = min(2 * most, _PAGE)

    def _notice(self, here: dict[str, Any], cases_found: int) -> None:
        """Notice where another replica holds what this one could have given."""
        if self._work.shared and cases_found < min(here["most"], self._work.counts.waiting):
            self._work.contended |= self._work.connection.execute(sql.WAITING, here).scalar_one() > cases_found

    def _short(self) -> bool:
        """Whether more cases wait than these stacks have."""
        return self._work.counts.waiting > sum(len(stack.rows) for stack in self.stacks if stack.due_by is None)

    def _look(self) -> None:
        known = [stack.place for stack in self.stacks]
        for stack in self._found():
            if stack.place not in known:
                stack.most = _SLACK
                self._add([stack])
        self.looked = True

    def _give(self, offer: _Found, request: LeaseCases) -> LeasedCase:
        row, stack = offer.row, offer.stack
        del stack.rows[offer.index]
        if offer.both:
            self._turns.explore_next = not self._turns.explore_next
        if stack.lane == Lane.ACTIVE and stack.assignee is None:
            self._turns.took(stack.segment)
        review = stack.tier != Tier.ANYONE
        return self._lease(row, request, stack.lane, stack.segment, stack.skill, review=review)

    def _lease(
        self, row: Waiting, request: LeaseCases, lane: int, segment: str, skill: str | None, *, review: bool = False
    ) -> LeasedCase:
        self._gone.add(row.case_id)
        token = base64.urlsafe_b64encode(self._work.entropy.draw(18)).decode()
        until = self._work.now + request.lease_us
        self._updates.append(
            {
                "case": row.case_id,
                "new_token": token,
                "asker": request.annotator,
                "until": until,
                "at": self._work.wall,
            }
        )
        self._work.lease_ends(until)
        self._work.waiting(lane, -1)
        self._work.counts.leased += 1
        self._work.tell("leased", row.event_id, request.annotator)
        return LeasedCase(
            row.event_id,
            row.candidate,
            token,
            until,
            row.leases + 1,
            segment=segment,
            skill=skill or "",
            review=review,
            due=row.due_at,
            assigned=row.assignee is not None,
        )

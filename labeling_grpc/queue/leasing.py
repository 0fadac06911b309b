"""Giving out: the most urgent cases first, exploration cases in turn with the others."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from labeling_grpc.commands import LeaseCases, LeasedCase
from labeling_grpc.queue import statements as sql
from labeling_grpc.queue.gold import GoldTurns
from labeling_grpc.queue.work import Work
from labeling_grpc.refusals import Reason, RefusedError
from labeling_grpc.schema import Lane, Tier

_SLACK: Final = 2
"""Rows beyond those that are needed, for some that an annotator just gave back; further ones are looked up singly."""

_Row = sa.Row[*tuple[Any, ...]]


@dataclass(slots=True)
class _Head:
    """The first waiting cases of a lane, in order. `whole`: there are no others."""

    rows: deque[_Row]
    whole: bool


class Leasing:
    """Gives out cases of one transaction."""

    def __init__(self, work: Work, gold: GoldTurns) -> None:
        self._work = work
        self._gold = gold
        self._updates: list[dict[str, Any]] = []

    def lease(
        self, asked: Sequence[LeaseCases], *, explore_next: bool
    ) -> tuple[list[list[LeasedCase] | RefusedError], bool]:
        """Cases for each request, in its order, and whose turn it is after that.

        While both lanes have cases, they take turns: one exploration case, one other.
        """
        counts = self._work.counts
        total = sum(request.count for request in asked)
        # While both lanes have cases each gives half; what is short in one, the other gives.
        explore = min(counts.waiting_explore, max(-(-total // 2), total - counts.waiting_active))
        lanes = {
            Lane.EXPLORE: self._head(Lane.EXPLORE, explore, counts.waiting_explore),
            Lane.ACTIVE: self._head(Lane.ACTIVE, total - min(explore, total // 2), counts.waiting_active),
        }
        given: list[list[LeasedCase] | RefusedError] = []
        for request in asked:
            if (self._work.rules.several or self._work.rules.gold_every) and request.annotator in self._work.stopped:
                why = f"{request.annotator!r} is quarantined; an administrator can change that"
                given.append(RefusedError(Reason.ANNOTATOR_STOPPED, why))
                continue
            taken: list[LeasedCase] = []
            size = 0
            while request.review and len(taken) < request.count:
                lane, row = next(
                    ((lane, row) for lane in Lane if (row := self._first(lane, Tier.REVIEWERS, request)) is not None),
                    (Lane.ACTIVE, None),
                )
                if row is None:
                    break
                taken.append(self._give(row, request, lane))
            while len(taken) < request.count:
                heads = {lane: self._next(lane, head, request) for lane, head in lanes.items()}
                both = all(heads.values())
                lane = Lane.EXPLORE if (explore_next if both else heads[Lane.EXPLORE]) else Lane.ACTIVE
                found = heads[lane]
                if found is None or (taken and size + found[1].size > self._work.rules.max_bytes):
                    break
                if (gold := self._gold.take(self._work, request)) is not None:
                    size += len(gold.candidate)
                    taken.append(gold)
                    continue
                if both:
                    explore_next = not explore_next
                index, row = found
                if index is not None:
                    del lanes[lane].rows[index]
                size += row.size
                taken.append(self._give(row, request, lane))
            given.append(taken)
        self._write()
        return given, explore_next

    def _head(self, lane: Lane, needed: int, waiting: int) -> _Head:
        if not waiting:
            return _Head(deque(), whole=True)
        most = needed + _SLACK
        wanted = {"in_lane": int(lane), "in_tier": int(Tier.ANYONE), "most": most}
        rows = deque(self._work.connection.execute(sql.HEAD, wanted).all())
        if self._work.shared and len(rows) < min(most, waiting):
            self._work.contended = True
        return _Head(rows, whole=len(rows) < most)

    def _next(self, lane: Lane, head: _Head, request: LeaseCases) -> tuple[int | None, _Row] | None:
        """First case of the lane that this annotator did not just release, and its place in the head."""
        for index, row in enumerate(head.rows):
            passed = row.passed_by == request.annotator and row.passed_until > self._work.now
            if not passed and (row.seen is None or request.annotator not in msgspec.json.decode(row.seen)):
                return index, row
        if head.whole:
            return None
        found = self._first(lane, Tier.ANYONE, request)
        return None if found is None else (None, found)

    def _first(self, lane: Lane, tier: Tier, request: LeaseCases) -> _Row | None:
        """First case of the lane and tier that may be this annotator's."""
        self._write()  # the statement below must not see cases that were given in this group
        asker = {"asker": request.annotator, "quoted": msgspec.json.encode(request.annotator).decode()}
        where = {"in_lane": int(lane), "in_tier": int(tier), "most": 1, "at": self._work.now}
        return self._work.connection.execute(sql.HEAD_FOR, asker | where).first()

    def _give(self, row: _Row, request: LeaseCases, lane: Lane) -> LeasedCase:
        token = base64.urlsafe_b64encode(self._work.entropy.draw(18)).decode()
        until = self._work.now + request.lease_us
        lease = {"new_token": token, "asker": request.annotator, "until": until, "given_at": self._work.wall}
        self._updates.append({"case": row.case_id, **lease})
        self._work.lease_ends(until)
        self._work.waiting(lane, -1)
        self._work.counts.leased += 1
        self._work.tell("leased", row.event_id, request.annotator)
        return LeasedCase(row.event_id, row.candidate, token, until, row.leases + 1)

    def _write(self) -> None:
        sql.LEASE.execute(self._work.connection, self._updates)
        self._updates.clear()

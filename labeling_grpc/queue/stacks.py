"""Waiting cases of one kind: stacks.

Whoever may be given one of a stack may be given all of it, but for what they just released.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from labeling_grpc.commands.labeling import LeaseCases
from labeling_grpc.queue import sql
from labeling_grpc.tables.schema import AUDIENCE_ASSIGNEE, AUDIENCE_SEEN, Lane, Tier

_EVERYBODY: Final = "\n"
"""Audience of a case that asks for no skill, that nobody has answered and that is assigned to nobody."""

Waiting = sa.Row[*tuple[Any, ...]]
"""A row of what waits."""


@dataclass(slots=True, eq=False)
class Stack:
    """Waiting cases of one kind; `rows` are the first of them that are not given, in order. `whole`: there are no more.

    skill: what its audience is skilled in.  seen: those who have answered all of them.  due_by: those alone that are
    due by this time, the earliest first, µs; None: all, by rank.  most: rows of the next look.  assignee: who alone is
    offered them; None: whoever may have them.
    """

    lane: int
    tier: int
    segment: str
    audience: str
    skill: str | None
    seen: frozenset[str]
    due_by: int | None = None
    assignee: str | None = None
    most: int = 0
    rows: deque[Waiting] = field(default_factory=deque)
    whole: bool = False
    last: Waiting | None = None

    @property
    def place(self) -> dict[str, Any]:
        """Parameters of the statements about it."""
        return {
            "in_lane": self.lane,
            "in_tier": self.tier,
            "in_segment": self.segment,
            "in_audience": self.audience,
        }

    def order(self, row: Waiting) -> tuple[float, ...]:
        """What its rows, and those of others of its kind, are ordered by."""
        return (row.rank, row.case_id) if self.due_by is None else (row.due_at, row.rank, row.case_id)

    @property
    def plain(self) -> bool:
        """Whether it is one of `plain_stacks`, or for reviewers, who ask for those by themselves."""
        return self.tier != Tier.ANYONE or (not self.segment and self.audience == _EVERYBODY)

    def is_for(self, request: LeaseCases, skills: tuple[str, ...] | None) -> bool:
        """Whether the one who asks may be given its cases."""
        if self.tier != Tier.ANYONE and not request.review:
            return False
        if request.annotator in self.seen:
            return False
        if self.assignee is not None and self.assignee[:AUDIENCE_ASSIGNEE] != request.annotator[:AUDIENCE_ASSIGNEE]:
            return False
        if self.lane == Lane.EXPLORE:  # to leave out some would bias what they measure
            return True
        if request.segments and self.segment not in request.segments and self.assignee is None:
            return False
        return self.skill is None or skills is None or self.skill in skills


def plain_stacks() -> list[Stack]:
    """The two that there are without segments, skills, reviewers and second answers."""
    return [Stack(int(lane), int(Tier.ANYONE), "", _EVERYBODY, None, frozenset()) for lane in Lane]


def find_stacks(connection: sa.Connection) -> list[Stack]:
    """Those that have cases: a look-up each, however many cases there are."""
    return [
        Stack(
            *(row.lane, row.tier, row.segment, row.audience, row.skill, names(row.seen, whole=True)),
            assignee=row.assignee,
        )
        for row in connection.execute(sql.STACKS)
    ]


def names(seen: str | None, *, whole: bool = False) -> frozenset[str]:
    """Who has answered a case; of a stack (`whole`), nobody where the audience was cut, and is not told apart by it."""
    if seen is None or (whole and len(seen) >= AUDIENCE_SEEN):
        return frozenset()
    return frozenset(msgspec.json.decode(seen, type=list[str]))

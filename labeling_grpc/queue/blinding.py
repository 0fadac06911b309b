"""Cases of which somebody must not be told what others said, for their own answer is yet to come, or to be measured.

A gold case is a closed one, whose answer others know. To who may be given it, it looks like one that waits; to who has
it, like any other in their hands; to who answered it, like one that they alone have answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa

from labeling_grpc.queue.sql import PART
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.roles import MATRIX, Role, Scope
from labeling_grpc.tables.schema import answers, cases, gold, gold_leases, queue

_PART: Final = 5_000
_PEOPLE: Final = frozenset({Role.ANNOTATOR, Role.REVIEWER})
"""Roles whose holders are given gold cases to see how well they label."""

Looks = Literal["leased", "answered", "waiting"]

_HELD = sa.select(gold_leases.c.event_id).where(
    gold_leases.c.event_id.in_(PART), gold_leases.c.annotator == sa.bindparam("who")
)
_TOLD_DUE = sa.select(gold_leases.c.due_at).where(
    gold_leases.c.event_id == sa.bindparam("event"), gold_leases.c.annotator == sa.bindparam("who")
)
_MEASURED = sa.select(answers.c.event_id).where(
    answers.c.event_id.in_(PART), answers.c.annotator == sa.bindparam("who"), answers.c.status == "gold"
)
_TO_COME = sa.select(gold.c.event_id).where(
    gold.c.event_id.in_(PART),
    ~sa.exists().where(answers.c.event_id == gold.c.event_id, answers.c.annotator == sa.bindparam("who")),
)
_OPEN = (
    sa.select(cases.c.event_id)
    .select_from(cases.join(queue, queue.c.case_id == cases.c.id))
    .where(cases.c.event_id.in_(PART))
)


@dataclass(frozen=True, slots=True)
class Blinding:
    """What one caller must not be told of. golden: gold cases are given out at all."""

    caller: Caller
    golden: bool = True

    @property
    def blind(self) -> bool:
        """Whether the caller may see nobody's answers but their own."""
        return MATRIX["GetCase"][self.caller.role] is Scope.OWN

    def over(self, connection: sa.Connection, event_ids: Iterable[str]) -> dict[str, Looks]:
        """Find the gold cases that must not be told from others.

        Args:
            connection: To the queue's database.
            event_ids: The cases that are about to be shown.

        Returns:
            Those of them that the blinding hides, each with what it looks like.

        """
        if self.caller.role is Role.ADMIN:
            return {}
        looks: dict[str, Looks] = {}
        kinds: list[tuple[Looks, sa.Select[str]]] = [("answered", _MEASURED), ("leased", _HELD)]
        if self.golden and self.caller.role in _PEOPLE:
            kinds.insert(0, ("waiting", _TO_COME))
        for part in _parts(event_ids):
            for look, hidden_ids in kinds:
                asked = {"part": part, "who": self.caller.name}
                looks |= dict.fromkeys(connection.execute(hidden_ids, asked).scalars(), look)
        return looks

    def told_due(self, connection: sa.Connection, event_id: str) -> int | None:
        """When a gold case in the caller's hands is due, as they were told, wall clock, µs; None: they were not."""
        asked = {"event": event_id, "who": self.caller.name}
        due: int | None = connection.execute(_TOLD_DUE, asked).scalars().first()
        return due

    def unanswered(self, connection: sa.Connection, event_ids: Iterable[str]) -> set[str]:
        """Find the cases whose label must not be shown beside another case.

        Args:
            connection: To the queue's database.
            event_ids: Labeled cases.

        Returns:
            Those that the blinding hides; for who sees only their own answers, also those that are asked again.

        """
        asked = list(event_ids)
        hidden_ids: set[str] = set(self.over(connection, asked))
        if self.blind:
            for part in _parts(asked):
                hidden_ids |= set(connection.execute(_OPEN, {"part": part}).scalars())
        return hidden_ids


def _parts(event_ids: Iterable[str]) -> list[list[str]]:
    wanted = sorted(set(event_ids))
    return [wanted[start : start + _PART] for start in range(0, len(wanted), _PART)]

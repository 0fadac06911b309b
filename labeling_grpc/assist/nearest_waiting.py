"""Waiting cases that are much like one in somebody's hands, to be answered together with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from labeling_grpc.assist.nearest_labeled import distances_to
from labeling_grpc.assist.ranking import FeatureRows
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.tables.schema import Lane, State, Tier, cases, gold, gold_leases, queue
from tidemark.pipeline import Pipeline
from tidemark.records.messages import decode_candidate

NEAR: Final = 2.0
"""Distance in robustly scaled features up to which cases count as alike."""
_KEPT: Final = 4_000
_KEPT_GOLD: Final = 1_000
_FRESH_SECONDS: Final = 10.0
_SPARE: Final = 4
"""Times as many as are asked for: some may have been given to others meanwhile, or are not for who asks."""

_WAITING = (
    sa.select(cases.c.event_id, cases.c.candidate)
    .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
    .where(queue.c.state == int(State.WAITING), queue.c.lane == int(Lane.ACTIVE), queue.c.tier == int(Tier.ANYONE))
    .order_by(queue.c.rank, queue.c.case_id)
    .limit(_KEPT)
)
_GOLD = (
    sa.select(cases.c.event_id, cases.c.candidate)
    .select_from(gold.join(cases, cases.c.event_id == gold.c.event_id))
    .order_by(gold.c.added_at.desc(), gold.c.event_id)
    .limit(_KEPT_GOLD)
)
_HELD = sa.select(cases.c.candidate).where(
    cases.c.event_id == sa.bindparam("event"),
    sa.exists().where(
        queue.c.case_id == cases.c.id,
        queue.c.state == int(State.LEASED),
        queue.c.annotator == sa.bindparam("who"),
    )
    | sa.exists().where(
        gold_leases.c.event_id == cases.c.event_id,
        gold_leases.c.annotator == sa.bindparam("who"),
        gold_leases.c.lease_until > sa.bindparam("now"),
    ),
)


@dataclass(frozen=True, slots=True)
class _Read:
    """n cases: rows (n, features)."""

    at: float
    event_ids: list[str]
    rows: NDArray[np.float64]


class AlikeCases:
    """Finds them. May be shared by threads; one that finds what was read out of date reads it anew for all."""

    def __init__(self, pipeline: Pipeline, now: Callable[[], float] = time.monotonic) -> None:
        """now: seconds."""
        self._pipeline = pipeline
        self._now = now
        self._rows_of = FeatureRows(pipeline)
        self._lock = threading.Lock()
        self._read: _Read | None = None

    def nearest(
        self,
        connection: sa.Connection,
        who: str,
        event_id: str,
        most: int,
        now: int,
        hidden: frozenset[str] = frozenset(),
    ) -> tuple[str, ...]:
        """Cases like one that somebody has, gold cases among them.

        Args:
            connection: to the queue's database.
            who: has the case.
            event_id: the case.
            most: how many are wanted.
            now: queue time, µs.
            hidden: features that must not be told of: to be near tells of them.

        Returns:
            Event ids, nearest first, some more than are wanted: which of them may be given the queue says.

        Raises:
            RefusedError: the case is not in their hands.

        """
        held = connection.execute(_HELD, {"event": event_id, "who": who, "now": now}).scalar_one_or_none()
        if held is None:
            raise RefusedError(
                Reason.STALE_LEASE,
                f"case {event_id!r} is not in the hands of {who!r}: lease it, and ask then for cases like it",
                field="like",
                event_id=event_id,
            )
        read = self._current(connection)
        others = [place for place, other in enumerate(read.event_ids) if other != event_id]
        seen = [column for column, name in enumerate(self._pipeline.feature_names) if name not in hidden]
        if not (others and seen):
            return ()
        own = self._rows_of([decode_candidate(held)])
        distances = distances_to(read.rows[others][:, seen], own[:, seen])
        order = [place for place in np.argsort(distances, kind="stable").tolist() if distances[place] <= NEAR]
        return tuple(read.event_ids[others[place]] for place in order[: _SPARE * most])

    def _current(self, connection: sa.Connection) -> _Read:
        with self._lock:
            if self._read is None or self._now() - self._read.at > _FRESH_SECONDS:
                known = [row for query in (_GOLD, _WAITING) for row in connection.execute(query).all()]
                found: dict[str, bytes] = {row.event_id: row.candidate for row in known}
                rows = self._rows_of([decode_candidate(raw) for raw in found.values()])
                self._read = _Read(self._now(), list(found), rows)
            return self._read

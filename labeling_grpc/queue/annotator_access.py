"""Who may be given cases: what was said of annotators, and whether the queue is paused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec
import sqlalchemy as sa

from labeling_grpc.commands.administration import AnnotatorRow, AnnotatorState
from labeling_grpc.commands.labeling import LeaseCases
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.queue import sql
from labeling_grpc.queue.unit_of_work import UnitOfWork
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import annotators, meta

DAY_US: Final = 86_400_000_000
_YEAR_SECONDS: Final = 365 * 86_400.0
LATEST: Final = 253_000_000_000_000_000
"""µs: the latest end of an absence, in a year that every time zone writes with four digits."""

_ANNOTATOR = sa.select(annotators).where(annotators.c.name == sa.bindparam("who"))


@dataclass(frozen=True, slots=True)
class AnnotatorAccess:
    """Of everybody, as of queue time `read_at`. Who is not among `annotators` is active, has every skill and no quota.

    paused: why nothing is given out, "" while all is.
    """

    read_at: int
    paused: str = ""
    annotators: dict[str, AnnotatorRow] = field(default_factory=dict)

    @classmethod
    def read(cls, connection: sa.Connection, now: int) -> AnnotatorAccess:
        """As the database says now."""
        paused = connection.execute(sa.select(meta.c.value).where(meta.c.key == meta_keys.PAUSED)).scalar_one_or_none()
        known = {row.name: annotator_row(row) for row in connection.execute(sa.select(annotators))}
        return cls(now, paused or "", known)

    def of(self, name: str) -> AnnotatorRow:
        """What is known of an annotator."""
        return self.annotators.get(name) or AnnotatorRow(name)

    def allowed(self, work: UnitOfWork, request: LeaseCases, pending: int) -> int | RefusedError:
        """How many cases a request may be given, or why none. given: to the same annotator, and not written yet."""
        if self.paused:
            return RefusedError(Reason.QUEUE_PAUSED, f"the queue is paused: {self.paused}")
        annotator = self.of(request.annotator)
        if annotator.state != "active":
            return RefusedError(
                Reason.ANNOTATOR_STOPPED,
                f"{request.annotator!r} is {annotator.state}: {annotator.why}; an administrator can change that",
            )
        if annotator.absent_until > work.wall:
            return absent(annotator, work.wall)
        if not annotator.quota:
            return request.count
        midnight = work.wall - work.wall % DAY_US
        asked = {"asker": request.annotator, "since": midnight, "now": work.now}
        had: int = work.connection.execute(sql.HAD_TODAY, asked).scalar_one()
        left = annotator.quota - had - pending
        if left > 0:
            return min(request.count, left)
        return RefusedError(
            Reason.QUOTA_REACHED,
            f"{request.annotator!r} had the {annotator.quota} cases that a day (UTC) allows: come back tomorrow",
            retry_after=(midnight + DAY_US - work.wall) / 1e6,
        )


def absent(annotator: AnnotatorRow, wall: int) -> RefusedError:
    """Why somebody who is away gets nothing. wall: µs."""
    until = datetime.fromtimestamp(min(annotator.absent_until, LATEST) / 1e6, UTC)
    return RefusedError(
        Reason.ANNOTATOR_ABSENT,
        f"{annotator.name!r} is absent until {until:%Y-%m-%d %H:%M} UTC; a reviewer can change that",
        retry_after=min((annotator.absent_until - wall) / 1e6, _YEAR_SECONDS),
    )


def annotator(connection: sa.Connection, name: str) -> AnnotatorRow:
    """What an annotator may do; who is not in the table may do everything."""
    row = connection.execute(_ANNOTATOR, {"who": name}).one_or_none()
    return AnnotatorRow(name) if row is None else annotator_row(row)


def annotator_row(row: sa.Row[Any]) -> AnnotatorRow:
    """A row of the table."""
    skills = None if row.skills is None else tuple(msgspec.json.decode(row.skills, type=list[str]))
    state = cast("AnnotatorState", row.state)
    return AnnotatorRow(row.name, state, row.why, row.since, skills, row.quota, row.absent_until)

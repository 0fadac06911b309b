"""A queue without a service around it: `from desk import Desk`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from labeling import SOURCE, MovedClock, arrivals, candidate

from labeling_grpc.commands.labeling import LeaseCases, LeasedCase, TakeIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.storage.postgres import PostgresStore
from labeling_grpc.storage.sqlite import SqliteStore
from labeling_grpc.tables.schema import annotators, cases, queue
from tidemark.records import Candidate

DAY = 86_400_000_000
Open = Callable[[QueueRules], "Desk"]


class Desk:
    """A queue in the hands of one test."""

    def __init__(self, store: SqliteStore | PostgresStore, clock: MovedClock) -> None:
        self.store = store
        self.clock = clock
        self.taken = 0

    def take_in(self, *candidates: Candidate) -> None:
        start = self.taken or None
        self.taken += len(candidates)
        arrived = arrivals([*candidates], start or 0)
        self.store.transact([TakeIn(SOURCE, start, self.taken, arrived)])

    def lease(self, annotator: str, count: int = 1, *segments: str, review: bool = False) -> list[LeasedCase]:
        (result,) = self.store.transact([LeaseCases(annotator, count, 10**15, segments, review)]).results
        if isinstance(result, RefusedError):
            raise result
        assert isinstance(result, list)
        return [case for case in result if isinstance(case, LeasedCase)]

    def write(self, *statements: sa.Executable) -> None:
        """As an administrator, or the rules of quality, would."""
        with self.store.engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)
        self.clock.time += 1_000_001  # after so long nothing is taken for known

    def known(self, name: str, **said: Any) -> None:  # noqa: ANN401 - any column
        row = {"name": name, "state": "active", "why": "", "since": 0, "skills": None, "quota": 0} | said
        self.write(annotators.delete().where(annotators.c.name == name), annotators.insert().values(row))

    def mark(self, number: int, **values: Any) -> None:  # noqa: ANN401 - any column
        of = sa.select(cases.c.id).where(cases.c.event_id == candidate(number).event_id).scalar_subquery()
        self.write(queue.update().where(queue.c.case_id == of).values(values))

"""One replica of several speaks with Kafka: a row that says which, until when, by the database's clock."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from labeling_grpc.tables.schema import leader

TERM_SECONDS: Final = 6.0
"""A replica that was killed is succeeded within this time; one that stops gives up at once."""

_NAME: Final = "kafka"
NOW: Final = sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)
"""The database's clock, µs."""


class RowElection:
    """This replica's part in the election."""

    def __init__(self, engine: sa.Engine, translated: Callable[[], AbstractContextManager[None]]) -> None:
        self._engine = engine
        self._translated = translated
        self._me = uuid.uuid4().hex

    def hold(self, intake: str, publishing: str) -> tuple[float, str, str]:
        """Ask to be the one, or to stay it; see `labeling_grpc.storage.base.Election`.

        Raises:
            StoreError: the database can't be written.

        """
        asked = time.monotonic()
        until = NOW + int(TERM_SECONDS * 1e6)
        claimed = {"holder": self._me, "until": until, "intake_problem": intake, "publishing_problem": publishing}
        claim = (
            postgresql.insert(leader)
            .values(name=_NAME, **claimed)
            .on_conflict_do_update(
                index_elements=["name"],
                set_=claimed,
                where=sa.or_(leader.c.holder == self._me, leader.c.until < NOW),
            )
            .returning(leader.c.holder)
        )
        with self._translated(), self._engine.begin() as connection:
            if connection.execute(claim).first() is not None:
                return asked + TERM_SECONDS, intake, publishing
            other = connection.execute(sa.select(leader.c.intake_problem, leader.c.publishing_problem)).one()
            return 0.0, other.intake_problem, other.publishing_problem

    def give_up(self) -> None:
        """Let another be it at once.

        Raises:
            StoreError: the database can't be written.

        """
        with self._translated(), self._engine.begin() as connection:
            connection.execute(leader.delete().where(leader.c.holder == self._me))

"""Emptying a queue's database, so that the service builds it anew from Kafka.

What Kafka does not have stays: access tokens, what annotators may do, gold cases, the audit trail.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import sqlalchemy as sa

from labeling_grpc.queue.rules import QueueRules
from labeling_grpc.security import audit
from labeling_grpc.security.audit import Act
from labeling_grpc.storage.base import Store, StoreError
from labeling_grpc.storage.choose import open_store
from labeling_grpc.storage.election import NOW
from labeling_grpc.storage.schema import answers, cases, confusion, counters, leader, meta, outbox, positions, queue
from tidemark.records.topics import Topics


def empty(database: str | Path, pipeline: str, *, discard: bool = False, operator: str = "") -> int:
    """Take all out of a queue's database; how many unpublished records were lost.

    database: as `open_store`.  operator: who asks, for the audit trail.

    Raises:
        StoreError: a service runs on it; or records of it are not in Kafka yet, and `discard` was not asked for.

    """
    store = open_store(database, Topics(pipeline), QueueRules(classes=()))  # SQLite's lock keeps a service out
    try:
        with store.engine.begin() as connection:
            _refuse_running(connection, store)
            unpublished: int = connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()
            if unpublished and not discard:
                raise StoreError(
                    f"{unpublished} records of the queue are not in Kafka yet: start the service until `tidemark "
                    "status` shows none, or give them up with --discard-unpublished"
                )
            _delete(connection, shared=store.shared)
            act = Act(operator, "operator", "queue rebuild", pipeline, {"unpublished": unpublished})
            audit.record(connection, time.time_ns() // 1_000, [act])
            return unpublished
    finally:
        store.close()


def _refuse_running(connection: sa.Connection, store: Store) -> None:
    if store.shared:
        held = connection.execute(sa.select(leader.c.holder).where(leader.c.until > NOW)).first()
        if held is not None:
            raise StoreError("a labeling service runs on the shared database: stop every replica first")


def _delete(connection: sa.Connection, *, shared: bool) -> None:
    for table in (queue, cases, answers, confusion, outbox, positions):
        connection.execute(table.delete())
    connection.execute(meta.delete().where(meta.c.key.in_(["event_clock", "asked_clock", "rejected", "published"])))
    # Another identity: what was published under the old one is then read from Kafka as somebody else's.
    connection.execute(meta.update().where(meta.c.key == "publisher").values(value=uuid.uuid4().hex))
    if shared:
        numbers = [column.name for column in counters.c if column.name not in {"stripe", "clock"}]
        connection.execute(counters.update().values(dict.fromkeys(numbers, 0)))

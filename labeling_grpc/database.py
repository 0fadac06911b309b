"""The database of a pipeline's queue: opened with the queue's engine in it, with its access tokens, and emptied."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from labeling_grpc.clock import Clock
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.queue.engine import Queue
from labeling_grpc.security import audit
from labeling_grpc.security.audit import Act
from labeling_grpc.security.tokens import TokenStore, translated, wall_clock
from labeling_grpc.storage.base import Store, StoreError
from labeling_grpc.storage.election import NOW
from labeling_grpc.storage.migrate import prepare
from labeling_grpc.storage.postgres import PostgresStore, prepared
from labeling_grpc.storage.sqlite import BEGIN, SqliteStore, sqlite_engine
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import answers, cases, confusion, counters, leader, meta, outbox, positions, queue
from tidemark.records.topics import Topics
from tidemark.runtime.private_files import private_database

_OF_KAFKA: Final = (meta_keys.EVENT_CLOCK, meta_keys.ASKED_CLOCK, meta_keys.REJECTED, meta_keys.PUBLISHED)
"""Keys of `meta` that follow from what is in Kafka."""


def open_store(database: str | Path, topics: Topics, rules: QueueRules, clock: Clock | None = None) -> Store:
    """Open a pipeline's queue, or make it.

    Args:
        database: A file for SQLite, or the URL of a PostgreSQL.
        topics: Of the pipeline.
        rules: What the queue is held to.
        clock: None for the machine's.

    Returns:
        The store.

    Raises:
        StoreError: It can't be opened, or is in use.
        ConfigError: PostgreSQL's driver is not installed.

    """
    if isinstance(database, Path):
        return sqlite_store(database, topics, rules, clock)
    return postgres_store(database, topics, rules, clock)


def sqlite_store(path: Path, topics: Topics, rules: QueueRules, clock: Clock | None = None) -> SqliteStore:
    """As `open_store`, in the file at `path`."""
    return SqliteStore(path, partial(Queue, topics, rules), clock)


def postgres_store(url: str, topics: Topics, rules: QueueRules, clock: Clock | None = None) -> PostgresStore:
    """As `open_store`, in the PostgreSQL at `url`, which other replicas may share."""
    return PostgresStore(url, topics.pipeline, partial(Queue, topics, rules, shared=True), clock)


def open_tokens(database: str | Path, pipeline: str, operator: str = "") -> TokenStore:
    """Open the access tokens of a pipeline, in its queue's database.

    Args:
        database: As `open_store`'s.
        pipeline: Its name.
        operator: Who asks, for the audit trail.

    Returns:
        The tokens.

    Raises:
        StoreError: The database is of a newer version, or can't be reached.
        TokenError: The database fails.
        ConfigError: PostgreSQL's driver is not installed.

    """
    if isinstance(database, Path):
        return sqlite_tokens(database, operator=operator)
    return TokenStore(prepared(database, pipeline), operator=operator)


def sqlite_tokens(path: Path, now: Callable[[], int] = wall_clock, operator: str = "") -> TokenStore:
    """As `open_tokens`, in the file at `path`, which is made if it is not there. now: wall clock, µs."""
    private_database(path)
    engine = sqlite_engine(path)
    with translated(), engine.execution_options(**{BEGIN: "BEGIN IMMEDIATE"}).begin() as connection:
        prepare(connection, str(path))
    return TokenStore(engine, now, operator)


@contextmanager
def reading(database: str | Path, pipeline: str) -> Iterator[sa.Connection]:
    """Connect to a pipeline's database, beside a service that may run on it.

    Args:
        database: As `open_store`'s.
        pipeline: Its name.

    Yields:
        The connection.

    Raises:
        StoreError: The database fails.
        TokenError: The same, as it is opened.
        ConfigError: PostgreSQL's driver is not installed.

    """
    tokens = open_tokens(database, pipeline)
    try:
        with tokens.engine.connect() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        raise StoreError(f"the queue's database can't be read ({error.orig})") from error
    finally:
        tokens.close()


def empty(database: str | Path, pipeline: str, *, discard: bool = False, operator: str = "") -> int:
    """Take all out of a queue's database that the service reads from Kafka when it starts.

    What Kafka does not have stays: access tokens, what annotators may do, gold cases, the audit trail.

    Args:
        database: As `open_store`'s.
        pipeline: Its name.
        discard: Give up records that are not in Kafka yet.
        operator: Who asks, for the audit trail.

    Returns:
        How many unpublished records were lost.

    Raises:
        StoreError: A service runs on it; or records of it are not in Kafka yet, and `discard` was not asked for.

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


def contents(database: str | Path, pipeline: str) -> tuple[int, int]:
    """What `empty` would take out.

    Args:
        database: As `open_store`'s.
        pipeline: Its name.

    Returns:
        Cases, and records that are not in Kafka yet.

    Raises:
        StoreError: A service runs on it.

    """
    store = open_store(database, Topics(pipeline), QueueRules(classes=()))
    try:
        with store.engine.begin() as connection:
            _refuse_running(connection, store)
            counts = [
                connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                for table in (cases, outbox)
            ]
            return counts[0], counts[1]
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
    connection.execute(meta.delete().where(meta.c.key.in_(_OF_KAFKA)))
    # Another identity: what was published under the old one is then read from Kafka as somebody else's.
    connection.execute(meta.update().where(meta.c.key == meta_keys.PUBLISHER).values(value=uuid.uuid4().hex))
    if shared:
        numbers = [column.name for column in counters.c if column.name not in {"stripe", "clock"}]
        connection.execute(counters.update().values(dict.fromkeys(numbers, 0)))

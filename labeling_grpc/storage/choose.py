"""Which store is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from labeling_grpc.clock import Clock
from labeling_grpc.queue.rules import QueueRules
from labeling_grpc.security.tokens import TokenStore
from labeling_grpc.storage.base import Store, StoreError
from labeling_grpc.storage.postgres import PostgresStore, prepared
from labeling_grpc.storage.sqlite import SqliteStore
from tidemark.records.topics import Topics


def open_store(database: str | Path, topics: Topics, rules: QueueRules, clock: Clock | None = None) -> Store:
    """The store of a pipeline. database: a file for SQLite, or the URL of a PostgreSQL. clock: None for the machine's.

    Raises:
        StoreError: it can't be opened, or is in use.
        ConfigError: PostgreSQL's driver is not installed.

    """
    if isinstance(database, Path):
        return SqliteStore(database, topics, rules, clock)
    return PostgresStore(database, topics, rules, clock)


def open_tokens(database: str | Path, pipeline: str, operator: str = "") -> TokenStore:
    """The access tokens of a pipeline, in its queue's database. database: as `open_store`.  operator: who asks.

    Raises:
        StoreError, TokenError: the database fails.
        ConfigError: PostgreSQL's driver is not installed.

    """
    if isinstance(database, Path):
        return TokenStore.sqlite(database, operator=operator)
    return TokenStore(prepared(database, pipeline), operator=operator)


@contextmanager
def reading(database: str | Path, pipeline: str) -> Iterator[sa.Connection]:
    """A connection to a pipeline's database, beside a service that may run on it. database: as `open_store`.

    Raises:
        StoreError, TokenError: the database fails.
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

"""SQLite, the embedded store: one file, one process that writes the queue."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import sqlalchemy as sa

from labeling_grpc.clock import Clock, SteadyClock
from labeling_grpc.commands.labeling import Applied, Command, Counts, MarkPublished, Source, TakeIdentity
from labeling_grpc.storage.base import (
    CLOCK_EVERY,
    Change,
    MakeQueue,
    Outgoing,
    StoreError,
    nothing,
    outgoing,
    translated,
)
from labeling_grpc.storage.migrate import prepare
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import meta, outbox
from tidemark.runtime.private_files import private_database

_CACHE_KIB: Final = 65_536
_CONNECTIONS: Final = 8
_READERS_CACHE_KIB: Final = 4_096
_WAL_PAGES: Final = 40_000
"""160 MB of log until it is written into the file: the same pages are changed by one commit after another."""

_WAIT_MS: Final = 5_000
BEGIN: Final = "tidemark_begin"
"""Execution option of a connection. One that reads and then writes must take SQLite's write lock first: when another
process (`tidemark token`) writes in between, what was read is stale, and SQLite fails the write without waiting."""


class SqliteStore:
    """SQLite: one file, WAL, `synchronous=FULL`: what is committed survives a power cut.

    A lock file beside it keeps a second service out for as long as the process lives.
    """

    def __init__(self, path: Path, make_queue: MakeQueue, clock: Clock | None = None) -> None:
        """Open or create the database.

        Args:
            path: The file.
            make_queue: Makes what applies commands.
            clock: None for the machine's.

        Raises:
            StoreError: another service has it open, or it is not a queue's database of this version.

        """
        self._path = path
        private_database(path)
        self._lock = _locked(path)
        self._engine = sqlite_engine(path)
        try:
            with self._translated():
                self._writer = self._engine.connect().execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
                self._reader = self._engine.connect()
                self._writer.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE_KIB}")
                self._writer.rollback()  # of nothing: the cache stays
                with self._writer.begin():
                    stored = prepare(self._writer, str(path))
                    self._queue = make_queue(self._writer)
        except BaseException:
            self._engine.dispose()
            self._lock.close()
            raise
        self._publisher = stored[meta_keys.PUBLISHER]
        self._published = int(stored.get(meta_keys.PUBLISHED, "0"))
        self._clock = clock or SteadyClock(int(stored.get(meta_keys.CLOCK, "0")))
        self._clock_written = 0

    @property
    def shared(self) -> bool:
        """A lock keeps other services out."""
        return False

    @property
    def election(self) -> None:
        """There is nobody to elect."""

    @property
    def engine(self) -> sa.Engine:
        """The database."""
        return self._engine

    @property
    def publisher(self) -> str:
        """Identity of this queue in the headers of what it publishes."""
        return self._publisher

    @property
    def published(self) -> int:
        """Highest number of the outbox that the database knows to be in Kafka."""
        return self._published

    @property
    def counts(self) -> Counts:
        """The queue in numbers, as of the last transaction."""
        return self._queue.counts

    @property
    def next_lease_end(self) -> int | None:
        """Queue time at which the first lease may end."""
        return self._queue.next_lease_end

    @property
    def clock(self) -> Clock:
        """The queue's clock."""
        return self._clock

    def transact(self, commands: Sequence[Command], meanwhile: Callable[[], None] = nothing) -> Applied:
        """Apply a group of commands and commit. meanwhile: called when what is left is for SQLite to do.

        Raises:
            StoreError: the database can't be written.

        """
        now = self._clock.now()
        with self._translated(), self._writer.begin():
            applied = self._queue.apply(self._writer, commands, now, self._clock.wall(), meanwhile)
            if now - self._clock_written >= CLOCK_EVERY:
                _write(self._writer, meta_keys.CLOCK, str(now))
                self._clock_written = now
        self._queue.adopt(applied)
        for command in commands:
            if isinstance(command, MarkPublished):
                self._published = command.seq
            elif isinstance(command, TakeIdentity):
                self._publisher = command.publisher
        return applied

    def unpublished(self, after: int, limit: int) -> list[Outgoing]:
        """The outbox above `after`, in order; at most `limit` records, and no more after the first few MB.

        Raises:
            StoreError: the database can't be read.

        """
        columns = (outbox.c.seq, outbox.c.topic, outbox.c.key, outbox.c.value, outbox.c.headers)
        query = sa.select(*columns).where(outbox.c.seq > after).order_by(outbox.c.seq).limit(limit)
        with self._translated(), self._reader.begin():
            return outgoing(self._reader.execute(query))

    def last_seq(self) -> int:
        """Highest number that the outbox ever gave.

        Raises:
            StoreError: the database can't be read.

        """
        query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
        with self._translated(), self._reader.begin():
            return self._reader.execute(query).scalar_one_or_none() or 0

    def position(self, reader: str, source: Source) -> int | None:
        """Next offset of a reader; None: it never read.

        Raises:
            StoreError: the database can't be read.

        """
        with self._translated(), self._engine.connect() as connection:
            return self._queue.position(connection, reader, source)

    def subscribe(self, changed: Callable[[Change], None]) -> None:
        """Nobody else changes anything."""

    def close(self) -> None:
        """Close the database and give the lock back."""
        self._writer.close()
        self._reader.close()
        self._engine.dispose()
        self._lock.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self._unavailable):
                yield
        except sa.exc.ResourceClosedError as error:  # for a thread that outlived its patience at the stop
            raise StoreError(f"the queue's database {self._path} is closed") from error

    def _unavailable(self, error: sa.exc.DBAPIError) -> StoreError:
        return StoreError(
            f"the queue's database {self._path} fails ({error.orig}): check the disk's space and permissions"
        )


def sqlite_engine(path: Path) -> sa.Engine:
    """The database at `path`; its connections wait for each other's writes for some seconds."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        # One that is opened anew for each look, with its pragmas and an empty cache, costs more than the look.
        hide_parameters=True,
        poolclass=sa.QueuePool,
        pool_size=_CONNECTIONS,
        max_overflow=_CONNECTIONS,
        connect_args={"check_same_thread": False, "timeout": _WAIT_MS / 1_000, "cached_statements": 256},
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's, as SQLAlchemy hands it
        connection.isolation_level = None  # SQLAlchemy begins transactions, below; the driver would begin too late
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={_WAL_PAGES}",
            f"cache_size=-{_READERS_CACHE_KIB}",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))

    return engine


def _write(connection: sa.Connection, key: str, value: str) -> None:
    if not connection.execute(meta.update().where(meta.c.key == key).values(value=value)).rowcount:
        connection.execute(meta.insert().values(key=key, value=value))


def _locked(path: Path) -> IO[str]:
    lock = path.with_name(path.name + ".lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StoreError(
            f"{path} is in use by the labeling service with process id {holder}: stop that one first"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock

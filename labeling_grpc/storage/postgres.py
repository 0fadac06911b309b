"""PostgreSQL, the store of several replicas: each runs its own groups of commands, side by side.

Rows keep replicas apart, not a lock on the whole: a case is locked by who gives it out or closes it, what is looked
for passes over locked rows. Counts are sums over rows that replicas add to. One replica at a time speaks with Kafka
(`election`); should two believe to be it, intake's positions move by comparison with what is stored, and Kafka fences
the publisher that came first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from labeling_grpc.clock import Clock, SteadyClock
from labeling_grpc.commands.labeling import (
    AdoptLabels,
    Applied,
    Command,
    Counts,
    MarkPublished,
    Source,
    TakeIdentity,
    TakeIn,
)
from labeling_grpc.storage.base import Change, MakeQueue, Outgoing, StoreError, nothing, outgoing, told, translated
from labeling_grpc.storage.election import RowElection
from labeling_grpc.storage.migrate import prepare
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import FIRST_LEASE_END, counters, meta, numbers, outbox, replica_number
from tidemark.errors import ConfigError

_STRIPES: Final = 16
_COUNTED: Final = (
    *("waiting_explore", "waiting_active", "leased", "answered", "skipped", "expired", "withdrawn", "unpublished"),
)
_CONNECT: Final[dict[str, Any]] = {
    # A database that is gone without a word is told from one that is slow within seconds, and nobody waits longer.
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    # A plan that was made, and kept, while a queue was new and its tables small reads them whole when they are large.
    "options": "-c statement_timeout=20s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s "
    "-c enable_seqscan=off",
}
_LISTEN_SECONDS: Final = 1.0

log = logging.getLogger(__name__)

_STATE = sa.select(
    *(sa.func.coalesce(sa.func.sum(counters.c[name]), 0).label(name) for name in _COUNTED),
    sa.func.coalesce(sa.func.max(counters.c.clock), 0).label("clock"),
    FIRST_LEASE_END.scalar_subquery().label("next_lease_end"),
    sa.select(sa.func.json_object_agg(meta.c.key, meta.c.value)).scalar_subquery().label("meta"),
)
_ADD = (
    counters.update()
    .where(counters.c.stripe == sa.bindparam("of"))
    .values(
        **{name: counters.c[name] + sa.bindparam(f"more_{name}") for name in _COUNTED},
        clock=sa.func.greatest(counters.c.clock, sa.bindparam("now")),
    )
)
_LOCK_KAFKA = sa.select(meta.c.value).where(meta.c.key == meta_keys.KAFKA).with_for_update()
_NUMBERING = sa.text("SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.numbers'))")
_NUMBER = numbers.insert().from_select(
    ["seq"],
    sa.select(outbox.c.seq)
    .where(~sa.exists().where(numbers.c.seq == outbox.c.seq))
    .order_by(outbox.c.seq)
    .limit(sa.bindparam("most")),
)
_NUMBERED = (
    sa.select(numbers.c.number, outbox.c.topic, outbox.c.key, outbox.c.value, outbox.c.headers)
    .join(outbox, outbox.c.seq == numbers.c.seq)
    .where(numbers.c.number > sa.bindparam("after"))
    .order_by(numbers.c.number)
    .limit(sa.bindparam("most"))
)
_LAST = sa.text("SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('numbers', 'number')), 0)")
_NOTIFY = sa.text("SELECT pg_notify(:channel, :payload)")


class PostgresStore:
    """A queue in PostgreSQL, in a schema of its own, which this replica shares with others."""

    def __init__(self, url: str, pipeline: str, make_queue: MakeQueue, clock: Clock | None = None) -> None:
        """Open the queue, or make it.

        Args:
            url: `postgresql://user@host/database`.
            pipeline: Whose queue it is.
            make_queue: Makes what applies commands.
            clock: None for the machine's.

        Raises:
            StoreError: the database can't be reached, or has the queue of a newer version.
            ConfigError: the driver is not installed, or the URL is none.

        """
        self._name = _shown(url)
        self._engine = prepared(url, pipeline)
        with self._translated(), self._engine.begin() as connection:
            self._queue = make_queue(connection)
            state = connection.execute(_STATE).one()
            anchor = connection.execute(sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint"))
            self._clock = clock or SteadyClock(state.clock, anchor.scalar_one())
            number = connection.execute(sa.select(replica_number.next_value())).scalar_one()
        self._read(state)
        self._stripe = int(number) % _STRIPES
        self._channel = f"tidemark_labeling_{pipeline}"[:63]
        self._election = RowElection(self._engine, self._translated)
        self._listener: _Listener | None = None

    @property
    def shared(self) -> bool:
        """Other replicas may write it too."""
        return True

    @property
    def election(self) -> RowElection:
        """Who of the replicas speaks with Kafka."""
        return self._election

    @property
    def engine(self) -> sa.Engine:
        """The database; its search path is the queue's schema."""
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
        """The queue in numbers, as of this replica's last transaction."""
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
        """Apply a group of commands and commit. meanwhile: called at once, for the server works from the first on.

        Raises:
            StoreError: the database can't be written; nothing was changed, or all was and nobody could tell.

        """
        meanwhile()
        with self._translated(), self._engine.begin() as connection:
            if any(isinstance(command, TakeIn | AdoptLabels | MarkPublished | TakeIdentity) for command in commands):
                connection.execute(_LOCK_KAFKA)
            state = connection.execute(_STATE).one()
            self._read(state)
            # Replicas' clocks drift apart; the fastest leads, for a lease must not end in one and go on in another.
            now = max(self._clock.now(), state.clock)
            before = asdict(self._queue.counts)
            applied = self._queue.apply(connection, commands, now, self._clock.wall(), nothing)
            after = asdict(applied.counts)
            more = {f"more_{name}": after[name] - before[name] for name in _COUNTED}
            connection.execute(_ADD, {"of": self._stripe, "now": now, **more})
            for change in _changes(applied, more["more_unpublished"]):
                payload = f"{self._stripe}:{change}"
                connection.execute(_NOTIFY, {"channel": self._channel, "payload": payload})
        self._queue.adopt(applied)
        for command in commands:
            if isinstance(command, MarkPublished):
                self._published = command.seq
            elif isinstance(command, TakeIdentity):
                self._publisher = command.publisher
        return applied

    def unpublished(self, after: int, limit: int) -> list[Outgoing]:
        """The outbox above `after`, in the order in which it was numbered, which this call goes on with.

        Raises:
            StoreError: the database fails.

        """
        with self._translated(), self._engine.begin() as connection:
            # One at a time: numbers are then committed in their order, and none appears below one that was read.
            connection.execute(_NUMBERING)
            connection.execute(_NUMBER, {"most": limit})
            return outgoing(connection.execute(_NUMBERED, {"after": after, "most": limit}))

    def last_seq(self) -> int:
        """Highest number that the outbox ever gave.

        Raises:
            StoreError: the database can't be read.

        """
        with self._translated(), self._engine.begin() as connection:
            return int(connection.execute(_LAST).scalar_one())

    def position(self, reader: str, source: Source) -> int | None:
        """Next offset of a reader; None: it never read.

        Raises:
            StoreError: the database can't be read.

        """
        with self._translated(), self._engine.begin() as connection:
            return self._queue.position(connection, reader, source)

    def subscribe(self, changed: Callable[[Change], None]) -> None:
        """Have `changed` called, by a thread of the store's, when another replica changed something."""
        self._listener = _Listener(self._engine, self._channel, str(self._stripe), changed)
        self._listener.start()

    def close(self) -> None:
        """Give the connections back."""
        if self._listener is not None:
            self._listener.stop()
        self._engine.dispose()

    def _read(self, state: sa.Row[*tuple[Any, ...]]) -> None:
        counts = Counts()
        for name in _COUNTED:
            setattr(counts, name, int(getattr(state, name)))
        counts.event_clock = int(state.meta.get(meta_keys.EVENT_CLOCK, "0"))
        counts.asked_clock = int(state.meta.get(meta_keys.ASKED_CLOCK, "0"))
        counts.rejected = int(state.meta.get(meta_keys.REJECTED, "0"))
        counts.has_comments = meta_keys.HAS_COMMENTS in state.meta
        counts.ranked_by = state.meta.get(meta_keys.RANKED_BY, "")
        self._queue.adopt_counts(counts, state.next_lease_end)
        self._queue.adopt_annotators(state.meta.get(meta_keys.ANNOTATORS, ""))
        self._publisher = state.meta[meta_keys.PUBLISHER]
        self._published = int(state.meta.get(meta_keys.PUBLISHED, "0"))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with _translated(self._name):
            yield


def _changes(applied: Applied, unpublished: int) -> list[Change]:
    changes: list[Change] = []
    if any(event.kind in {"added", "returned", "requeued"} for event in applied.events):
        changes.append("cases")
    if unpublished > 0:
        changes.append("outbox")
    return changes


class _Listener:
    """A thread that hears what other replicas change. While it can't, idle turns of the writer find out."""

    def __init__(self, engine: sa.Engine, channel: str, own: str, changed: Callable[[Change], None]) -> None:
        self._engine = engine
        self._channel = channel
        self._own = own
        self._changed = changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labeling-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(3 * _LISTEN_SECONDS)

    def _run(self) -> None:
        failures = (sa.exc.DBAPIError, sa.exc.TimeoutError, self._engine.dialect.loaded_dbapi.Error)
        while not self._stop.is_set():
            try:
                self._listen()
            except failures as error:
                log.debug("listening to other replicas starts over: %s", error)
            self._stop.wait(_LISTEN_SECONDS)

    def _listen(self) -> None:
        pooled = self._engine.raw_connection()
        driver: Any = pooled.driver_connection
        pooled.detach()  # one that listens serves nobody else
        with driver:
            driver.autocommit = True
            driver.execute(f"LISTEN {self._engine.dialect.identifier_preparer.quote_identifier(self._channel)}")
            self._changed("cases")  # what happened while nobody listened
            self._changed("outbox")
            while not self._stop.is_set():
                for notice in driver.notifies(timeout=_LISTEN_SECONDS, stop_after=1):
                    stripe, _, change = notice.payload.partition(":")
                    if stripe != self._own:
                        self._changed(change)


def prepared(url: str, pipeline: str) -> sa.Engine:
    """The database at `url`, with the pipeline's schema as its search path, at this version's tables.

    Raises:
        StoreError: the database can't be reached, or has the queue of a newer version.
        ConfigError: the driver is not installed, or the URL is none.

    """
    schema = f"tidemark_{pipeline}"
    try:
        address = sa.make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(
            address, connect_args=_CONNECT, pool_size=8, max_overflow=8, pool_timeout=10, hide_parameters=True
        )
    except sa.exc.ArgumentError as error:
        raise ConfigError(f"the labeling database {url!r} is no URL: write postgresql://user@host/database") from error
    except ModuleNotFoundError as error:
        raise ConfigError(f"PostgreSQL's driver is not installed ({error}): pip install 'tidemark[postgres]'") from None

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's, as SQLAlchemy hands it
        connection.autocommit = True
        connection.execute("SELECT set_config('search_path', %s, false)", [f'"{schema}"'])
        connection.autocommit = False

    with _translated(_shown(url)):
        try:
            with engine.begin() as connection:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": schema})
                connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
                prepare(connection, f"{_shown(url)}, schema {schema}")
                stripes = sa.dialects.postgresql.insert(counters).on_conflict_do_nothing()
                zero = dict.fromkeys((*_COUNTED, "clock"), 0)
                connection.execute(stripes, [{"stripe": stripe, **zero} for stripe in range(_STRIPES)])
        except BaseException:
            engine.dispose()
            raise
    return engine


@contextmanager
def _translated(name: str) -> Iterator[None]:
    def unavailable(error: sa.exc.DBAPIError) -> StoreError:
        if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.InternalError):
            raise error
        return StoreError(f"the queue's database {name} fails ({told(error.orig)})")

    try:
        with translated(unavailable):
            yield
    except sa.exc.TimeoutError as error:
        raise StoreError(f"the queue's database {name} has no connection left for {error}") from error


def _shown(url: str) -> str:
    """The URL without its password."""
    return sa.make_url(url).render_as_string(hide_password=True)

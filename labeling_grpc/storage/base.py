"""What the service needs of a store, and what a store needs of the queue whose commands it commits."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import msgspec
import sqlalchemy as sa

from labeling_grpc.clock import Clock
from labeling_grpc.commands.labeling import Applied, Command, Counts, Message, Source
from labeling_grpc.tables.schema import meta
from tidemark.errors import LabelingError

CLOCK_EVERY: Final = 1_000_000
"""µs between two writings of the queue time."""

MAX_BYTES: Final = 8_000_000
"""Of the values that one transaction publishes, the last of them not counted."""

_TOO_LONG_FOR_INDEX: Final = "54000"
"""SQLSTATE `program_limit_exceeded`."""

Change = Literal["cases", "outbox"]
"""What another replica changed: there is more to lease, or more to publish."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record of the outbox."""

    seq: int
    message: Message


class StoreError(LabelingError):
    """The queue's database can't be opened, read or written; names it and says what to do."""


class UnfitError(LabelingError):
    """The database can't hold a value of a command. Says of what kind it is, and nothing of the value."""


def told(error: BaseException | None) -> str:
    """What a database's driver says of an error in one sentence, without what it adds of rows and values.

    Args:
        error: The driver's.

    Returns:
        The sentence.

    """
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return str(primary or error).strip()


@contextmanager
def translated(unavailable: Callable[[sa.exc.DBAPIError], StoreError]) -> Iterator[None]:
    """Translate the errors of a database, those of its values apart from those of its own.

    Args:
        unavailable: Makes the error for a database that fails.

    Raises:
        UnfitError: A value can't be stored.
        StoreError: The database fails.

    """
    try:
        yield
    except sa.exc.DataError as error:
        state = getattr(error.orig, "sqlstate", None) or type(error.orig).__name__
        raise UnfitError(f"the queue's database can't hold a value of it ({state})") from None
    except (OverflowError, UnicodeError) as error:  # SQLite's driver, of a number above 64 bits or a lone surrogate
        raise UnfitError(f"the queue's database can't hold a value of it ({type(error).__name__})") from None
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _TOO_LONG_FOR_INDEX:
            raise UnfitError("the queue's database can't hold a value of it: too long for an index") from None
        raise unavailable(error) from error


class Election(Protocol):
    """Which of several replicas speaks with Kafka."""

    def hold(self, intake: str, publishing: str) -> tuple[float, str, str]:
        """Ask to be the one, or to stay it, telling what is wrong with intake and publishing.

        Gives until when (monotonic clock, seconds) this replica is it, 0 if another is; and then the other's problems.

        Raises:
            StoreError: the database can't be written.

        """
        ...

    def give_up(self) -> None:
        """Let another be it at once."""
        ...


def nothing() -> None:
    """Nothing."""


class QueueEngine(Protocol):
    """What applies commands to the database of one pipeline: `labeling_grpc.queue.engine.Queue`.

    One thread applies at a time, and calls `adopt` after each commit. Where other replicas write the database too, it
    calls `adopt_counts` and `adopt_annotators` before each group, with what the database says.
    """

    @property
    def counts(self) -> Counts:
        """The queue in numbers, as of the last group that was adopted."""
        ...

    @property
    def next_lease_end(self) -> int | None:
        """Queue time (µs) at which the first lease may end; None: nothing is leased."""
        ...

    def apply(
        self, connection: sa.Connection, commands: Sequence[Command], now: int, wall: int, decided: Callable[[], None]
    ) -> Applied:
        """Results of the commands; what they change is in `connection`'s transaction.

        now, wall: queue time and wall clock, µs.  decided: called when most that is left is for the database to do.
        """
        ...

    def adopt(self, applied: Applied) -> None:
        """Take over what a group came to, once it is committed."""
        ...

    def adopt_counts(self, counts: Counts, next_lease_end: int | None) -> None:
        """Take over what other replicas made of the counts."""
        ...

    def adopt_annotators(self, version: str) -> None:
        """Read what is known of annotators anew where `version` is another than before."""
        ...

    def position(self, connection: sa.Connection, reader: str, source: Source) -> int | None:
        """Next offset of a reader of Kafka; None: it never read."""
        ...


MakeQueue = Callable[[sa.Connection], QueueEngine]
"""Makes the queue of a database, whose counts it reads over the connection."""


class Store(Protocol):
    """A database that holds one pipeline's queue.

    `transact` is called by one thread, `unpublished` and `last_seq` by one other, the rest by any.
    """

    @property
    def shared(self) -> bool:
        """Whether other replicas write it too."""
        ...

    @property
    def election(self) -> Election | None:
        """Who of the replicas speaks with Kafka; None: there are no others."""
        ...

    @property
    def engine(self) -> sa.Engine:
        """The database, for what is beside the queue in it."""
        ...

    @property
    def publisher(self) -> str:
        """Identity of this queue in the headers of what it publishes; another when the database is a new one."""
        ...

    @property
    def published(self) -> int:
        """Highest number of the outbox that the database knows to be in Kafka."""
        ...

    @property
    def counts(self) -> Counts:
        """The queue in numbers, as of the last transaction."""
        ...

    @property
    def next_lease_end(self) -> int | None:
        """Queue time (µs) at which to transact a `Sweep` at the latest; None: nothing is leased."""
        ...

    @property
    def clock(self) -> Clock:
        """The queue's clock."""
        ...

    def transact(self, commands: Sequence[Command], meanwhile: Callable[[], None] = nothing) -> Applied:
        """Apply a group of commands and commit: durable when this returns.

        meanwhile: what gives other threads something to do, called when this one leaves them the interpreter: as the
        database begins to work.

        Raises:
            StoreError: the database can't be written; nothing was changed, or all was and nobody could tell.

        """
        ...

    def unpublished(self, after: int, limit: int) -> list[Outgoing]:
        """The outbox above `after`, in order, at most `limit` records and some MB."""
        ...

    def last_seq(self) -> int:
        """Highest number that the outbox ever gave."""
        ...

    def position(self, reader: str, source: Source) -> int | None:
        """Next offset of a reader; None: it never read."""
        ...

    def subscribe(self, changed: Callable[[Change], None]) -> None:
        """Have `changed` called, by a thread of the store's, when another replica changed something."""
        ...

    def close(self) -> None:
        """Give the database back."""
        ...


def outgoing(rows: Any) -> list[Outgoing]:  # noqa: ANN401 - a cursor's rows: number, topic, key, value, headers
    """Records of the outbox, no more after the first few MB."""
    records: list[Outgoing] = []
    size = 0
    for number, topic, key, value, headers in rows:
        decoded = tuple(
            (name, None if text is None else base64.b64decode(text)) for name, text in msgspec.json.decode(headers)
        )
        records.append(Outgoing(number, Message(topic, key, value, decoded)))
        size += len(value or b"")
        if size > MAX_BYTES:
            break
    return records


def read_meta(connection: sa.Connection) -> dict[str, str]:
    """The table `meta`."""
    return dict(connection.execute(sa.select(meta.c.key, meta.c.value)).all())

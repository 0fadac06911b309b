"""The audit trail: who did what, in a chain of hashes that a changed, removed or inserted entry breaks.

Each entry's hash is over the entry and the hash before it. Who can write the database can compute a whole new chain:
what tells then is a hash that was kept elsewhere (every entry's is in the service's log, see `tell`).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from labeling_grpc.tables.schema import audit

_LOCK: Final = sa.text("SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.audit'))")
_HEAD: Final = sa.select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1)
_BATCH: Final = 1_000
_CHUNK: Final = 10
_MAX_BYTES: Final = 1_000_000
"""Of the details of one page; one entry may name a thousand cases."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Act:
    """Something to be written down. actor: annotator id, "" for the service itself.  detail: JSON without secrets."""

    actor: str
    role: str
    action: str
    object: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the trail. at: wall clock, µs.  detail: JSON.  hash: SHA-256, hex."""

    number: int
    at: int
    actor: str
    role: str
    action: str
    object: str
    detail: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the chain. entries: that were read.  head: hash of the last.  broken: "" while it holds."""

    entries: int
    head: str
    broken: str


def digest(previous: str, entry: Entry) -> str:
    """SHA-256 over the hash before and all fields of an entry but its own hash, as a JSON array."""
    row = [previous, entry.number, entry.at, entry.actor, entry.role, entry.action, entry.object, entry.detail]
    return hashlib.sha256(msgspec.json.encode(row)).hexdigest()


def record(connection: sa.Connection, at: int, acts: Sequence[Act]) -> list[Entry]:
    """Append entries in the transaction of what they tell, as its last change; `tell` them once it is committed.

    In PostgreSQL the chain is locked until then; SQLite's transaction must hold the write lock already. at: wall
    clock, µs.
    """
    if not acts:
        return []
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK)
    number, previous = connection.execute(_HEAD).one_or_none() or (0, "")
    entries: list[Entry] = []
    for act in acts:
        number += 1
        detail = msgspec.json.encode(act.detail, order="sorted").decode()
        unsigned = Entry(number, at, act.actor, act.role, act.action, act.object, detail, "")
        previous = digest(previous, unsigned)
        entries.append(replace(unsigned, hash=previous))
    connection.execute(audit.insert(), [asdict(entry) for entry in entries])
    return entries


def tell(entries: Iterable[Entry]) -> None:
    """Log committed entries without their details: the hashes are then where who writes the database may not be."""
    for entry in entries:
        line = {name: getattr(entry, name) for name in ("number", "actor", "role", "action", "object", "hash")}
        log.info("audit %s", msgspec.json.encode(line).decode())


def page(connection: sa.Connection, after: int, most: int) -> tuple[list[Entry], str]:
    """Entries above number `after`, and what is wrong with their chain: "" if it holds from the entry before them.

    At most `most`, and no more after the first few MB.
    """
    entries: list[Entry] = []
    size, last = 0, after
    while len(entries) < most and size < _MAX_BYTES and (chunk := list(_entries(connection, last, _CHUNK))):
        for entry in chunk[: most - len(entries)]:
            if size >= _MAX_BYTES:
                break
            entries.append(entry)
            size += len(entry.detail.encode())
            last = entry.number
    before = connection.execute(sa.select(audit.c.hash).where(audit.c.number == after)).scalar_one_or_none()
    if after and before is None:
        return entries, f"entry {after} is missing"
    return entries, _checked(entries, after, before or "")


def newest(connection: sa.Connection, most: int) -> list[Entry]:
    """The newest entries, oldest first."""
    rows = connection.execute(sa.select(audit).order_by(audit.c.number.desc()).limit(most)).mappings().all()
    return [Entry(**row) for row in reversed(rows)]


def verify(connection: sa.Connection, expect: str = "") -> Verdict:
    """Read the whole chain. expect: a hash that was kept elsewhere; an entry must have it."""
    number, previous, seen = 0, "", not expect
    while entries := list(_entries(connection, number, _BATCH)):
        if broken := _checked(entries, number, previous):
            return Verdict(number, previous, broken)
        number, previous = entries[-1].number, entries[-1].hash
        seen = seen or any(entry.hash == expect for entry in entries)
    missing = "" if seen else f"no entry has the hash {expect}: entries were removed at the end, or all written anew"
    return Verdict(number, previous, missing)


def _entries(connection: sa.Connection, after: int, most: int) -> Iterator[Entry]:
    rows = connection.execute(sa.select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(most))
    return (Entry(**row) for row in rows.mappings())


def _checked(entries: Sequence[Entry], number: int, previous: str) -> str:
    for entry in entries:
        number += 1
        if entry.number != number:
            return f"entry {number} is missing"
        if digest(previous, entry) != entry.hash:
            return f"entry {number} is not what was written: its hash does not fit"
        previous = entry.hash
    return ""


class Refusals:
    """Which refused calls are written down: one a minute of each caller and call, and so many a minute in all.

    Whoever tries the same over and over must not fill the disk. Safe to share among threads.
    """

    def __init__(self, most: int = 60, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._until = clock() + seconds
        self._told: set[tuple[str, str]] = set()
        self._left = 0

    def take(self, act: Act) -> Act | None:
        """The act to be written down, with how many were left out since the one before; None: left out itself."""
        with self._lock:
            if self._clock() >= self._until:
                self._until, self._told = self._clock() + self._seconds, set()
            key = act.actor, act.action
            if key in self._told or len(self._told) >= self._most:
                self._left += 1
                return None
            self._told.add(key)
            left, self._left = self._left, 0
        return Act(act.actor, act.role, act.action, act.object, {**act.detail, "left_out": left})

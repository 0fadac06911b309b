"""What the bridge remembers: which cases it holds, which tasks are about them, which annotations were taken.

All of it can be found again, in Label Studio and in the labeling service. A ledger that is lost costs a look at every
task, and leases that run out; no label.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from labeling_grpc.client.values import Held
from tidemark.errors import ConfigError

_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE about (version INTEGER NOT NULL, studio TEXT NOT NULL);
CREATE TABLE offers (event_id TEXT PRIMARY KEY, token TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX offers_open ON offers (state) WHERE state != 'closed';
CREATE TABLE tasks (task INTEGER PRIMARY KEY, event_id TEXT NOT NULL, mark TEXT);
CREATE INDEX tasks_event ON tasks (event_id);
CREATE TABLE taken (
    annotation INTEGER PRIMARY KEY, task INTEGER NOT NULL, event_id TEXT NOT NULL, who TEXT NOT NULL,
    version TEXT NOT NULL, given TEXT NOT NULL, refused TEXT NOT NULL
);
CREATE INDEX taken_task ON taken (task);
CREATE INDEX taken_event ON taken (event_id, who);
"""
_CONTACT: Final = """
CREATE TABLE IF NOT EXISTS contact (
    one INTEGER PRIMARY KEY CHECK (one = 1), at REAL NOT NULL, runs INTEGER NOT NULL, reached REAL, failing_since REAL,
    problem TEXT NOT NULL
)
"""
"""How the bridge fares. Times are seconds since 1970."""

OfferState = Literal["held", "ended", "closed"]
"""Of a case: the bridge has its lease; it has it no longer, and tasks are still to be marked; nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An annotation that was dealt with. given: as which annotation here, "" as none.  refused: why not, "" if it was.

    version: of what it said, as `Statement` has it, "" while it is being dealt with.
    """

    annotation: int
    task: int
    event_id: str
    who: str
    version: str
    given: str
    refused: str


class Ledger:
    """A file of SQLite. Used by one thread. Each method is one transaction, which a killed process does not lose."""

    def __init__(self, path: Path, studio: str) -> None:
        """Open it, or begin anew where there is none, or it is of another Label Studio.

        Args:
            path: of the file.
            studio: which Label Studio and project it is about.

        Raises:
            ConfigError: it can't be opened, or another bridge has it.

        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = path.with_suffix(".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")  # what a power cut loses is found again
            self._begin(studio)
        except BlockingIOError as error:
            raise ConfigError("a bridge of this pipeline to Label Studio runs already on this machine") from error
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{path}: {error}; delete the file: what it holds is found again") from error

    def _begin(self, studio: str) -> None:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(_CONTACT)
            listed = "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'contact'"
            names = [row[0] for row in self._database.execute(listed)]
            known = "about" in names and self._database.execute("SELECT version, studio FROM about").fetchone()
            if known == (_VERSION, studio):
                return
            for name in names:
                self._database.execute(f'DROP TABLE "{name}"')
            self._database.execute("DELETE FROM contact")
            for statement in _TABLES.split(";"):
                self._database.execute(statement)
            self._database.execute("INSERT INTO about VALUES (?, ?)", (_VERSION, studio))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()
        self._lock.close()

    # --- how the bridge fares

    def fared(self, at: float, problem: str = "") -> None:
        """Note that the bridge has looked. problem: why it could not, "" where it could."""
        self._database.execute(
            "INSERT INTO contact VALUES (1, :at, 1, iif(:problem = '', :at, NULL), iif(:problem = '', NULL, :at), "
            ":problem) ON CONFLICT DO UPDATE SET at = :at, runs = 1, problem = :problem, "
            "reached = iif(:problem = '', :at, reached), "
            "failing_since = iif(:problem = '', NULL, ifnull(failing_since, :at))",
            {"at": at, "problem": problem},
        )

    def stopped(self) -> None:
        """Note that the bridge was asked to stop, or gives up."""
        self._database.execute("UPDATE contact SET runs = 0")

    # --- cases

    def hold(self, leases: Sequence[Held]) -> None:
        """Keep leases that were given."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO offers VALUES (?, ?, 'held') ON CONFLICT (event_id) DO UPDATE SET token = excluded.token, "
                "state = 'held'",
                [(lease.event_id, lease.token) for lease in leases],
            )

    def state(self, event_id: str, state: OfferState) -> None:
        """Note where a case is, if it was ever held."""
        self._database.execute("UPDATE offers SET state = ? WHERE event_id = ?", (state, event_id))

    def end(self, event_ids: Sequence[str]) -> None:
        """Let the tasks of cases be marked that the bridge does not hold, whether or not it ever did."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO offers VALUES (?, '', 'ended') ON CONFLICT (event_id) DO UPDATE SET state = 'ended' "
                "WHERE state = 'closed'",
                [(event_id,) for event_id in event_ids],
            )

    def held(self) -> list[Held]:
        """The leases that the bridge has, as far as it knows."""
        rows = self._database.execute("SELECT event_id, token FROM offers WHERE state = 'held' ORDER BY event_id")
        return [Held(*row) for row in rows]

    def lease(self, event_id: str) -> Held | None:
        """The lease of a case; None: the bridge does not have it."""
        row = self._database.execute(
            "SELECT event_id, token FROM offers WHERE event_id = ? AND state = 'held'", (event_id,)
        ).fetchone()
        return None if row is None else Held(*row)

    def ended(self) -> list[str]:
        """Event ids of the cases that are held no longer, and whose tasks are still to be marked."""
        return [row[0] for row in self._database.execute("SELECT event_id FROM offers WHERE state = 'ended'")]

    # --- tasks

    def found(self, tasks: Sequence[tuple[int, str]]) -> None:
        """Note which tasks there are, by number, and the cases that they are about."""
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO tasks VALUES (?, ?, NULL) ON CONFLICT (task) DO UPDATE SET event_id = excluded.event_id",
                tasks,
            )

    def gone(self, task: int) -> None:
        """Forget a task that there is no longer."""
        self._database.execute("DELETE FROM tasks WHERE task = ?", (task,))

    def tasks(self, event_id: str) -> list[int]:
        """Tasks about a case, the newest last."""
        rows = self._database.execute("SELECT task FROM tasks WHERE event_id = ? ORDER BY task", (event_id,))
        return [row[0] for row in rows]

    def mark(self, task: int, mark: str | None) -> None:
        """Note that a task was closed with a class, "" for none; or None, that it is open again."""
        self._database.execute("UPDATE tasks SET mark = ? WHERE task = ?", (mark, task))

    def mark_of(self, task: int) -> str | None:
        """The mark of a task."""
        row = self._database.execute("SELECT mark FROM tasks WHERE task = ?", (task,)).fetchone()
        return None if row is None else row[0]

    # --- annotations

    def take(self, taken: Taken) -> None:
        """Note what became of an annotation."""
        self._database.execute(
            "INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?, ?, ?, ?)",
            (taken.annotation, taken.task, taken.event_id, taken.who, taken.version, taken.given, taken.refused),
        )

    def taken(self, task: int) -> dict[int, Taken]:
        """Annotations of a task that were dealt with, by number."""
        rows = self._database.execute("SELECT * FROM taken WHERE task = ?", (task,))
        return {row[0]: Taken(*row) for row in rows}

    def begin(self, annotation: int, task: int, event_id: str, who: str) -> None:
        """Note that an annotation is being dealt with: what it said before may soon not be what is there."""
        self._database.execute(
            "INSERT INTO taken VALUES (?, ?, ?, ?, '', '', '') ON CONFLICT (annotation) DO UPDATE SET version = ''",
            (annotation, task, event_id, who),
        )

    def begun(self, event_id: str, who: str) -> bool:
        """Whether the bridge was killed while it dealt with what a person said of a case."""
        row = self._database.execute(
            "SELECT 1 FROM taken WHERE event_id = ? AND who = ? AND version = ''", (event_id, who)
        ).fetchone()
        return row is not None

    def given(self, event_id: str, who: str) -> str:
        """The newest annotation that was given for a person and a case, "" for none."""
        row = self._database.execute(
            "SELECT given FROM taken WHERE event_id = ? AND who = ? AND given != '' ORDER BY annotation DESC",
            (event_id, who),
        ).fetchone()
        return "" if row is None else str(row[0])

    def forget(self, annotation: int) -> None:
        """Forget an annotation that was deleted."""
        self._database.execute("DELETE FROM taken WHERE annotation = ?", (annotation,))


@dataclass(frozen=True, slots=True)
class Seen:
    """The ledger in numbers. held: cases offered now.  newest: annotations that were not taken, the newest first.

    at: when the bridge looked last, None: nobody knows.  runs: it has not been stopped since.  reached: when it last
    reached both services.  failing_since: since when it has not.  problem: why not.  Times are seconds since 1970.
    """

    held: int
    taken: int
    refused: int
    newest: tuple[Taken, ...]
    at: float | None = None
    runs: bool = False
    reached: float | None = None
    failing_since: float | None = None
    problem: str = ""


def look(path: Path, most: int) -> Seen:
    """Read a ledger, which a bridge may be writing.

    Args:
        path: of its file.
        most: annotations that are listed.

    Returns:
        What it says.

    Raises:
        ConfigError: it can't be read.

    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as database:
            (held,) = database.execute("SELECT count(*) FROM offers WHERE state = 'held'").fetchone()
            (taken, refused) = database.execute(
                "SELECT count(*) FILTER (WHERE refused = ''), count(*) FILTER (WHERE refused != '') FROM taken"
            ).fetchone()
            rows = database.execute("SELECT * FROM taken WHERE refused != '' ORDER BY annotation DESC LIMIT ?", (most,))
            newest = tuple(Taken(*row) for row in rows)
            known = "SELECT 1 FROM sqlite_master WHERE name = 'contact'"  # a bridge of an earlier version has none
            fared = "SELECT at, runs, reached, failing_since, problem FROM contact"
            row = database.execute(fared).fetchone() if database.execute(known).fetchone() else None
            if row is None:
                return Seen(held, taken, refused, newest)
            at, runs, reached, since, problem = row
            return Seen(held, taken, refused, newest, at, bool(runs), reached, since, problem)
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: {error}") from error

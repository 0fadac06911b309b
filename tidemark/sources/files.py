"""Files as raw records: one JSON object a row, keyed by the pipeline's first key.

Of Parquet and CSV the declared columns are sent, cast by their types. Lines of NDJSON are handed on as they are. What
is malformed is sent too, as a record that the stream flow puts into the dead letters with its reason: no row is lost.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tidemark.errors import ConfigError
from tidemark.features.raw_records import Records
from tidemark.formats.declared import Declared
from tidemark.formats.reading import open_rows
from tidemark.formats.rows import Row, Standpoint
from tidemark.pipeline import Pipeline
from tidemark.records.raw_record import RawRecord
from tidemark.sources.progress import BEGINNINGS, Matching, Prefix, Progress, beginnings_of, whole_digest

_log = logging.getLogger(__name__)
QUIET: Final = 2.0
"""Seconds without a change after which the last row of a CSV counts as written to its end, newline or not."""
_EDGE: Final = 4_096
_CHANGED: Final = "was changed while it was read; ingest it again when it is complete"


class RecordFile:
    """A file that is read row by row, and read on where an earlier reading ended.

    rows: read so far, by earlier ingests too.  held: why its last row is not read yet, if it is not.
    """

    def __init__(
        self,
        path: Path,
        pipeline: Pipeline,
        topic: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open a file.

        Args:
            path: of it.
            pipeline: whose records its rows are.
            topic: raw topic that they are for, by default the first.
            clock: seconds.

        Raises:
            ConfigError: the file can't be read, is of another kind, or lacks a column that the pipeline requires.

        """
        self.path = path
        self._rows = open_rows(path, Declared.of(pipeline))
        self._records = Records(pipeline, topic)
        self._clock = clock
        content = whole_digest(path) if self._rows.whole else None
        self._matching = Matching(path, whole=self._rows.whole, content=content)
        self._content = content or hashlib.sha256().hexdigest()
        self._since = Standpoint()
        self._ended = True
        self._prefix = Prefix(path)
        self._beginnings: list[str] = []
        self._reading: Iterator[Row] | None = None
        self._last: tuple[Row, int, float] | None = None
        self._edges: tuple[int, bytes] | None = None
        self.held: str | None = None

    @property
    def whole(self) -> bool:
        """Whether it never grows, and is known by all of its content."""
        return self._rows.whole

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return self._since.rows

    def resume(self, known: Sequence[Progress], legacy: Mapping[str, int], *, again: bool = False) -> Progress | None:
        """Go on where an earlier ingest ended.

        Args:
            known: what was ingested into the topic.
            legacy: rows of files as older versions knew them, by `legacy_name`.
            again: begin anew whatever is known.

        Returns:
            What was known of this file.

        Raises:
            ConfigError: the file was read before, and was cut or changed within that.

        """
        self._reading, self._last, self._edges, self.held = None, None, None, None
        self._since, self._ended, self._prefix, self._beginnings = Standpoint(), True, Prefix(self.path), []
        found = None if again else self._matching.find(known)
        if found is not None:
            self._since, self._ended = Standpoint(found.position, found.rows), found.ended
        elif not again and self._matching.is_known_place(known):
            _log.warning(
                "%s is another file than the one that was ingested under this name: all of it is read", self.path
            )
        elif not again and (rows := legacy.get(legacy_name(self.path), 0)):
            self._skip(rows)
        return found

    def read(self, count: int) -> Sequence[RawRecord] | None:
        """Up to `count` further rows, none at the end; None: the last row may still be written, ask again.

        Raises:
            ConfigError: the file can't be read further.

        """
        values = self.values(count)
        return None if values is None else self._records.records(values)

    def read_on(self) -> None:
        """Look behind what was the end: the file has grown."""
        self._reading = None

    def values(self, count: int) -> list[bytes] | None:
        """The same rows as JSON objects.

        Raises:
            ConfigError: the file can't be read further.

        """
        if not self.is_same():
            raise ConfigError(f"{self.path} {_CHANGED}")
        values = self._values(count)
        if not self._rows.whole:
            self._edges = self._since.position, self._edges_at(self._since.position)
        return values

    def is_same(self) -> bool:
        """Whether what was read still stands there, as far as its beginning and its end tell.

        A file may be written over in place, with its name and its inode: to read on in it would be to miss the
        beginning of another one.
        """
        return self._edges is None or self._edges_at(self._edges[0]) == self._edges[1]

    def _edges_at(self, position: int) -> bytes:
        """The first and the last bytes before a position."""
        with self.path.open("rb") as file:
            head = file.read(min(position, _EDGE))
            file.seek(max(position - _EDGE, 0))
            return head + file.read(min(position, _EDGE))

    def _values(self, count: int) -> list[bytes] | None:
        values: list[bytes] = []
        self.held = None
        while len(values) < count and (row := self._next()) is not None:
            if not row.ended:
                if row.problem is not None:
                    self.held = f"{self.path}, row {row.number}: {row.problem}; it is read when a newline ends it"
                    self._reading = None
                    break
                if self._may_grow(row):
                    return values or None
            values.append(row.value)
            self._since, self._ended, self._last = Standpoint(row.end, row.number), row.ended, None
            if not row.ended:
                self._reading = None
        return values

    def progress(self, topic: str, incarnation: str) -> Progress:
        """What was ingested when the rows that were read are in a topic."""
        status, position = self._matching.status, self._since.position
        content: str | None = self._content
        if not self._rows.whole:
            content = self._prefix.up_to(position)
            if len(self._beginnings) < len(BEGINNINGS):
                self._beginnings = beginnings_of(self.path, position)
        elif _version(self.path.stat()) != _version(status):
            content = None
        if content is None:
            raise ConfigError(f"{self.path} {_CHANGED}")
        return Progress(
            topic=topic,
            incarnation=incarnation,
            path=str(self._matching.path),
            device=status.st_dev,
            inode=status.st_ino,
            whole=self._rows.whole,
            position=position,
            rows=self._since.rows,
            ended=self._ended,
            content=content,
            beginnings=self._beginnings,
        )

    def _next(self) -> Row | None:
        if self._last is not None:
            return self._last[0]
        if self._reading is None:
            self._check_end()
            self._reading = self._rows.rows(self._since)
        return next(self._reading, None)

    def _may_grow(self, row: Row) -> bool:
        """Whether a last row without a newline may be half of one: its file was written to a moment ago."""
        if self._rows.closed:
            return False  # such as a JSON object, which can't go on
        now, size = self._clock(), self.path.stat().st_size
        if self._last is None:
            if time.time() - self.path.stat().st_mtime >= QUIET and size == row.end:
                return False
            self._last = (row, size, now)
        elif size != self._last[1]:
            self._last, self._reading = None, None  # read it again, with what was added
        elif now - self._last[2] >= QUIET:
            return False
        return True

    def _check_end(self) -> None:
        """What follows a row that had no newline when it was read must be one."""
        if self._ended:
            return
        with self.path.open("rb") as file:
            file.seek(self._since.position)
            behind = file.read(2)
        if behind and not behind.startswith((b"\n", b"\r\n")):
            raise ConfigError(
                f"{self.path}: row {self.rows:,} was the last one, without a newline, when it was ingested, and goes "
                "on now: half of it is in the topic. To send all of the file again, add --again"
            )

    def _skip(self, rows: int) -> None:
        _log.warning(
            "%s: an older version ingested %s rows of a file of this name and size, which are not read again",
            self.path,
            f"{rows:,}",
        )
        for row in self._rows.rows(Standpoint()):
            self._since, self._ended = Standpoint(row.end, row.number), row.ended
            if row.number >= rows:
                break


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def legacy_name(path: Path) -> str:
    """By what older versions knew a file: its name and size."""
    return hashlib.sha256(f"{path.name}:{path.stat().st_size}".encode()).hexdigest()[:16]


def open_file(
    path: Path, pipeline: Pipeline, topic: str | None = None, *, clock: Callable[[], float] = time.monotonic
) -> RecordFile:
    """A `.parquet`, `.csv`, `.ndjson` or `.jsonl` file as records of the pipeline.

    Args:
        path: of the file.
        pipeline: its columns, and the key of the records.
        topic: raw topic that they are for, by default the first.
        clock: seconds.

    Raises:
        ConfigError: the file can't be read, is of another kind, or lacks a column that the pipeline requires.

    """
    return RecordFile(path, pipeline, topic, clock=clock)

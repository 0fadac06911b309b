"""Logs: lines of files that grow and are rotated, each exactly once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field, field_validator

from tidemark.pipeline.model import Duration
from tidemark.records.source_kinds import SourceKind, SourceOptions
from tidemark.sources.source import Positions, Setting, SourceRecord
from tidemark.sources.tailing.content import BROKEN
from tidemark.sources.tailing.dissect import Dissect
from tidemark.sources.tailing.follower import Follower

_IDLE: Final = 0.05


class LogOptions(SourceOptions):
    """Options of a `log` source."""

    paths: Annotated[list[str], Field(min_length=1, max_length=100)]
    """Files that are written to, with `*` and `?` in the last part; a relative one begins at the pipeline file's
    folder. What is rotated has the same name with `.` or `-` behind it, and may be compressed (.gz, .bz2, .xz)."""
    pattern: Annotated[str, Field(max_length=2_000)] | None = None
    """Parts of a line, as `%{time} %{level} %{message}`; each is the attribute `field.NAME`. With `body = "text"`."""
    interval: Duration = 500_000
    """Time between two looks for files that came or were renamed."""

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            Dissect(pattern)
        return pattern

    @field_validator("paths")
    @classmethod
    def _are_paths(cls, paths: list[str]) -> list[str]:
        for path in paths:
            folder, _, name = path.rpartition("/")
            if not name or any(sign in folder for sign in "*?[") or "\0" in path:
                raise ValueError(f"{path[:60]!r}: name files of one folder; * and ? stand in the last part alone")
        return paths


class LogSource:
    """Reads what is written, and looks now and then what was renamed."""

    def __init__(self, setting: Setting) -> None:
        """Prepare for a setting."""
        options = setting.options
        assert isinstance(options, LogOptions)  # noqa: S101 by the kind
        self._follower = Follower(setting.name, [setting.path(path) for path in options.paths])
        self._pattern = None if options.pattern is None else Dissect(options.pattern)
        self._interval = options.interval / 1e6
        self._looked = float("-inf")

    def open(self, known: Positions) -> None:
        """Read on where it was committed."""
        self._follower.restore(known.own)
        self._looked = float("-inf")

    def read(self, most: int, seconds: float) -> Sequence[SourceRecord]:
        """The next lines, of rotated files first."""
        deadline = time.monotonic() + seconds
        while True:
            if time.monotonic() - self._looked >= self._interval:
                self._follower.look()
                self._looked = time.monotonic()
            found = self._lines(most)
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(_IDLE, left))

    def _lines(self, most: int) -> list[SourceRecord]:
        found: list[SourceRecord] = []
        for tracked in self._follower.reading():
            name = str(tracked.seen.path) if tracked.seen is not None else ""
            try:
                lines = tracked.lines(most - len(found))
            except BROKEN as error:
                self._follower.give_up(tracked, error)
                continue
            found += [self._record(line, name, at) for line, at in lines]
            if len(found) >= most:
                break
        return found

    def _record(self, line: bytes, path: str, at: int) -> SourceRecord:
        parts = None if self._pattern is None else self._pattern.parts(line.decode(errors="surrogateescape"))
        attributes = {} if parts is None else {f"field.{name}": text for name, text in parts.items()}
        if self._pattern is None or parts is not None:
            attributes["path"] = path
        return SourceRecord(line, f"{path} {at}", attributes)

    def positions(self) -> Positions:
        """How far each file was read that was read further."""
        return Positions(self._follower.moved())

    def committed(self) -> None:
        """It is committed."""
        self._follower.committed()

    def close(self) -> None:
        """Close every file."""
        self._follower.close()


KIND: Final = SourceKind(
    meaning="Lines of files that grow and are rotated, each exactly once.",
    options=LogOptions,
    attributes={
        "path": "Path of the file.",
        "field.": "A part of the line by its name in `pattern`.",
    },
    open=LogSource,
    alone=True,
)

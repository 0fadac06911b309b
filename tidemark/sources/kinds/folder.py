"""A watched folder: rows of the files in it, and of those that come and grow, each exactly once."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from pydantic import Field, field_validator

from tidemark.errors import ConfigError
from tidemark.formats.reading import SOURCES
from tidemark.pipeline.model import Duration
from tidemark.records.source_kinds import SourceKind, SourceOptions
from tidemark.runtime.safe_text import safe
from tidemark.sources.files import RecordFile
from tidemark.sources.known_files import KnownFiles
from tidemark.sources.progress import Progress
from tidemark.sources.source import Positions, Setting, SourceRecord

_log = logging.getLogger(__name__)
_MOST_FILES: Final = 100_000
_IDLE: Final = 0.05
_NO_BYTES: Final = 0

Version = tuple[int, int, int, int]


class FolderOptions(SourceOptions):
    """Options of a `folder` source."""

    path: Annotated[str, Field(min_length=1, max_length=4_000)]
    """The folder; a relative path begins at the pipeline file's folder."""
    pattern: Annotated[str, Field(min_length=1, max_length=1_000)] = "*"
    """Names of the files that are read, with `*` and `?`. Of these, such as end in `.csv`, `.ndjson`, `.jsonl`,
    `.parquet` or what a package adds; hidden ones are left out."""
    interval: Duration = 1_000_000
    """Time between two looks into the folder."""

    @field_validator("pattern")
    @classmethod
    def _is_name(cls, pattern: str) -> str:
        if "/" in pattern or "\0" in pattern:
            raise ValueError("it matches names of files in the folder; write such as *.csv")
        return pattern


class _Reading:
    """A file that is read. version: as it was found; progress: over what was read last."""

    __slots__ = ("file", "progress", "version")

    def __init__(self, file: RecordFile, version: Version, progress: Progress | None) -> None:
        self.file, self.version, self.progress = file, version, progress


class FolderSource:
    """Looks into the folder now and then, and reads one file after the other, the oldest first."""

    def __init__(self, setting: Setting) -> None:
        """Prepare for a setting."""
        options = setting.options
        assert isinstance(options, FolderOptions)  # noqa: S101 by the kind
        self._setting, self._options = setting, options
        self._folder = setting.path(options.path)
        self._known = KnownFiles("", "", {})
        self._reset()

    def _reset(self) -> None:
        self._waiting: list[Path] = []
        self._reading: _Reading | None = None
        self._held: dict[Path, _Reading] = {}
        self._done: dict[tuple[int, int], Version] = {}
        self._claimed: dict[bytes, tuple[int, int]] = {}
        self._written: dict[bytes, Progress] = {}
        self._looked = float("-inf")
        self._said: set[str] = set()

    def open(self, known: Positions) -> None:
        """Read on where it was committed.

        Raises:
            ConfigError: there is no such folder.

        """
        if not self._folder.is_dir():
            raise ConfigError(
                f"source '{self._setting.name}': {self._folder} is no folder; make it, or correct options.path"
            )
        self._reset()
        self._known = KnownFiles(self._setting.topic, self._setting.incarnation(), known.files)

    def read(self, most: int, seconds: float) -> Sequence[SourceRecord]:
        """Rows of the next file that has some."""
        deadline = time.monotonic() + seconds
        while True:
            found = self._rows(most)
            left = deadline - time.monotonic()
            if found or (left <= 0 and not self._waiting):
                return found
            if not self._waiting:
                time.sleep(min(_IDLE, left))

    def _rows(self, most: int) -> list[SourceRecord]:
        if self._reading is None and not self._next():
            return []
        reading = self._reading
        assert reading is not None  # noqa: S101 there is a next one
        file = reading.file
        begin = file.rows
        try:
            values = file.values(most)
            if values:
                reading.progress = file.progress(self._setting.topic, self._setting.incarnation())
        except (ConfigError, OSError) as error:
            self._give_up(file.path, reading.version, error)
            return []
        if not values:
            self._end(reading, waits=values is None)
            return []
        assert reading.progress is not None  # noqa: S101 it is of these rows
        self._written[reading.progress.key] = reading.progress
        self._claimed[reading.progress.key] = reading.version[:2]
        return [
            SourceRecord(value, f"{file.path} row {number}", {"path": str(file.path), "row": str(number)}, is_row=True)
            for number, value in enumerate(values, begin + 1)
        ]

    def _end(self, reading: _Reading, *, waits: bool) -> None:
        """A file has no more rows now: it is looked at again when it changes, or when its last row may be whole."""
        self._reading = None
        if waits or reading.file.held is not None:
            reading.file.read_on()  # which closes it
            self._held[reading.file.path] = reading
        else:
            self._done[reading.version[:2]] = reading.version

    def _next(self) -> bool:
        """Take up the next file, if there is one."""
        if not self._waiting and time.monotonic() - self._looked >= self._options.interval / 1e6:
            self._looked = time.monotonic()
            self._waiting = self._look()
        while self._waiting:
            path = self._waiting.pop(0)
            try:
                version = _version(path)
                held = self._held.pop(path, None)
                if held is not None and held.version[:2] == version[:2] and held.file.is_same():
                    held.version = version
                    held.file.read_on()
                    self._reading = held
                else:
                    self._reading = self._opened(path, version)
            except (ConfigError, OSError) as error:
                self._give_up(path, None, error)
                continue
            return True
        return False

    def _opened(self, path: Path, version: Version) -> _Reading:
        file = RecordFile(path, self._setting.pipeline, self._setting.topic)
        place = version[:2]
        known = self._known.candidates(
            path, whole=file.whole, taken=lambda each: self._claimed.get(each.key, place) != place
        )
        found = file.resume([*known, *(each for each in self._written.values() if each not in known)], {})
        if found is not None:
            self._claimed[found.key] = place
        return _Reading(file, version, found)

    def _give_up(self, path: Path, version: Version | None, error: Exception) -> None:
        """A file that can't be read stops no other; it is tried again when it changes."""
        self._reading = None
        if version is None:
            try:
                version = _version(path)
            except OSError:
                return  # it is gone
        self._done[version[:2]] = version
        told = f"{error}"
        if told not in self._said and len(self._said) < _MOST_FILES:
            self._said.add(told)
            _log.warning("source '%s': %s; it is tried again when it changes", self._setting.name, safe(told))

    def _look(self) -> list[Path]:
        found: list[tuple[int, str, Path]] = []
        present: set[tuple[int, int]] = set()
        for path in self._folder.glob(self._options.pattern):
            ending = path.suffix.lower().removeprefix(".")
            if path.name.startswith(".") or ending not in SOURCES.names():
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            if not path.is_file() or status.st_size == _NO_BYTES:
                continue
            place = (status.st_dev, status.st_ino)
            present.add(place)
            if self._done.get(place) != (*place, status.st_size, status.st_mtime_ns):
                found.append((status.st_mtime_ns, path.name, path))
            if len(present) > _MOST_FILES:
                raise ConfigError(
                    f"source '{self._setting.name}': {self._folder} has more than {_MOST_FILES:,} files; move those "
                    "that were read elsewhere"
                )
        self._done = {place: version for place, version in self._done.items() if place in present}
        self._claimed = {key: place for key, place in self._claimed.items() if place in present}
        return [path for _, _, path in sorted(found)]

    def positions(self) -> Positions:
        """How far each file was read that was read further."""
        return Positions(files={key: msgspec.json.encode(each) for key, each in self._written.items()})

    def committed(self) -> None:
        """It is committed."""
        for progress in self._written.values():
            self._known.add(progress)
        self._written = {}

    def close(self) -> None:
        """Files are open only while they are read."""


def _version(path: Path) -> Version:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


KIND: Final = SourceKind(
    meaning="Rows of the files of a folder, and of those that come and grow, each exactly once.",
    options=FolderOptions,
    attributes={
        "path": "Path of the file.",
        "row": "Number of the row in the file, from 1.",
    },
    open=FolderSource,
    alone=True,
)

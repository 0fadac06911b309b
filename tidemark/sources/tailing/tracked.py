"""A file of lines that is known: what was read of it, whatever it is called now."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import msgspec

from tidemark.sources.progress import Digest, Natural
from tidemark.sources.source import LARGEST
from tidemark.sources.tailing.content import BEGINNINGS, BROKEN, Reading, is_compressed

QUIET: Final = 2.0
"""Seconds without a change after which the last line of a rotated file is whole, newline or not."""


class LogPosition(msgspec.Struct, frozen=True):
    """What was read of a file, as it is committed.

    content: digest of the first `position` bytes.  beginnings: digests of its beginnings that lie in them.  at: when,
    seconds since 1970.
    """

    path: str
    device: int
    inode: int
    position: Natural
    content: Digest
    beginnings: Annotated[list[Digest], msgspec.Meta(max_length=len(BEGINNINGS))]
    at: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as a look into its folder found it.

    family: the path that it has, or had before it was rotated.
    """

    path: Path
    family: Path
    device: int
    inode: int
    size: int
    changed: int

    @property
    def place(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    @property
    def version(self) -> tuple[int, int, int, int]:
        """Changes when the file is written to."""
        return self.device, self.inode, self.size, self.changed

    @property
    def rotated(self) -> bool:
        """Whether it has another name than what is written to."""
        return self.path != self.family


@dataclass(slots=True)
class Tracked:
    """A file that is known. `reading` is None while nothing of it is to be read.

    key: its name among the positions, whatever its own name is.  known: as it was committed last.  seen: as it was
    found last, None if it is nowhere.
    """

    known: LogPosition | None = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    seen: Seen | None = None
    reading: Reading | None = None
    moved: bool = False
    skips: bool = False

    @property
    def position(self) -> int:
        """Bytes that were read."""
        if self.reading is not None:
            return self.reading.position
        return 0 if self.known is None else self.known.position

    @property
    def content(self) -> str | None:
        """Digest of what was read."""
        if self.reading is not None:
            return self.reading.content
        return None if self.known is None else self.known.content

    def begin(self, seen: Seen) -> None:
        """Read a file on, or from its beginning.

        Raises:
            OSError and others: see `BROKEN`.

        """
        self.release()
        reading = Reading(seen.path, self.position)
        told = os.fstat(reading.stream.fileno())
        if (told.st_dev, told.st_ino) != seen.place or (self.known is not None and reading.content != self.content):
            reading.close()
            raise OSError(f"{seen.path} is another file now")
        self.reading, self.seen = reading, seen

    def release(self) -> None:
        """Close the file; what was read is kept."""
        if self.reading is not None:
            if self.reading.position:
                self.known = self.told()
            self.reading.close()
            self.reading = None

    def told(self) -> LogPosition:
        """What to commit."""
        reading, seen = self.reading, self.seen
        if reading is None or seen is None:
            assert self.known is not None  # noqa: S101 what is not read was known
            return self.known
        return LogPosition(
            str(seen.path), seen.device, seen.inode, reading.position, reading.content, reading.beginnings,
            int(time.time()),
        )  # fmt: skip

    def lines(self, most: int) -> list[tuple[bytes, int]]:
        """Further lines, each with the position at which it begins.

        Args:
            most: as many as are wanted.

        """
        reading = self.reading
        found: list[tuple[bytes, int]] = []
        while reading is not None and len(found) < most:
            before = reading.pending
            try:
                block = reading.more()
            except BROKEN:
                if found or reading.is_changed():
                    break  # it is raised again when there is nothing to lose; what is truncated is no error
                raise
            end = block.rfind(b"\n") + 1
            if end == 0 and len(block) > LARGEST:
                end = len(block)  # no line ends here: what is too large is a row, and the rest of it none
            elif end == 0 and len(block) == before:
                if not (block and self._is_whole()):
                    break
                end = len(block)
            elif end == 0:
                continue
            whole = block[:end]
            at = reading.position
            for line in _lines(whole):
                if not self.skips and line.strip():
                    found.append((line.rstrip(b"\r\n"), at))
                self.skips = not line.endswith(b"\n") and (self.skips or len(line) > LARGEST)
                at += len(line)
            reading.take(end)
            self.moved = True
        return found

    def _is_whole(self) -> bool:
        """Whether the last line of a file counts without a newline: nobody writes there any more."""
        seen = self.seen
        if seen is None or not (seen.rotated or is_compressed(seen.path)):
            return False
        return time.time() - seen.changed / 1e9 > QUIET


def _lines(block: bytes) -> list[bytes]:
    """Lines with their ends; only a newline ends one."""
    lines = [line + b"\n" for line in block.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines

"""How far a file was ingested, and which file that was: known by its place, confirmed by its content.

A file is at the same place if its device and inode, or its path, are those of before. It is the same file if the bytes
that were read of it still stand there; so one that grew is read on, and one that was renamed too. A file of the same
name with another content is another file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from tidemark.errors import ConfigError, TopicError

BEGINNINGS: Final = (64, 256, 1_024, 4_096)
"""Bytes at a file's beginning by which one that was changed or cut is told from another one."""
_BLOCK: Final = 1 << 20
Natural = Annotated[int, msgspec.Meta(ge=0)]
T = TypeVar("T")
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Progress(msgspec.Struct, frozen=True):
    """What was ingested of a file into a topic.

    position: bytes of a text file, rows of a Parquet file.  rows: that were read.
    ended: the last row that was read had its newline.  whole: `content` is of the whole file (Parquet), else of the
    first `position` bytes.  beginnings: digests of the first `BEGINNINGS` bytes that lie within
    `content`.
    """

    topic: str
    incarnation: str
    path: str
    device: int
    inode: int
    whole: bool
    position: Natural
    rows: Natural
    ended: bool
    content: Digest
    beginnings: Annotated[list[Digest], msgspec.Meta(max_length=len(BEGINNINGS))]

    @property
    def key(self) -> bytes:
        """Key of the record: of a file that was read before, the same."""
        told = f"{self.topic}\0{self.path}\0{self.device}\0{self.inode}\0{self.content if self.whole else ''}"
        return hashlib.sha256(told.encode()).hexdigest()[:32].encode()


def decoded(value: bytes, kind: type[T], what: str) -> T:
    """A record of the ingest topic as it was written.

    Raises:
        TopicError: it is not of its kind. what: it should be, in words.

    """
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TopicError(
            f"a record of the ingest topic is no {what} ({error}): something else, or a later version of Tidemark, "
            "writes there"
        ) from error


def decode_progress(value: bytes) -> Progress:
    """Progress as it was written.

    Raises:
        TopicError: it is none.

    """
    return decoded(value, Progress, "progress over a file")


class Prefix:
    """The digest of the first bytes of a file, which are read once however far it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self.size = 0

    def up_to(self, size: int) -> str | None:
        """Digest of the first `size` bytes, not fewer than at the last call; None if the file has fewer."""
        with self._path.open("rb") as file:
            file.seek(self.size)
            while self.size < size:
                block = file.read(min(_BLOCK, size - self.size))
                if not block:
                    return None
                self._hash.update(block)
                self.size += len(block)
        return self._hash.hexdigest()


def whole_digest(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beginnings_of(path: Path, position: int) -> list[str]:
    """Digests of the beginnings of a file that lie before a position."""
    prefix = Prefix(path)
    digests = (prefix.up_to(size) for size in BEGINNINGS if size <= position)
    return [digest for digest in digests if digest is not None]


class Matching:
    """Finds what is known of a file."""

    def __init__(self, path: Path, *, whole: bool, content: str | None) -> None:
        """Look at a file.

        Args:
            path: of it.
            whole: it never grows.
            content: digest of it, if it is such a file.

        """
        self.path = path.resolve()
        self.status = path.stat()
        self._whole = whole
        self._content = content

    def find(self, known: Sequence[Progress]) -> Progress | None:
        """The progress over this file; None if it was never read.

        Raises:
            ConfigError: it was read, and has been cut or changed within what was read.

        """
        known = [progress for progress in known if progress.whole == self._whole]
        here = [progress for progress in known if self._is_here(progress)]
        same = self._unchanged(here)
        if same is not None:
            return same
        for progress in here:
            if not self._whole and progress.position and self._begins_so(progress):
                self._refuse(progress)
        return self._unchanged([progress for progress in known if progress not in here and _has_left(progress)])

    def is_known_place(self, known: Iterable[Progress]) -> bool:
        """Whether a file of this name, or at this inode, was read."""
        return any(self._is_here(progress) for progress in known)

    def _is_here(self, progress: Progress) -> bool:
        at = (progress.device, progress.inode) == (self.status.st_dev, self.status.st_ino)
        return at or progress.path == str(self.path)

    def _unchanged(self, known: Iterable[Progress]) -> Progress | None:
        """The farthest of those whose bytes stand in this file."""
        if self._whole:
            return max((p for p in known if p.content == self._content), key=_position, default=None)
        prefix = Prefix(self.path)
        found = None
        for progress in sorted(known, key=_position):
            if progress.position and prefix.up_to(progress.position) == progress.content:
                found = progress
        return found

    def _begins_so(self, progress: Progress) -> bool:
        """Whether as much of the beginning as was kept, and as this file has, is the same."""
        seen = [d for size, d in zip(BEGINNINGS, progress.beginnings, strict=False) if size <= self.status.st_size]
        return bool(seen) and Prefix(self.path).up_to(BEGINNINGS[len(seen) - 1]) == seen[-1]

    def _refuse(self, progress: Progress) -> None:
        size = self.status.st_size
        what = (
            f"it has {size:,} bytes now, fewer than were read"
            if size < progress.position
            else f"what stands in the {progress.position:,} bytes that were read is not what stood there"
        )
        raise ConfigError(
            f"{self.path} was ingested up to row {progress.rows:,}, and has been changed since: {what}. To send all of "
            "it again, with rows that are in the topic already, add --again; to send new rows alone, put them into a "
            "file of their own"
        )


def _has_left(progress: Progress) -> bool:
    """Whether the file that was read is no longer where it was: it was moved, or its content copied and cut away."""
    path = Path(progress.path)
    if not path.is_file():
        return True
    if progress.whole:
        return whole_digest(path) != progress.content
    return Prefix(path).up_to(progress.position) != progress.content


def _position(progress: Progress) -> int:
    return progress.position

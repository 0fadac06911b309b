"""What stands in a file, decompressed, from its beginning on: digests by which a file is known again."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Final, cast

BEGINNINGS: Final = (64, 256, 1_024, 4_096)
"""Bytes at the beginning by which files are told apart before they are read whole."""
_LAST: Final = 64
_BLOCK: Final = 1 << 18
_STEP: Final = 1 << 16
"""Bytes that are read at once to be parted: the shortest lines of so many fit the memory."""
_OPENERS: Final[dict[str, Callable[[Path], IO[bytes]]]] = {
    ".gz": lambda path: cast("IO[bytes]", gzip.GzipFile(path)),
    ".bz2": lambda path: cast("IO[bytes]", bz2.BZ2File(path)),
    ".xz": lambda path: cast("IO[bytes]", lzma.LZMAFile(path)),  # noqa: SIM115 closed by who asked for it
}
BROKEN: Final = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What reading raises where a compressed file is not written to its end, or damaged."""


def is_compressed(path: Path) -> bool:
    """Whether a file's name says that it is compressed in a way that is read here."""
    return path.suffix.lower() in _OPENERS


def opened(path: Path) -> IO[bytes]:
    """A file to read from its beginning, decompressed.

    Raises:
        OSError: it can't be opened.

    """
    opener = _OPENERS.get(path.suffix.lower())
    return path.open("rb", buffering=0) if opener is None else opener(path)


class Digests:
    """Digests of the first bytes of a file, at the sizes that are asked for, in one reading.

    size: bytes that the file has, None if it was not read to its end.  at: digest by size.  beginnings: digests of the
    first `BEGINNINGS` bytes, as far as it has so many.
    """

    def __init__(self, path: Path, sizes: Collection[int], *, whole: bool = False) -> None:
        """Read a file.

        Args:
            path: of it.
            sizes: at which its digest is wanted.
            whole: read it to its end, to learn its size.

        Raises:
            OSError, EOFError, zlib.error, lzma.LZMAError: it can't be read; see `BROKEN`.

        """
        wanted = sorted({*sizes, *BEGINNINGS})
        digest, read = hashlib.sha256(), 0
        self.at: dict[int, str] = {}
        self.size: int | None = None
        with opened(path) as stream:
            for size in wanted:
                while read < size and (block := stream.read(min(_BLOCK, size - read))):
                    digest.update(block)
                    read += len(block)
                if read < size:
                    self.size = read
                    break
                self.at[size] = digest.hexdigest()
            while whole and self.size is None and (block := stream.read(_BLOCK)):
                read += len(block)
            if whole:
                self.size = read
        self.beginnings = [self.at[size] for size in BEGINNINGS if size in self.at]


class Reading:
    """A file that is read on, and the digest of what was taken from it.

    position: bytes that were taken.  ended: there was no more when it was read last.
    """

    def __init__(self, path: Path, position: int) -> None:
        """Open a file, and read what was taken from it before.

        Args:
            path: of it.
            position: bytes that were taken before.

        Raises:
            OSError and others: as `Digests`.

        """
        self.stream = opened(path)
        self.compressed = is_compressed(path)
        self.position = position
        self.ended = False
        self._digest = hashlib.sha256()
        self._rest = b""
        self._first, self._last = b"", b""
        left = position
        while left and (block := self.stream.read(min(_BLOCK, left))):
            self._take_in(block)
            left -= len(block)
        if left:
            raise EOFError(f"{path} ends before {position:,} bytes")

    def _take_in(self, block: bytes) -> None:
        self._digest.update(block)
        self._last = (self._last + block)[-_LAST:]
        if len(self._first) < BEGINNINGS[-1]:
            self._first = (self._first + block)[: BEGINNINGS[-1]]

    def more(self) -> bytes:
        """What was read and not taken, with the next block behind it. OSError where it was truncated."""
        block = self.stream.read(_STEP) or b""
        if self.is_changed():  # and so may what was read just now be, which a copy has
            raise OSError("it was truncated")
        self.ended = not block
        self._rest += block
        return self._rest

    def take(self, count: int) -> None:
        """Take bytes of `more`."""
        self._take_in(self._rest[:count])
        self._rest = self._rest[count:]
        self.position += count

    @property
    def pending(self) -> int:
        """Bytes that were read and not taken."""
        return len(self._rest)

    @property
    def content(self) -> str:
        """Digest of what was taken."""
        return self._digest.copy().hexdigest()

    @property
    def beginnings(self) -> list[str]:
        """Digests of the beginnings that lie in what was taken."""
        return [hashlib.sha256(self._first[:size]).hexdigest() for size in BEGINNINGS if size <= self.position]

    def is_changed(self) -> bool:
        """Whether the file was truncated, or written anew, within what was read of it."""
        if self.compressed or not isinstance(self.stream, io.FileIO):
            return False
        number = self.stream.fileno()
        last = (self._last + self._rest[-_LAST:])[-_LAST:]
        at = self.position + len(self._rest) - len(last)
        return os.pread(number, len(last), at) != last

    def close(self) -> None:
        """Let the file go."""
        self.stream.close()


def alike(path: Path, other: Path, size: int) -> bool:
    """Whether the first bytes of two files are the same.

    Args:
        path: of one, which has so many bytes.
        other: of the other, which may have fewer.
        size: how many.

    Raises:
        OSError and others: see `BROKEN`.

    """
    with opened(path) as one, opened(other) as two:
        while size:
            block = _full(one, min(_BLOCK, size))
            if not block or _full(two, len(block)) != block:
                return False
            size -= len(block)
    return True


def _full(stream: IO[bytes], size: int) -> bytes:
    found = b""
    while len(found) < size and (block := stream.read(size - len(found))):
        found += block
    return found

"""Kafka's classes as the JVM wants them, kept in the cache folder and mapped at a start: class-data sharing.

Kafka loads seven thousand classes before it listens; parsing and verifying them is two fifths of what a start costs.
The first start lists the classes that it loads, and the JVM then makes an archive of them (5 s, once for each version).
An archive is of one JVM and of certain jars; both are in its name, and the JVM itself refuses one that does not fit and
starts without. The name holds its SHA-256 too, so that a damaged one is found, and made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
_MOST_KEPT: Final = 3
"""Archives in the folder, 70 MB each: of other environments of this user, or from before an update."""
_MAKING_SECONDS: Final = 120.0


class ClassArchive:
    """The archive of one JVM and one list of jars.

    Args:
        folder: where archives are kept.
        java: the JVM's program, in `bin` of its home.
        options: of the JVM, such as its collector: an archive is made with those that it is used with.
        jars: the class path.

    """

    def __init__(self, folder: Path, java: Path, options: Sequence[str], jars: Sequence[Path]) -> None:
        self._folder = folder
        self._command = [str(java), *options, "-cp", os.pathsep.join(map(str, jars))]
        self._prefix = f"classes-{_key(java, options, jars)}-"
        self._found = self._find()

    @property
    def is_there(self) -> bool:
        """Whether there was a good one when this was asked first, or it has been made since."""
        return self._found is not None

    def options(self, listed: str) -> tuple[str, ...]:
        """Options of a JVM that is to use the archive or, where there is none, to list the classes that it loads.

        Args:
            listed: name of the list, in the JVM's working folder.

        Returns:
            The options.

        """
        if self._found is None:
            return (f"-XX:DumpLoadedClassList={listed}",)
        return (f"-XX:SharedArchiveFile={self._found}",)

    def make(self, lists: Sequence[Path]) -> None:
        """Make the archive, unless another process is doing so; one that can't be made is told to the log.

        Args:
            lists: what JVMs that may still run have listed.

        """
        try:
            with _alone(self._folder) as alone:
                if alone:
                    self._make(lists)
        except (OSError, subprocess.SubprocessError) as error:
            _log.warning("Kafka's classes can't be kept for its next starts, which then take longer: %s", error)

    def _make(self, lists: Sequence[Path]) -> None:
        _log.info("keeping Kafka's classes for its next starts: some seconds, once for each version")
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self._folder) as folder:
            listed, part = Path(folder) / "classes", Path(folder) / "archive"
            listed.write_bytes(b"\n".join(_merged(lists)))
            making = [f"-XX:SharedClassListFile={listed}", f"-XX:SharedArchiveFile={part}"]
            command = [self._command[0], "-Xshare:dump", "-Xlog:disable", *making, *self._command[1:]]
            subprocess.run(command, check=True, capture_output=True, timeout=_MAKING_SECONDS)
            path = self._folder / f"{self._prefix}{_digest(part)}.jsa"
            part.chmod(0o600)
            part.replace(path)
        self._found = path
        newest_first = sorted(self._folder.glob("classes-*.jsa"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in newest_first[_MOST_KEPT:]:
            old.unlink(missing_ok=True)

    def _find(self) -> Path | None:
        for path in self._folder.glob(f"{self._prefix}*.jsa"):
            with suppress(FileNotFoundError):
                if path.stem == f"{self._prefix}{_digest(path)}" and path.stat().st_uid == os.getuid():
                    return path
                _log.warning("%s is damaged, or somebody else's; Kafka starts without it", path)
                with suppress(PermissionError):
                    path.unlink()
        return None


def _key(java: Path, options: Sequence[str], jars: Sequence[Path]) -> str:
    """What the JVM compares as well: itself, by its release and its own classes, and the jars, by size and time."""
    home = java.parents[1]
    files = [home / "lib" / "modules", home / "lib" / "server" / "libjvm.so", *jars]
    stats = [(path.name, *_size_and_time(path)) for path in files]  # the JVM allows for jars that were moved together
    release = home / "release"
    said = release.read_bytes() if release.is_file() else b""
    return hashlib.sha256(repr((said, list(options), stats)).encode()).hexdigest()[:16]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return (-1, -1)
    return (stat.st_size, stat.st_mtime_ns)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _merged(lists: Sequence[Path]) -> Iterable[bytes]:
    """Each line once, and without what it is numbered with, which differs between lists."""
    lines: dict[bytes, None] = {}
    for path in lists:
        *complete, _ = path.read_bytes().split(b"\n")  # a JVM that still runs is at the last one
        lines.update(dict.fromkeys(line.partition(b" id: ")[0] for line in complete if b" source: " not in line))
    return lines


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether this process is the only one to make archives in the folder now."""
    with (folder / ".classes.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True

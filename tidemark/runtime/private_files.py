"""Files and folders of state that nobody but their owner may read: labels, tokens, all that went through Kafka."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from tidemark.errors import ConfigError

_log = logging.getLogger(__name__)
_OTHERS: Final = 0o077


def private_folder(path: Path) -> Path:
    """The folder, made if absent and closed to others: of this program's own state, never of a user's choice.

    Args:
        path: the folder. Missing parents are made private too; parents that exist are left as they are.

    Returns:
        The path.

    Raises:
        ConfigError: it can't be made; says why, and which variable names another.

    """
    with _told(path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        _close(path)
    return path


def private_file(path: Path) -> Path:
    """The file, made empty if absent and closed to others, before anything is written into it.

    Args:
        path: the file; its folder exists.

    Returns:
        The path.

    Raises:
        ConfigError: as for `private_folder`.

    """
    with _told(path):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        _close(path)
    return path


def private_content(path: Path, content: bytes) -> None:
    """Give a file, closed to others, another content: whole, or the one before where that fails.

    Args:
        path: the file, made if absent; its folder exists.
        content: all of it.

    Raises:
        ConfigError: it can't be written; as for `private_folder`.

    """
    new = path.with_name(f"{path.name}.new")
    with _told(path):
        private_file(new).write_bytes(content)
        os.replace(new, path)  # noqa: PTH105 - pathlib's says less of what it replaces


def private_database(path: Path) -> Path:
    """An SQLite database, made empty if absent, and what SQLite keeps beside it, closed to others.

    Args:
        path: the database. A missing folder is made private; one that exists is left as it is.

    Returns:
        The path. Where it can't be made, SQLite says why when it opens it.

    """
    if not path.parent.exists():
        private_folder(path.parent)
    with contextlib.suppress(OSError, ConfigError):
        private_file(path)  # SQLite gives the files beside it the same rights
        for beside in (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm", "-journal")):
            if beside.exists():
                _close(beside)
    return path


def private_log(path: Path) -> IO[str]:
    """A file that is appended to, closed to others.

    Args:
        path: the file; its folder exists.

    Returns:
        The open file, UTF-8. What can't be encoded is escaped.

    """
    return private_file(path).open("a", encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of a file or folder that can't be made what to do about it."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path}: can't be written ({error.strerror or error}); name a folder that you may write to "
            "in TIDEMARK_HOME"
        ) from error


def _close(path: Path) -> None:
    """Take group's and others' rights away; where that is not allowed, say so and go on."""
    mode = path.stat().st_mode
    if not mode & _OTHERS:
        return
    try:
        path.chmod(mode & 0o7700)
    except PermissionError:
        _log.warning(
            "%s can be read by others (mode %o) and belongs to somebody else: chmod go-rwx it, or set TIDEMARK_HOME",
            *(path, mode & 0o777),
        )

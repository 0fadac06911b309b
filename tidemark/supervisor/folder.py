"""The folder of a pipeline that is up: who runs it, and the file that it runs."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from tidemark.errors import ConfigError
from tidemark.runtime.private_files import private_content, private_file, private_folder
from tidemark.runtime.settings import Settings

_LOCK: Final = "up.lock"
_LOOK_SECONDS: Final = 0.5
_PINNED: Final = "running.toml"


def pipeline_folder(settings: Settings, name: str) -> Path:
    """Where the state of a pipeline is, made if absent.

    Raises:
        ConfigError: it can't be made; names the folder and the variable that names another.

    """
    private_folder(settings.state_dir / "pipelines")
    return private_folder(settings.state_dir / "pipelines" / name)


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Be the one process that supervises a pipeline. The lock goes with the process, however that ends.

    Args:
        folder: the pipeline's.
        name: the pipeline's, for the error.

    Raises:
        ConfigError: another process supervises it; says which.

    """
    with private_file(folder / _LOCK).open("r+", encoding="ascii", errors="replace") as stream:
        try:
            _locked(stream)
        except BlockingIOError as error:
            process = stream.read(20).strip()
            known = f", process {process}" if process.isdecimal() else ""
            raise ConfigError(
                f"pipeline '{name}' is up already{known}: stop that first (Ctrl-C there"
                f"{f', or kill {process}' if known else ''}), or use it as it is"
            ) from error
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield
        stream.truncate(0)


def _locked(stream: IO[str]) -> None:
    """Take the lock, or raise BlockingIOError. `supervised_by` of another process may hold it for an instant."""
    deadline = time.monotonic() + _LOOK_SECONDS
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS / 10)
        else:
            return


def supervised_by(folder: Path) -> int | None:
    """The process that supervises the pipeline of a folder now, None if none does."""
    try:
        with (folder / _LOCK).open("r+", encoding="ascii", errors="replace") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                process = stream.read(20).strip()
                return int(process) if process.isdecimal() else None
    except OSError:
        return None
    return None


def running_text(folder: Path) -> str | None:
    """The pipeline file as the processes of a folder read it; None if none ever began there."""
    try:
        return (folder / _PINNED).read_text(encoding="utf-8")
    except OSError:
        return None


class PinnedFile:
    """A pipeline file as it was when its flows began: they read a copy, so that an edit never reaches some of them.

    source: the file that people edit.
    copy: what the flows read.
    """

    def __init__(self, source: Path, text: str, folder: Path) -> None:
        self.source, self.copy = source, folder / _PINNED
        self._known: bytes | None = None
        self.replace(text)

    def replace(self, text: str) -> None:
        """Have what begins from now on read another text; the one before where it can't be written (ConfigError)."""
        private_content(self.copy, text.encode())
        self._known = text.encode()

    def edited(self) -> bool:
        """Whether the file has been edited, or is gone, since it was looked at last."""
        try:
            now = self.source.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")  # as texts are read
        except OSError:
            now = None
        before, self._known = self._known, now
        return now != before

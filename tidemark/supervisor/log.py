"""The one log of a supervised pipeline: closed to others, and of bounded size."""

from __future__ import annotations

import logging
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, Self, cast

from tidemark.runtime.private_files import private_log

MOST_BYTES: Final = 50_000_000
KEPT: Final = 2
"""Full logs that are kept beside the one that is written."""


class _Rotating(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return cast("TextIOWrapper", private_log(Path(self.baseFilename)))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 logging's name
        """Let a full disk be seen: the handler's own way is to print a traceback and go on."""
        raise  # noqa: PLE0704 called while the error is handled


class Log:
    """A log of lines. A full one is renamed `NAME.1`, the one before that `NAME.2`; older ones are removed."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._handler = _Rotating(path, maxBytes=most_bytes, backupCount=KEPT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._handler.close()

    def write(self, line: str) -> None:
        """Append a line; it is in the file when this returns."""
        self._handler.emit(logging.makeLogRecord({"msg": line.rstrip("\n")}))

"""What the log is told: that something happened and how often, never what a caller or a record said.

Libraries log what they were given. gRPC writes metadata that is no text, an access token with it, as it came, with a
stack for each call; database drivers write the values of a statement that failed.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath
from typing import Final

_LIBRARY: Final = "grpc"
"""The logger above all of gRPC's."""

_EVERY_SECONDS: Final = 60.0
_KINDS: Final = 200
"""Kinds of things that are told apart; further ones are counted together."""

_SHOWN: Final = 12
_FRAMES: Final = 30
_OTHERS: Final = "others"


class Tally:
    """Counts what happens often, and tells it now and then in one line. Safe to share among threads."""

    def __init__(
        self, log: logging.Logger, every: float = _EVERY_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Tell `log`.

        Args:
            log: Where to.
            every: Seconds between two lines.
            clock: Seconds.

        """
        self._log = log
        self._every = every
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._told_at: float | None = None

    def count(self, kind: str) -> None:
        """Count something.

        Args:
            kind: What it was, in the service's own words.

        """
        with self._lock:
            known = kind in self._counts or len(self._counts) < _KINDS
            self._counts[kind if known else _OTHERS] += 1

    def tell(self) -> None:
        """Log what was counted, unless that was done a short while ago. To be called again and again."""
        with self._lock:
            now = self._clock()
            if not self._counts or (self._told_at is not None and now - self._told_at < self._every):
                return
            self._told_at, counts = now, self._counts
            self._counts = Counter()
        shown = [f"{number:,} × {kind}" for kind, number in counts.most_common(_SHOWN)]
        left = sum(counts.values()) - sum(number for _, number in counts.most_common(_SHOWN))
        self._log.warning("%s%s", "; ".join(shown), f"; {left:,} × others" if left else "")


class LibraryLog(logging.Handler):
    """Takes what a library logs, and counts it by where in the library it was logged and the kind of error."""

    def __init__(self, tally: Tally) -> None:
        """Count in `tally`."""
        super().__init__(logging.WARNING)
        self.tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record. Nothing of its message is kept: it may hold anything."""
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] is not None else "a message"
        self.tally.count(f"{kind} of {record.name} ({PurePath(record.pathname).name}:{record.lineno})")


_installed: LibraryLog | None = None


def hush() -> Tally:
    """Have nothing that gRPC logs reach a log as it is, from now on, in this process.

    Returns:
        The counts of what it logs.

    """
    global _installed  # noqa: PLW0603 - loggers are the process's
    if _installed is None:
        _installed = LibraryLog(Tally(logging.getLogger("labeling_grpc.library")))
        logger = logging.getLogger(_LIBRARY)
        logger.addHandler(_installed)
        logger.propagate = False
    return _installed.tally


def described(error: BaseException) -> str:
    """Tell a bug without the values that its messages may hold: the kinds of errors, and where they came from.

    Args:
        error: With what caused it.

    Returns:
        Lines for the log.

    """
    lines: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        state = getattr(cause, "sqlstate", None)
        lines.append(type(cause).__name__ + (f" (SQLSTATE {state})" if state else ""))
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(cause.__traceback__)[-_FRAMES:]
        ]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n".join(lines)

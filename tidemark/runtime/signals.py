"""SIGTERM and SIGINT from a process's first moment on: it ends with status 0 where it had begun nothing yet.

A long-running process takes a second or more to import what it needs. Until it has a handler of its own (a flow's
`Stop`, the labeling service's, `tidemark up`'s), the signal would kill it, and its exit status would say that something
went wrong. Even the interpreter's own start is covered where the parent `holds` the signals over the start: the child
inherits that, and they wait for `take_signals`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    os._exit(0)  # nothing has begun; an exception could be caught by what is being imported


def take_signals(handler: Callable[[int, FrameType | None], None] = _leave) -> None:
    """Handle SIGTERM and SIGINT, also those that the parent held. Call from the main thread.

    Args:
        handler: by default, for a process's first moment, one that ends it with status 0.

    """
    for number in _SIGNALS:
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextmanager
def held() -> Iterator[None]:
    """Have a process that is started inside begin with the signals blocked: its `take_signals` lets them in."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hold() -> None:
    """Block the signals until `take_signals`: for a process that is about to become another (`os.execv`)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

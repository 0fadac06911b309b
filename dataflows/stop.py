"""A request to stop, from a signal or from a test: the flow commits what it has and leaves its group."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Set once; the source looks at it and ends the flow."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """Ask for the end."""
        self.requested = True

    def on_signals(self) -> Stop:
        """Let SIGTERM and SIGINT ask for it: Bytewax handles neither. Call from the main thread.

        A handler only sets a flag, because what it interrupts may be a call into Kafka's client. A parent that held the
        signals over this process's start (`tidemark.stopping.held`) has them delivered now.
        """
        for number in _SIGNALS:
            signal.signal(number, self._handle)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return self

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True

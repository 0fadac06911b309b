"""A request to stop, from a signal or from a test: the flow commits what it has and leaves its group."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType

from tidemark.runtime.signals import take_signals


class Stop:
    """Set once; the source looks at it and ends the flow."""

    def __init__(self) -> None:
        self.requested = False
        self._then: Callable[[], object] = _nothing

    def request(self) -> None:
        """Ask for the end."""
        self.requested = True
        self._then()

    def then(self, act: Callable[[], object]) -> None:
        """What is done when it is asked for, in the signal's handler: it may end a call, and must not wait."""
        self._then = act

    def on_signals(self) -> Stop:
        """Let SIGTERM and SIGINT ask for it: Bytewax handles neither. Call from the main thread.

        A handler only sets a flag, because what it interrupts may be a call into Kafka's client. A parent that held the
        signals over this process's start (`tidemark.runtime.signals.held`) has them delivered now.
        """
        take_signals(self._handle)
        return self

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self.request()


def _nothing() -> None:
    """Nobody waits for anything but the flag."""

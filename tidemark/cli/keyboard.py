"""Keys of a terminal, one at a time, without Enter."""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import socket
import sys
import termios
import tty
from collections import deque
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 256
_SEQUENCE: Final = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|O.)")
"""What arrows, function keys and the like send."""


class Keyboard:
    """The terminal on standard input, for as long as the block runs: keys come at once and are not echoed.

    Ctrl-C interrupts as ever. On leaving, the terminal is as it was. Used by the main thread.
    """

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._keys: deque[str] = deque()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")  # a read may end within a letter
        self._before = termios.tcgetattr(self._fd)
        self._signalled, self._signal = socket.socketpair()
        self._signalled.setblocking(False)
        self._signal.setblocking(False)
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        # A signal that comes after the interpreter last looked and before the system call would be noticed with the
        # next key only (signal.set_wakeup_fd).
        self._wakeup_before = signal.set_wakeup_fd(self._signal.fileno(), warn_on_full_buffer=False)
        tty.setcbreak(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        signal.set_wakeup_fd(self._wakeup_before)
        self._signal.close()
        self._signalled.close()

    def forget(self) -> None:
        """Drop keys that were pressed before now: they were meant for what was shown then."""
        self._keys.clear()
        termios.tcflush(self._fd, termios.TCIFLUSH)

    def key(self, timeout: float | None = None) -> str:
        """The next key; "" when none is pressed within `timeout` seconds. Arrows and the like are no keys.

        Raises:
            KeyboardInterrupt: the terminal is gone.

        """
        while not self._keys:
            ready, _, _ = select.select([self._fd, self._signalled], [], [], timeout)
            if self._signalled in ready:
                self._signalled.recv(_CHUNK)
                continue
            if not ready:
                return ""
            pressed = os.read(self._fd, _CHUNK)
            if not pressed:
                raise KeyboardInterrupt
            self._keys.extend(_SEQUENCE.sub("", self._decoder.decode(pressed)))
        return self._keys.popleft()

    def line(self, prompt: str) -> str:
        """A line of text, edited and echoed as usual."""
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        try:
            return input(f"{prompt}: ")
        except EOFError:
            return ""
        finally:
            tty.setcbreak(self._fd)

"""A program in a terminal of its own, and what a person would see there: `from terminal import Terminal`."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from typing import Self

import pyte

RUN = """
import fcntl, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
from tidemark.cli.app import main
main()
"""


class Terminal:
    """The command line with some arguments, on a terminal of some size."""

    def __init__(
        self, environment: Mapping[str, str], *arguments: str, columns: int = 80, lines: int = 24, term: str = "xterm"
    ) -> None:
        ours, theirs = pty.openpty()
        self.fd = ours
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ended = False
        _size(ours, columns, lines)
        unset = {"COLUMNS", "LINES", "NO_COLOR"}
        own = {name: value for name, value in os.environ.items() if name not in unset}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=own | dict(environment) | {"TERM": term},
            start_new_session=True,
        )
        os.close(theirs)

    @property
    def lines(self) -> list[str]:
        """What is on the screen now, without spaces at the ends."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """As somebody who pulls at the window's corner."""
        self.screen.resize(lines, columns)
        _size(self.fd, columns, lines)

    def read(self, timeout: float = 0.1) -> None:
        """Take in what comes within `timeout` seconds."""
        ready, _, _ = select.select([self.fd], [], [], timeout)
        if not ready:
            return
        try:
            output = os.read(self.fd, 65_536)
        except OSError:  # the program has ended
            output = b""
        if output:
            self._stream.feed(self._decoder.decode(output))
        else:
            self._ended = True

    def wait_for(self, *texts: str, gone: str = "", timeout: float = 60.0) -> str:
        """The screen as soon as all the texts are on it, and `gone` is not."""
        deadline = time.monotonic() + timeout
        while not (all(text in self.text for text in texts) and not (gone and gone in self.text)):
            assert not self._ended, f"the program ended, and {texts} are not shown:\n{self.text}"
            assert time.monotonic() < deadline, f"{texts} (without {gone!r}) are not shown:\n{self.text}"
            self.read()
        return self.text

    def status(self, timeout: float = 30.0) -> int:
        """The exit code; what was written last is on the screen."""
        deadline = time.monotonic() + timeout
        while not self._ended and time.monotonic() < deadline:
            self.read()
        return self.process.wait(max(1.0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


def _size(fd: int, columns: int, lines: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

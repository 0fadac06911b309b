"""The line at the bottom of the screen into which a comment, a reason or a class's name is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.layout import Window
from prompt_toolkit.layout.controls import BufferControl
from prompt_toolkit.layout.processors import BeforeInput

LONGEST: Final = 4_000
"""Characters that the service keeps of a comment."""


class Box:
    """It. Open, it has the keys; Enter gives what was typed, Esc and Ctrl-C close it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """say: shows what was wrong with what was typed."""
        self.is_open = False
        self._say = say
        self._title = ""
        self._accept: Callable[[str], bool] = lambda _text: True
        self._buffer = Buffer(multiline=False, accept_handler=self._entered)
        title = BeforeInput(lambda: f"{self._title}: ", style="reverse")
        self.window: Final = Window(BufferControl(self._buffer, input_processors=[title]), height=1)

    def open(self, title: str, accept: Callable[[str], bool], text: str = "") -> None:
        """Open it.

        Args:
            title: Shown before what is typed.
            accept: Takes what was typed, without spaces around it; False keeps the box open.
            text: What is there to begin with.

        """
        self.is_open, self._title, self._accept = True, title, accept
        self._buffer.text = text
        self._buffer.cursor_position = len(text)

    def close(self) -> None:
        """Close it, and forget what was typed."""
        self.is_open = False
        self._buffer.text = ""

    def _entered(self, buffer: Buffer) -> bool:
        """Enter was pressed; True leaves the text there."""
        text = " ".join(buffer.text.split("\n")).strip()
        if len(text) > LONGEST:
            self._say(f"{len(text) - LONGEST:,} characters too many: {LONGEST:,} are kept")
            return True
        if not self._accept(text):
            return True
        self.is_open = False
        return False

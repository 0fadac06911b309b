"""All of the screen but the box, as prompt_toolkit draws it."""

from __future__ import annotations

from prompt_toolkit.formatted_text import ANSI, to_formatted_text
from prompt_toolkit.layout.controls import UIContent, UIControl

from tidemark.cli.sitting.layout import Look, compose
from tidemark.cli.sitting.sitting import Sitting


class Drawn(UIControl):
    """A sitting, drawn anew each time for the columns and lines that there are."""

    def __init__(self, sitting: Sitting, look: Look) -> None:
        self._sitting = sitting
        self._look = look

    def is_focusable(self) -> bool:
        """Whether keys go to it: they do, while no box is open."""
        return True

    def create_content(self, width: int, height: int) -> UIContent:
        """What is drawn on so many columns and lines."""
        lines = [to_formatted_text(ANSI(line)) for line in compose(self._sitting, self._look, width, height)]
        return UIContent(get_line=lambda number: lines[number], line_count=len(lines), show_cursor=False)

"""Text from outside, made fit to be shown: `safe`, which every command, log line and page goes through.

Records, file names, topic names, class names, comments and header names are written by strangers. A terminal obeys
some of their characters (ESC, C1 controls), turns the reading order round (direction overrides) or hides them (zero
width), so that a person would read something else than what is stored. Each such character is shown by its number.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_JOINERS: Final = "\u200c\u200d"
"""Zero-width joiner and non-joiner: hidden between Latin letters, part of the spelling in other scripts and emoji."""
_IGNORED: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\U000e0100-\U000e01ef]",
)
"""Printable by their category, and yet without a picture (Unicode's Default_Ignorable_Code_Point, the empty Braille
cell). Variation selectors of emoji (U+FE00 to U+FE0F) are left."""
_LATIN_ENDS: Final = "\u02ff"
_LINES: Final = "\n\t"
_MARKS: Final = 8
"""Combining marks on one letter; no spelling needs more, and hundreds cover the lines above and below."""


def safe(text: str, *, lines: bool = False) -> str:
    r"""The text with every character that a terminal would obey or hide as `\x1b`, `\u202e` or `\U000e0041`.

    What is safe already is returned as it is, so that `safe(safe(text)) == safe(text)`.

    Args:
        text: from outside.
        lines: leave line ends and tabs as they are; without it the result is one line.

    Returns:
        Text that is read as it is stored. It is plain text still: HTML escapes it on top.

    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for at, letter in enumerate(text):
        marks = marks + 1 if unicodedata.combining(letter) else 0
        if letter in _LINES:
            kept = lines
        elif letter in _JOINERS:
            kept = _joins(text[at - 1 : at], text[at + 1 : at + 2])
        else:
            kept = letter.isprintable() and not _IGNORED.match(letter) and marks <= _MARKS
        shown.append(letter if kept else _number(letter))
    return "".join(shown)


def indented(text: str) -> str:
    """Safe text of several lines, of which only the first begins at the margin: none can pass for a line of ours."""
    return safe(text, lines=True).replace("\n", "\n    ")


def _joins(before: str, after: str) -> bool:
    """Whether a joiner between these two is part of the spelling: letters, marks or pictures beyond Latin."""
    return all(
        side > "\u02ff"
        and unicodedata.category(side)[0] in "LMS"
        and not unicodedata.name(side, "").startswith("LATIN")
        for side in (before, after)
    )


def _number(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

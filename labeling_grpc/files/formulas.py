"""Texts that no spreadsheet runs, whatever it takes for the separator of cells, and back to what they were.

A spreadsheet runs a cell that begins with one of a few characters (OWASP, "CSV injection"). Which text begins a cell
depends on its separator: in a locale of semicolons `a;=1+1` is two cells. So an apostrophe goes before what would begin
a formula at the beginning and behind every separator; where there are some already, it is one more.
"""

from __future__ import annotations

import re
from typing import Final

_BEGINS: Final = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""What begins a formula, full-width forms included."""
_SEPARATORS: Final = ",;|:\t\r\n\x0b\x0c\x1c-\x1f\x85\u2028\u2029"
_PASSED_OVER: Final = ' "\xa0\u200b\ufeff'
"""What some programs leave out before a cell's text."""
_AHEAD: Final = f"(?=[{_PASSED_OVER}]*[{_BEGINS}])"
_ARM: Final = re.compile(f"(\\A|[{_SEPARATORS}])('*){_AHEAD}")
_DISARM: Final = re.compile(f"(\\A|[{_SEPARATORS}])'('*){_AHEAD}")


def armed(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would run."""
    return _ARM.sub(r"\1'\2", text)


def disarmed(text: str) -> str:
    """What was given to `armed`."""
    return _DISARM.sub(r"\1\2", text)

"""Parts of a line, by what stands between them: `%{host} [%{time}] "%{request}" %{status}`.

A search for fixed texts takes a time that grows with the line alone. A regular expression may take any time on a line
that a stranger wrote.
"""

from __future__ import annotations

import re
from typing import Final

_FIELD: Final = re.compile(r"%\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class Dissect:
    """A pattern."""

    def __init__(self, pattern: str) -> None:
        """Read a pattern.

        Args:
            pattern: `%{NAME}` is a part, `%{}` one that is left out; `%{NAME->}` may be followed by what stands behind
                it several times, as spaces that fill up a column. What stands between parts is as it is written.

        Raises:
            ValueError: it is none.

        """
        pieces = _FIELD.split(pattern)
        self._head, named = pieces[0], pieces[1::2]
        self._parts = [
            (name.removesuffix("->"), name.endswith("->"), behind)
            for name, behind in zip(named, pieces[2::2], strict=True)
        ]
        self.names = [name for name, _, _ in self._parts if name]
        if not self.names:
            raise ValueError('the pattern names no part; write such as "%{time} %{level} %{message}"')
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"%{{{name[:60]}}} is no name of a part: letters, digits and _")
        if len(set(self.names)) < len(self.names):
            raise ValueError("the pattern names a part twice")
        if any(not behind for _, _, behind in self._parts[:-1]):
            raise ValueError("two parts of the pattern follow each other with nothing between")

    def parts(self, line: str) -> dict[str, str] | None:
        """The parts of a line.

        Args:
            line: without its end.

        Returns:
            Text by name; None where the line is not of the pattern.

        """
        if not line.startswith(self._head):
            return None
        found: dict[str, str] = {}
        at = len(self._head)
        for number, (name, repeated, behind) in enumerate(self._parts):
            last = number == len(self._parts) - 1
            end = len(line) - len(behind) if last and line.endswith(behind) else line.find(behind, at)
            if (last and not line.endswith(behind)) or end < at:
                return None
            if name:
                found[name] = line[at:end]
            at = end + len(behind)
            while repeated and line.startswith(behind, at):
                at += len(behind)
        return found

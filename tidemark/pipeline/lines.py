"""Lines of a TOML text on which its keys and values stand, for messages about them: tomllib keeps none."""

from __future__ import annotations

import re
import tomllib
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""(?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')"""
    r"""|(?P<mark>[\[\]{}=,.])|(?P<blank>\s+|\#[^\n]*)|(?P<bare>[^\s\[\]{}=,."'#]+)""",
    re.DOTALL,
)
_DEEPEST: Final = 16
"""Of what lies deeper the line of what it lies in is told: no pipeline file needs more."""
Location = tuple[int | str, ...]


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def key_of(location: Location) -> str:
    """A place in a document as messages name it: `windows[2].size`."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


class Lines:
    """Where each key of a TOML text stands. Of a table that is no table's header, where it is first mentioned."""

    def __init__(self, text: str) -> None:
        """Look through a text.

        Args:
            text: what tomllib accepts; of anything else the lines mean nothing.

        """
        self._tokens = _tokens(text)
        self._at = 0
        self._lines: dict[str, int] = {}
        self._arrays: dict[Location, int] = {}
        table: Location = ()
        while self._at < len(self._tokens):
            if self._is("["):
                table = self._header()
            else:
                self._value(self._keys(table))

    def of(self, key: str) -> int | None:
        """The line of a key, counted from 1.

        Args:
            key: as `key_of` writes it. Where the text does not have it, the table counts that would hold it.

        Returns:
            None where the text has no table that would hold it, but itself.

        """
        while key and key not in self._lines:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self._lines.get(key)

    def _is(self, mark: str) -> bool:
        return self._tokens[self._at].kind == "mark" and self._tokens[self._at].text == mark

    def _note(self, location: Location, line: int) -> None:
        if len(location) <= _DEEPEST:
            self._lines.setdefault(key_of(location), line)

    def _header(self) -> Location:
        """`[a.b]` or `[[a.b]]`: the place of the keys below it."""
        line, start = self._tokens[self._at].line, self._at
        while self._is("["):
            self._at += 1
        of_array = self._at - start == 2
        location: Location = ()
        names = self._names()
        for number, name in enumerate(names):
            location += (name,)
            self._note(location, line)
            if of_array and number == len(names) - 1:
                self._arrays[location] = self._arrays.get(location, -1) + 1
            if location in self._arrays:
                location += (self._arrays[location],)
        self._note(location, line)
        self._at += 2 if of_array else 1
        return location

    def _names(self) -> list[str]:
        """The parts of a key, dotted or not."""
        names = []
        while True:
            token = self._tokens[self._at]
            names.append(token.text if token.kind == "bare" else str(tomllib.loads(f"k = {token.text}")["k"]))
            self._at += 1
            if not self._is("."):
                return names
            self._at += 1

    def _keys(self, table: Location) -> Location:
        """`a.b =`: the place of the value behind it."""
        line = self._tokens[self._at].line
        for name in self._names():
            table += (name,)
            self._note(table, line)
        self._at += 1
        return table

    def _value(self, location: Location) -> None:
        """A value with all that is in it. Without recursion: how deep a text nests is the writer's choice."""
        inside: list[tuple[Location, int]] = []  # place of each open list or table, and a list's element; -1: a table
        due: Location | None = location
        while self._at < len(self._tokens):
            if due is not None and self._is("["):
                self._note(due, self._tokens[self._at].line)
                inside.append((due, 0))
                due += (0,)
                self._at += 1
            elif due is not None and self._is("{"):
                self._note(due, self._tokens[self._at].line)
                inside.append((due, -1))
                due = None
                self._at += 1
            elif due is not None and not self._is("]"):
                self._scalar(due)
                due = None
            elif not inside:
                return
            elif self._is(","):
                place, element = inside[-1]
                if element >= 0:
                    inside[-1] = (place, element + 1)
                    due = (*place, element + 1)
                self._at += 1
            elif self._is("]") or self._is("}"):
                inside.pop()
                due = None
                self._at += 1
            else:
                due = self._keys(inside[-1][0])

    def _scalar(self, location: Location) -> None:
        """A text, number, truth value or time, which may be several tokens of one line."""
        first = self._tokens[self._at]
        self._note(location, first.line)
        self._at += 1
        while first.kind == "bare" and self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.line != first.line or not (token.kind == "bare" or self._is(".")):
                return
            self._at += 1


def _tokens(text: str) -> list[_Token]:
    tokens, line = [], 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "blank":
            tokens.append(_Token(kind, match[0], line))
        line += match[0].count("\n")
    return tokens

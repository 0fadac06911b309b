"""CSV as RFC 4180 has it: UTF-8, commas, quotes doubled in quotes. An empty cell is missing, `""` is an empty text.

A row is parsed by itself, so a reading can go on at any row, and nothing about a column is guessed from its cells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from tidemark.errors import ConfigError
from tidemark.formats.cells import CASTS
from tidemark.formats.declared import Declared
from tidemark.formats.rows import Row, Standpoint
from tidemark.formats.text_lines import LONGEST, Line, beginning, lines
from tidemark.runtime.suggestions import did_you_mean

_SHOWN: Final = 200
_encode: Final = msgspec.json.Encoder().encode


@cache
def _cell(separator: str) -> re.Pattern[str]:
    """A cell, in quotes or without them, and what follows it."""
    apart = re.escape(separator)
    return re.compile(rf'"([^"]*(?:""[^"]*)*)"(?={apart}|\Z)|([^"{apart}\r\n]*)(?={apart}|\Z)')


class CsvRows:
    """Rows of a CSV file with a header, the declared columns of each."""

    whole = False
    closed = False

    def __init__(self, path: Path, declared: Declared, restore: Callable[[str], str] | None = None) -> None:
        """Read the header.

        Args:
            path: of the file.
            declared: its columns.
            restore: undoes what was done to texts when the file was written.

        Raises:
            ConfigError: the header can't be read, names a column twice, or lacks one.

        """
        self.path = path
        self._restore = restore
        self._names, self._begin = _header(path)
        if misspelt := declared.misspelt(self._names):
            raise ConfigError(f"{path}: {misspelt}")
        absent = [name for name in declared.required if name not in self._names]
        if absent:
            what = f"{path} has no column {', '.join(map(repr, absent))}, which {declared.owner} requires"
            parted = _parted(self._names, ",")
            remedy = f"{parted}; write it with commas" if parted else did_you_mean(absent[0], self._names)
            raise ConfigError(f"{what}; {remedy}")
        twice = [name for name in self._names if self._names.count(name) > 1 and declared.kind_of(name) is not None]
        if twice:
            raise ConfigError(f"{path}: the header names the column '{twice[0]}' twice; rename one")
        self._casts = [
            (i, name, CASTS[kind], kind in ("string", "class"))
            for i, name in enumerate(self._names)
            if (kind := declared.kind_of(name)) is not None
        ]

    def rows(self, since: Standpoint) -> Iterator[Row]:
        """The rows behind a standpoint; of a line that is no row, a text that tells why and what it was."""
        casts, restore = self._casts, self._restore
        parted = _rows(self.path, max(since.position, self._begin), len(self._names))
        for number, (line, cells) in enumerate(parted, since.rows + 1):
            if isinstance(cells, str):
                shown = line.content.decode(errors="backslashreplace")
                value = _encode(f"{self.path.name}, row {number}: {cells}: {shown}")
                yield Row(number, value, line.end, line.ended, cells)
                continue
            fields: dict[str, object] = {}
            for i, name, cast, is_text in casts:
                cell = cells[i]
                if cell is not None and restore is not None:
                    cell = restore(cell)
                fields[name] = None if cell is None or (not cell and not is_text) else cast(cell)
            yield Row(number, _encode(fields), line.end, line.ended)


def table(path: Path, separator: str = ",") -> tuple[list[str], Iterator[list[str | None]]]:
    """Rows of a file whose columns nobody has declared, of which each must have a cell for each column.

    Args:
        path: of the file.
        separator: what stands between cells.

    Returns:
        The columns' names, and the cells of each row; None is missing. Reading on raises ConfigError where a row is
        none.

    Raises:
        ConfigError: the header does not name every column, or one twice, or one alone that has other separators.

    """
    names, begin = _header(path, separator)
    if parted := _parted(names, separator):
        raise ConfigError(f"{path}: {parted}; say --separator, or write it with commas")
    if "" in names:
        raise ConfigError(f"{path}: the header has no name for column {names.index('') + 1}; name it")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"{path}: the header names the column '{twice[0]}' twice; rename one")
    return names, _all_cells(path, _rows(path, begin, len(names), separator))


def _all_cells(path: Path, rows: Iterator[tuple[Line, list[str | None] | str]]) -> Iterator[list[str | None]]:
    for number, (_, cells) in enumerate(rows, 1):
        if isinstance(cells, str):
            raise ConfigError(f"{path}, row {number:,}: {cells}; correct it")
        yield cells


def _rows(path: Path, position: int, width: int, separator: str = ",") -> Iterator[tuple[Line, list[str | None] | str]]:
    """Lines from a position on that are not blank, each with its cells, or why it is no row of so many."""
    for line in _joined(path, position):
        if not line.content.strip(b"\r"):
            continue
        cells = _cells(line, separator)
        if not isinstance(cells, str) and len(cells) != width:
            cells = f"it has {len(cells)} cells, and the header names {width}"
        yield line, cells


def _header(path: Path, separator: str = ",") -> tuple[list[str], int]:
    """Names of the columns, and where the rows begin.

    Raises:
        ConfigError: the first line can't be read.

    """
    header = next(_joined(path, beginning(path)), None)
    if header is None:
        raise ConfigError(f"{path} is empty; its first line must name the columns")
    if not header.content.strip():
        raise ConfigError(f"{path}: the first line is blank; it must name the columns")
    cells = _cells(header, separator)
    if isinstance(cells, str):
        raise ConfigError(f"{path}: the first line, which names the columns, can't be read: {cells}")
    return [cell or "" for cell in cells], header.end


def _parted(names: Sequence[str], separator: str) -> str | None:
    """What parts the cells, where it seems to be something else than what was said; None where it does not."""
    for other, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if len(names) == 1 and other != separator and other in names[0]:
            return f"its cells are parted by {name}"
    return None


def _joined(path: Path, position: int) -> Iterator[Line]:
    """Rows as they stand in the file: a line, or several where a newline is in quotes."""
    parts: list[bytes] = []
    size = open_quotes = 0
    begin = position
    last = Line(b"", position, ended=True)
    for line in lines(path, position):
        parts.append(line.content)
        size += len(line.content) + 1
        open_quotes ^= line.content.count(b'"') & 1
        if size > LONGEST:
            raise ConfigError(
                f"{path}: the row at byte {begin:,} goes on for over {LONGEST >> 20} MiB; is a quote not closed?"
            )
        last = line
        if not open_quotes:
            yield line if len(parts) == 1 else Line(b"\n".join(parts), line.end, line.ended)
            parts, size, begin = [], 0, line.end
    if parts:
        yield Line(b"\n".join(parts), last.end, ended=False)


def _cells(line: Line, separator: str = ",") -> list[str | None] | str:
    """Cells of a row; or why it is none."""
    return cells_of(line.content.removesuffix(b"\r") if line.ended else line.content, separator)


def cells_of(content: bytes, separator: str = ",") -> list[str | None] | str:
    """Cells of a row, None where one is empty without quotes; or why it is none.

    Args:
        content: of the row, without the end of its line.
        separator: what stands between cells.

    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    if '"' not in text:
        if "\r" in text:
            return "it has a carriage return within"
        return [cell or None for cell in text.split(separator)]
    cell = _cell(separator)
    cells: list[str | None] = []
    position = 0
    while True:
        found = cell.match(text, position)
        if found is None:
            shown = text[max(position - 10, 0) : position + 20]
            return f"a quote stands where none may be, or is not closed, near {shown[:_SHOWN]!r}"
        quoted, plain = found.groups()
        cells.append((plain or None) if quoted is None else quoted.replace('""', '"'))
        position = found.end() + 1
        if position > len(text):
            return cells

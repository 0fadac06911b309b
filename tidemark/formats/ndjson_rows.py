"""NDJSON: a record a line, handed on as it came. What is in a line is for its reader to judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tidemark.formats.rows import Row, Standpoint
from tidemark.formats.text_lines import beginning, lines

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class NdjsonRows:
    """Rows of an NDJSON file; blank lines are none."""

    whole = False
    closed = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin = beginning(path)

    def rows(self, since: Standpoint) -> Iterator[Row]:
        """The lines behind a standpoint."""
        number = since.rows
        for content, end, ended in lines(self.path, max(since.position, self._begin)):
            if value := content.strip():
                number += 1
                yield Row(number, value, end, ended, None if ended else _unfinished(value))


def _unfinished(value: bytes) -> str | None:
    """Why a last line without a newline is no whole record: an object that is closed can't go on."""
    try:
        _fields(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"the last line is no whole JSON object ({error})"
    return None

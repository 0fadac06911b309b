"""Lines of a text file from a position on, none longer than memory can bear."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tidemark.errors import ConfigError

LONGEST: Final = 16 << 20
"""Bytes of a row, of which Kafka takes a million by default."""
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Line(NamedTuple):
    """A line. content: without its end.  end: position in the file behind it.  ended: by a newline."""

    content: bytes
    end: int
    ended: bool


def beginning(path: Path) -> int:
    """Where the text of a file begins: behind its byte order mark, if it has one.

    Raises:
        ConfigError: it is not UTF-8.

    """
    with path.open("rb") as file:
        first = file.read(len(codecs.BOM_UTF8))
    if first.startswith(_UTF16):
        raise ConfigError(f"{path} is UTF-16; write it as UTF-8")
    return len(codecs.BOM_UTF8) if first == codecs.BOM_UTF8 else 0


def lines(path: Path, position: int) -> Iterator[Line]:
    """Lines of a file, from a position at which one begins.

    Raises:
        ConfigError: a line is longer than `LONGEST`.

    """
    with path.open("rb") as file:
        file.seek(position)
        while content := file.readline(LONGEST + 1):
            if len(content) > LONGEST:
                raise ConfigError(
                    f"{path}: the line at byte {position:,} is longer than {LONGEST >> 20} MiB; is it a text of rows?"
                )
            position += len(content)
            ended = content.endswith(b"\n")
            yield Line(content[:-1] if ended else content, position, ended)

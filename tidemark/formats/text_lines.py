"""Lines of a text file from a position on, none longer than memory can bear."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tidemark.errors import ConfigError

LONGEST: Final = 16 << 20
"""Bytes of a row, of which Kafka takes a million by default."""
_FOREIGN: Final = (
    (codecs.BOM_UTF32_LE, "is UTF-32; write it as UTF-8"),
    (codecs.BOM_UTF32_BE, "is UTF-32; write it as UTF-8"),
    (codecs.BOM_UTF16_LE, "is UTF-16; write it as UTF-8"),
    (codecs.BOM_UTF16_BE, "is UTF-16; write it as UTF-8"),
    (b"\x1f\x8b", "is compressed (gzip); unpack it"),
    (b"\x28\xb5\x2f\xfd", "is compressed (zstd); unpack it"),
    (b"BZh", "is compressed (bzip2); unpack it"),
    (b"\xfd7zXZ\x00", "is compressed (xz); unpack it"),
    (b"PK\x03\x04", "is a zip archive or a spreadsheet; unpack it, or export it as CSV"),
    (b"\xd0\xcf\x11\xe0", "is a spreadsheet of old; export it as CSV"),
    (b"PAR1", "is a Parquet file; let its name end in .parquet"),
    (b"ARROW1", "is an Arrow file; write it as Parquet"),
    (b"Obj\x01", "is an Avro file; write it as NDJSON or Parquet"),
    (b"SQLite format 3\x00", "is a database; export its rows as CSV"),
)
"""How files begin that are no text of UTF-8, whatever their names say."""
_LONGEST_BEGINNING: Final = 16


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
        first = file.read(_LONGEST_BEGINNING)
    for form, what in _FOREIGN:
        if first.startswith(form):
            raise ConfigError(f"{path} {what}")
    if len(first) >= 4 and (_alternates(first[:4]) or _alternates(first[1:4])):
        raise ConfigError(f"{path} is UTF-16, or no text; write it as UTF-8")
    return len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0


def _alternates(first: bytes) -> bool:
    """Whether each second byte, and no other, is zero, as in a text of UTF-16."""
    return not any(first[1::2]) and all(first[::2])


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

"""What every reader of rows gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """A row of a file as a JSON record.

    number: of the row in its file, from 1.  value: the record; of what is no row a JSON text that tells why, or the
    line as it came.  end: where to go on behind it.  ended: False of a last line that no newline ends.
    problem: why it is no row, where the reader can tell.
    """

    number: int
    value: bytes
    end: int
    ended: bool = True
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Where a reading stands.

    position: bytes of a text file that were read, rows of a Parquet file.  rows: that were read.
    """

    position: int = 0
    rows: int = 0


class RowFile(Protocol):
    """A file of rows.

    path: of the file.  whole: it is complete and never changes (Parquet), and a position counts its rows; else it may
    grow at its end, and a position counts its bytes.  closed: a last row without a newline is a whole one if it reads
    as one (JSON); else it may be half of one (CSV), and is waited for.
    """

    path: Path
    whole: bool
    closed: bool

    def rows(self, since: Standpoint) -> Iterator[Row]:
        """The rows behind a standpoint.

        Raises:
            ConfigError: the file can't be read further; names it, and where.

        """
        ...

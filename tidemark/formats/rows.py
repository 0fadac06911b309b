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
    """A file of rows. `whole`: it is complete and never changes (Parquet); else it may grow at its end."""

    path: Path
    whole: bool

    def rows(self, since: Standpoint) -> Iterator[Row]:
        """The rows behind a standpoint.

        Raises:
            ConfigError: the file can't be read further; names it, and where.

        """
        ...

"""Opens a file of rows by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tidemark.errors import ConfigError
from tidemark.formats.csv_rows import CsvRows
from tidemark.formats.declared import Declared
from tidemark.formats.ndjson_rows import NdjsonRows
from tidemark.formats.parquet_rows import ParquetRows
from tidemark.formats.rows import Row, RowFile, Standpoint

__all__ = ["ENDINGS", "Row", "RowFile", "Standpoint", "open_rows"]

ENDINGS: Final = (".parquet", ".csv", ".ndjson", ".jsonl")


def open_rows(
    path: Path, declared: Declared, *, most_rows: int | None = None, restore: Callable[[str], str] | None = None
) -> RowFile:
    """A `.parquet`, `.csv`, `.ndjson` or `.jsonl` file.

    Args:
        path: of the file.
        declared: the columns that are read.
        most_rows: a Parquet file of more is refused before it is read.
        restore: of a CSV, undoes what was done to texts when it was written.

    Raises:
        ConfigError: it is no such file, can't be read, or lacks a column that is required.

    """
    if path.suffix.lower() not in ENDINGS:
        kind = path.suffix or "a file without an ending"
        raise ConfigError(f"{path}: {kind} can't be read; use one of {', '.join(ENDINGS)}")
    if not path.is_file():
        raise ConfigError(f"{path} can't be read: there is no such file")
    try:
        match path.suffix.lower():
            case ".parquet":
                return ParquetRows(path, declared, most_rows=most_rows)
            case ".csv":
                return CsvRows(path, declared, restore)
            case _:
                return NdjsonRows(path)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error

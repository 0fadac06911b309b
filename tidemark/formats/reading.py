"""Opens a file of rows by the ending of its name: one table of the kinds of files.

A kind of Tidemark's own is a row here. A kind of another package is an entry point of the group `tidemark.sources`
whose name is the ending without its point, and which names a `Source`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from tidemark.errors import ConfigError
from tidemark.formats.arrow_file_rows import ArrowFileRows
from tidemark.formats.csv_rows import CsvRows
from tidemark.formats.declared import Declared
from tidemark.formats.ndjson_rows import NdjsonRows
from tidemark.formats.parquet_rows import ParquetRows
from tidemark.formats.rows import Row, RowFile, Standpoint
from tidemark.runtime.plugins import Plugins

__all__ = ["SOURCES", "Reading", "Row", "RowFile", "Source", "Standpoint", "kind_of", "open_rows"]

T = TypeVar("T")
GROUP: Final = "tidemark.sources"
"""Group of the entry points of other packages' kinds of files."""
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read.

    Attributes:
        declared: the columns that are read, and their types.
        most_rows: a file that tells its number of rows is refused if that is more.
        restore: undoes what was done to texts when the file was written, of kinds that have no types.

    """

    declared: Declared
    most_rows: int | None = None
    restore: Callable[[str], str] | None = None


class Source(Protocol):
    """Opens files of one kind."""

    def __call__(self, path: Path, reading: Reading, /) -> RowFile:
        """A file's rows.

        Args:
            path: of the file, which exists.
            reading: what is read of it.

        Returns:
            Its rows, each as a JSON object of the declared columns.

        Raises:
            ConfigError: it is no such file, or lacks a column that is required.
            OSError: it can't be read.

        """
        ...


def _accept(_: str, found: object) -> Source:
    if not callable(found):
        raise ValueError(f"it is a {type(found).__name__}, and no function that opens a file")  # noqa: TRY004
    return lambda path, reading: _Guarded(path, lambda: found(path, reading))


def _parquet(path: Path, reading: Reading) -> RowFile:
    return ParquetRows(path, reading.declared, most_rows=reading.most_rows)


def _arrow(path: Path, reading: Reading) -> RowFile:
    return ArrowFileRows(path, reading.declared, most_rows=reading.most_rows)


def _csv(path: Path, reading: Reading) -> RowFile:
    return CsvRows(path, reading.declared, reading.restore)


def _ndjson(path: Path, _: Reading) -> RowFile:
    return NdjsonRows(path)


SOURCES: Final = Plugins[Source](
    "kind of file",
    GROUP,
    {"parquet": _parquet, "csv": _csv, "ndjson": _ndjson, "jsonl": _ndjson, "arrow": _arrow, "feather": _arrow},
    _accept,
)
"""Every kind of file by the ending of its names."""


class _Guarded:
    """A file that a stranger's code reads: whatever it raises or gives is told in a sentence that names the file."""

    def __init__(self, path: Path, open_file: Callable[[], object]) -> None:
        self.path = path
        found = self._guarded(open_file)
        lacks = [name for name in ("whole", "closed", "rows") if not hasattr(found, name)]
        if lacks:
            raise ConfigError(f"{path} can't be read: what opens {path.suffix} gave no RowFile; it lacks {lacks[0]}")
        self._rows = found
        self.whole, self.closed = bool(found.whole), bool(found.closed)  # type: ignore[attr-defined]

    def rows(self, since: Standpoint) -> Iterator[Row]:
        """The rows behind a standpoint."""
        found: Iterator[object] = self._guarded(lambda: iter(self._rows.rows(since)))  # type: ignore[attr-defined]
        while (row := self._guarded(lambda: next(found, None))) is not None:
            value: object = row.value if isinstance(row, Row) else None
            if not isinstance(row, Row) or not isinstance(value, bytes) or b"\n" in value:
                raise ConfigError(
                    f"{self.path} can't be read further: what reads {self.path.suffix} gave {str(row)[:_SHOWN]} where "
                    "a Row of one line of JSON is wanted"
                )
            yield row

    def _guarded(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except (ConfigError, OSError):
            raise
        except Exception as error:  # a stranger's function may raise anything
            line = (str(error).strip().splitlines() or ["no reason given"])[0][:_SHOWN]
            raise ConfigError(f"{self.path} can't be read: {type(error).__name__}: {line}") from error


def kind_of(path: Path) -> str:
    """The kind of a file that is there, as in `SOURCES`.

    Args:
        path: of the file.

    Raises:
        ConfigError: no kind of file has this ending, or there is no such file.

    """
    ending = path.suffix.lower().removeprefix(".")
    if ending not in SOURCES.own and ending not in SOURCES.names():
        kind = path.suffix or "a file without an ending"
        raise ConfigError(
            f"{path}: {kind} can't be read; use one of {', '.join(f'.{name}' for name in SOURCES.names())}"
        )
    if not path.is_file():
        raise ConfigError(f"{path} can't be read: there is no such file")
    return ending


def open_rows(
    path: Path, declared: Declared, *, most_rows: int | None = None, restore: Callable[[str], str] | None = None
) -> RowFile:
    """A `.parquet`, `.csv`, `.ndjson` or `.jsonl` file, or one of a kind that a package adds.

    Args:
        path: of the file.
        declared: the columns that are read.
        most_rows: a Parquet file of more is refused before it is read.
        restore: of a CSV, undoes what was done to texts when it was written.

    Returns:
        The file.

    Raises:
        ConfigError: it is no such file, can't be read, or lacks a column that is required.

    """
    ending = kind_of(path)
    try:
        return SOURCES.get(ending)(path, Reading(declared, most_rows, restore))
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from error

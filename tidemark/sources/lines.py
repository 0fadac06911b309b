"""A file of anybody's rows as JSON records, for a first try: each row as it is, keyed by one of its columns."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from tidemark.errors import ConfigError
from tidemark.formats.cells import CASTS
from tidemark.formats.csv_rows import table
from tidemark.formats.declared import Kind
from tidemark.formats.nested_names import raw_of
from tidemark.formats.text_lines import beginning
from tidemark.records.raw_record import RawRecord
from tidemark.runtime.json_names import parted
from tidemark.runtime.suggestions import did_you_mean

if TYPE_CHECKING:
    import polars as pl

_TABLES: Final = {".csv", ".tsv", ".parquet"}
_LINES: Final = {".json", ".ndjson", ".jsonl"}
_LARGEST: Final = 1_000_000
"""Bytes of a record, which Kafka takes as it is set up without more ado."""
_NO_NUMBER: Final = re.compile(r"\+|-?0[0-9]")
"""What an account or a telephone number may begin with: as a number it would lose that."""
_WITH_COMMA: Final = re.compile(r"^(-?[0-9]+),([0-9]+)$")
_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value: Final = msgspec.json.Decoder().decode


def records_of(
    path: Path,
    key: str | None,
    separator: str | None = None,
    *,
    decimal: str = ".",
    doubt: Callable[[str], None] = lambda _: None,
) -> Iterator[RawRecord]:
    """The records of a file.

    Args:
        path: of JSON objects, one a line, `-` for standard input; of Parquet, or of CSV, of which a column is numbers,
            with all their digits, or truths where every cell is one, and otherwise texts as they are written.
        key: column that they are keyed by, as text; None for no key. A null gives no key.
        separator: what stands between cells of CSV; None: tabs in `.tsv`, and commas.
        decimal: what stands before the fraction of a number of CSV, a point or a comma.
        doubt: gets the name of each column of CSV that stays text and would be numbers with the other one.

    Yields:
        Each row's record, in order.

    Raises:
        ConfigError: the file can't be read, or a line is none; names the line and what to do.

    """
    for number, line in enumerate(_lines(path, separator, decimal, doubt), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        if len(line) > _LARGEST:
            raise ConfigError(f"{where}: {len(line):,} bytes are too many for a record; {_LARGEST:,} are the most")
        yield RawRecord(None if key is None else _key(line, key, where), line.strip())


def _key(line: bytes, key: str, where: str) -> bytes | None:
    columns = _object(line, where)
    raw = raw_of(columns, key)
    if raw is None:
        outer = (parted(key) or (key, ""))[0]
        if key not in columns and outer not in columns:
            raise ConfigError(f"{where}: there is no column '{key}'; {did_you_mean(key, columns)}")
        return None
    value: object = _value(raw)
    if isinstance(value, dict | list):
        raise ConfigError(f"{where}: column '{key}' is no text or number, so it can't be a key; name another")
    return value.encode() if isinstance(value, str) else raw


def _object(line: bytes, where: str) -> dict[str, msgspec.Raw]:
    try:
        line.decode()  # values are not looked into
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: is no JSON object ({error}); write one object a line, {{...}}") from error


def _lines(path: Path, separator: str | None, decimal: str, doubt: Callable[[str], None]) -> Iterator[bytes]:
    if str(path) == "-":
        yield from _checked(sys.stdin.buffer, path)
        return
    suffix = path.suffix.casefold()
    if suffix not in _LINES | _TABLES:
        raise ConfigError(
            f"{path}: is no {', '.join(sorted(_LINES | _TABLES))} file; convert it, or pipe lines into `-`"
        )
    try:
        if suffix == ".parquet":
            yield from _parquet(path)
        elif suffix in _TABLES:
            yield from _csv(path, separator or ("\t" if suffix == ".tsv" else ","), decimal, doubt)
        else:
            with path.open("rb") as stream:
                stream.seek(beginning(path))
                yield from _checked(stream, path)
    except FileNotFoundError as error:
        near = sorted(each.name for each in path.parent.glob("*")) if path.parent.is_dir() else []
        raise ConfigError(f"{path}: there is no such file; {did_you_mean(path.name, near)}") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


def _checked(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            _object(line, f"{path}:{number}")
        yield line


def _csv(path: Path, separator: str, decimal: str, doubt: Callable[[str], None]) -> Iterator[bytes]:
    names, rows = table(path, separator)
    columns: list[Sequence[object]] = []
    for name, own in zip(names, zip(*rows, strict=True), strict=False):  # a file of a header alone has no cells
        columns.append(typed := _typed(own, decimal))
        if decimal == "." and typed is own and _typed(own, ",") is not own:
            doubt(name)
    for row in zip(*columns, strict=True):
        yield msgspec.json.encode(dict(zip(names, row, strict=True)))


def _parquet(path: Path) -> Iterator[bytes]:
    import polars as pl  # noqa: PLC0415 half a second, which lines of JSON need not wait for
    from polars.exceptions import PanicException, PolarsError  # noqa: PLC0415 as above

    from tidemark.formats.json_lines import json_lines  # noqa: PLC0415 Polars, as above

    path.stat()  # Polars has words of its own for a file that is not there
    try:
        frame = pl.read_parquet(path)
        for column in frame:
            if why := _no_json(column):
                raise ConfigError(f"{path}: column '{column.name}' {why}")
        yield from json_lines(frame)
    except (PolarsError, PanicException) as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ConfigError(f"{path}: is no parquet file that can be read: {told}") from error


def _no_json(column: pl.Series) -> str | None:
    """Why a column can't be written as JSON as it is; None if it can."""
    if "Binary" in repr(column.dtype):
        return "holds bytes, which JSON does not have; write them as text, or leave it out"
    if column.dtype.is_float() and (rows := column.is_infinite().arg_true()).len():
        return f"is infinite in row {rows[0] + 1:,}, which JSON does not have; write what was meant, or nothing"
    return None


def _typed(cells: Sequence[str | None], decimal: str) -> Sequence[object]:
    """The cells of a column as numbers or truths, if all are."""
    pointed = cells if decimal == "." else [cell and _WITH_COMMA.sub(r"\1.\2", cell) for cell in cells]
    kinds: tuple[tuple[Kind, Sequence[str | None]], ...] = (("float", pointed), ("bool", cells))
    for kind, written in kinds:
        typed = [CASTS[kind](cell) if cell else None for cell in written]
        if not any(isinstance(value, str) for value in typed):
            numbers = kind == "float"
            return cells if numbers and any(cell and _NO_NUMBER.match(cell) for cell in written) else typed
    return cells

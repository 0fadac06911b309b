"""Files as raw records: one JSON object a row, keyed by the pipeline's first key.

Parquet and CSV are read by Polars. Lines of NDJSON are handed on as they are, malformed ones too: what can't be decoded
is for the stream flow to put into the dead letters, as it came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec
import polars as pl

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline

_BLOCK: Final = 50_000


@dataclass(frozen=True, slots=True)
class RawRecord:
    """Key and value to produce."""

    key: bytes | None
    value: bytes


class RecordFile(Protocol):
    """A file of rows.

    digest: tells this file from others, by its name and size; the progress over it is kept under this name.
    rows: in all.
    """

    path: Path
    digest: str
    rows: int

    def read(self, begin: int, count: int) -> Sequence[RawRecord]:
        """Rows `begin` up to `begin + count`, or to the end."""
        ...


def open_file(path: Path, pipeline: Pipeline) -> RecordFile:
    """A `.parquet`, `.csv`, `.ndjson` or `.jsonl` file as records of the pipeline.

    Raises:
        ConfigError: the file can't be read, is of another kind, or lacks a column that the pipeline requires.

    """
    if not path.is_file():
        raise ConfigError(f"{path} is no file; name the .parquet, .csv or .ndjson files to ingest")
    match path.suffix:
        case ".parquet" | ".csv":
            return _Table(path, pipeline)
        case ".ndjson" | ".jsonl":
            return _Lines(path, pipeline)
        case other:
            raise ConfigError(
                f"{path}: can't ingest {other or 'a file without a suffix'}; use .parquet, .csv or .ndjson"
            )


def _digest(path: Path) -> str:
    return hashlib.sha256(f"{path.name}:{path.stat().st_size}".encode()).hexdigest()[:16]


class _Table:
    def __init__(self, path: Path, pipeline: Pipeline) -> None:
        self.path, self.digest = path, _digest(path)
        self._key = pipeline.keys[0]
        try:
            self._frame = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path).lazy()
            schema = self._frame.collect_schema()
            self.rows = int(self._frame.select(pl.len()).collect().item())
        except pl.exceptions.PolarsError as error:
            raise ConfigError(f"{path} can't be read: {error}") from error
        required = {name for name, column in pipeline.columns.items() if column.required} | {self._key}
        if missing := sorted(required - set(schema.names())):
            raise ConfigError(f"{path} has no column {', '.join(map(repr, missing))}, which {pipeline.name} requires")
        self._time = _time_column(pipeline, schema)
        self._block: tuple[int, list[RawRecord]] = (0, [])

    def read(self, begin: int, count: int) -> Sequence[RawRecord]:
        first, records = self._block
        if not first <= begin < first + len(records):
            first, records = self._block = begin, self._load(begin)
        return records[begin - first : begin - first + count]

    def _load(self, begin: int) -> list[RawRecord]:
        frame = self._frame.slice(begin, _BLOCK).with_columns(*self._time).collect()
        keys = frame[self._key].cast(pl.String).to_list()
        values = frame.write_ndjson().encode().splitlines()
        return [
            RawRecord(None if key is None else key.encode(), value) for key, value in zip(keys, values, strict=True)
        ]


def _time_column(pipeline: Pipeline, schema: pl.Schema) -> list[pl.Expr]:
    """The event time as the pipeline reads it, where the file holds it as a timestamp and not as text or a number."""
    name = pipeline.time.column
    kind = schema[name]
    if not isinstance(kind, pl.Datetime | pl.Date):
        return []
    at = pl.col(name).cast(pl.Datetime("us"))
    match pipeline.time.format:
        case "iso8601":
            return [at.dt.to_string("iso:strict").alias(name)]
        case "epoch_s":
            return [at.dt.epoch("s").alias(name)]
        case "epoch_ms":
            return [at.dt.epoch("ms").alias(name)]
        case "epoch_us":
            return [at.dt.epoch("us").alias(name)]


class _Lines:
    def __init__(self, path: Path, pipeline: Pipeline) -> None:
        self.path, self.digest = path, _digest(path)
        self._key = pipeline.keys[0]
        with path.open("rb") as file:
            self.rows = sum(1 for line in file if line.strip())
        self._at = (0, 0)
        self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def read(self, begin: int, count: int) -> Sequence[RawRecord]:
        row, position = self._at if self._at[0] <= begin else (0, 0)
        records: list[RawRecord] = []
        with self.path.open("rb") as file:
            file.seek(position)
            while len(records) < count and (line := file.readline()):
                if value := line.strip():
                    if row >= begin:
                        records.append(RawRecord(self._key_of(value), value))
                    row += 1
            self._at = (row, file.tell())
        return records

    def _key_of(self, value: bytes) -> bytes | None:
        try:
            raw = self._decoder.decode(value).get(self._key)
            key = None if raw is None else msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return None if key is None else str(key).encode()

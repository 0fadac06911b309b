"""The process that reads a Parquet or an Arrow file, asked over standard input.

`python -m tidemark.formats.parquet_child KIND FILE`, where KIND is `parquet` or `arrow`.

It answers over standard output, in frames (see `tidemark.formats.parquet_rows`).
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, cast

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from tidemark.formats.columns import json_values, refusal
from tidemark.formats.declared import Declared
from tidemark.formats.parquet_messages import FRAME, Asked, Schema

MEMORY_LIMIT: Final = 4 << 30
"""Bytes of address space, of which Polars reserves a half before it reads anything."""
_MOST_COLUMNS: Final = 100_000
_DEEPEST: Final = 8
"""Structs within structs whose fields are columns."""
_CHUNK: Final = 2_000
_PIECE: Final = 100
"""Rows that are converted together, so that texts which share their memory are not all written out at once."""
_FRAME_BYTES: Final = 4 << 20
_MOST_ROW: Final = 16 << 20


class _Refused(Exception):  # noqa: N818 - the answer, not an error of this process
    """What is wrong with the file; follows its name."""


def _schema(frame: pl.LazyFrame) -> pl.Schema:
    schema = frame.collect_schema()
    if len(schema) > _MOST_COLUMNS:
        raise _Refused(f"has {len(schema):,} columns; at most {_MOST_COLUMNS:,} are read")
    return schema


def _fields(schema: pl.Schema) -> dict[str, tuple[pl.DataType, pl.Expr]]:
    """The columns by name, and beside them the fields of structs by their dotted names, as JSON tells them."""
    found = {name: (dtype, pl.col(name)) for name, dtype in schema.items()}
    waiting = [(name, dtype, pl.col(name)) for name, dtype in schema.items() if "." not in name]
    for _ in range(_DEEPEST):
        inside: list[tuple[str, pl.DataType, pl.Expr]] = [
            (f"{name}.{field.name}", cast("pl.DataType", field.dtype), column.struct.field(field.name))
            for name, dtype, column in waiting
            if isinstance(dtype, pl.Struct)
            for field in dtype.fields
            if field.name and "." not in field.name
        ]
        waiting = [each for each in inside if each[0] not in found][:_MOST_COLUMNS]
        found |= {name: (dtype, column.alias(name)) for name, dtype, column in waiting}
    return found


def _pieces(frame: pl.LazyFrame, fields: Mapping[str, tuple[object, pl.Expr]], asked: Asked) -> Iterator[pl.DataFrame]:
    wanted = frame.select([fields[name][1] for name in asked.kinds]).slice(asked.begin)
    for chunk in wanted.collect_batches(chunk_size=_CHUNK, maintain_order=True):
        yield from chunk.iter_slices(_PIECE)


def _lines(frame: pl.LazyFrame, fields: Mapping[str, tuple[pl.DataType, pl.Expr]], asked: Asked) -> Iterator[bytes]:
    """The rows, each as JSON."""
    declared = Declared(asked.kinds.get, time=asked.time)
    for name in asked.kinds:
        if reason := refusal(name, fields[name][0], declared):
            raise _Refused(f"can't be read: {reason}")
    encode = msgspec.json.Encoder().encode
    number = asked.begin
    for piece in _pieces(frame, fields, asked):
        columns = [json_values(column, declared) for column in piece.get_columns()]
        for values in zip(*columns, strict=True):
            number += 1
            line = encode(dict(zip(piece.columns, values, strict=True)))
            if len(line) > _MOST_ROW:
                raise _Refused(f"row {number} has {len(line):,} bytes; at most {_MOST_ROW:,} are read of one")
            yield line


def _scanned(kind: str, path: str) -> pl.LazyFrame:
    if kind == "arrow":
        return pl.scan_ipc(path, glob=False, hive_partitioning=False)
    return pl.scan_parquet(path, glob=False, hive_partitioning=False, low_memory=True)


def _serve(kind: str, path: str, source: BinaryIO, sink: BinaryIO) -> None:
    def send(kind: bytes, payload: bytes) -> None:
        sink.write(FRAME.pack(kind, len(payload)) + payload)
        sink.flush()

    try:
        frame = _scanned(kind, path)
        fields = _fields(_schema(frame))
        count = int(frame.select(pl.len()).collect().item())
        send(b"S", msgspec.json.encode(Schema(count, {name: str(dtype)[:100] for name, (dtype, _) in fields.items()})))
        question = source.read()
        if not question:
            return
        waiting: list[bytes] = []
        size = 0
        for line in _lines(frame, fields, msgspec.json.decode(question, type=Asked)):
            waiting.append(line)
            size += len(line)
            if size > _FRAME_BYTES:
                send(b"R", b"\n".join(waiting))
                waiting, size = [], 0
        if waiting:
            send(b"R", b"\n".join(waiting))
        send(b"Z", b"")
    except _Refused as refused:
        send(b"E", str(refused).encode())
    except (PolarsError, OSError, UnicodeError) as error:
        send(b"E", f"can't be read: {str(error).splitlines()[0][:300]}".encode(errors="replace"))
    except pl.exceptions.PanicException as panic:  # no Exception: it stands for a bug, here that of a damaged file
        said = (str(panic).splitlines() or ["a panic"])[0]
        send(b"E", f"can't be read: the file is damaged ({said[:200]})".encode(errors="replace"))
    except MemoryError:
        send(b"E", b"can't be read: its rows take more memory than a reader may have; write it in smaller row groups")


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS does not enforce it and may refuse it
        hard: Any = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def main() -> None:
    """Read one file."""
    with os.fdopen(os.dup(1), "wb") as sink:  # a panic writes to the standard streams
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
            os.dup2(nowhere.fileno(), 1)
        _limit_memory()
        _serve(sys.argv[1], sys.argv[2], sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()

"""`make bench-sources`, row I2: rows a second that records of each format are decoded at, on one core.

Beside each stands the fastest public decoder of the format that we know of, which makes columns of what it decodes:
msgspec and Polars for JSON, fastavro, Protobuf's own runtime, Polars for CSV. Tidemark also checks types, times and
keys, and finds out which records are bad. The median of some turns, ours and theirs taking turns.

Streams of Arrow are taken apart by sources into rows of JSON, with all their lengths checked. Beside that stands
Polars, which reads such a stream and writes its rows as JSON.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any, Final

import fastavro
import msgspec
import polars as pl

from benchmarks.sources.records import AVRO, NAMES, batch_of, encoded, message_class, pipeline_of, rows
from benchmarks.support.report import write
from tidemark.formats.arrow_rows import ArrowRows
from tidemark.formats.declared import Declared
from tidemark.formats.decoder import Decoder
from tidemark.runtime.processor import Batch

_TURNS: Final = 9
_BATCH: Final = 1_000
"""Rows of a stream of Arrow."""
Decode = Callable[[Sequence[bytes]], Any]


class _Reading(msgspec.Struct, gc=False):
    machine: str
    at: int
    a: float
    b: float
    c: float


def peers() -> dict[str, dict[str, Decode]]:
    """Public decoders of each format, which give columns."""
    structs = msgspec.json.Decoder(_Reading).decode
    schema, kind = fastavro.parse_schema(AVRO), message_class()

    def avro(values: Sequence[bytes]) -> pl.DataFrame:
        return pl.DataFrame([fastavro.schemaless_reader(BytesIO(value), schema, None) for value in values])

    return {
        "json": {
            "msgspec": lambda values: _columns(list(map(structs, values))),
            "polars": lambda values: pl.read_ndjson(BytesIO(b"\n".join(values))),
        },
        "avro": {"fastavro": avro},
        "protobuf": {"protobuf": lambda values: _columns(list(map(kind.FromString, values)))},
        "csv": {"polars": lambda values: pl.read_csv(BytesIO(b"\n".join(values)), has_header=False)},
    }


def _columns(objects: Sequence[object]) -> pl.DataFrame:
    return pl.DataFrame({name: list(map(attrgetter(name), objects)) for name in NAMES})


def measured(count: int) -> list[dict[str, Any]]:
    """A row for each format."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for form, others in peers().items():
            values = encoded(form, rows(count))
            decoder = Decoder(pipeline_of(form, Path(folder)))
            batch = batch_of(values)
            if decoder.decode(batch).bad:
                raise AssertionError(f"{form}: good records are refused")
            ways: dict[str, Decode] = {"tidemark": _decoding(decoder, batch), **others}
            found.append(_row(form, _rates(ways, values, count), count))
    return [*found, _arrow(count)]


def _arrow(count: int) -> dict[str, Any]:
    """The row of streams of Arrow."""
    values = []
    for piece in pl.DataFrame(rows(count)).iter_slices(_BATCH):
        written = BytesIO()
        piece.write_ipc_stream(written, compat_level=pl.CompatLevel.oldest())
        values.append(written.getvalue())
    with tempfile.TemporaryDirectory() as folder:
        reader = ArrowRows(Declared.of(pipeline_of("json", Path(folder))))

    def ours(values: Sequence[bytes]) -> list[bytes]:
        return [row for value in values for piece in reader.read(value) for row in piece]

    def polars(values: Sequence[bytes]) -> list[str]:
        frames = [pl.read_ipc_stream(BytesIO(value)) for value in values]
        return [row for frame in frames for row in frame.write_ndjson().splitlines()]

    told = [msgspec.json.decode(row) for row in ours(values)]
    if told != [msgspec.json.decode(row) for row in polars(values)] or told != rows(count):
        raise AssertionError("arrow: rows are told as others")
    return _row("arrow", _rates({"tidemark": ours, "polars": polars}, values, count), count)


def _row(form: str, rates: dict[str, float], count: int) -> dict[str, Any]:
    name, best = max(((name, rate) for name, rate in rates.items() if name != "tidemark"), key=lambda pair: pair[1])
    return {
        "id": f"I2 {form}",
        "value": round(rates["tidemark"] / best, 2),
        "target": 1.0,
        "reached": rates["tidemark"] >= best,
        "unit": f"of {name}'s rows a second",
        "detail": {"rows": count, "rows_a_second": {way: round(rate) for way, rate in rates.items()}},
    }


def _decoding(decoder: Decoder, batch: Batch) -> Decode:
    return lambda _: decoder.decode(batch)


def _rates(ways: dict[str, Decode], values: Sequence[bytes], count: int) -> dict[str, float]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_TURNS):
        for name, way in ways.items():
            begun = time.process_time()
            way(values)
            took[name].append(time.process_time() - begun)
    return {name: count / median(times) for name, times in took.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    write("formats.quick" if (quick := parser.parse_args().quick) else "formats", measured(2_000 if quick else 20_000))

"""Rows of made-up readings as records of each format, and pipelines that read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import fastavro
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tidemark.pipeline import Pipeline, parse
from tidemark.runtime.processor import Batch, Partition

NAMES: Final = ("machine", "at", "a", "b", "c")
START_US: Final = 1_735_689_600_000_000
AVRO: Final = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "machine", "type": "string"},
        {"name": "at", "type": "long"},
        *({"name": name, "type": "double"} for name in "abc"),
    ],
}
FORMATS: Final = {
    "json": "",
    "csv": f'format = "csv"\nheader = {list(NAMES)}',
    "cloudevents": 'format = "cloudevents"',
    "avro": 'format = "avro"\nschema_file = "r.avsc"',
    "avro-registry": 'format = "avro"\nregistry = "schemas"',
    "protobuf": 'format = "protobuf"\nschema_file = "r.desc"\nmessage = "plant.Reading"',
    "protobuf-registry": 'format = "protobuf"\nregistry = "schemas"',
}
"""Settings of the raw topic for each format, and framing, of records."""
_PIPELINE: Final = """
name = "readings"
keys = ["machine"]
features = [{{ name = "a" }}, {{ name = "b" }}, {{ name = "c" }}]
[[raw]]
topic = "readings.raw"
{settings}
[time]
column = "at"
format = "epoch_us"
[columns]
machine = {{ type = "string" }}
at = {{ type = "int" }}
a = {{ type = "float" }}
b = {{ type = "float" }}
c = {{ type = "float" }}
[label]
classes = ["good", "bad"]
positive = "bad"
delay = "1d"
[selection]
tile = "1h"
budget = 10
explore = 2
"""
_Field: Final = descriptor_pb2.FieldDescriptorProto


def proto_file() -> descriptor_pb2.FileDescriptorProto:
    """The Protobuf file of a reading."""
    file = descriptor_pb2.FileDescriptorProto(name="r.proto", package="plant", syntax="proto3")
    message = file.message_type.add(name="Reading")
    kinds = (_Field.TYPE_STRING, _Field.TYPE_INT64, *(_Field.TYPE_DOUBLE,) * 3)
    for number, (name, kind) in enumerate(zip(NAMES, kinds, strict=True), 1):
        message.field.add(name=name, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
    return file


def message_class() -> Any:  # noqa: ANN401 made at run time
    """The class of a reading in Protobuf's runtime."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(proto_file().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("plant.Reading"))


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Made-up readings."""
    draws = np.random.default_rng(seed)
    machines = draws.integers(5_000, size=count).tolist()
    numbers = draws.normal(size=(count, 3)).round(6).tolist()
    return [
        dict(zip(NAMES, (f"pump {machine}", START_US + 1_000 * i, *values), strict=True))
        for i, (machine, values) in enumerate(zip(machines, numbers, strict=True))
    ]


def encoded(form: str, records: Sequence[dict[str, Any]]) -> list[bytes]:
    """Readings as records of a format."""
    match form.removesuffix("-registry"):
        case "avro":
            schema = fastavro.parse_schema(AVRO)
            values = [_avro(schema, record) for record in records]
            return [b"\0\0\0\0\1" + value for value in values] if form.endswith("-registry") else values
        case "protobuf":
            kind = message_class()
            values = [kind(**record).SerializeToString() for record in records]
            return [b"\0\0\0\0\1\0" + value for value in values] if form.endswith("-registry") else values
        case "csv":
            return [",".join(map(str, record.values())).encode() for record in records]
        case "cloudevents":
            event = {"specversion": "1.0", "id": "1", "source": "/plant", "type": "reading"}
            return [json.dumps(event | {"data": record}).encode() for record in records]
    return [json.dumps(record).encode() for record in records]


def _avro(schema: Any, record: dict[str, Any]) -> bytes:  # noqa: ANN401 of fastavro
    written = BytesIO()
    fastavro.schemaless_writer(written, schema, record)
    return written.getvalue()


def pipeline_of(form: str, folder: Path) -> Pipeline:
    """The pipeline of readings in a format, its schemas in a folder."""
    (folder / "schemas").mkdir(exist_ok=True)
    files = descriptor_pb2.FileDescriptorSet(file=[proto_file()]).SerializeToString()
    for place in (folder / "r", folder / "schemas" / "1"):
        place.with_suffix(".avsc").write_text(json.dumps(AVRO))
        place.with_suffix(".desc").write_bytes(files)
    return parse(_PIPELINE.format(settings=FORMATS[form]), str(folder / "readings.toml"))


def batch_of(values: Sequence[bytes]) -> Batch:
    """A batch of records."""
    n = len(values)
    stamps = np.full(n, START_US // 1_000 + 86_400_000, np.int64)
    return Batch(Partition("readings.raw", 0, "00000000"), np.arange(n), stamps, [b"k"] * n, list(values), [None] * n)

"""The corpus of broken records (tests/data/broken_records.ndjson), and pipelines that read it.

A line has the format of the pipeline that reads it, a name, the value as parts (Base64, and how often each comes; null
for a tombstone), headers, Kafka's timestamp where it matters, and what the dead letter's reason says.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from models import pipeline_text
from schemas import NOW_MS, Field, avro_record, avro_schema, descriptor_set, frame, proto_file, proto_record

from tidemark.pipeline import Pipeline, parse
from tidemark.runtime.processor import Batch, Headers, Partition

CORPUS: Final = Path(__file__).parents[1] / "data" / "broken_records.ndjson"
ROW: Final[dict[str, Any]] = {"key": "k", "time": "2025-01-01T00:00:01Z", "a": 1.5, "b": -0.25, "c": 3.0}
AVRO: Final = avro_schema(("key", "string"), ("time", "string"), ("a", "double"), ("b", "double"), ("c", "double"))
PROTO: Final = proto_file(
    ("key", 1, Field.TYPE_STRING),
    ("time", 2, Field.TYPE_STRING),
    ("a", 3, Field.TYPE_DOUBLE),
    ("b", 4, Field.TYPE_DOUBLE),
    ("c", 5, Field.TYPE_DOUBLE),
    optional=("a", "b", "c"),
)
_TRAP: Final = avro_schema(("key", {"type": "array", "items": "null"}))
_OTHER: Final = avro_schema(("color", "string"))
_SETTINGS: Final = {
    "json": "",
    "csv": f'format = "csv"\nheader = {list(ROW)}',
    "cloudevents": 'format = "cloudevents"',
    "avro": 'format = "avro"\nschema_file = "r.avsc"',
    "avro-registry": 'format = "avro"\nregistry = "schemas"',
    "protobuf": 'format = "protobuf"\nschema_file = "r.desc"\nmessage = "plant.Reading"',
    "protobuf-registry": 'format = "protobuf"\nregistry = "schemas"',
}
FORMATS: Final = list(_SETTINGS)


class Broken(msgspec.Struct, frozen=True):
    """A broken record. timestamp: Kafka's, ms; None: soon after the time of the row."""

    format: str
    name: str
    value: list[tuple[str, int]] | None
    reason: str
    headers: list[tuple[str, str]] = []
    timestamp: int | None = None

    def bytes(self) -> bytes | None:
        """Its value."""
        if self.value is None:
            return None
        return b"".join(base64.b64decode(part) * count for part, count in self.value)

    def own_headers(self) -> Headers | None:
        """Its headers."""
        return [(name, base64.b64decode(value)) for name, value in self.headers] or None


@cache
def corpus() -> list[Broken]:
    """All broken records."""
    return [msgspec.json.decode(line, type=Broken) for line in CORPUS.read_bytes().splitlines()]


def good(form: str) -> bytes:
    """A good record of a format."""
    number = 1 if form.endswith("-registry") else None
    match form.removesuffix("-registry"):
        case "avro":
            return avro_record(AVRO, ROW, number)
        case "protobuf":
            return proto_record(PROTO, ROW, number)
        case "csv":
            return ",".join(map(str, ROW.values())).encode()
        case "cloudevents":
            return json.dumps({"specversion": "1.0", "id": "1", "source": "/p", "type": "t", "data": ROW}).encode()
    return json.dumps(ROW).encode()


def pipeline_of(form: str, folder: Path, name: str = "p") -> Pipeline:
    """A pipeline of records of a format, whose schemas are in a folder."""
    (folder / "schemas").mkdir(exist_ok=True)
    (folder / "r.avsc").write_text(json.dumps(AVRO))
    (folder / "r.desc").write_bytes(descriptor_set(PROTO))
    other = proto_file(("color", 1, Field.TYPE_STRING), message="Paint")
    for number, avro, proto in (
        (1, json.dumps(AVRO).encode(), descriptor_set(PROTO)),
        (50, b"no schema", b"no schema"),
        (51, json.dumps(_TRAP).encode(), b"\x0a" * 1_000),
        (52, json.dumps(_OTHER).encode(), descriptor_set(other)),
    ):
        (folder / "schemas" / f"{number}.avsc").write_bytes(avro)
        (folder / "schemas" / f"{number}.desc").write_bytes(proto)
    text = pipeline_text(name).replace(f'topic = "{name}.raw"', f'topic = "{name}.raw"\n{_SETTINGS[form]}')
    return parse(text, str(folder / "p.toml"))


def batch_of(records: Sequence[Broken | bytes]) -> Batch:
    """Broken records and good ones, one an offset."""
    values = [each if isinstance(each, bytes) else each.bytes() for each in records]
    headers = [None if isinstance(each, bytes) else each.own_headers() for each in records]
    stamps = [NOW_MS if isinstance(each, bytes) or each.timestamp is None else each.timestamp for each in records]
    n = len(records)
    return Batch(Partition("p.raw", 0, "0000aaaa"), np.arange(n), np.array(stamps), [b"k"] * n, values, headers)


__all__ = ["AVRO", "CORPUS", "FORMATS", "PROTO", "ROW", "Broken", "batch_of", "corpus", "frame", "good", "pipeline_of"]

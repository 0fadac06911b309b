"""What bytes are that ought to be JSON and are not: named in the reasons of dead letters."""

from __future__ import annotations

from typing import Final

_BEGINNINGS: Final = (
    (b"\xef\xbb\xbf", "begins with a byte order mark (BOM); write UTF-8 without one"),
    (b"\xff\xfe\x00\x00", "is UTF-32; write UTF-8"),
    (b"\x00\x00\xfe\xff", "is UTF-32; write UTF-8"),
    (b"\xff\xfe", "is UTF-16; write UTF-8"),
    (b"\xfe\xff", "is UTF-16; write UTF-8"),
    (b"\x1f\x8b", "is compressed (gzip); let Kafka compress (compression.type), and write plain JSON"),
    (b"\x28\xb5\x2f\xfd", "is compressed (zstd); let Kafka compress (compression.type), and write plain JSON"),
    (b"Obj\x01", "is an Avro file; write JSON"),
    (b"ARROW1", "is an Arrow file; write JSON, or ingest the file"),
    (b"PAR1", "is a Parquet file; write JSON, one object a record"),
)
_FRAME: Final = 5
_ARROW: Final = b"\xff\xff\xff\xff"
"""Begins each message of an Arrow IPC stream; the length of its metadata follows, little-endian, four bytes."""


def foreign(value: bytes) -> str | None:
    """What a value is, and what to write instead; None where it may be JSON."""
    for beginning, name in _BEGINNINGS:
        if value.startswith(beginning):
            return name
    if value.startswith(_ARROW) and 0 < int.from_bytes(value[4:8], "little", signed=True) < len(value):
        return 'is an Arrow stream of many rows; have a source take it, with body = "arrow"'
    if len(value) >= 4 and value[1:2] == b"\x00" and value[3:4] == b"\x00" and value[:1] in b'{[" \n':
        return "is UTF-16; write UTF-8"
    if len(value) >= 4 and value[:1] == b"\x00" and value[2:3] == b"\x00" and value[1:2] in b'{[" \n':
        return "is UTF-16; write UTF-8"
    if len(value) > _FRAME and value[:1] == b"\x00":
        schema = int.from_bytes(value[1:_FRAME], "big")
        return (
            f"has a Schema Registry frame (schema {schema}), of Avro, Protobuf or JSON Schema; produce plain JSON, "
            "as with StringSerializer, or name `format` and `registry` of the raw topic"
        )
    return None

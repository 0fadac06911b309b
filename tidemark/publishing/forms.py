"""What records are written as: JSON, Avro or Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import polars as pl

from tidemark.errors import ConfigError
from tidemark.publishing.avro_schema import schema_of
from tidemark.records.messages import Record

LARGEST: Final = 900_000
"""Bytes of a record; Kafka takes a million with its headers."""
_TYPES: Final[dict[str, pl.DataType]] = {
    "string": pl.String(),
    "long": pl.Int64(),
    "double": pl.Float64(),
    "boolean": pl.Boolean(),
}
_PLAIN: Final[dict[type[pl.DataType], Any]] = {pl.String: str, pl.Int64: int, pl.Float64: float, pl.Boolean: bool}


class Source(NamedTuple):
    """A record as it was read. key, value: its bytes.  record: what it says."""

    key: bytes | None
    value: bytes
    record: Record


class Written(NamedTuple):
    """A record to write."""

    key: bytes | None
    value: bytes


class Form(Protocol):
    """How records of a kind are written."""

    def write(self, records: Sequence[Source], partition: int) -> list[Written]:
        """The records to write.

        Args:
            records: in their order, of one partition.
            partition: its number.

        Returns:
            As many, or fewer that hold several each.

        """
        ...


class Json:
    """As they are."""

    def write(self, records: Sequence[Source], partition: int) -> list[Written]:  # noqa: ARG002
        """Each as it was read."""
        return [Written(each.key, each.value) for each in records]


class Avro:
    """Each an Avro datum, framed by its schema's number in a registry, or by its fingerprint.

    Without a registry it is in Avro's single-object encoding: C3 01, the schema's CRC-64-AVRO, the datum (Avro 1.12,
    "Single-object encoding").
    """

    def __init__(self, kind: type[Record], number: int | None) -> None:
        """Prepare.

        Args:
            kind: of record.
            number: of the schema in a registry; None: there is none.

        Raises:
            ConfigError: fastavro is not installed.

        """
        try:
            import fastavro  # noqa: PLC0415 - an extra
            from fastavro.schema import fingerprint, to_parsing_canonical_form  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                "outputs: format 'avro' needs a package that is not installed: pip install 'tidemark[formats]'"
            ) from error
        self._schema: Any = fastavro.parse_schema(schema_of(kind))
        self._write = fastavro.schemaless_writer
        if number is not None:
            self._frame = b"\x00" + number.to_bytes(4, "big")
        else:
            # Hexadecimal digits of the bytes in the encoding's order, the lowest first.
            self._frame = b"\xc3\x01" + bytes.fromhex(
                fingerprint(to_parsing_canonical_form(self._schema), "CRC-64-AVRO")
            )

    def write(self, records: Sequence[Source], partition: int) -> list[Written]:  # noqa: ARG002
        """Each as a datum behind its frame."""
        return [Written(each.key, self._datum(each.record)) for each in records]

    def _datum(self, record: Record) -> bytes:
        written = BytesIO()
        written.write(self._frame)
        self._write(written, self._schema, msgspec.to_builtins(record))
        return written.getvalue()


class Arrow:
    """Several in one: a stream of Arrow IPC with one batch. Its key is the partition's number."""

    def __init__(self, kind: type[Record], features: Sequence[str], context: Mapping[str, pl.DataType]) -> None:
        """Prepare.

        Args:
            kind: of record.
            features: names of the pipeline's features.
            context: names and types of what people are shown of a case.

        """
        of_maps = {
            "features": pl.Struct(dict.fromkeys(features, pl.Float64())),
            "definitions": pl.Struct(dict.fromkeys(features, pl.String())),
            "context": pl.Struct(context),
        }
        self._schema = {each["name"]: _type(each, of_maps) for each in schema_of(kind)["fields"]}
        fields = {f"c{i}": _PLAIN[type(its)] | None for i, its in enumerate(context.values())}
        self._context = msgspec.defstruct(
            "Context",
            [(field, its, None) for field, its in fields.items()],
            rename=dict(zip(fields, context, strict=True)),
        )

    def write(self, records: Sequence[Source], partition: int) -> list[Written]:
        """As few as fit."""
        if not records:
            return []
        frame = pl.DataFrame([self._row(each.record) for each in records], schema=self._schema, strict=True)
        return [Written(str(partition).encode(), value) for value in _streams(frame)]

    def _row(self, record: Record) -> dict[str, Any]:
        """The fields; Polars takes a value within a struct that is of another type for a missing one."""
        row: dict[str, Any] = msgspec.to_builtins(record)
        if "context" in row:
            row["context"] = msgspec.to_builtins(msgspec.convert(row["context"], self._context))
        return row


def _streams(frame: pl.DataFrame) -> list[bytes]:
    written = BytesIO()
    frame.rechunk().write_ipc_stream(written, compression="uncompressed")
    if len(written.getvalue()) <= LARGEST or len(frame) == 1:
        return [written.getvalue()]
    half = len(frame) // 2
    return [*_streams(frame[:half]), *_streams(frame[half:])]


def _type(field: Mapping[str, Any], of_maps: Mapping[str, pl.DataType]) -> pl.DataType:
    """The type of a column, of its field in the Avro schema."""
    written = field["type"]
    (written,) = [each for each in written if each != "null"] if isinstance(written, list) else [written]
    if isinstance(written, str):
        return _TYPES[written]
    if "logicalType" in written:
        return pl.Datetime("us", "UTC")
    return pl.List(_TYPES[written["items"]]) if written["type"] == "array" else of_maps[field["name"]]

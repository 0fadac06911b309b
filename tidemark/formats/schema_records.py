"""Records that need a schema to be read: one that all of them have, or the one whose number each begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from tidemark.errors import ConfigError
from tidemark.formats.schema_registry import Schemas, StoredSchema, UnknownSchemaError, content_of, registry_of
from tidemark.records.record_formats import Columns, RecordSchema, reason_of
from tidemark.runtime.processor import Batch

FRAME: Final = 5
"""Bytes before a record that names its schema: a zero, and the number in four."""
_MOST_LAYOUTS: Final = 1_000


class Layout(Protocol):
    """How records of one schema are read."""

    def columns(self, values: Sequence[bytes]) -> Columns:
        """The columns of records, without what frames them."""
        ...

    def encode(self, value: bytes) -> bytes:
        """The record of a JSON object.

        Raises:
            ValueError: a record can't say it.

        """
        ...


class Framed(NamedTuple):
    """A record with a frame. place: what of its schema it is, such as the message of a Protobuf file."""

    number: int
    place: tuple[int, ...]
    body: bytes


def framed(value: bytes) -> Framed:
    """A record of Avro without its frame.

    Raises:
        ValueError: it has none.

    """
    if value[:1] != b"\x00" or len(value) < FRAME:
        raise ValueError(
            "has no Schema Registry frame (a zero byte, and the schema's number in four); write it with a serializer "
            "of the registry, or name the schema by `schema_file`"
        )
    return Framed(int.from_bytes(value[1:FRAME], "big"), (), value[FRAME:])


def values_of(batch: Batch, rows: Sequence[int]) -> Sequence[bytes]:
    """The values of rows, none of which is None."""
    values: Sequence[bytes] = batch.values  # type: ignore[assignment]  # those that are asked for
    return values if len(rows) == len(batch) else [values[row] for row in rows]


class OneSchema:
    """Reads records that all have one schema."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def read(self, batch: Batch, rows: Sequence[int]) -> Columns:
        """The columns of records."""
        return self._layout.columns(values_of(batch, rows))

    def write(self, value: bytes) -> bytes:
        """The record of a JSON object."""
        return self._layout.encode(value)


class ManySchemas:
    """Reads records each of which names its schema by a number."""

    def __init__(
        self,
        schemas: Schemas,
        layout_of: Callable[[StoredSchema, tuple[int, ...]], Layout],
        unframed: Callable[[bytes], Framed],
    ) -> None:
        self._schemas, self._layout_of, self._unframed = schemas, layout_of, unframed
        self._layouts: dict[tuple[int, tuple[int, ...]], Layout] = {}

    def read(self, batch: Batch, rows: Sequence[int]) -> Columns:
        """The columns of records: those of one schema at once."""
        bad: dict[int, str] = {}
        groups: dict[tuple[int, tuple[int, ...]], list[tuple[int, bytes]]] = {}
        for i, value in enumerate(values_of(batch, rows)):
            try:
                number, place, body = self._unframed(value)
            except ValueError as error:
                bad[i] = reason_of(error)
            else:
                groups.setdefault((number, place), []).append((i, body))
        parts: list[tuple[Sequence[int], Columns]] = []
        for key, members in groups.items():
            numbers = [i for i, _ in members]
            layout = self._layout(*key)
            if isinstance(layout, str):
                bad |= dict.fromkeys(numbers, layout)
            else:
                parts.append((numbers, layout.columns([body for _, body in members])))
        if len(parts) == 1 and not bad:
            return parts[0][1]
        return merged(len(rows), parts, bad)

    def write(self, value: bytes) -> bytes:  # noqa: ARG002 as of the protocol
        """Nothing is written with a schema of a registry: which one is its producers' affair."""
        raise ValueError("records with schemas of a registry are written by their own producers")

    def _layout(self, number: int, place: tuple[int, ...]) -> Layout | str:
        """How records of a schema are read; or why they can't be."""
        known = self._layouts.get((number, place))
        if known is not None:
            return known
        try:
            layout = self._layout_of(self._schemas.get(number), place)
        except UnknownSchemaError as error:
            return str(error)
        except ValueError as error:
            return f"has schema {number}, which can't be used: {reason_of(error)}"
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        self._layouts[number, place] = layout
        return layout


def merged(count: int, parts: Sequence[tuple[Sequence[int], Columns]], bad: Mapping[int, str]) -> Columns:
    """The columns of records that were read in parts.

    Args:
        count: records.
        parts: the numbers of some records, and their columns.
        bad: why other records could not be read.

    """
    values: dict[str, list[object]] = {}
    reasons = dict(bad)
    for numbers, columns in parts:
        for name, own in columns.values.items():
            column = values.setdefault(name, [None] * count)
            for i, value in zip(numbers, own, strict=True):
                column[i] = value
        reasons |= {numbers[i]: reason for i, reason in columns.bad.items()}
    return Columns(values, reasons)


def schema_reader(
    schema: RecordSchema,
    suffix: str,
    layout_of: Callable[[StoredSchema, tuple[int, ...] | None], Layout],
    unframed: Callable[[bytes], Framed],
    *,
    serialized: bool,
) -> OneSchema | ManySchemas:
    """A reader of records by their schema or schemas.

    Args:
        schema: what is read, and the settings.
        suffix: of files of schemas.
        layout_of: how records of a schema are read, and of what place in it; None: of the whole. Raises ValueError.
        unframed: a record without its frame.
        serialized: whether a registry gives schemas as serialized descriptors.

    Raises:
        ConfigError: the schema is not there, or can't be used.

    """
    where = schema.settings.get("registry")
    if where is not None:
        return ManySchemas(registry_of(str(where), schema.folder, suffix, serialized=serialized), layout_of, unframed)
    path = schema.folder / str(schema.settings["schema_file"])
    try:
        return OneSchema(layout_of(StoredSchema(content_of(path)), None))
    except OSError as error:
        raise ConfigError(f"raw[0].schema_file: {path} can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"raw[0].schema_file: {path} can't be used: {reason_of(error)}") from error


def dotted(told: object, path: Sequence[str]) -> object:
    """The field that a path of names leads to; None where a table on the way is not there."""
    for name in path:
        if not isinstance(told, dict):
            return None
        told = told.get(name)
    return told

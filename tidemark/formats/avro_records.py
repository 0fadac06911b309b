"""Avro records, each a bare datum of a schema (no container file), by fastavro."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, Final

import fastavro
import fastavro.schema
import msgspec
import numpy as np

from tidemark.formats import avro_scan
from tidemark.formats.avro_scan import scan_avro
from tidemark.formats.scanned import Found, Slot, columns_of, joined
from tidemark.formats.schema_records import ManySchemas, OneSchema, dotted, framed, schema_reader
from tidemark.formats.schema_registry import StoredSchema
from tidemark.records.record_formats import Columns, RecordSchema, Told
from tidemark.times.time_formats import TIME_FORMATS

_UNITS: Final[dict[str, Callable[[int], int]]] = {
    "timestamp-millis": lambda at: at * 1_000,
    "timestamp-micros": lambda at: at,
    "timestamp-nanos": lambda at: at // 1_000,
    "local-timestamp-millis": lambda at: at * 1_000,
    "local-timestamp-micros": lambda at: at,
    "local-timestamp-nanos": lambda at: at // 1_000,
    "date": lambda at: at * 86_400_000_000,
}
"""µs since 1970 of the number that is of each logical type. Digits beyond microseconds are cut, as of a text."""
_DEEPEST: Final = 16
_LEAST: Final = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip
"""Bytes of a datum of each primitive type, at least."""
_UNIT: Final = "tidemark.unit"
"""Attribute in the place of the logical type of a moment."""
_FAILURES: Final = (ValueError, TypeError, LookupError, ArithmeticError, EOFError, StopIteration, AttributeError)
"""What fastavro raises of bytes that are no datum of a schema."""
_Schema = Any


def reader(schema: RecordSchema) -> OneSchema | ManySchemas:
    """A reader of Avro records.

    Args:
        schema: what is read, and the settings.

    Raises:
        ConfigError: the schema can't be used.

    """

    def layout_of(stored: StoredSchema, _: tuple[int, ...] | None) -> AvroLayout:
        return AvroLayout(stored, schema.columns, schema.time)

    return schema_reader(schema, ".avsc", layout_of, framed, serialized=False)


class AvroLayout:
    """Reads records of one schema."""

    def __init__(self, stored: StoredSchema, columns: Sequence[Told], time: tuple[str, str]) -> None:
        """Prepare for a schema.

        Args:
            stored: the schema.
            columns: that are wanted.
            time: the column of the event time, and how the pipeline has it told.

        Raises:
            ValueError: it is no schema of records, or one whose records are not read.

        """
        named: dict[str, Any] = {}
        for _, content in stored.imports:
            _parsed(_loaded(content), named)
        self._schema = _parsed(_loaded(stored.content), named)
        if not isinstance(self._schema, dict) or self._schema.get("type") != "record":
            raise ValueError("it is no schema of a record; its outermost type must be a record")
        _Sizes(named).least(self._schema)
        fields = {each["name"]: each["type"] for each in self._schema["fields"]}
        self._paths: dict[str, tuple[str, ...]] = {}
        self._moments: dict[str, Callable[[object], object]] = {}
        for column in columns:
            for name in column.names:
                path = (name,) if name in fields else tuple(name.split("."))
                if path[0] not in fields:
                    continue
                self._paths[name] = path
                unit = _unit(_type_at(self._schema, path, named))
                if column.name == time[0] and unit is not None:
                    self._moments[name] = partial(_told, _UNITS[unit], TIME_FORMATS.get(time[1]).write)

        self._pass = _Pass.of(self._schema, self._paths)

    def columns(self, values: Sequence[bytes]) -> Columns:
        """The columns of records."""
        found = self._one_by_one(values) if self._pass is None else self._pass(values, self._one_by_one)
        if not self._moments:
            return found
        told = dict(found.values)
        for name, moment in self._moments.items():
            told[name] = [None if each is None else moment(each) for each in told[name]]
        return Columns(told, found.bad)

    def _one_by_one(self, values: Sequence[bytes]) -> Columns:
        records: list[dict[str, object]] = []
        bad: dict[int, str] = {}
        read, schema = fastavro.schemaless_reader, self._schema
        for i, value in enumerate(values):
            stream = BytesIO(value)
            try:
                record: Any = read(stream, schema, None)
                left = len(value) - stream.tell()
            except _FAILURES as error:
                bad[i] = f"is no Avro record of its schema: {_wrong(error)}"
            else:
                if left:
                    bad[i] = f"has {left} bytes behind its Avro record; it was written with another schema"
                else:
                    records.append(record)
                    continue
            records.append({})
        found: dict[str, list[object]] = {}
        for name, path in self._paths.items():
            own = [each.get(name) for each in records] if len(path) == 1 else [dotted(each, path) for each in records]
            found[name] = own
        return Columns(found, bad)

    def encode(self, value: bytes) -> bytes:
        """The record of a JSON object."""
        record = msgspec.json.decode(value)
        if not isinstance(record, dict):
            raise ValueError("is no JSON object")  # noqa: TRY004 the record's fault
        written = BytesIO()
        try:
            fastavro.schemaless_writer(written, self._schema, record, strict_allow_default=True)
        except _FAILURES as error:
            raise ValueError(f"its schema can't say it ({error})") from error
        return written.getvalue()


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a flat schema, as `scan_avro` has it."""

    path: tuple[str, ...]
    kind: int
    size: int = 0
    null: int = -1
    slot: Slot | None = None


class _Pass:
    """Reads records of a flat schema in one pass."""

    def __init__(self, fields: Sequence[_Field], slots: Sequence[Slot]) -> None:
        self._slots = slots
        places = [-1 if field.slot is None else slots.index(field.slot) for field in fields]
        program = [(field.kind, field.size, field.null, place) for field, place in zip(fields, places, strict=True)]
        self._program = np.array(program, np.int64)

    @classmethod
    def of(cls, schema: _Schema, paths: Mapping[str, tuple[str, ...]]) -> _Pass | None:
        """The pass for a schema; None where it has lists or the like, or a column is of a field that takes more."""
        wanted = {path: name for name, path in paths.items()}
        fields = _flat(schema["fields"], (), wanted)
        if fields is None or len(fields) > _MOST_FIELDS:
            return None
        slots = [field.slot for field in fields if field.slot is not None]
        return cls(fields, slots) if slots and len(slots) == len(wanted) == len(paths) else None

    def __call__(self, values: Sequence[bytes], one_by_one: Callable[[Sequence[bytes]], Columns]) -> Columns:
        """The columns of records."""
        found = Found.nothing(len(self._slots), len(values), absent=False)
        scan_avro(*joined(values), self._program, found.whole, found.numbers, found.lengths, found.read)
        return columns_of(values, self._slots, found, one_by_one)


_PRIMITIVE: Final = {
    "null": (avro_scan.NULL, "whole"), "boolean": (avro_scan.BOOLEAN, "bool"), "int": (avro_scan.WHOLE, "whole"),
    "long": (avro_scan.WHOLE, "whole"), "float": (avro_scan.FLOAT, "float"), "double": (avro_scan.DOUBLE, "float"),
    "string": (avro_scan.TEXT, "text"), "bytes": (avro_scan.TEXT, ""),
}  # fmt: skip
"""What `scan_avro` has a primitive type for, and the kind of its slot; none where a column can't be of it."""
_MOST_FIELDS: Final = 1_000


def _flat(fields: Sequence[Any], before: tuple[str, ...], wanted: Mapping[tuple[str, ...], str]) -> list[_Field] | None:
    """Fields one after the other, those of nested records too; None where there are others than a pass can read."""
    flat: list[_Field] = []
    for field in fields:
        path, kind, null = (*before, field["name"]), field["type"], -1
        if isinstance(kind, list):
            if len(kind) != 2 or "null" not in kind:
                return None
            null = kind.index("null")
            kind = kind[1 - null]
        own = kind if isinstance(kind, dict) else {"type": kind}
        if own["type"] == "record" and null < 0:
            inner = _flat(own["fields"], path, wanted)
            if inner is None:
                return None
            flat += inner
            continue
        name = wanted.get(path)
        one = _one(path, own, null, name)
        if one is None or (name is not None and one.slot is None):
            return None
        flat.append(one)
    return flat


def _one(path: tuple[str, ...], kind: Mapping[str, Any], null: int, name: str | None) -> _Field | None:
    if kind["type"] == "enum":
        symbols = tuple(kind["symbols"])
        slot = None if name is None else Slot(name, "names", symbols)
        return _Field(path, avro_scan.WHOLE, len(symbols), null, slot)
    if kind["type"] == "fixed":
        return _Field(path, avro_scan.FIXED, int(kind["size"]), null)
    if not isinstance(kind["type"], str) or kind["type"] not in _PRIMITIVE:
        return None
    code, column = _PRIMITIVE[kind["type"]]
    slot = Slot(name, column) if name is not None and column and "logicalType" not in kind else None
    return _Field(path, code, 0, null, slot)


def _wrong(error: Exception) -> str:
    """What fastavro found, in words that are the same each time."""
    if isinstance(error, EOFError):
        return "it ends too soon"
    if isinstance(error, UnicodeDecodeError):
        return "a text is not UTF-8"
    return f"a value of it can't be right ({type(error).__name__})"


def _told(unit: Callable[[int], int], write: Callable[[int], object], at: object) -> object:
    """A moment of a logical type as the pipeline has times told."""
    if not isinstance(at, int):
        return at
    told = write(unit(at))
    return msgspec.json.decode(bytes(told)) if isinstance(told, msgspec.Raw) else told


def _type_at(kind: _Schema, path: Sequence[str], named: Mapping[str, Any]) -> _Schema:
    """Type of the field that a path of names leads to within a record; None where it leads nowhere, or to many."""
    for name in path:
        records = [each for each in _types(kind, named) if each["type"] == "record"]
        fields = [field["type"] for record in records for field in record["fields"] if field["name"] == name]
        if len(fields) != 1:
            return None
        kind = fields[0]
    return kind


def _types(kind: _Schema, named: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The types that a type is one of; those written within, those that are named elsewhere as they are there."""
    if isinstance(kind, list):
        return [each for one in kind for each in _types(one, named)]
    if isinstance(kind, str):
        return [named[kind]] if kind in named else [{"type": kind}]
    return [kind] if isinstance(kind["type"], str) else _types(kind["type"], named)


def _unit(kind: _Schema) -> str | None:
    """Logical type of a field that tells a moment."""
    kinds = kind if isinstance(kind, list) else [kind]
    found = {each.get(_UNIT) for each in kinds if isinstance(each, dict)} & _UNITS.keys()
    return found.pop() if len(found) == 1 else None


def _loaded(content: bytes) -> _Schema:
    """What the text of a schema says, moments and the like as the numbers and texts that they are.

    Raises:
        ValueError: it is no JSON.

    """
    try:
        return _without_logical(json.loads(content))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except _FAILURES as error:
        raise ValueError(f"it is no JSON ({str(error)[:100]})") from error


def _parsed(written: _Schema, named: dict[str, Any]) -> _Schema:
    """A schema as fastavro has it; its named types are added to those that are known.

    Raises:
        ValueError: it is none.

    """
    try:
        return fastavro.parse_schema(written, named_schemas=named)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType, *_FAILURES) as error:
        raise ValueError(f"it is no Avro schema ({type(error).__name__}: {str(error)[:100]})") from error


class _Sizes:
    """Finds schemas with which few bytes could say endlessly much, or go endlessly deep."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._known: dict[str, int | None] = {}

    def least(self, kind: _Schema, depth: int = 0) -> int:  # noqa: PLR0911 one for each kind of type
        """Bytes that a datum has at least.

        Raises:
            ValueError: it may go on in no bytes at all, or is within itself.

        """
        if depth > _DEEPEST:
            raise ValueError(f"it has types nested deeper than {_DEEPEST} levels")
        if isinstance(kind, list):
            return 1 + min((self.least(each, depth + 1) for each in kind), default=0)
        if isinstance(kind, str):
            return _LEAST[kind] if kind in _LEAST else self._of_name(kind, depth)
        match kind["type"]:
            case "record" | "error":
                return self._of_name(kind["name"], depth)
            case "array":
                if not self.least(kind["items"], depth + 1):
                    raise ValueError("it has a list of things that take no bytes, which could go on without end")
                return 1
            case "map":
                self.least(kind["values"], depth + 1)
                return 1
            case "fixed":
                return int(kind["size"])
            case "enum":
                return 1
            case inner:
                return self.least(inner, depth + 1)

    def _of_name(self, name: str, depth: int) -> int:
        if name in self._known:
            known = self._known[name]
            if known is None:
                raise ValueError(f"the type '{name[:60]}' is within itself; such records are not read")
            return known
        kind = self._named[name]
        if kind["type"] not in ("record", "error"):
            return self.least(kind, depth + 1)
        self._known[name] = None
        size = self._known[name] = sum(self.least(each["type"], depth + 1) for each in kind["fields"])
        return size


def _without_logical(kind: _Schema) -> _Schema:
    """A schema whose moments and the like are read as the numbers and texts that they are; decimals stay numbers."""
    if isinstance(kind, list):
        return [_without_logical(each) for each in kind]
    if not isinstance(kind, dict):
        return kind
    left = {name: value for name, value in kind.items() if name not in ("logicalType", _UNIT)}
    logical = kind.get("logicalType")
    if logical == "decimal":
        left["logicalType"] = logical
    elif isinstance(logical, str):
        left[_UNIT] = logical
    for name in ("fields", "items", "values", "type"):
        if isinstance(left.get(name), dict | list):
            left[name] = _without_logical(left[name])
    return left

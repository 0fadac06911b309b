"""Protobuf records, by Google's runtime, from a descriptor set or a registry's descriptors."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from tidemark.errors import ConfigError
from tidemark.formats import protobuf_scan
from tidemark.formats.protobuf_scan import scan_protobuf
from tidemark.formats.scanned import Found, Slot, columns_of, joined
from tidemark.formats.schema_records import FRAME, Framed, ManySchemas, OneSchema, framed, schema_reader
from tidemark.formats.schema_registry import StoredSchema
from tidemark.records.record_formats import Columns, RecordSchema, Told
from tidemark.times.time_formats import TIME_FORMATS

_Field = descriptor_pb2.FieldDescriptorProto
_WIDER: Final = {
    _Field.TYPE_INT32: _Field.TYPE_INT64,
    _Field.TYPE_UINT32: _Field.TYPE_UINT64,
    _Field.TYPE_SINT32: _Field.TYPE_SINT64,
}
"""Types that are the same on the wire: a number that a newer producer wrote in 64 bits is not cut to 32."""
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_WRAPPERS: Final = {
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
}
_WELL_KNOWN: Final = ("timestamp", "wrappers", "duration", "any", "struct", "empty", "field_mask")
_LONGEST_PATH: Final = 16


def reader(schema: RecordSchema) -> OneSchema | ManySchemas:
    """A reader of Protobuf records.

    Args:
        schema: what is read, and the settings.

    Raises:
        ConfigError: the schema can't be used.

    """
    message = schema.settings.get("message")
    if message is None and "registry" not in schema.settings:
        raise ConfigError("raw[0].message: is missing; name the message of `schema_file` that each record is")

    def layout_of(stored: StoredSchema, place: tuple[int, ...] | None) -> ProtobufLayout:
        return ProtobufLayout(stored, None if message is None else str(message), place, schema.columns, schema.time)

    return schema_reader(schema, ".desc", layout_of, _framed, serialized=True)


def _framed(value: bytes) -> Framed:
    """A record without its frame: the schema's number, and behind it which of the file's messages this is.

    Raises:
        ValueError: there is no such frame.

    """
    number, _, rest = framed(value)
    count, at = _zigzag(rest, 0)
    if count == 0:
        return Framed(number, (0,), rest[at:])
    if not 0 < count <= _LONGEST_PATH:
        raise ValueError(f"has a path of {count} messages in its Schema Registry frame")
    path = []
    for _ in range(count):
        index, at = _zigzag(rest, at)
        path.append(index)
    return Framed(number, tuple(path), rest[at:])


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data) or shift > 28:
            raise ValueError(f"has no path of messages behind the {FRAME} bytes of its Schema Registry frame")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7


class ProtobufLayout:
    """Reads records of one message."""

    def __init__(
        self,
        stored: StoredSchema,
        message: str | None,
        place: tuple[int, ...] | None,
        columns: Sequence[Told],
        time: tuple[str, str],
    ) -> None:
        """Prepare for a message.

        Args:
            stored: the schema.
            message: full name of the message; None: the one at `place`.
            place: indices of the message in the file and of each message within; None: found by name alone.
            columns: that are wanted.
            time: the column of the event time, and how the pipeline has it told.

        Raises:
            ValueError: it is no schema, or has no such message.

        """
        pool, last = _pool(stored)
        found = _at(pool, last, place) if place is not None else _named(pool, message or "")
        if message is not None and found.full_name != message:
            raise ValueError(f"the record is a {found.full_name}, and the pipeline file has message = '{message}'")
        self._class = message_factory.GetMessageClass(found)
        write = TIME_FORMATS.get(time[1]).write
        self._getters: dict[str, Callable[[Any], object]] = {}
        self._levels: dict[tuple[str, ...], dict[int, str]] = {}
        for column in columns:
            for name in column.names:
                path = (name,) if name in found.fields_by_name else tuple(name.split("."))
                getter = _getter(found, path, write if column.name == time[0] else None)
                if getter is not None:
                    self._getters[name] = getter
                    for before, number in _numbers(found, path):
                        self._levels.setdefault(before, {})[number] = name

        self._pass = _Pass.of(found, self._getters)

    def columns(self, values: Sequence[bytes]) -> Columns:
        """The columns of records."""
        return self._one_by_one(values) if self._pass is None else self._pass(values, self._one_by_one)

    def _one_by_one(self, values: Sequence[bytes]) -> Columns:
        bad: dict[int, str] = {}
        messages: list[Message]
        try:
            messages = list(map(self._class.FromString, values))
        except DecodeError:
            messages = []
            for i, value in enumerate(values):
                try:
                    messages.append(self._class.FromString(value))
                except DecodeError:
                    bad[i] = f"is no {self._class.DESCRIPTOR.full_name} of Protobuf, or is cut off"
                    messages.append(self._class())
        for before, names in self._levels.items():
            for i, message in enumerate(messages):
                if (reason := _other_type(message, before, names)) is not None:
                    bad.setdefault(i, reason)
        return Columns({name: list(map(get, messages)) for name, get in self._getters.items()}, bad)

    def encode(self, value: bytes) -> bytes:
        """The record of a JSON object."""
        record = msgspec.json.decode(value)
        if not isinstance(record, dict):
            raise ValueError("is no JSON object")  # noqa: TRY004 the record's fault
        message = self._class()
        try:
            json_format.ParseDict(record, message, ignore_unknown_fields=True)
        except json_format.ParseError as error:
            raise ValueError(f"its schema can't say it ({error})") from error
        return message.SerializeToString(deterministic=True)


_KINDS: Final = {
    FieldDescriptor.TYPE_DOUBLE: (protobuf_scan.DOUBLE, "float", 0.0),
    FieldDescriptor.TYPE_FLOAT: (protobuf_scan.FLOAT, "float", 0.0),
    FieldDescriptor.TYPE_INT64: (protobuf_scan.WHOLE, "whole", 0),
    FieldDescriptor.TYPE_UINT64: (protobuf_scan.UNSIGNED, "whole", 0),
    FieldDescriptor.TYPE_SINT64: (protobuf_scan.ZIGZAG, "whole", 0),
    FieldDescriptor.TYPE_SFIXED64: (protobuf_scan.FIXED64, "whole", 0),
    FieldDescriptor.TYPE_SFIXED32: (protobuf_scan.FIXED32, "whole", 0),
    FieldDescriptor.TYPE_BOOL: (protobuf_scan.BOOLEAN, "bool", False),
    FieldDescriptor.TYPE_STRING: (protobuf_scan.TEXT, "text", ""),
}
"""What `scan_protobuf` has a type for, the kind of its slot, and what stands for a field without presence."""


class _Pass:
    """Reads records in one pass of a message whose wanted fields are plain."""

    def __init__(self, fields: Sequence[FieldDescriptor]) -> None:
        self._fields = np.array([field.number for field in fields], np.int64)
        self._kinds = np.array([_KINDS[field.type][0] for field in fields], np.int64)
        self._slots = [
            Slot(field.name, _KINDS[field.type][1], (), None if field.has_presence else _KINDS[field.type][2])
            for field in fields
        ]

    @classmethod
    def of(cls, message: Descriptor, names: Iterable[str]) -> _Pass | None:
        """The pass for fields of a message; None where one of them takes more than a pass."""
        fields = [message.fields_by_name.get(name) for name in names]
        plain = [field for field in fields if field is not None and _is_plain(field)]
        return cls(plain) if plain and len(plain) == len(fields) else None

    def __call__(self, values: Sequence[bytes], one_by_one: Callable[[Sequence[bytes]], Columns]) -> Columns:
        """The columns of records."""
        found = Found.nothing(len(self._slots), len(values), absent=True)
        scan_protobuf(*joined(values), self._fields, self._kinds, found.whole, found.numbers, found.lengths, found.read)
        return columns_of(values, self._slots, found, one_by_one)


def _is_plain(field: FieldDescriptor) -> bool:
    """Whether a field is one number or text, and nothing but itself decides whether it is there."""
    oneof = field.containing_oneof
    alone = oneof is None or (len(oneof.fields) == 1 and oneof.name.startswith("_"))
    return field.type in _KINDS and not field.is_repeated and alone and not field.has_default_value


def _pool(stored: StoredSchema) -> tuple[descriptor_pool.DescriptorPool, str]:
    """A pool of a schema's files, and the name of the last, which is the schema itself.

    Raises:
        ValueError: they are no descriptors, or do not fit together.

    """
    files = [*(file for name, content in stored.imports for file in _files(content, name)), *_files(stored.content, "")]
    pool = descriptor_pool.DescriptorPool()
    try:
        given = {file.name for file in files}
        for name in _WELL_KNOWN:  # a registry does not keep them
            if f"google/protobuf/{name}.proto" not in given:
                module = importlib.import_module(f"google.protobuf.{name}_pb2")
                pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        for file in files:
            _widen(file.message_type)
            pool.AddSerializedFile(file.SerializeToString())
        pool.FindFileByName(files[-1].name)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"its files do not fit together: {str(error)[:200]}") from error
    return pool, files[-1].name


def _files(content: bytes, name: str) -> list[descriptor_pb2.FileDescriptorProto]:
    """Files of a serialized FileDescriptorSet, or the one of a FileDescriptorProto."""
    for kind in (descriptor_pb2.FileDescriptorSet, descriptor_pb2.FileDescriptorProto):
        try:
            found = kind.FromString(content)
        except DecodeError:
            continue
        if isinstance(found, descriptor_pb2.FileDescriptorSet):
            if found.file and not len(UnknownFieldSet(found)) and all(each.name for each in found.file):
                return list(found.file)
        elif found.message_type and not len(UnknownFieldSet(found)):
            found.name = name or found.name or "record.proto"
            return [found]
    raise ValueError("it is no descriptor set; make one with `protoc --include_imports --descriptor_set_out=FILE`")


def _widen(messages: Any) -> None:  # noqa: ANN401 a repeated field
    for message in messages:
        for field in message.field:
            field.type = _WIDER.get(field.type, field.type)
        _widen(message.nested_type)


def _named(pool: descriptor_pool.DescriptorPool, name: str) -> Descriptor:
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError as error:
        raise ValueError(f"it has no message '{name}'; write its full name, with the package") from error


def _at(pool: descriptor_pool.DescriptorPool, file: str, place: tuple[int, ...]) -> Descriptor:
    messages = list(pool.FindFileByName(file).message_types_by_name.values())
    found: Descriptor | None = None
    for index in place:
        if not 0 <= index < len(messages):
            raise ValueError(f"it has no message at {list(place)}, which the record's frame names")
        found = messages[index]
        messages = list(found.nested_types)
    if found is None:
        raise ValueError("the record's frame names no message")
    return found


def _getter(
    message: Descriptor, path: Sequence[str], write: Callable[[int], object] | None
) -> Callable[[Any], object] | None:
    """What gives a field of a message, None where it is not there; None where the message has no such field."""
    field = message.fields_by_name.get(path[0])
    if field is None:
        return None
    name = field.name
    if len(path) > 1:
        if field.message_type is None or field.is_repeated:
            return None
        inner = _getter(field.message_type, path[1:], write)
        return None if inner is None else lambda told: inner(getattr(told, name)) if told.HasField(name) else None
    own = _value(field, write)
    if field.has_presence:
        return lambda told: own(getattr(told, name)) if told.HasField(name) else None
    if own is _same:
        return lambda told: getattr(told, name)
    return lambda told: own(getattr(told, name))


def _numbers(message: Descriptor, path: Sequence[str]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Fields that tell a column: the names that lead to the message of each, and its number there."""
    told: Descriptor | None = message
    single = True
    for depth, name in enumerate(path):
        if told is None:
            return
        field = told.fields_by_name[name]
        yield tuple(path[:depth]), field.number
        told, single = field.message_type, not field.is_repeated
    if told is not None and single and told.full_name in {_TIMESTAMP, *_WRAPPERS}:
        for inner in told.fields:
            yield tuple(path), inner.number


def _other_type(message: Any, before: Sequence[str], names: Mapping[int, str]) -> str | None:  # noqa: ANN401 a message
    """Why a record is bad that has fields of another type than their schema has; None where it has none.

    Args:
        message: the record.
        before: names of fields that lead to the message that is looked at.
        names: of the column that each field tells, by the field's number.

    """
    for name in before:
        if not message.HasField(name):
            return None
        message = getattr(message, name)
    unknown = UnknownFieldSet(message)
    if len(unknown):
        for field in unknown:  # type: ignore[attr-defined]  # it is a sequence
            if (column := names.get(field.field_number)) is not None:
                return (
                    f"{column}: has another type in the record than in its schema (field "
                    f"{field.field_number}, wire type {field.wire_type}); it was written with another schema"
                )
    return None


def _value(field: FieldDescriptor, write: Callable[[int], object] | None) -> Callable[[Any], object]:
    if field.is_repeated:
        return list
    if field.message_type is not None:
        if field.message_type.full_name == _TIMESTAMP and write is not None:
            return partial(_moment, write)
        if field.message_type.full_name in _WRAPPERS:
            return lambda told: told.value
    if field.enum_type is not None:
        names: dict[int, str] = {}
        for value in field.enum_type.values:
            names.setdefault(value.number, value.name)  # names behind the first are its aliases
        return lambda told: names.get(told, told)
    return _same


def _same(told: object) -> object:
    return told


def _moment(write: Callable[[int], object], told: Any) -> object:  # noqa: ANN401 a Timestamp
    at = write(told.seconds * 1_000_000 + told.nanos // 1_000)
    return msgspec.json.decode(bytes(at)) if isinstance(at, msgspec.Raw) else at

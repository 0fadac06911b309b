"""What a change of the contract breaks for clients of the released one, and what its style asks for (as buf does)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

_FIELD: Final = ("name", "type", "type_name", "label", "proto3_optional")
_METHOD: Final = ("input_type", "output_type", "client_streaming", "server_streaming")


def breaking_any(released: FileDescriptorSet, now: FileDescriptorSet) -> list[str]:
    """As `breaking`, of all files of a contract."""
    after = {file.name: file for file in now.file}
    found = [f"file {file.name} is gone" for file in released.file if file.name not in after]
    for file in released.file:
        found += breaking(file, after[file.name]) if file.name in after else []
    return found


def breaking(released: FileDescriptorProto, now: FileDescriptorProto) -> list[str]:
    """Sentences, one for each thing that a client of `released` would miss or misread."""
    found: list[str] = []
    if released.package != now.package:
        found.append(f"package {released.package} became {now.package}")
    found += _messages("", released.message_type, now.message_type)
    found += _enums("", released.enum_type, now.enum_type)
    services = {service.name: service for service in now.service}
    for service in released.service:
        methods = {method.name: method for method in services[service.name].method} if service.name in services else {}
        for method in service.method:
            found += _method(f"{service.name}.{method.name}", method, methods.get(method.name))
    return found


def _messages(where: str, released: Any, now: Any) -> Iterator[str]:  # noqa: ANN401 - repeated fields
    after = {message.name: message for message in now}
    for message in released:
        name = f"{where}{message.name}"
        if message.name not in after:
            yield f"message {name} is gone"
            continue
        yield from _fields(name, message, after[message.name])
        yield from _messages(f"{name}.", message.nested_type, after[message.name].nested_type)
        yield from _enums(f"{name}.", message.enum_type, after[message.name].enum_type)


def _fields(name: str, released: DescriptorProto, now: DescriptorProto) -> Iterator[str]:
    after = {field.number: field for field in now.field}
    for field in released.field:
        other = after.get(field.number)
        if other is None:
            yield f"field {name}.{field.name} ({field.number}) is gone"
            continue
        for what in _FIELD:
            if getattr(field, what) != getattr(other, what):
                yield f"field {name}.{field.name} ({field.number}): {what} changed"
        if _oneof(released, field) != _oneof(now, other):
            yield f"field {name}.{field.name} ({field.number}): oneof changed"


def _oneof(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    return message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""


def _enums(where: str, released: Any, now: Any) -> Iterator[str]:  # noqa: ANN401 - repeated fields
    after = {enum.name: {value.number: value.name for value in enum.value} for enum in now}
    for enum in released:
        for value in enum.value:
            if after.get(enum.name, {}).get(value.number) != value.name:
                yield f"enum value {where}{enum.name}.{value.name} ({value.number}) is gone or was renamed"


def _method(name: str, released: MethodDescriptorProto, now: MethodDescriptorProto | None) -> Iterator[str]:
    if now is None:
        yield f"method {name} is gone"
        return
    for what in _METHOD:
        if getattr(released, what) != getattr(now, what):
            yield f"method {name}: {what} changed"


def unstyled(file: FileDescriptorProto) -> list[str]:
    """What buf's STANDARD rules would say: names, prefixes, a zero value, requests and responses of their own."""
    found: list[str] = []
    if file.name.rpartition("/")[0] != file.package.replace(".", "/"):
        found.append(f"{file.name} is not in the folder of its package {file.package}")
    if not re.search(r"\.v\d+(alpha\d*|beta\d*)?$", file.package):
        found.append(f"package {file.package} has no version")
    for message in _all_messages(file.message_type):
        found += [] if re.fullmatch(r"([A-Z][a-z0-9]*)+", message.name) else [f"message {message.name}"]
        found += [
            f"field {message.name}.{field.name}"
            for field in message.field
            if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", field.name)
        ]
    for enum in [*file.enum_type, *(enum for m in _all_messages(file.message_type) for enum in m.enum_type)]:
        found += _enum_style(enum)
    used: list[str] = []
    for service in file.service:
        found += [] if service.name.endswith("Service") else [f"service {service.name}"]
        for method in service.method:
            pair = method.input_type.rpartition(".")[2], method.output_type.rpartition(".")[2]
            found += [] if pair == (f"{method.name}Request", f"{method.name}Response") else [f"method {method.name}"]
            used += pair
    return found + [f"{name} serves two methods" for name in sorted({name for name in used if used.count(name) > 1})]


def _all_messages(messages: Any) -> Iterator[DescriptorProto]:  # noqa: ANN401 - a repeated field
    for message in messages:
        yield message
        yield from _all_messages(message.nested_type)


def _enum_style(enum: EnumDescriptorProto) -> list[str]:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
    found = [f"enum value {v.name}" for v in enum.value if not re.fullmatch(rf"{prefix}_[A-Z0-9_]+", v.name)]
    zero = [value.name for value in enum.value if value.number == 0]
    return found if zero == [f"{prefix}_UNSPECIFIED"] else [*found, f"enum {enum.name} begins with {zero}"]

"""The gRPC contract, from the .proto files with their comments."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from tools.generate_protos import ROOT, SOURCES
from tools.reference.markdown import code, prose, table

_INTRO: Final = """# The gRPC contract

The labeling service serves the first two of these services, the `stream` process of a pipeline with `[ask]` the third.
The sources are in `proto/`. Python clients are in [`labeling_grpc.client`](python.md) and
[`prediction_grpc.client`](../how-to/ask-now.md); [security](../how-to/security.md) says which role may make which call
of the labeling service.
"""
_FILE_MESSAGES, _FILE_ENUMS, _FILE_SERVICES = 4, 5, 6
_MESSAGE_FIELDS, _MESSAGE_NESTED, _MESSAGE_ENUMS, _ENUM_VALUES, _METHODS = 2, 3, 4, 2, 2
_PREFIXES: Final = (".labeling_grpc.v1.", ".prediction_grpc.v1.")
Comments = dict[tuple[int, ...], str]
Path_ = tuple[int, ...]


def described() -> FileDescriptorSet:
    """The contract as protoc reads it, comments included.

    Raises:
        RuntimeError: protoc refuses a source.

    """
    from google.rpc import status_pb2  # noqa: PLC0415 - as the next
    from grpc_tools import protoc  # noqa: PLC0415 - a development package

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "contract"
        includes = [ROOT / "proto", files("grpc_tools") / "_proto", Path(status_pb2.__file__).parents[2]]
        arguments = ["protoc", *(f"-I{each}" for each in includes), "--include_source_info"]
        if code_ := protoc.main([*arguments, f"--descriptor_set_out={out}", *SOURCES]):
            raise RuntimeError(f"protoc ended with {code_}; see its message above")
        return FileDescriptorSet.FromString(out.read_bytes())


def contract_page() -> str:
    """The page's Markdown."""
    parts = [_INTRO]
    for file in described().file:
        comments = _comments(file)
        parts += _services(file, comments)
    parts.append("## Messages\n")
    for file in described().file:
        comments = _comments(file)
        for index, message in enumerate(file.message_type):
            parts += _message(message, (_FILE_MESSAGES, index), comments, "")
        for index, enum in enumerate(file.enum_type):
            parts += _enum(enum, (_FILE_ENUMS, index), comments, "")
    return "\n".join(parts)


def _comments(file: FileDescriptorProto) -> Comments:
    return {
        tuple(each.path): " ".join((each.leading_comments or each.trailing_comments).split())
        for each in file.source_code_info.location
        if each.leading_comments or each.trailing_comments
    }


def _services(file: FileDescriptorProto, comments: Comments) -> Iterator[str]:
    for index, service in enumerate(file.service):
        path = (_FILE_SERVICES, index)
        yield f"## {service.name}\n"
        yield _said(comments, path)
        rows = []
        for number, method in enumerate(service.method):
            request, response = _link(method.input_type), _link(method.output_type)
            request = f"stream of {request}" if method.client_streaming else request
            response = f"stream of {response}" if method.server_streaming else response
            rows.append((code(method.name), request, response, prose(comments.get((*path, _METHODS, number), ""))))
        yield table(["call", "request", "response", "meaning"], rows)


def _message(message: DescriptorProto, path: Path_, comments: Comments, outer: str) -> Iterator[str]:
    if message.options.map_entry:
        return
    name = f"{outer}{message.name}"
    yield f"### {name}\n"
    yield _said(comments, path)
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    rows = [
        (code(field.name), _type(field, maps), prose(comments.get((*path, _MESSAGE_FIELDS, number), "")))
        for number, field in enumerate(message.field)
    ]
    yield table(["field", "type", "meaning"], rows) if rows else "No fields.\n"
    for number, nested in enumerate(message.nested_type):
        yield from _message(nested, (*path, _MESSAGE_NESTED, number), comments, f"{name}.")
    for number, enum in enumerate(message.enum_type):
        yield from _enum(enum, (*path, _MESSAGE_ENUMS, number), comments, f"{name}.")


def _enum(enum: EnumDescriptorProto, path: Path_, comments: Comments, outer: str) -> Iterator[str]:
    yield f"### {outer}{enum.name}\n"
    yield _said(comments, path)
    rows = [
        (code(value.name), str(value.number), prose(comments.get((*path, _ENUM_VALUES, number), "")))
        for number, value in enumerate(enum.value)
    ]
    yield table(["value", "number", "meaning"], rows)


def _said(comments: Comments, path: Sequence[int]) -> str:
    return prose(comments.get(tuple(path), "")) + "\n"


def _type(field: FieldDescriptorProto, maps: dict[str, DescriptorProto]) -> str:
    if entry := maps.get(field.type_name.rpartition(".")[2]):
        return f"map of {_type(entry.field[0], {})} to {_type(entry.field[1], {})}"
    name = _link(field.type_name) if field.type_name else FieldDescriptorProto.Type.Name(field.type)[5:].lower()
    return f"list of {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def _link(name: str) -> str:
    prefix = next((each for each in _PREFIXES if name.startswith(each)), None)
    if prefix is None:
        return code(name.removeprefix("."))
    short = name.removeprefix(prefix)
    return f"[{code(short)}](#{short.lower().replace('.', '')})"

"""The description of the REST calls (OpenAPI 3.1), made of the contract with its comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

_MESSAGES, _ENUMS, _SERVICES, _FIELDS, _NESTED, _NESTED_ENUMS, _METHODS = 4, 5, 6, 2, 3, 4, 2
_PREFIX: Final = ".labeling_grpc.v1."
_PLACE: Final = re.compile(r"\{(\w+)(=\*\*)?\}")
_NUMBER: Final = {"anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]}
_SCALARS: Final[dict[int, dict[str, Any]]] = {
    FieldDescriptorProto.TYPE_DOUBLE: _NUMBER,
    FieldDescriptorProto.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptorProto.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"},
    FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptorProto.TYPE_STRING: {"type": "string"},
    FieldDescriptorProto.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_ABOUT: Final = (
    "The calls of the labeling service as REST. Each is one of the gRPC contract, with the same roles: the access "
    "token decides. Messages are protobuf's JSON with the contract's names: whole numbers of 64 bits are strings ("
    "numbers are taken too), times are microseconds since 1970-01-01 UTC."
)
_PROBLEM: Final = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For the person who reads the program's log."},
        "reason": {"type": "string", "description": "For the program: an ErrorReason without its prefix."},
        "field": {"type": "string", "description": "The request's field at fault."},
        "event_id": {"type": "string", "description": "The case that it is about."},
    },
}
_STATUS: Final = {
    "type": "object",
    "description": "Why one of several was refused (google.rpc.Status).",
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "details": {"type": "array", "items": {"type": "object"}},
    },
}
Comments = dict[tuple[int, ...], str]


def openapi(contract: FileDescriptorSet) -> dict[str, Any]:
    """Describe the REST calls.

    Args:
        contract: the .proto files of ours, with comments.

    Returns:
        The document.

    """
    ours = [file for file in contract.file if f".{file.package}." == _PREFIX]
    messages = {_PREFIX + message.name: message for file in ours for message in file.message_type}
    schemas: dict[str, Any] = {"Problem": _PROBLEM, "Status": _STATUS}
    paths: dict[str, dict[str, Any]] = {}
    for file in ours:
        comments = _comments(file)
        for number, message in enumerate(file.message_type):
            schemas |= dict(_message(message, (_MESSAGES, number), comments, ""))
        for number, enum in enumerate(file.enum_type):
            schemas[enum.name] = _enum(enum, comments.get((_ENUMS, number), ""))
        for index, service in enumerate(file.service):
            for number, method in enumerate(service.method):
                if not method.options.HasExtension(annotations_pb2.http):
                    continue
                http = method.options.Extensions[annotations_pb2.http]
                verb = http.WhichOneof("pattern") or ""
                path = _PLACE.sub(r"{\1}", getattr(http, verb))
                said = comments.get((_SERVICES, index, _METHODS, number), "")
                request, asked = messages[method.input_type], schemas[_short(method.input_type)]
                paths.setdefault(path, {})[verb] = _operation(service.name, method, http, request, asked, said)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidemark's labeling service", "version": "v1", "description": _ABOUT},
        "servers": [{"url": "/api"}],
        "security": [{"token": []}, {}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def _operation(
    service: str,
    method: MethodDescriptorProto,
    http: HttpRule,
    request: DescriptorProto,
    asked: dict[str, Any],
    said: str,
) -> dict[str, Any]:
    template = getattr(http, http.WhichOneof("pattern") or "")
    places = [found[1] for found in _PLACE.finditer(template)]
    rest = {name: schema for name, schema in asked.get("properties", {}).items() if name not in places}
    parameters = [
        {"name": name, "in": "path", "required": True, **_parameter(asked["properties"][name])} for name in places
    ]
    operation: dict[str, Any] = {
        "operationId": method.name,
        "tags": [service],
        "summary": re.split(r"(?<=[.:]) ", said)[0].rstrip(":"),
        "description": said,
        "parameters": parameters,
    }
    if http.body:
        body = {"type": "object", "properties": rest, "additionalProperties": False}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    else:
        kinds = {field.name: field for field in request.field}
        parameters += [
            {"name": name, "in": "query", **_parameter(schema)}
            for name, schema in rest.items()
            if kinds[name].type != FieldDescriptorProto.TYPE_MESSAGE
        ]
    answer: dict[str, Any] = {"$ref": f"#/components/schemas/{_short(method.output_type)}"}
    if http.response_body:
        answer = {"type": "object", "description": "A line of the labels topic."}
    media = "application/x-ndjson" if method.server_streaming else "application/json"
    words = "One JSON object a line." if method.server_streaming else "Done."
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    operation["responses"] = {
        "200": {"description": words, "content": {media: {"schema": answer}}},
        "default": {"description": "What went wrong.", "content": {"application/problem+json": problem}},
    }
    return operation


def _parameter(schema: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in schema.items() if name != "description"}
    return {"schema": told} | ({"description": schema["description"]} if "description" in schema else {})


def _message(
    message: DescriptorProto, path: tuple[int, ...], comments: Comments, outer: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    name = f"{outer}{message.name}"
    properties = {
        field.name: _field(field, comments.get((*path, _FIELDS, number), ""))
        for number, field in enumerate(message.field)
    }
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    yield name, schema | _described(comments.get(path, ""))
    for number, nested in enumerate(message.nested_type):
        yield from _message(nested, (*path, _NESTED, number), comments, f"{name}.")
    for number, enum in enumerate(message.enum_type):
        yield f"{name}.{enum.name}", _enum(enum, comments.get((*path, _NESTED_ENUMS, number), ""))


def _enum(enum: EnumDescriptorProto, said: str) -> dict[str, Any]:
    return {"type": "string", "enum": [value.name for value in enum.value]} | _described(said)


def _field(field: FieldDescriptorProto, said: str) -> dict[str, Any]:
    if field.type in {FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_ENUM}:
        schema: dict[str, Any] = {"$ref": f"#/components/schemas/{_short(field.type_name)}"}
    else:
        schema = dict(_SCALARS[field.type])
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        schema = {"type": "array", "items": schema}
    return schema | _described(said)


def _described(said: str) -> dict[str, str]:
    return {"description": said} if said else {}


def _short(name: str) -> str:
    return "Status" if name == ".google.rpc.Status" else name.removeprefix(_PREFIX)


def _comments(file: FileDescriptorProto) -> Comments:
    return {
        tuple(each.path): " ".join((each.leading_comments or each.trailing_comments).split())
        for each in file.source_code_info.location
        if each.leading_comments or each.trailing_comments
    }

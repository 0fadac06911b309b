"""The labeling service's calls over REST, made as the description (openapi.json) says, and by it alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx2
import plain_http
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

import labeling_grpc.v1

DESCRIPTION: Final[dict[str, Any]] = json.loads(
    (Path(labeling_grpc.v1.__file__).parent / "openapi.json").read_text(encoding="utf-8")
)
OPERATIONS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    operation["operationId"]: (path, verb, operation)
    for path, verbs in DESCRIPTION["paths"].items()
    for verb, operation in verbs.items()
}
"""Path, verb and description of each call, by its name."""


_HTTP: Final = plain_http.Client(timeout=30)
"""Made once: what it is to trust is read at each making."""


def ask(url: str, call: str, request: Message, token: str, pipeline: str = "pay") -> httpx2.Response:
    """Make a call over REST. url: of the console."""
    path, verb, operation = OPERATIONS[call]
    told = MessageToDict(request, preserving_proto_field_name=True) | {"pipeline": pipeline}
    for name in re.findall(r"\{(\w+)\}", path):
        path = path.replace(f"{{{name}}}", quote(str(told.pop(name, "")), safe=""))
    told.pop("pipeline", None)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    where = f"{url}{DESCRIPTION['servers'][0]['url']}{path}"
    if "requestBody" in operation:
        return _HTTP.request(verb.upper(), where, json=told, headers=headers)
    query: list[tuple[str, str | int | float | bool | None]] = [
        (name, str(each).lower() if isinstance(each, bool) else str(each))
        for name, value in told.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    return _HTTP.request(verb.upper(), where, params=query, headers=headers)


def unlike(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:  # noqa: ANN401 - JSON
    """What of a value is not as a schema of the description says."""
    if "$ref" in schema:
        return unlike(value, DESCRIPTION["components"]["schemas"][schema["$ref"].rpartition("/")[2]], where)
    if "anyOf" in schema:
        tried = [unlike(value, each, where) for each in schema["anyOf"]]
        return [] if [] in tried else tried[0]
    kind = schema["type"]
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return [f"{where}: {value!r} is no {kind}"]
    found: list[str] = []
    if value not in schema.get("enum", [value]) or not re.search(schema.get("pattern", ""), str(value)):
        found.append(f"{where}: {value!r} does not look so")
    for at, item in enumerate(value if kind == "array" else ()):
        found += unlike(item, schema["items"], f"{where}[{at}]")
    for name in value if "properties" in schema else ():
        inner = schema["properties"].get(name)
        found += (
            [f"{where}.{name} is not described"] if inner is None else unlike(value[name], inner, f"{where}.{name}")
        )
    return found + [f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value]


_KINDS: Final[dict[str, Any]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def response_schema(call: str, status: int) -> tuple[str, dict[str, Any]]:
    """Media type and schema of a response."""
    responses = OPERATIONS[call][2]["responses"]
    ((media, content),) = responses["200" if status == 200 else "default"]["content"].items()
    return media, content["schema"]

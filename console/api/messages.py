"""Requests of HTTP as messages of the contract, and messages as JSON (protobuf's own, with the contract's names)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToJson, Parse, ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.datastructures import QueryParams

from console.security.requests import RejectedError
from labeling_grpc.contract.http_rules import HttpRule
from tidemark.runtime.safe_text import safe

MOST_BYTES: Final = 2 * 1024 * 1024
"""Of a request's body: as much as the labeling service takes."""
_INVALID: Final = "INVALID_FIELD"
_SHOWN: Final = 60
_BOOLEANS: Final = {"true": True, "false": False}


def request_of(rule: HttpRule, places: Mapping[str, str], query: QueryParams, content: bytes | None) -> Message:
    """The message that a request of HTTP stands for.

    Args:
        rule: the route.
        places: what its path tells.
        query: what its query tells.
        content: its body, None where the route has none.

    Returns:
        The request of the call.

    Raises:
        RejectedError: it is no such request; the text says which part.

    """
    message: Message = GetMessageClass(rule.method.input_type)()
    if content is None:
        _filled(message, {name: _value(rule, name, query.getlist(name)) for name in query})
    elif query:
        raise RejectedError(400, f"{next(iter(query))}: this call is told in its body, not in its query", _INVALID)
    else:
        _parsed(message, content)
    told = {field.name for field, _ in message.ListFields()} & {*places}
    if told:
        raise RejectedError(400, f"{min(told)}: the address tells this; leave it out of the rest", _INVALID)
    _filled(message, dict(places))
    return message


def json_of(message: Message) -> bytes:
    """A message as one line of JSON, with what is empty or 0."""
    return MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
    ).encode()


def lines_of(rule: HttpRule, message: Message) -> Iterator[bytes]:
    """Lines of JSON that one message of a stream is sent as."""
    if not rule.response:
        yield json_of(message) + b"\n"
        return
    for line in getattr(message, rule.response):  # JSON in bytes, as it stands in the topic
        yield bytes(line) + b"\n"


def _parsed(message: Message, content: bytes) -> None:
    try:
        text = content.decode()
        if not isinstance(json.loads(text, object_pairs_hook=_once), dict):
            raise RejectedError(400, "the body must be a JSON object", _INVALID)
        Parse(text, message, max_recursion_depth=20)
        text.encode()
    except (ParseError, UnicodeError, ValueError, RecursionError) as error:
        raise RejectedError(400, f"the body can't be read: {_words(error)}", _INVALID) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Protobuf takes `max_tasks` and `maxTasks` for one field, and of both the last without a word."""
    seen: dict[str, str] = {}
    for name, _ in pairs:
        other = seen.setdefault(name.replace("_", "").lower(), name)
        if other != name:
            raise RejectedError(
                400, f"{safe(name)[:_SHOWN]} and {safe(other)[:_SHOWN]} are one field: write it once", _INVALID
            )
    return dict(pairs)


def _filled(message: Message, values: dict[str, Any]) -> None:
    try:
        ParseDict(values, message)
    except (ParseError, UnicodeError, ValueError) as error:
        raise RejectedError(400, f"the request can't be read: {_words(error)}", _INVALID) from error


def _value(rule: HttpRule, name: str, told: list[str]) -> Any:  # noqa: ANN401 as JSON has it
    field = rule.method.input_type.fields_by_name.get(name)
    if field is None or field.type in {FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_BYTES}:
        raise RejectedError(400, f"{name}: this call has no such parameter", _INVALID)
    if field.type == FieldDescriptor.TYPE_BOOL:
        if any(each not in _BOOLEANS for each in told):
            raise RejectedError(400, f"{name}: write true or false", _INVALID)
        values: list[Any] = [_BOOLEANS[each] for each in told]
    else:
        values = told
    if field.is_repeated:
        return values
    if len(values) > 1:
        raise RejectedError(400, f"{name}: write it once", _INVALID)
    return values[0]


def _words(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else safe(str(error)[:300])

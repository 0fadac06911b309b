"""CloudEvents 1.0 over HTTP: structured, batched and binary. Data stay the bytes that came."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

import msgspec

from tidemark.sources.source import SourceRecord

_REQUIRED: Final = ("specversion", "id", "source", "type")
_CORE: Final = {*_REQUIRED, "subject", "time", "dataschema", "datacontenttype"}
_NAME: Final = re.compile(r"[a-z0-9]{1,60}")
_MOST_ATTRIBUTES: Final = 64
_LONGEST: Final = 4_096
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text: Final = msgspec.json.Decoder(str | int | bool).decode


class NotAnEvent(ValueError):  # noqa: N818 it says what it is
    """What came is no CloudEvent, and why."""


def structured(value: bytes, position: str) -> SourceRecord:
    """One event in its JSON format.

    Args:
        value: of the body.
        position: of the record.

    Returns:
        Its data, with its attributes.

    Raises:
        NotAnEvent: it is none.

    """
    try:
        value.decode()
        members = _object(value)
    except _UNREADABLE as error:
        raise NotAnEvent(f"it is no JSON object ({error})") from error
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    attributes = _checked({name: _plain(name, raw) for name, raw in members.items() if bytes(raw) != b"null"})
    if data is not None and encoded is not None:
        raise NotAnEvent("it has both data and data_base64")
    if encoded is not None:
        return SourceRecord(_decoded(encoded), position, attributes)
    if data is None:
        return SourceRecord(b"", position, attributes)
    return SourceRecord(_bare(bytes(data), attributes), position, attributes)


def batch(value: bytes, positions: Iterable[str]) -> list[SourceRecord]:
    """A batch of events. One that is none stays as it is, and becomes a dead letter as a record of a topic does.

    Args:
        value: of the body: a JSON array.
        positions: of the records.

    Returns:
        The record of each.

    Raises:
        NotAnEvent: it is no array.

    """
    records = []
    for raw, position in zip(elements(value), positions, strict=False):
        try:
            records.append(structured(raw, position))
        except NotAnEvent:
            records.append(SourceRecord(raw, position))
    return records


def elements(value: bytes) -> list[bytes]:
    """The elements of a JSON array, as they are written.

    Raises:
        NotAnEvent: it is no array.

    """
    try:
        value.decode()
        return [bytes(raw) for raw in _list(value)]
    except _UNREADABLE as error:
        raise NotAnEvent(f"it is no JSON array ({error})") from error


def binary(headers: Mapping[str, str], value: bytes, position: str) -> SourceRecord:
    """An event whose attributes are headers `ce-NAME` and whose data is the body.

    Raises:
        NotAnEvent: an attribute that every event has is missing.

    """
    told = {name.removeprefix("ce-"): unquote(text) for name, text in headers.items() if name.startswith("ce-")}
    if kind := headers.get("content-type"):
        told["datacontenttype"] = kind
    return SourceRecord(value, position, _checked(told))


def _checked(attributes: dict[str, str]) -> dict[str, str]:
    for name in _REQUIRED:
        if not attributes.get(name):
            raise NotAnEvent(f"it has no attribute '{name}'")
    if attributes["specversion"] != "1.0":
        raise NotAnEvent(f"its specversion is {attributes['specversion'][:20]!r}, not '1.0'")
    if len(attributes) > _MOST_ATTRIBUTES:
        raise NotAnEvent(f"it has more than {_MOST_ATTRIBUTES} attributes")
    for name, text in attributes.items():
        if not _NAME.fullmatch(name):
            raise NotAnEvent(f"{name[:60]!r} is no name of an attribute: small letters and digits")
        if len(text) > _LONGEST:
            raise NotAnEvent(f"attribute '{name}' has more than {_LONGEST:,} characters")
    return {name if name in _CORE else f"extension.{name}": text for name, text in attributes.items()}


def _plain(name: str, raw: msgspec.Raw) -> str:
    try:
        value = _text(raw)
    except _UNREADABLE as error:
        raise NotAnEvent(f"attribute {name[:60]!r} is no text, whole number or truth value") from error
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decoded(raw: msgspec.Raw) -> bytes:
    try:
        return base64.b64decode(msgspec.json.decode(raw, type=str), validate=True)
    except (*_UNREADABLE, binascii.Error, ValueError) as error:
        raise NotAnEvent("data_base64 is no base64") from error


def _bare(data: bytes, attributes: Mapping[str, str]) -> bytes:
    """Data that are no JSON are written as a JSON text: the text itself."""
    kind = attributes.get("datacontenttype", "application/json").partition(";")[0].strip().lower()
    if kind.endswith(("/json", "+json")) or not data.startswith(b'"'):
        return data
    try:
        return msgspec.json.decode(data, type=str).encode(errors="surrogatepass")
    except _UNREADABLE:
        return data

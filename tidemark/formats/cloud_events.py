"""CloudEvents 1.0 over Kafka with JSON data, in structured mode (one JSON object) and binary mode (headers).

The fields of `data` are the record's; the attributes of the event are `ce_id`, `ce_source`, `ce_type`, `ce_time` and so
on, as the headers of binary mode name them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from tidemark.errors import ConfigError
from tidemark.formats.json_records import JsonReader, Values
from tidemark.formats.repeated import Repeated
from tidemark.formats.shown import short
from tidemark.records.record_formats import Columns, RecordSchema, reason_of
from tidemark.runtime.processor import Batch, Headers

_PREFIX: Final = "ce_"
_VERSION: Final = "1.0"
_REQUIRED: Final = ("id", "source", "type")
_READ: Final = ("specversion", *_REQUIRED, "datacontenttype", "data", "data_base64")
"""Of the names of an event in structured mode those that are always read."""
_STRUCTURED: Final = "application/cloudevents"
_BATCH: Final = "application/cloudevents-batch"
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Event(NamedTuple):
    attributes: dict[str, object]
    data: bytes
    binary: bool


def reader(schema: RecordSchema) -> CloudEventsReader:
    """A reader of events.

    Args:
        schema: what is read.

    Raises:
        ConfigError: a column is told by an attribute under one name, and by data under another.

    """
    return CloudEventsReader(schema)


class CloudEventsReader:
    """Reads events."""

    def __init__(self, schema: RecordSchema) -> None:
        """Prepare for a pipeline.

        Args:
            schema: what is read.

        Raises:
            ConfigError: a column is told by an attribute under one name, and by data under another.

        """
        attributes, data = [], []
        for column in schema.columns:
            own = [name for name in column.names if name.startswith(_PREFIX)]
            rest = tuple(name for name in column.names if not name.startswith(_PREFIX))
            if own and rest[1:]:
                raise ConfigError(
                    f"columns.{column.name}.names: '{own[0]}' is an attribute of the event and '{rest[1]}' a field of "
                    "its data; keep names of one kind"
                )
            if own:
                attributes += own
            else:
                data.append(replace(column, required=False))
        self._attributes = attributes
        self._data = JsonReader(data)
        self._kinds = {column.name: column.kind for column in data}
        asked = [name.removeprefix(_PREFIX) for name in attributes]
        self._repeated = Repeated(list(dict.fromkeys([*_READ, *asked])))

    def read(self, batch: Batch, rows: Sequence[int]) -> Columns:
        """The columns of records."""
        events: list[_Event] = []
        bad: dict[int, str] = {}
        for i, row in enumerate(rows):
            try:
                event = _event(batch.values[row] or b"", batch.headers[row] if batch.headers else None)
            except (ValueError, RecursionError) as error:
                bad[i] = reason_of(error)
                event = _Event({}, b"{}", binary=True)
            events.append(event)
        whole = [b"{}" if i in bad or events[i].binary else batch.values[row] or b"{}" for i, row in enumerate(rows)]
        bad |= {i: f"gives '{name}' twice" for i, name in self._repeated.all(whole)}
        found: dict[str, Values] = {
            name: [event.attributes.get(name[len(_PREFIX) :]) for event in events] for name in self._attributes
        }
        values, wrong = self._columns([event.data for event in events])
        return Columns({**found, **values}, {**wrong, **bad})

    def write(self, value: bytes) -> bytes:
        """The event of a JSON object, in structured mode."""
        fields = _fields.decode(value)
        attributes = {name.removeprefix(_PREFIX): raw for name, raw in fields.items() if name.startswith(_PREFIX)}
        data = {name: raw for name, raw in fields.items() if not name.startswith(_PREFIX)}
        given = {"specversion": _VERSION, "id": "1", "source": "tidemark", "type": "tidemark.row"} | attributes
        return msgspec.json.encode(given | {"datacontenttype": "application/json", "data": data})

    def _columns(self, values: list[bytes]) -> tuple[dict[str, Values], dict[int, str]]:
        """Columns of data, as of JSON records, and why data is bad."""
        n = len(values)
        read = self._data.read(replace(_EMPTY, values=list(values), offsets=np.arange(n), keys=[None] * n))
        reasons = {int(read.rows[i]): reason for i, reason in read.doubtful.items()} | read.bad
        if read.rounded is not None:
            numbers = {
                name: np.array(own, np.float64) for name, own in read.columns.items() if self._kinds[name] == "float"
            }
            reasons |= {int(read.rows[i]): reason for i, reason in read.rounded(numbers).items()}
        found: dict[str, Values] = dict(read.columns)
        if len(read.rows) < n:
            for name, own in read.columns.items():
                spread: list[Any] = [None] * n
                for row, value in zip(read.rows.tolist(), own, strict=True):
                    spread[row] = value
                found[name] = spread
        return found, {i: f"its data: {reason}" for i, reason in reasons.items()}


def _event(value: bytes, headers: Headers | None) -> _Event:
    """The event of a record.

    Raises:
        ValueError: it is none.

    """
    told: dict[str, bytes | None] = {}
    for name, content in headers or ():
        if name.lower() in told and (name.lower().startswith(_PREFIX) or name.lower() == "content-type"):
            raise ValueError(f"has the header {short(name.lower().encode())} twice")
        told[name.lower()] = content
    kind = (told.get("content-type") or b"").decode(errors="replace").strip().lower()
    if kind.startswith(_BATCH):
        raise ValueError("is a batch of events, which a record can't be; send each event in a record of its own")
    binary = "ce_specversion" in told and not kind.startswith(_STRUCTURED)
    return _binary(told, kind, value) if binary else _structured(value)


def _binary(headers: dict[str, bytes | None], kind: str, value: bytes) -> _Event:
    """An event whose attributes are headers, and whose data is the value."""
    if kind and not _is_json(kind):
        raise ValueError(f"has data of the content type {short(kind.encode())}; send JSON")
    attributes: dict[str, object] = {
        name[len(_PREFIX) :]: (content or b"").decode("utf-8", errors="replace")
        for name, content in headers.items()
        if name.startswith(_PREFIX)
    }
    return _checked(attributes, value, binary=True)


def _structured(value: bytes) -> _Event:
    """An event that is one JSON object."""
    try:
        fields = _fields.decode(value)
    except msgspec.ValidationError as error:
        raise ValueError(f"is no event: {str(error).lower()}, at the top level") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is no event: malformed JSON ({error}), and it has no headers of an event") from error
    data, encoded = fields.pop("data", None), fields.pop("data_base64", None)
    attributes: dict[str, object] = {name: msgspec.json.decode(raw) for name, raw in fields.items()}
    if encoded is not None:
        if data is not None:
            raise ValueError("has both data and data_base64")
        return _checked(attributes, _unpacked(encoded), binary=False)
    if data is None:
        raise ValueError("has no data")
    kind = str(attributes.get("datacontenttype", "application/json")).lower()
    if not _is_json(kind):
        raise ValueError(f"has data of the content type {short(kind.encode())}; send JSON")
    return _checked(attributes, bytes(data), binary=False)


def _unpacked(encoded: msgspec.Raw) -> bytes:
    try:
        return base64.b64decode(msgspec.json.decode(encoded, type=str), validate=True)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"has data_base64 that is no base64 ({error})") from error


def _checked(attributes: dict[str, object], data: bytes, *, binary: bool) -> _Event:
    if attributes.get("specversion") != _VERSION:
        shown = short(str(attributes.get("specversion")).encode(errors="replace"))
        raise ValueError(f"is no event of CloudEvents {_VERSION}: its specversion is {shown}")
    for name in _REQUIRED:
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise ValueError(f"is an event without '{name}'")
    return _Event(attributes, data, binary)


def _is_json(kind: str) -> bool:
    media = kind.partition(";")[0].strip()
    return media in ("application/json", "text/json") or media.endswith("+json")


_EMPTY: Final = Batch(None, np.empty(0, np.int64), np.empty(0, np.int64), [], [])  # type: ignore[arg-type]  # of no use

"""The body of an HTTP request: read within bounds, decompressed within bounds, and parted into records."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from tidemark.formats.arrow_rows import MEDIA_TYPE, ArrowRows, NoRowsError
from tidemark.sources.intake import Room, weight
from tidemark.sources.listening.cloud_events import NotAnEvent, batch, binary, elements, structured
from tidemark.sources.source import SourceRecord

MOST_RECORDS: Final = 20_000
"""Records of one request."""
_LINES: Final = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
_EVENT: Final = "application/cloudevents+json"
_EVENTS: Final = "application/cloudevents-batch+json"
_STEP: Final = 1 << 16
_LARGEST_ARRAY: Final = 2_000_000
_WINDOW: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class Refused(Exception):  # noqa: N818 it is an answer, not an error
    """A request that is not taken: the answer's status, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Held:
    """Bytes of a room that a request holds. They go on with its records, or are given back when it ends."""

    def __init__(self, room: Room) -> None:
        self._room, self.size = room, 0

    def set(self, size: int) -> None:
        """Hold so many.

        Raises:
            Refused: there is no room.

        """
        if size > self.size and not self._room.take(size - self.size):
            raise Refused(429, "too much waits for Kafka; send it again later")
        if size < self.size:
            self._room.give(self.size - size)
        self.size = size

    def handed(self) -> int:
        """Give them into other hands; how many they are."""
        size, self.size = self.size, 0
        return size


async def read_body(chunks: AsyncIterator[bytes], encoding: str, held: Held, most: int) -> bytes:
    """The body of a request.

    Args:
        chunks: as they come.
        encoding: of its content, from its header.
        held: the room that it takes up while it is read.
        most: bytes, both as they come and decompressed.

    Returns:
        The bytes, decompressed.

    Raises:
        Refused: it is larger, is not compressed as it says, or there is no room.

    """
    named = encoding.strip().lower()
    if named not in {"", "identity", *_WINDOW}:
        raise Refused(415, "Content-Encoding must be gzip, deflate or identity")
    inflater = zlib.decompressobj(_WINDOW[named]) if named in _WINDOW else None
    body = bytearray()
    came = 0
    async for chunk in chunks:
        came += len(chunk)
        parts = [chunk] if inflater is None else _inflated(inflater, chunk)
        for part in parts:
            if max(came, len(body) + len(part)) > most:
                raise Refused(413, f"more than {most:,} bytes; send less at once")
            held.set(len(body) + len(part))
            body.extend(part)
    if inflater is not None and not inflater.eof:
        raise Refused(400, "what is compressed ends too soon")
    return bytes(body)


def _inflated(inflater: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    """What a part of a compressed body holds, in pieces of bounded size."""
    rest = chunk
    while rest:
        if inflater.eof:
            raise Refused(400, "bytes follow the end of what is compressed")
        try:
            yield inflater.decompress(rest, _STEP)
        except zlib.error as error:
            raise Refused(400, "the body is not compressed as Content-Encoding says") from error
        rest = inflater.unconsumed_tail or inflater.unused_data


def records_of(
    body: bytes, headers: Mapping[str, str], request: str, held: Held, batches: ArrowRows
) -> list[SourceRecord]:
    """The records of a body.

    Args:
        body: decompressed.
        headers: by small names.
        request: id of the request, with which positions begin.
        held: the room that they take up.
        batches: reads a body of Arrow.

    Returns:
        Records in their order; such as are broken too, which become dead letters.

    Raises:
        Refused: there are too many, none, or the body as a whole is nothing of the kind that it says.

    """
    content, _, parameters = headers.get("content-type", "").partition(";")
    content = content.strip().lower()
    if _charset(parameters) not in {"", "utf-8", "utf8", "us-ascii"}:
        raise Refused(415, "the charset must be utf-8")
    positions = (f"{request}/{i}" for i in range(MOST_RECORDS + 1))
    try:
        records = (
            _rows(batches.read(body), positions, held)
            if content == MEDIA_TYPE
            else _records(content, body, headers, positions)
        )
    except NoRowsError as error:
        raise Refused(400, f"the body {error}") from error
    except NotAnEvent as error:
        raise Refused(400, str(error)) from error
    if len(records) > MOST_RECORDS:
        raise Refused(413, f"more than {MOST_RECORDS:,} records; send fewer at once")
    if not records:
        raise Refused(400, "the body has no record")
    held.set(weight(records))
    return records


def _records(content: str, body: bytes, headers: Mapping[str, str], positions: Iterator[str]) -> list[SourceRecord]:
    if content == _EVENT:
        return [structured(body, next(positions))]
    if content == _EVENTS:
        return batch(_array(body), positions)
    if "ce-specversion" in headers:
        return [binary(headers, body, next(positions))]
    if content in _LINES:
        return [SourceRecord(line, position) for line, position in zip(_lines(body), positions, strict=False)]
    if content == "application/json":
        inner = body.strip()
        if not inner.startswith(b"["):
            return [SourceRecord(inner, next(positions))] if inner else []
        found = elements(_array(inner))
        return [SourceRecord(value, position) for value, position in zip(found, positions, strict=False)]
    kinds = f"application/json, application/x-ndjson, {_EVENT}, {_EVENTS} or {MEDIA_TYPE}"
    raise Refused(415, f"Content-Type must be {kinds}")


def _rows(pieces: Iterator[list[bytes]], positions: Iterator[str], held: Held) -> list[SourceRecord]:
    """Rows of a batch, for which room is taken as they are unpacked; one more than may be, at most."""
    records: list[SourceRecord] = []
    size = held.size
    for piece in pieces:
        fresh = [SourceRecord(value, position, is_row=True) for value, position in zip(piece, positions, strict=False)]
        records += fresh
        size += weight(fresh)
        held.set(size)
        if len(records) > MOST_RECORDS:
            break
    return records


def _array(body: bytes) -> bytes:
    """An array, if it is so small that its elements, of two bytes each, fit the memory."""
    if len(body) > _LARGEST_ARRAY:
        raise Refused(413, f"an array has at most {_LARGEST_ARRAY:,} bytes; send more as application/x-ndjson")
    return body


def _lines(body: bytes) -> Iterator[bytes]:
    """Lines that are not blank, one after the other: a million blank ones take up no memory."""
    begin = 0
    while begin < len(body):
        end = body.find(b"\n", begin)
        end = len(body) if end < 0 else end
        if line := body[begin:end].strip():
            yield line
        begin = end + 1


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""

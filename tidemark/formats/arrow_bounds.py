"""Whether an Arrow IPC stream is what it says, before a reader believes it.

The lengths in a stream decide how much memory its reader asks for. A few wrong bytes made Polars ask for 459 GB, which
ends the process; a compressed buffer may unpack to anything, and deep nesting ends a stack. So every length is compared
with the bytes there are. A stream has a schema, then record batches, and ends with them. What Polars checks by itself
(offsets, views, UTF-8) is left to it. The layout is Arrow's columnar format, 1.0, `Message.fbs` and `Schema.fbs`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_CONTINUATION: Final = 0xFFFF_FFFF
_SCHEMA, _RECORD_BATCH = 1, 3
_DEEPEST: Final = 4
_MOST_FIELDS: Final = 20_000
_MOST_BATCHES: Final = 1_000
_REMEMBERED: Final = 16
"""Schemas: the records of a topic have the same one, byte by byte, and to look at it takes longer than at all else."""
_LONGEST_REMEMBERED: Final = 100_000


class UnboundedError(ValueError):
    """The stream contradicts itself, or is of a kind that is not read. The message says where."""


def check_stream(value: bytes) -> None:
    """Look at the lengths of a stream.

    Raises:
        UnboundedError: one of them can't be right, or the stream is compressed or has dictionaries.

    """
    try:
        _check(value)
    except struct.error as error:
        raise UnboundedError(f"it ends too soon ({error})") from error


def _check(value: bytes) -> None:
    at = 0
    messages = 0
    while at < len(value):
        mark, size = struct.unpack_from("<Ii", value, at)
        if mark != _CONTINUATION:
            raise UnboundedError(f"no message begins at byte {at}")
        at += 8
        if size == 0:
            break
        if size < 0 or at + size > len(value):
            raise UnboundedError(f"a message of {size} bytes at byte {at} of {len(value)}")
        body = _check_message(value[at : at + size], len(value) - at - size, first=messages == 0)
        at += size + body
        messages += 1
        if messages > _MOST_BATCHES:
            raise UnboundedError(f"more than {_MOST_BATCHES} messages")
    if messages == 0:
        raise UnboundedError("no message")


def _check_message(metadata: bytes, left: int, *, first: bool) -> int:
    """Bytes of a message's body. left: bytes behind its metadata."""
    if first:
        body = _check_schema(metadata) if len(metadata) > _LONGEST_REMEMBERED else _check_known_schema(metadata)
        return _within(body, left)
    header, body = _header(metadata, _RECORD_BATCH)
    _within(body, left)
    _check_batch(header, body, 8 * (len(metadata) + left))
    return body


def _check_schema(metadata: bytes) -> int:
    """Bytes of the body that the message of a schema tells, unchecked; its fields are checked."""
    header, body = _header(metadata, _SCHEMA)
    _check_fields(header.tables(1), _DEEPEST, [_MOST_FIELDS])
    return body


_check_known_schema = lru_cache(_REMEMBERED)(_check_schema)


def _header(metadata: bytes, wanted: int) -> tuple[_Table, int]:
    """Header of a message, and the bytes of its body as it tells them, unchecked."""
    message = _Table.root(metadata)
    kind = message.number(1, "<B")
    header = message.table(2)
    if header is None or kind != wanted:
        raise UnboundedError(f"a message of kind {kind}; a schema and then record batches are read")
    return header, message.number(3, "<q")


def _within(body: int, left: int) -> int:
    if not 0 <= body <= left:
        raise UnboundedError(f"a body of {body} bytes where {left} are left")
    return body


def _check_fields(fields: list[_Table], depth: int, left: list[int]) -> None:
    left[0] -= len(fields)
    if fields and (depth == 0 or left[0] < 0):
        raise UnboundedError(f"fields nested deeper than {_DEEPEST} levels, or more than {_MOST_FIELDS}")
    for field in fields:
        if field.table(4) is not None:
            raise UnboundedError("a dictionary")
        _check_fields(field.tables(5), depth - 1, left)


def _check_batch(batch: _Table, body: int, most: int) -> None:
    """most: rows that so many bytes can have, at a bit a row."""
    if batch.table(3) is not None:
        raise UnboundedError("compressed buffers")
    if not 0 <= batch.number(0, "<q") <= most:
        raise UnboundedError(f"{batch.number(0, '<q')} rows")
    for length, nulls in batch.pairs(1):
        if not 0 <= nulls <= length <= most:
            raise UnboundedError(f"a column of {length} rows, {nulls} of them null")
    buffers = batch.pairs(2)
    for offset, length in buffers:
        if offset < 0 or length < 0 or offset + length > body:
            raise UnboundedError(f"a buffer of {length} bytes at byte {offset} of a body of {body}")
    if any(not 0 <= count <= len(buffers) for count in batch.numbers(4)):
        raise UnboundedError("a column with more buffers than there are")


@dataclass(frozen=True, slots=True)
class _Table:
    """A FlatBuffers table: `fields` are the positions of its fields in `data`, 0 where absent."""

    data: bytes
    fields: tuple[int, ...]

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls.at(data, _read(data, "<I", 0))

    @classmethod
    def at(cls, data: bytes, position: int) -> _Table:
        virtual = position - _read(data, "<i", position)
        if virtual < 0:
            raise UnboundedError("a table without its description")
        size = _read(data, "<H", virtual)
        if size < 4 or size % 2:
            raise UnboundedError(f"a table described in {size} bytes")
        offsets = struct.unpack_from(f"<{(size - 4) // 2}H", data, virtual + 4)
        return cls(data, tuple(position + offset if offset else 0 for offset in offsets))

    def number(self, field: int, kind: str) -> int:
        """A scalar; 0 where absent."""
        position = self._position(field)
        return _read(self.data, kind, position) if position else 0

    def table(self, field: int) -> _Table | None:
        position = self._position(field)
        return _Table.at(self.data, position + _read(self.data, "<I", position)) if position else None

    def tables(self, field: int) -> list[_Table]:
        """A vector of tables."""
        begin, count = self._vector(field, 4)
        places = range(begin, begin + 4 * count, 4)
        return [_Table.at(self.data, place + _read(self.data, "<I", place)) for place in places]

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """A vector of structs of two 64-bit numbers."""
        begin, count = self._vector(field, 16)
        numbers = struct.unpack_from(f"<{2 * count}q", self.data, begin)
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def numbers(self, field: int) -> tuple[int, ...]:
        """A vector of 64-bit numbers."""
        begin, count = self._vector(field, 8)
        return struct.unpack_from(f"<{count}q", self.data, begin)

    def _position(self, field: int) -> int:
        return self.fields[field] if field < len(self.fields) else 0

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        position = self._position(field)
        if not position:
            return 0, 0
        begin = position + _read(self.data, "<I", position)
        count = _read(self.data, "<I", begin)
        if begin + 4 + count * width > len(self.data):
            raise UnboundedError(f"a vector of {count} elements in {len(self.data)} bytes")
        return begin + 4, count


def _read(data: bytes, kind: str, position: int) -> int:
    number: int = struct.unpack_from(kind, data, position)[0]
    return number

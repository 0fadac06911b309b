"""Whether an Arrow IPC stream is what it says, before a reader believes it.

The lengths in a stream decide how much memory its reader asks for. A few wrong bytes made Polars ask for 459 GB, which
ends the process; a compressed buffer may unpack to anything, and deep nesting ends a stack. So every length is compared
with the bytes there are, and with what `Limits` allow. A stream has a schema, then dictionaries and record batches, and
ends with them. What Polars checks by itself (offsets, views, UTF-8) is left to it. The layout is Arrow's columnar
format, 1.0, `Message.fbs` and `Schema.fbs`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from tidemark.formats.flat_buffers import Table, UnboundedError

__all__ = ["OTHERS", "OWN", "Limits", "UnboundedError", "check_stream"]

_CONTINUATION: Final = 0xFFFF_FFFF
_SCHEMA, _DICTIONARY, _RECORD_BATCH = 1, 2, 3
_DEEPEST: Final = 4
_MOST_FIELDS: Final = 20_000
_MOST_BATCHES: Final = 1_000
_REMEMBERED: Final = 16
"""Schemas: the records of a topic have the same one, byte by byte, and to look at it takes longer than at all else."""
_LONGEST_REMEMBERED: Final = 100_000
_UNREAD: Final = {11: "interval", 14: "union", 22: "run-end encoded", 25: "list view", 26: "list view"}
"""Types that Polars has nothing for: it panics, which writes a screenful to the log for every record of a stranger."""
_DECIMAL: Final = 7
_WIDEST_DECIMAL: Final = 128
_OF_DICTIONARIES: Final = frozenset({2, 3, 5, 6, 7, 8, 9, 10, 20, 24})
"""Types whose values take no more room once they are told by a number each: numbers, times and texts."""
_RAW: Final = -1
"""Length before compression of a buffer that is not compressed."""
_LENGTH: Final = 8
"""Bytes of that length."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stream may have.

    rows: of all batches together; None: a bit each.  unpacked: bytes that its compressed buffers are long before
    compression, all together; 0: none may be compressed.  dictionaries: whether it may have some.  whole: its end must
    be marked, and be the end: what was cut between two batches, or follows the first stream, would else be lost.
    """

    rows: int | None
    unpacked: int
    dictionaries: bool
    whole: bool


OWN: Final = Limits(rows=None, unpacked=0, dictionaries=False, whole=False)
"""Of what our own flows write."""
OTHERS: Final = Limits(rows=100_000, unpacked=64_000_000, dictionaries=True, whole=True)
"""Of what others send."""


@dataclass(slots=True)
class _Left:
    """What may still come."""

    rows: int
    unpacked: int
    limits: Limits = field(repr=False)


def check_stream(value: bytes, limits: Limits = OWN) -> None:
    """Look at the lengths of a stream.

    Args:
        value: the stream.
        limits: what it may have.

    Raises:
        UnboundedError: one of them can't be right or is beyond its limit, or the stream is of a kind that is not read.

    """
    try:
        _check(value, limits)
    except struct.error as error:
        raise UnboundedError(f"it ends too soon ({error})") from error


def _check(value: bytes, limits: Limits) -> None:
    at = 0
    messages = 0
    ended = False
    left = _Left(8 * len(value) if limits.rows is None else limits.rows, limits.unpacked, limits)
    while at < len(value):
        mark, size = struct.unpack_from("<Ii", value, at)
        if mark != _CONTINUATION:
            raise UnboundedError(f"no message begins at byte {at}")
        at += 8
        if size == 0:
            ended = True
            break
        if size < 0 or at + size > len(value):
            raise UnboundedError(f"a message of {size} bytes at byte {at} of {len(value)}")
        metadata = value[at : at + size]
        at += size
        at += _check_first(metadata, value, at, limits) if messages == 0 else _check_message(metadata, value, at, left)
        messages += 1
        if messages > _MOST_BATCHES:
            raise UnboundedError(f"more than {_MOST_BATCHES} messages")
    if messages == 0:
        raise UnboundedError("no message")
    if limits.whole and not ended:
        raise UnboundedError("its end is not marked, so it may be cut; close its writer")
    if limits.whole and at < len(value):
        raise UnboundedError(f"{len(value) - at} bytes follow its end; send one stream in a body")


def _check_first(metadata: bytes, value: bytes, at: int, limits: Limits) -> int:
    """Bytes of the body behind a schema, which is looked at."""
    long = len(metadata) > _LONGEST_REMEMBERED
    return _within(_check_schema(metadata, limits) if long else _check_known_schema(metadata, limits), len(value) - at)


def _check_message(metadata: bytes, value: bytes, at: int, left: _Left) -> int:
    """Bytes of a message's body. at: where it begins."""
    wanted = (_RECORD_BATCH, _DICTIONARY) if left.limits.dictionaries else (_RECORD_BATCH,)
    kind, header, body = _header(metadata, wanted)
    _within(body, len(value) - at)
    batch: Table | None = header
    if kind == _DICTIONARY:
        if header.number(2, "<B"):
            raise UnboundedError("a delta of a dictionary; write whole dictionaries")
        batch = header.table(1)
        if batch is None:
            raise UnboundedError("a dictionary without values")
    assert batch is not None  # noqa: S101 a record batch is its header
    _check_batch(batch, value, at, body, left)
    if kind == _RECORD_BATCH and left.limits.rows is not None:
        left.rows -= batch.number(0, "<q")
        if left.rows < 0:
            raise UnboundedError(f"more than {left.limits.rows:,} rows; send fewer at once")
    return body


def _check_schema(metadata: bytes, limits: Limits) -> int:
    """Bytes of the body that the message of a schema tells, unchecked; its fields are checked."""
    _, header, body = _header(metadata, (_SCHEMA,))
    if header.number(0, "<h"):
        raise UnboundedError("big-endian numbers; write little-endian ones")
    fields = header.tables(1)
    _check_fields(fields, _DEEPEST, [_MOST_FIELDS], limits)
    names = [field.text(0) for field in fields]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise UnboundedError(f"two columns are named {twice[:60]!r}")
    return body


_check_known_schema = lru_cache(_REMEMBERED)(_check_schema)


def _header(metadata: bytes, wanted: tuple[int, ...]) -> tuple[int, Table, int]:
    """Kind of a message, its header, and the bytes of its body as it tells them, unchecked."""
    message = Table.root(metadata)
    kind = message.number(1, "<B")
    header = message.table(2)
    if header is None or kind not in wanted:
        raise UnboundedError(f"a message of kind {kind}; a schema and then record batches are read")
    return kind, header, message.number(3, "<q")


def _within(body: int, left: int) -> int:
    if not 0 <= body <= left:
        raise UnboundedError(f"a body of {body} bytes where {left} are left")
    return body


def _check_fields(fields: list[Table], depth: int, left: list[int], limits: Limits) -> None:
    left[0] -= len(fields)
    if fields and (depth == 0 or left[0] < 0):
        raise UnboundedError(f"fields nested deeper than {_DEEPEST} levels, or more than {_MOST_FIELDS}")
    for each in fields:
        kind = each.number(2, "<B")
        shown = each.text(0)[:60]
        if kind in _UNREAD:
            raise UnboundedError(f"column {shown!r} is of the type {_UNREAD[kind]}, which is not read")
        own = each.table(3)
        if kind == _DECIMAL and own is not None and own.number(2, "<i") > _WIDEST_DECIMAL:
            raise UnboundedError(f"column {shown!r} has decimals of more than {_WIDEST_DECIMAL} bits")
        if each.table(4) is not None and not limits.dictionaries:
            raise UnboundedError("a dictionary")
        if each.table(4) is not None and kind not in _OF_DICTIONARIES:
            raise UnboundedError(f"column {shown!r} has a dictionary of what is no text and no number")
        _check_fields(each.tables(5), depth - 1, left, limits)


def _check_batch(batch: Table, value: bytes, at: int, body: int, left: _Left) -> None:
    """at: where the body begins."""
    most = 8 * (len(value) + left.limits.unpacked)
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
    if batch.table(3) is not None:
        _check_unpacked(buffers, value, at, left)


def _check_unpacked(buffers: list[tuple[int, int]], value: bytes, at: int, left: _Left) -> None:
    """Lengths before compression, with which each buffer begins."""
    if not left.limits.unpacked:
        raise UnboundedError("compressed buffers")
    for offset, length in buffers:
        if length == 0:
            continue
        (told,) = struct.unpack_from("<q", value, at + offset)
        if length < _LENGTH or told < _RAW:
            raise UnboundedError(f"a compressed buffer of {length} bytes, {told} when unpacked")
        left.unpacked -= length if told == _RAW else told
        if left.unpacked < 0:
            raise UnboundedError(f"compressed buffers of more than {left.limits.unpacked:,} bytes when unpacked")

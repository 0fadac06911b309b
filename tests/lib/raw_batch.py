"""Record batches written byte by byte, with what no client of ours would send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

_PRODUCE, _VERSION = 0, 3
_CASTAGNOLI = 0x82F63B78


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_CASTAGNOLI if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _table()


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _varint(number: int) -> bytes:
    zigzag = (number << 1) ^ (number >> 63)
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def _sized(content: bytes | None) -> bytes:
    return _varint(-1) if content is None else _varint(len(content)) + content


def _text(content: str) -> bytes:
    return struct.pack(">h", len(content)) + content.encode()


def batch_of(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[bytes, bytes | None]], timestamp: int
) -> bytes:
    """A batch of one record, format 2. timestamp: ms."""
    fields = b"".join(_sized(name) + _sized(content) for name, content in headers)
    body = b"\0" + _varint(0) + _varint(0) + _sized(key) + _sized(value) + _varint(len(headers)) + fields
    checked = struct.pack(">hiqqqhii", 0, 0, timestamp, timestamp, -1, -1, -1, 1) + _varint(len(body)) + body
    tail = struct.pack(">ibI", -1, 2, _crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(tail)) + tail


def send_batch(server: str, topic: str, batch: bytes) -> int:
    """Produce a batch to partition 0 of a topic whose leader is `server`; its offset.

    Raises:
        RuntimeError: Kafka refused it.

    """
    host, port = server.split(",", maxsplit=1)[0].rsplit(":", 1)
    header = struct.pack(">hhi", _PRODUCE, _VERSION, 7) + _text("raw")
    data = struct.pack(">i", len(batch)) + batch
    body = struct.pack(">hhii", -1, -1, 10_000, 1) + _text(topic) + struct.pack(">ii", 1, 0) + data
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        reading = connection.makefile("rb")
        (size,) = struct.unpack(">i", reading.read(4))
        answer = reading.read(size)
    begin = 4 + 4 + 2 + len(topic.encode()) + 4 + 4  # correlation, topics, name, partitions, index
    error, offset = struct.unpack(">hq", answer[begin : begin + 10])
    if error:
        raise RuntimeError(f"Kafka refuses the batch with error {error}")
    return int(offset)

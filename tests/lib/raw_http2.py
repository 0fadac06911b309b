"""A gRPC call as bytes on a socket: with headers that no client library would send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

_HEADERS, _SETTINGS, _DATA = 1, 4, 0
_END_STREAM, _END_HEADERS = 1, 4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _text(value: bytes) -> bytes:
    """A string of HPACK (RFC 7541, 5.2), not Huffman-coded."""
    if len(value) < 127:
        return bytes((len(value),)) + value
    rest, length = len(value) - 127, b"\x7f"
    while rest >= 128:
        length += bytes((rest % 128 + 128,))
        rest //= 128
    return length + bytes((rest,)) + value


def _header(name: bytes, value: bytes) -> bytes:
    return b"\x00" + _text(name) + _text(value)


def _request(stream: int, path: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    common = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"localhost")]
    common += [(b"te", b"trailers"), (b"content-type", b"application/grpc"), *headers]
    block = b"".join(_header(*pair) for pair in common)
    message = b"\x00" + struct.pack(">I", 0)
    return _frame(_HEADERS, _END_HEADERS, stream, block) + _frame(_DATA, _END_STREAM, stream, message)


def opening(path: str, settings: bytes = b"") -> bytes:
    """A connection's beginning, with the settings and one call with an empty message."""
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, settings) + _request(1, path, ())


def call(address: str, path: str, headers: Sequence[tuple[bytes, bytes]], times: int = 1) -> int:
    """Make `times` calls on one connection, each with the headers; how many the service ended or reset."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b""))
        for number in range(times):
            sock.sendall(_request(2 * number + 1, path, headers))
        return _ended(sock, times)


def _ended(sock: socket.socket, times: int) -> int:
    ended: set[int] = set()
    with sock.makefile("rb") as read:
        while len(ended) < times and len(head := read.read(9)) == 9:
            length = int.from_bytes(head[:3], "big")
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
            read.read(length)
            if kind == _SETTINGS and not flags:
                sock.sendall(_frame(_SETTINGS, 1, 0, b""))
            if stream and (kind == 3 or (flags & _END_STREAM and kind in {_HEADERS, _DATA})):
                ended.add(stream)
    return len(ended)

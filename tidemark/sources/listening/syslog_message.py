"""Syslog: frames of a connection (RFC 6587), and the parts of a message (RFC 5424)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from tidemark.sources.source import SourceRecord

_HEAD: Final = re.compile(rb"<([0-9]{1,3})>1 (\S{1,64}) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) (-|(?=\[))")
_LARGEST_PRIORITY: Final = 191
_NAME: Final = re.compile(rb"[!-<>-\\^-~]{1,60}")
_MOST_PAIRS: Final = 1_000


class BadFrameError(Exception):
    """Where the next frame begins can't be told: the connection is of no use any more."""


class Frames:
    """Parts what comes into messages, of both framings, which may alternate.

    Args:
        most: bytes of a message. One that a newline ends is cut; a longer one by octet count ends the connection.

    """

    def __init__(self, most: int) -> None:
        self._most, self._rest, self._skips = most, b"", False
        self.ended = False
        """Whether a message ended with what came last: what is there of one then is another's beginning."""

    @property
    def partial(self) -> bool:
        """Whether half a message has come."""
        return bool(self._rest) or self._skips

    def feed(self, data: bytes) -> list[bytes]:
        """Messages that are whole with what came just now.

        Raises:
            BadFrameError: see there.

        """
        self._rest += data
        found: list[bytes] = []
        self.ended, at = False, 0
        while at < len(self._rest):
            end = self._skipped(at) if self._skips else self._one(at, found)
            if end is None:
                break
            at = end
            self.ended |= not self._skips
        self._rest = self._rest[at:]
        return found

    def _skipped(self, at: int) -> int:
        """Behind the newline that ends what was cut."""
        end = self._rest.find(b"\n", at)
        self._skips = end < 0
        return len(self._rest) if end < 0 else end + 1

    def _one(self, at: int, found: list[bytes]) -> int | None:
        first = self._rest[at]
        if first in b"\r\n\0":
            return at + 1
        return self._counted(at, found) if 0x31 <= first <= 0x39 else self._line(at, found)

    def _counted(self, at: int, found: list[bytes]) -> int | None:
        space = self._rest.find(b" ", at, at + 9)
        if space < 0:
            if len(self._rest) - at >= 9:
                raise BadFrameError("a message begins with digits that are no octet count")
            return None
        digits = self._rest[at:space]
        if not digits.isdigit():
            raise BadFrameError("a message begins with digits that are no octet count")
        if int(digits) > self._most:
            raise BadFrameError(f"a message has {int(digits):,} bytes, more than max_message")
        end = space + 1 + int(digits)
        if end > len(self._rest):
            return None
        found.append(self._rest[space + 1 : end])
        return end

    def _line(self, at: int, found: list[bytes]) -> int | None:
        end = self._rest.find(b"\n", at)
        if end < 0 and len(self._rest) - at <= self._most:
            return None
        if end < 0 or end - at > self._most:
            found.append(self._rest[at : at + self._most])
            self._skips = True
            return at + self._most
        found.append(self._rest[at:end].rstrip(b"\r"))
        return end + 1


def record_of(message: bytes, position: str, wanted: Collection[str]) -> SourceRecord:
    """A message as a record.

    Args:
        message: of a frame.
        position: of the record.
        wanted: attributes that columns are made of.

    Returns:
        Its text with its parts; what is no message of RFC 5424 stays as it is, without any.

    """
    head = _HEAD.match(message)
    if head is None or int(head[1]) > _LARGEST_PRIORITY:
        return SourceRecord(message, position)
    data: dict[str, str] = {}
    end: int | None = head.end()
    if head[7] != b"-":
        end = _structured(message, head.end(), data, wanted)
    if end is None or message[end : end + 1] not in {b"", b" "}:
        return SourceRecord(message, position)
    priority = int(head[1])
    told = {"facility": str(priority // 8), "severity": str(priority % 8), **data}
    for name, part in zip(("time", "host", "app", "process", "message_id"), head.groups()[1:6], strict=True):
        if part != b"-":
            told[name] = part.decode(errors="backslashreplace")
    return SourceRecord(message[end + 1 :].removeprefix(b"\xef\xbb\xbf"), position, told)


def _structured(message: bytes, at: int, data: dict[str, str], wanted: Collection[str]) -> int | None:
    """Read `[id name="value" …]…`; where it ends, None if it is none."""
    pairs = 0
    while message[at : at + 1] == b"[":
        identity = _NAME.match(message, at + 1)
        if identity is None:
            return None
        at = identity.end()
        while message[at : at + 1] == b" ":
            name = _NAME.match(message, at + 1)
            if name is None or message[name.end() : name.end() + 2] != b'="' or (pairs := pairs + 1) > _MOST_PAIRS:
                return None
            value, at = _value(message, name.end() + 2)
            if value is None:
                return None
            called = f"data.{identity[0].decode()}.{name[0].decode()}"
            if called in wanted:
                data.setdefault(called, value)
        if message[at : at + 1] != b"]":
            return None
        at += 1
    return at


def _value(message: bytes, at: int) -> tuple[str | None, int]:
    found = bytearray()
    while at < len(message):
        sign = message[at : at + 1]
        if sign == b'"':
            return found.decode(errors="backslashreplace"), at + 1
        if sign == b"\\" and message[at + 1 : at + 2] in {b'"', b"\\", b"]"}:
            at += 1
            sign = message[at : at + 1]
        found += sign
        at += 1
    return None, at

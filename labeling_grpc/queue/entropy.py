"""Random bytes and ids of annotations."""

from __future__ import annotations

import secrets
from typing import Final

_DRAWN: Final = 1_024
_MILLISECONDS: Final = 2**48 - 1
_UUID7: Final = 7 << 76 | 2 << 62
_UUID7_FIXED: Final = 15 << 76 | 3 << 62
"""Bits of the version and the variant, in what follows the time."""


class Entropy:
    """Random bytes of the system, drawn for many at once: each draw is a system call that lets other threads run."""

    def __init__(self) -> None:
        self._bytes = b""
        self._next = 0

    def draw(self, number: int) -> bytes:
        """Bytes that nobody was given before."""
        if self._next + number > len(self._bytes):
            self._bytes, self._next = secrets.token_bytes(_DRAWN), 0
        self._next += number
        return self._bytes[self._next - number : self._next]

    def uuid7(self, wall: int) -> str:
        """A UUID of version 7 (RFC 9562), so that a new row has its place at the index's end.

        Args:
            wall: Wall clock, µs.

        Returns:
            32 hex digits.

        """
        drawn = int.from_bytes(self.draw(10)) & ~_UUID7_FIXED | _UUID7
        return f"{wall // 1_000 & _MILLISECONDS:012x}{drawn:020x}"

"""FlatBuffers tables, in which Arrow tells its lengths: read without believing one of them."""

from __future__ import annotations

import struct
from dataclasses import dataclass


class UnboundedError(ValueError):
    """A stream contradicts itself, or is of a kind that is not read. The message says where."""


@dataclass(frozen=True, slots=True)
class Table:
    """A FlatBuffers table: `fields` are the positions of its fields in `data`, 0 where absent."""

    data: bytes
    fields: tuple[int, ...]

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The first table of a message."""
        return cls.at(data, _read(data, "<I", 0))

    @classmethod
    def at(cls, data: bytes, position: int) -> Table:
        """The table at a position."""
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

    def table(self, field: int) -> Table | None:
        """A table within this one; None where absent."""
        position = self._position(field)
        return Table.at(self.data, position + _read(self.data, "<I", position)) if position else None

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        begin, count = self._vector(field, 4)
        places = range(begin, begin + 4 * count, 4)
        return [Table.at(self.data, place + _read(self.data, "<I", place)) for place in places]

    def text(self, field: int) -> str:
        """A text; empty where absent."""
        begin, count = self._vector(field, 1)
        return self.data[begin : begin + count].decode(errors="replace")

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

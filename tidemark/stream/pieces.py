"""Rows in records that no topic refuses: as many rows in each as fit, however large single rows are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

Headers = tuple[tuple[str, bytes], ...]
RECORD_BYTES: Final = 600_000
"""Bytes of a record's value and headers. A default topic takes a megabyte; what compresses badly must fit as well."""


def in_pieces(
    rows: int,
    estimate: int,
    encode: Callable[[int, int], tuple[bytes, Headers]],
    most: int = RECORD_BYTES,
    least: Callable[[int, int], int] | None = None,
) -> Iterator[tuple[int, int, bytes, Headers]]:
    """Encode rows in pieces whose records keep below a size; a single row that is larger is a record of its own.

    Args:
        rows: how many there are.
        estimate: about the bytes of all of them, for a first guess of the number of pieces.
        encode: value and headers of the record of rows `begin` to `end`.
        most: bytes of a record's value and headers.
        least: bytes that the value of rows `begin` to `end` surely has, asked before each call of `encode`: what is
            surely too large is not encoded in vain.

    Yields:
        Begin and end of each piece, its value and its headers.

    """
    pieces = min(max(-(-estimate // most), 1), max(rows, 1))
    cuts = [rows * i // pieces for i in range(pieces + 1)]
    for begin, end in pairwise(cuts):
        yield from _halved(begin, end, encode, most, least)


def _halved(
    begin: int,
    end: int,
    encode: Callable[[int, int], tuple[bytes, Headers]],
    most: int,
    least: Callable[[int, int], int] | None,
) -> Iterator[tuple[int, int, bytes, Headers]]:
    if (least is None or least(begin, end) <= most) or end - begin <= 1:
        value, headers = encode(begin, end)
        if end - begin <= 1 or len(value) + sum(len(name) + len(content) for name, content in headers) <= most:
            yield begin, end, value, headers
            return
    middle = (begin + end) // 2
    yield from _halved(begin, middle, encode, most, least)
    yield from _halved(middle, end, encode, most, least)

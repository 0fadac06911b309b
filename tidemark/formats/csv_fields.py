"""One pass over rows of CSV that finds the values of cells, all rows at once.

A row is as RFC 4180 has it, in a record of its own, perhaps with the end of a line. Its cells may be in quotes, as long
as no quote is doubled within. A row that is anything else, or has a cell that is not plainly of its column's type, is
told as not read: whoever asked looks at it by itself.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean
from kernels.numerics._plain_numbers import begins_number, float_of, number_at, rounds_once
from tidemark.formats.places import BOOL, FLOAT, TEXT, WHOLE, Places

_QUOTE, _LINE, _RETURN, _NUL = (np.uint8(ord(c)) for c in '"\n\r\0')
_ASCII: Final = 128
_BOM: Final = np.uint8(0xEF)
"""The first byte of a byte order mark, and of few characters besides."""
_TRUE, _FALSE = (np.frombuffer(text, np.uint8) for text in (b"trueTrueTRUE", b"falseFalseFALSE"))
"""How the two are written, one after the other."""
_WAYS: Final = 3


class Cells(NamedTuple):
    """Cells of a row.

    separator: between them, a byte of ASCII.  slots: (cells,) which column each is of; -1: of none.
    kinds: (columns,) what each column is.
    """

    separator: np.uint8
    slots: NDArray[np.int64]
    kinds: NDArray[np.int64]


@lean
def _is(data: NDArray[np.uint8], p: int, end: int, ways: NDArray[np.uint8]) -> bool:
    """Whether bytes are one of some ways to write a word."""
    size = ways.shape[0] // _WAYS
    if end - p != size:
        return False
    for way in range(_WAYS):
        same = True
        for k in range(size):
            same &= data[p + k] == ways[way * size + k]
        if same:
            return True
    return False


@lean
def _cell_end(data: NDArray[np.uint8], p: int, end: int, separator: np.uint8) -> tuple[int, bool]:
    """Where a cell ends that begins at p, -1 where it is not plain; and whether it is ASCII. Quotes belong to it."""
    bits = np.uint8(0)
    if p < end and data[p] == _QUOTE:
        p += 1
        while p < end and data[p] != _QUOTE:
            if data[p] == _NUL:
                return -1, False
            bits |= data[p]
            p += 1
        closed = p < end and (p + 1 == end or data[p + 1] == separator)
        return (p + 1 if closed else -1), bool(bits < _ASCII)
    while p < end and data[p] != separator:
        c = data[p]
        if c in (_QUOTE, _LINE, _RETURN, _NUL):
            return -1, False
        bits |= c
        p += 1
    return p, bool(bits < _ASCII)


@lean
def _value(
    data: NDArray[np.uint8],
    first: int,
    last: int,
    begin: int,
    kind: int,
    at: tuple[int, int],
    places: Places,
) -> bool:
    """Note what a cell says; False where that is not plainly of its column's type. begin: of the record."""
    whole, numbers, lengths = places.whole, places.numbers, places.lengths
    quoted = last > first and data[first] == _QUOTE
    p, end = (first + 1, last - 1) if quoted else (first, last)
    if kind == TEXT:
        whole[at], lengths[at] = p - begin, end - p if quoted or end > p else -1
        return True
    if p == end:
        lengths[at] = -1
        return True
    if kind == BOOL:
        whole[at] = 1 if _is(data, p, end, _TRUE) else 0
        return whole[at] == 1 or _is(data, p, end, _FALSE)
    if not begins_number(data[p]):
        return False
    behind, value, power, is_whole = number_at(data, p, end)
    if behind != end or (not is_whole if kind == WHOLE else not rounds_once(value, power)):
        return False
    whole[at] = value
    numbers[at] = float_of(value, power) if kind == FLOAT else 0.0
    return True


@lean
def _row(data: NDArray[np.uint8], begin: int, end: int, i: int, wanted: Cells, places: Places) -> bool:
    """Whether record i is a plain row of so many cells as are wanted."""
    separator, slots, kinds = wanted
    if end > begin and data[end - 1] == _LINE:
        end -= 1
    if end > begin and data[end - 1] == _RETURN:
        end -= 1
    if end == begin or data[begin] == _BOM:
        return False
    p, cells = begin, slots.shape[0]
    for cell in range(cells):
        last, is_ascii = _cell_end(data, p, end, separator)
        if last < 0 or (last == end) != (cell == cells - 1):
            return False
        slot = slots[cell]
        if slot < 0:
            if not is_ascii:
                return False
        elif not _value(data, p, last, begin, kinds[slot], (slot, i), places):
            return False
        p = last + 1
    return True


@lean
def scan_csv(
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    wanted: Cells,
    places: Places,
    read: NDArray[np.bool_],
) -> None:
    """Values of cells.

    data: rows, one after the other.  ends: (n,) where each ends.  places: written.
    read: (n,) written, whether all is as it should be; of other rows nothing else is told.
    """
    begin = 0
    for i in range(ends.shape[0]):
        end = int(ends[i])
        read[i] = _row(data, begin, end, i, wanted, places)
        begin = end

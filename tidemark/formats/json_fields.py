"""One pass over plain JSON records that finds the values of columns, all records at once.

Plain is an object without objects or lists in it, whose texts have no escapes and whose numbers float64 holds exactly
as they are written, or rounded once. A record that is anything else, or not as the columns want it, is told as not
read: whoever asked looks at it by itself.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean
from kernels.numerics._plain_numbers import begins_number, float_of, number_at, rounds_once
from tidemark.formats.places import BOOL, TEXT, WHOLE, Places

_UNSEEN: Final = -2
_QUOTE, _BACKSLASH, _COMMA, _COLON, _OPEN, _CLOSE = (np.uint8(ord(c)) for c in '"\\,:{}')
_SPACE, _TAB, _LINE, _RETURN = (np.uint8(ord(c)) for c in " \t\n\r")
_TRUE, _FALSE, _NULL = (np.frombuffer(text, np.uint8) for text in (b"true", b"false", b"null"))


class Wanted(NamedTuple):
    """Columns that are wanted.

    names: in UTF-8, one after the other, without a quote, a backslash or a control character.
    name_ends: (columns,) where each ends.  kinds: (columns,).  strict: (columns,) whether it must have a value.
    """

    names: NDArray[np.uint8]
    name_ends: NDArray[np.int64]
    kinds: NDArray[np.int64]
    strict: NDArray[np.bool_]


@lean
def _behind_space(data: NDArray[np.uint8], p: int, end: int) -> int:
    while p < end and (data[p] == _SPACE or data[p] == _LINE or data[p] == _RETURN or data[p] == _TAB):
        p += 1
    return p


@lean
def _is_there(data: NDArray[np.uint8], p: int, end: int, wanted: NDArray[np.uint8]) -> bool:
    """Whether some bytes are next."""
    if p + wanted.shape[0] > end:
        return False
    for k in range(wanted.shape[0]):  # noqa: SIM110 - numba compiles no generators
        if data[p + k] != wanted[k]:
            return False
    return True


@lean
def _closing(data: NDArray[np.uint8], p: int, end: int) -> tuple[int, bool]:
    """The quote that ends a text, -1 where it is not plain; and whether all of the text is ASCII."""
    bits = np.uint8(0)
    while p < end:
        c = data[p]
        if c == _QUOTE:
            return p, bool(bits < np.uint8(128))
        if c == _BACKSLASH or c < _SPACE:
            break
        bits |= c
        p += 1
    return -1, False


@lean
def _slot_of(data: NDArray[np.uint8], p: int, end: int, wanted: Wanted, first: int) -> tuple[int, int]:
    """The column whose name and a quote come next, and where the quote is; -1 and 0 if none does.

    first: the column that is looked at before the others.
    """
    slots = wanted.name_ends.shape[0]
    for turn in range(slots):
        slot = first + turn if first + turn < slots else first + turn - slots
        begin = wanted.name_ends[slot - 1] if slot else 0
        name = wanted.names[begin : wanted.name_ends[slot]]
        behind = p + name.shape[0]
        if behind < end and data[behind] == _QUOTE and _is_there(data, p, end, name):
            return slot, behind
    return -1, 0


@lean
def _value(  # noqa: PLR0911 - a record is given up at the first byte that is not plain
    data: NDArray[np.uint8], p: int, begin: int, end: int, kind: int, at: tuple[int, int], places: Places
) -> int:
    """Behind a value, -1 where it is not plain or no value of the column; null is a value of each.

    begin: of the record.  kind: of the column, -1: of none.  at: where in `places` the value goes.
    """
    whole, numbers, lengths = places.whole, places.numbers, places.lengths
    c = data[p]
    if c == _QUOTE:
        quote, is_ascii = _closing(data, p + 1, end)
        if quote < 0 or (kind < 0 and not is_ascii) or kind > TEXT:
            return -1
        whole[at], lengths[at] = p + 1 - begin, quote - p - 1
        return quote + 1
    lengths[at] = 0
    if begins_number(c):
        behind, value, power, is_whole = number_at(data, p, end)
        if behind < 0 or kind in (TEXT, BOOL) or (kind == WHOLE and not is_whole):
            return -1
        if kind != WHOLE and not rounds_once(value, power):
            return -1
        whole[at] = value
        numbers[at] = float_of(value, power)
        return behind
    if _is_there(data, p, end, _NULL):
        lengths[at] = -1
        return p + len(_NULL)
    right = _is_there(data, p, end, _TRUE)
    if kind not in (-1, BOOL) or not (right or _is_there(data, p, end, _FALSE)):
        return -1
    whole[at] = 1 if right else 0
    return p + (len(_TRUE) if right else len(_FALSE))


@lean
def _pair(
    data: NDArray[np.uint8], p: int, begin: int, end: int, at: tuple[int, int], wanted: Wanted, places: Places
) -> tuple[int, int]:
    """Behind a name and its value, -1 where they are not plain; and the column to look at before the others then.

    at: that column, and number of the record.
    """
    if p >= end or data[p] != _QUOTE:
        return -1, 0
    first, i = at
    slot, quote = _slot_of(data, p + 1, end, wanted, first)
    kind, place = -1, wanted.kinds.shape[0]
    if slot >= 0:
        kind, place, first = wanted.kinds[slot], slot, slot + 1
        if places.lengths[slot, i] != _UNSEEN:
            return -1, 0
    else:
        quote, is_ascii = _closing(data, p + 1, end)
        if quote < 0 or not is_ascii:
            return -1, 0
    p = _behind_space(data, quote + 1, end)
    if p >= end or data[p] != _COLON:
        return -1, 0
    p = _behind_space(data, p + 1, end)
    p = _value(data, p, begin, end, kind, (place, i), places) if p < end else -1
    return (-1, 0) if p < 0 else (_behind_space(data, p, end), first)


@lean
def _record(data: NDArray[np.uint8], begin: int, end: int, i: int, wanted: Wanted, places: Places) -> bool:
    """Whether record i is plain, and has what it must have."""
    p = _behind_space(data, begin, end)
    if p >= end or data[p] != _OPEN:
        return False
    p = _behind_space(data, p + 1, end)
    first = 0
    more = p >= end or data[p] != _CLOSE
    while more:
        p, first = _pair(data, p, begin, end, (first, i), wanted, places)
        if p < 0 or p >= end or (data[p] != _COMMA and data[p] != _CLOSE):
            return False
        more = data[p] == _COMMA
        if more:
            p = _behind_space(data, p + 1, end)
    right = True
    for slot in range(wanted.kinds.shape[0]):
        length = max(places.lengths[slot, i], np.int64(-1))
        places.lengths[slot, i] = length
        right &= length >= 0 or not wanted.strict[slot]
    return right and _behind_space(data, p + 1, end) == end


@lean
def scan_json(
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    most: int,
    wanted: Wanted,
    places: Places,
    read: NDArray[np.bool_],
) -> None:
    """Values of columns.

    data: records, one after the other.  ends: (n,) where each ends.  most: bytes of a record, at most.
    places: written; of a column more than there are, for values that nobody wants.
    read: (n,) written, whether all is as it should be; of other records nothing else is told.
    """
    places.lengths[:] = _UNSEEN
    begin = 0
    for i in range(ends.shape[0]):
        end = int(ends[i])
        read[i] = end - begin <= most and _record(data, begin, end, i, wanted, places)
        begin = end

"""One pass over Avro records of flat schemas that finds the values of columns, all records at once.

A record that is not exactly what its schema says is told as not read: whoever asked looks at it by itself.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import kernel

NULL, BOOLEAN, WHOLE, FLOAT, DOUBLE, TEXT, FIXED = range(7)
"""What a field is: nothing, a byte, a variable number, 4 or 8 bytes, a length and so many bytes, so many bytes."""
_WIDEST: Final = 9
"""Bytes of a variable number that surely fits 64 bits; a longer one is looked at by itself."""


@kernel
def scan_avro(  # noqa: C901, PLR0912, PLR0915 - one pass, one state machine
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    program: NDArray[np.int64],
    whole: NDArray[np.int64],
    numbers: NDArray[np.float64],
    lengths: NDArray[np.int64],
    read: NDArray[np.bool_],
) -> None:
    """Values of fields.

    data: records, one after the other.  ends: (n,) where each ends.
    program: (fields, 4) what each field is; the bytes of a fixed one, the number of an enum's symbols, else 0; which
    branch of its union with null is null, -1 where it is no union; and where its value goes, -1: nowhere.
    whole: (slots, n) whole numbers, and where texts begin in their records.  numbers: (slots, n) floats.
    lengths: (slots, n) of texts; -1 of any value that is null.  read: (n,) whether the record is what its schema says.
    """
    begin = np.int64(0)
    for i in range(ends.shape[0]):
        end = ends[i]
        p = np.int64(begin)
        good = True
        for f in range(program.shape[0]):
            kind, known, nullable, slot = program[f]
            null = kind == NULL
            if nullable >= 0:
                if p >= end or data[p] not in (0, 2):
                    good = False
                    break
                null = null or (data[p] >> 1) == nullable
                p += 1
            if null:
                if slot >= 0:
                    lengths[slot, i] = -1
                continue
            number = np.int64(0)
            if kind in (WHOLE, TEXT):
                shift = 0
                value = np.uint64(0)
                done = False
                while p < end and shift < 7 * _WIDEST:
                    byte = data[p]
                    p += 1
                    value |= np.uint64(byte & 0x7F) << np.uint64(shift)
                    shift += 7
                    if byte < 0x80:
                        done = True
                        break
                if not done:
                    good = False
                    break
                number = np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))
            if kind == WHOLE:
                if known > 0 and not 0 <= number < known:
                    good = False
                    break
                if slot >= 0:
                    whole[slot, i] = number
            elif kind == DOUBLE:
                if p + 8 > end:
                    good = False
                    break
                if slot >= 0:
                    numbers[slot, i] = data[p : p + 8].view(np.float64)[0]
                p += 8
            elif kind in (TEXT, FIXED):
                if kind == FIXED:
                    number = known
                if number < 0 or number > end - p:
                    good = False
                    break
                if slot >= 0:
                    whole[slot, i] = p - begin
                    lengths[slot, i] = number
                p += number
            elif kind == FLOAT:
                if p + 4 > end:
                    good = False
                    break
                if slot >= 0:
                    numbers[slot, i] = np.float64(data[p : p + 4].view(np.float32)[0])
                p += 4
            elif kind == BOOLEAN:
                if p >= end or data[p] > 1:
                    good = False
                    break
                if slot >= 0:
                    whole[slot, i] = data[p]
                p += 1
        read[i] = good and p == end
        begin = end

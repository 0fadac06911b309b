"""One pass over Protobuf records that finds the values of fields, all records at once.

A record in which a field that is wanted is not as its schema has it, or comes twice, or that is no Protobuf, is told as
not read: whoever asked looks at it by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import kernel

WHOLE, ZIGZAG, FIXED64, DOUBLE, FIXED32, FLOAT, TEXT, BOOLEAN, UNSIGNED = range(9)
"""What a field is on the wire."""


@kernel
def scan_protobuf(  # noqa: C901, PLR0912, PLR0915 - one pass, one state machine
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    fields: NDArray[np.int64],
    kinds: NDArray[np.int64],
    whole: NDArray[np.int64],
    numbers: NDArray[np.float64],
    lengths: NDArray[np.int64],
    read: NDArray[np.bool_],
) -> None:
    """Values of fields.

    data: records, one after the other.  ends: (n,) where each ends.  fields, kinds: (slots,) numbers of the fields that
    are wanted, and what each is.
    whole: (slots, n) whole numbers, and where texts begin in their records.  numbers: (slots, n) floats.
    lengths: (slots, n) of texts, 0 of other values that are there; -1, as it comes, where there is none.
    read: (n,) whether the record could be read.
    """
    begin = np.int64(0)
    for i in range(ends.shape[0]):
        end = ends[i]
        p = np.int64(begin)
        good = True
        while p < end and good:
            # the tag
            tag = np.uint64(0)
            shift = 0
            done = False
            while p < end and shift < 35:
                byte = data[p]
                p += 1
                tag |= np.uint64(byte & 0x7F) << np.uint64(shift)
                shift += 7
                if byte < 0x80:
                    done = True
                    break
            number = np.int64(tag >> np.uint64(3))
            wire = np.int64(tag & np.uint64(7))
            if not done or number == 0 or number > 536_870_911:
                good = False
                break
            slot = -1
            for s in range(fields.shape[0]):
                if fields[s] == number:
                    slot = s
            kind = kinds[slot] if slot >= 0 else -1
            if slot >= 0 and lengths[slot, i] >= 0:
                good = False  # once more: the last one counts, but each must be right
                break
            if wire == 0:
                value = np.uint64(0)
                shift = 0
                done = False
                while p < end and shift < 70:
                    byte = data[p]
                    p += 1
                    if shift == 63 and byte > 1:
                        break
                    value |= np.uint64(byte & 0x7F) << np.uint64(shift)
                    shift += 7
                    if byte < 0x80:
                        done = True
                        break
                if not done:
                    good = False
                elif slot >= 0:
                    if kind == WHOLE:
                        whole[slot, i] = np.int64(value)
                    elif kind == ZIGZAG:
                        whole[slot, i] = np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))
                    elif kind == BOOLEAN:
                        whole[slot, i] = 1 if value != 0 else 0
                    elif kind == UNSIGNED and np.int64(value) >= 0:
                        whole[slot, i] = np.int64(value)
                    else:
                        good = False
                    lengths[slot, i] = 0
            elif wire == 1:
                if p + 8 > end:
                    good = False
                elif slot >= 0:
                    if kind == DOUBLE:
                        numbers[slot, i] = data[p : p + 8].view(np.float64)[0]
                    elif kind == FIXED64:
                        whole[slot, i] = data[p : p + 8].view(np.int64)[0]
                    else:
                        good = False
                    lengths[slot, i] = 0
                p += 8
            elif wire == 5:
                if p + 4 > end:
                    good = False
                elif slot >= 0:
                    if kind == FLOAT:
                        numbers[slot, i] = np.float64(data[p : p + 4].view(np.float32)[0])
                    elif kind == FIXED32:
                        whole[slot, i] = np.int64(data[p : p + 4].view(np.int32)[0])
                    else:
                        good = False
                    lengths[slot, i] = 0
                p += 4
            elif wire == 2:
                size = np.int64(0)
                shift = 0
                done = False
                while p < end and shift < 28:
                    byte = data[p]
                    p += 1
                    size |= np.int64(byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        done = True
                        break
                if not done or size > end - p:
                    good = False
                elif slot >= 0:
                    if kind == TEXT:
                        whole[slot, i] = p - begin
                        lengths[slot, i] = size
                    else:
                        good = False
                p += size
            else:
                good = False
        read[i] = good and p == end
        begin = end

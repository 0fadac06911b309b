"""One pass over the bytes of JSON records that finds what a parser would let through without a word.

A key given twice means one thing to one parser and another to the next, and how deep a parser can go depends on
its caller's stack: neither may decide what a record says. Records that look like that are examined one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import kernel

DEEPEST: Final = 64
"""Levels of nesting that a record may have."""
_OFFSET: Final = 0x811C9DC5
_PRIME: Final = 0x01000193
_MASK: Final = 0xFFFFFFFF
_QUOTE, _BACKSLASH, _COMMA, _COLON = (np.uint8(ord(c)) for c in '"\\,:')
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = (np.uint8(ord(c)) for c in "{}[]")


def name_hashes(names: Sequence[str]) -> NDArray[np.int64]:
    """FNV-1a hash (32 bits) of each name's UTF-8."""
    hashes = []
    for name in names:
        value = _OFFSET
        for byte in name.encode():
            value = ((value ^ byte) * _PRIME) & _MASK
        hashes.append(value)
    return np.array(hashes, np.int64)


def suspicious(records: Sequence[bytes], names: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which records may have one of the names twice, an escape in a key, or more than `DEEPEST` levels.

    names: `name_hashes` of the keys that matter.  Returns (n,) bool; False is certain, for a record that is JSON.
    """
    data = np.frombuffer(b"".join(records), np.uint8)
    ends = np.cumsum(np.fromiter(map(len, records), np.int64, len(records)))
    out = np.zeros(len(records), np.bool_)
    _scan(data, ends, names, out)
    return out


@kernel
def _scan(  # noqa: C901, PLR0912 - one pass, one state machine
    data: NDArray[np.uint8], ends: NDArray[np.int64], names: NDArray[np.int64], out: NDArray[np.bool_]
) -> None:
    seen = np.zeros(names.shape[0], np.int64)
    p = 0
    for i in range(ends.shape[0]):
        end = ends[i]
        depth = 0
        at_key = False
        while p < end:
            c = data[p]
            p += 1
            if c == _QUOTE:
                key = _OFFSET
                while p < end and data[p] != _QUOTE:
                    if data[p] == _BACKSLASH:
                        p += 1
                        out[i] |= at_key
                    elif at_key:
                        key = ((key ^ int(data[p])) * _PRIME) & _MASK
                    p += 1
                p += 1
                if at_key:
                    at_key = False
                    for k in range(names.shape[0]):
                        if names[k] == key:
                            out[i] |= seen[k] == i + 1
                            seen[k] = i + 1
            elif c == _COMMA:
                at_key = depth == 1
            elif c == _COLON:
                at_key = False
            elif c in (_OPEN_OBJECT, _OPEN_ARRAY):
                depth += 1
                at_key = depth == 1 and c == _OPEN_OBJECT
                out[i] |= depth > DEEPEST
            elif c in (_CLOSE_OBJECT, _CLOSE_ARRAY):
                depth -= 1
        p = end

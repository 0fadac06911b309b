"""The common form of an ISO 8601 time, read by a kernel: `tidemark.times.iso8601` has the whole grammar."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import kernel

_SHORTEST: Final = len("2025-01-01T00:00:00Z")
_LONGEST: Final = len("2025-01-01T00:00:00.000000Z")
_ZERO, _NINE, _DOT, _Z = (np.uint8(ord(c)) for c in "09.Z")
_PATTERN: Final = np.frombuffer(b"0000-00-00T00:00:00", np.uint8)
_DAYS_BEFORE: Final = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365], np.int64)


@kernel
def _number(data: NDArray[np.uint8], begin: int, end: int) -> int:
    value = 0
    for p in range(begin, end):
        value = value * 10 + int(data[p]) - 48
    return value


@kernel
def parse(data: NDArray[np.uint8], ends: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """`YYYY-MM-DDTHH:MM:SS[.f to .ffffff]Z`; leaves `out` as it is for any other form."""
    begin = 0
    for i in range(ends.shape[0]):
        p, end = begin, ends[i]
        begin = end
        if not _SHORTEST <= end - p <= _LONGEST or end - p == _SHORTEST + 1 or data[end - 1] != _Z:
            continue
        right = end - p == _SHORTEST or data[p + 19] == _DOT
        for k in range(_PATTERN.shape[0]):
            c, wanted = data[p + k], _PATTERN[k]
            right &= (_ZERO <= c <= _NINE) if wanted == _ZERO else c == wanted
        for k in range(p + 20, end - 1):
            right &= _ZERO <= data[k] <= _NINE
        if not right:
            continue
        year, month, day = _number(data, p, p + 4), _number(data, p + 5, p + 7), _number(data, p + 8, p + 10)
        hour, minute, second = (
            _number(data, p + 11, p + 13),
            _number(data, p + 14, p + 16),
            _number(data, p + 17, p + 19),
        )
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if year < 1 or not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
            continue
        length = _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1] + (leap and month == 2)
        if not 1 <= day <= length:
            continue
        before = year - 1
        days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
        days += _DAYS_BEFORE[month - 1] + (leap and month > 2) + day - 1
        fraction = 0
        if end - p > _SHORTEST:
            digits = end - p - _SHORTEST - 1
            fraction = _number(data, p + 20, end - 1)
            for _ in range(6 - digits):
                fraction *= 10
        out[i] = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + fraction

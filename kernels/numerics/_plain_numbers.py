"""Numbers in text that float64 holds exactly as they are written, or rounded once: read as bytes, by kernels."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean

_EXACT: Final = 2**53
_MOST: Final = 10**17
"""A number of more digits may not fit 64 bits."""
_EXPONENT: Final = 22
_MOST_EXPONENT: Final = 1_000
_POWERS: Final = np.array([10.0**power for power in range(_EXPONENT + 1)])
"""Powers of ten that float64 holds: a number times or over one of them is rounded once, as the nearest float64."""
_MINUS, _PLUS, _DOT, _ZERO, _NINE, _E, _LOWER = (np.uint8(ord(c)) for c in "-+.09e ")


@lean
def begins_number(c: np.uint8) -> bool:
    """Whether a byte is the first of a number."""
    return bool(c == _MINUS or _ZERO <= c <= _NINE)


@lean
def _digits(data: NDArray[np.uint8], p: int, end: int, value: int) -> tuple[int, int]:
    """Behind digits, and the number that they make behind those of `value`; at most one beyond `_MOST`."""
    while p < end and _ZERO <= data[p] <= _NINE:
        value = value * 10 + int(np.int64(data[p])) - 48 if value < _MOST else value
        p += 1
    return p, value


@lean
def number_at(data: NDArray[np.uint8], p: int, end: int) -> tuple[int, int, int, bool]:
    """Read a number in the grammar of JSON.

    data: bytes, of which those from p to `end` are looked at.

    Returns where it ends, -1 where it can't be told exactly; its digits as a whole number; the power of ten that they
    are to be multiplied by; and whether it is written as a whole number. Minus zero can't be told.
    """
    negative = data[p] == _MINUS
    first = p + 1 if negative else p
    p, value = _digits(data, first, end, 0)
    right = p > first and (data[first] != _ZERO or p == first + 1)
    power, whole = 0, True
    if right and p < end and data[p] == _DOT:
        point = p + 1
        p, value = _digits(data, point, end, value)
        right, power, whole = p > point, point - p, False
    if right and p < end and (data[p] | _LOWER) == _E:
        p += 1
        down = p < end and data[p] == _MINUS
        begin = p + 1 if p < end and (down or data[p] == _PLUS) else p
        p, exponent = _digits(data, begin, end, 0)
        right, whole = p > begin and exponent < _MOST_EXPONENT, False
        power += -exponent if down else exponent
    if not right or value >= _MOST or (negative and value == 0):
        return -1, 0, 0, False
    return p, -value if negative else value, power, whole


@lean
def rounds_once(value: int, power: int) -> bool:
    """Whether `float_of` gives the float64 that is nearest to what is written."""
    return abs(value) <= _EXACT and abs(power) <= _EXPONENT


@lean
def float_of(value: int, power: int) -> float:
    """So many times a power of ten."""
    return value / float(_POWERS[-power]) if power < 0 else value * float(_POWERS[power])

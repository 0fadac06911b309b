"""Natural logarithms that LLVM can vectorise: no branch, no call, the same bits on every machine.

A call of libm's ``log`` costs 3-5 ns and can't be vectorised; entropies are bound by it. These are the classic
reductions ``x = 2^e (1 + f)`` with ``sqrt(1/2) <= 1 + f < sqrt(2)``; denormals are scaled up first. ``log(0)`` gives a
finite number (about -105 and -746), so that ``p * log(p)`` is exactly 0 at p = 0. Negative numbers and NaN are the
caller's to refuse.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from kernels.numerics._fused import fused
from kernels.numerics._jit import lean

_LN2_HIGH32 = np.float32(0.693359375)
_LN2_LOW32 = np.float32(-2.12194440e-4)
_LN2_32 = np.float32(0.693147180559945309)
_SQRT_HALF_BITS32 = np.int32(0x3F3504F3)
_MANTISSA32 = np.int32(0x007FFFFF)
_SMALLEST32 = np.float32(1.1754944e-38)
_SCALE32 = np.float32(2.0**25)

_LN2_HIGH64 = 6.93147180369123816490e-01
_LN2_LOW64 = 1.90821492927058770002e-10
_SQRT_HALF_BITS64 = np.int64(0x3FE6A09E667F3BCD)
_MANTISSA64 = np.int64(0x000FFFFFFFFFFFFF)
_SMALLEST64 = 2.2250738585072014e-308
_SCALE64 = 2.0**54

# That of sqrt(1/2), and the exponent of the scale.
_SHARE_BITS32 = np.int32(_SQRT_HALF_BITS32 + (25 << 23))
_SHARE_BITS64 = np.int64(_SQRT_HALF_BITS64 + (54 << 52))


@lean
def log32(x: np.float32) -> np.float32:
    """Logarithm of a float32 >= 0, within 1.1 units in the last place (Moshier, Cephes ``logf``)."""
    small = x < _SMALLEST32
    scaled = np.float32(x * (_SCALE32 if small else np.float32(1)))
    bits = np.int32(scaled.view(np.int32) - _SQRT_HALF_BITS32)
    e = np.float32(np.int32(bits >> np.int32(23))) - (np.float32(25) if small else np.float32(0))
    f = np.int32((bits & _MANTISSA32) + _SQRT_HALF_BITS32).view(np.float32) - np.float32(1)
    z = f * f
    y = np.float32(7.0376836292e-2)
    y = y * f - np.float32(1.1514610310e-1)
    y = y * f + np.float32(1.1676998740e-1)
    y = y * f - np.float32(1.2420140846e-1)
    y = y * f + np.float32(1.4249322787e-1)
    y = y * f - np.float32(1.6668057665e-1)
    y = y * f + np.float32(2.0000714765e-1)
    y = y * f - np.float32(2.4999993993e-1)
    y = y * f + np.float32(3.3333331174e-1)
    y = y * f * z
    y = y + _LN2_LOW32 * e
    y = y - np.float32(0.5) * z
    return (f + y) + _LN2_HIGH32 * e


@lean
def log64(x: np.float64) -> np.float64:
    """Logarithm of a float64 >= 0, within one unit in the last place (Sun's fdlibm, ``e_log.c``)."""
    small = x < _SMALLEST64
    scaled = np.float64(x * (_SCALE64 if small else 1.0))
    bits = scaled.view(np.int64) - _SQRT_HALF_BITS64
    e = np.float64(bits >> np.int64(52)) - (54.0 if small else 0.0)
    f = np.int64((bits & _MANTISSA64) + _SQRT_HALF_BITS64).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    odd = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    return e * _LN2_HIGH64 - ((half - (s * (half + (odd + even)) + e * _LN2_LOW64)) - f)


@lean
def share_log32(p: np.float32) -> np.float32:
    """As ``log32``, for numbers to 2^100, in half the time: fused multiplications and additions, no test."""
    bits = np.int32(np.float32(p * _SCALE32).view(np.int32) - _SHARE_BITS32)
    e = np.float32(np.int32(bits >> np.int32(23)))
    f = np.int32((bits & _MANTISSA32) + _SQRT_HALF_BITS32).view(np.float32) - np.float32(1)
    y = np.float32(7.0376836292e-2)
    y = fused(y, f, np.float32(-1.1514610310e-1))
    y = fused(y, f, np.float32(1.1676998740e-1))
    y = fused(y, f, np.float32(-1.2420140846e-1))
    y = fused(y, f, np.float32(1.4249322787e-1))
    y = fused(y, f, np.float32(-1.6668057665e-1))
    y = fused(y, f, np.float32(2.0000714765e-1))
    y = fused(y, f, np.float32(-2.4999993993e-1))
    y = fused(y, f, np.float32(3.3333331174e-1))
    y = fused(y, f, np.float32(-0.5))
    result: np.float32 = fused(e, _LN2_32, fused(f * f, y, f))
    return result


@lean
def share_log64(p: np.float64) -> np.float64:
    """As ``log64``, for numbers to 2^900, in less time: fused multiplications and additions, no test."""
    bits = np.float64(p * _SCALE64).view(np.int64) - _SHARE_BITS64
    e = np.float64(bits >> np.int64(52))
    f = np.int64((bits & _MANTISSA64) + _SQRT_HALF_BITS64).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * fused(w, fused(w, 1.531383769920937332e-01, 2.222219843214978396e-01), 3.999999999940941908e-01)
    odd = fused(w, 1.479819860510658591e-01, 1.818357216161805012e-01)
    odd = z * fused(w, fused(w, odd, 2.857142874366239149e-01), 6.666666666666735130e-01)
    half = 0.5 * f * f
    result: np.float64 = fused(e, _LN2_HIGH64, f - (half - fused(s, half + (odd + even), e * _LN2_LOW64)))
    return result


@lean
def log_of_complement(a: np.float64, b: np.float64) -> np.float64:
    """Logarithm of 1 - a, given b = 1 - a rounded: log(b) mended by what the rounding lost (as Kahan's log1p)."""
    return log64(b) + ((1.0 - b) - a) / (b if b > 0.0 else 1.0)


def share_log(p: float | np.floating[Any]) -> np.floating[Any]:
    """Logarithm of a probability in its precision, a float32 or float64."""
    return share_log32(p) if isinstance(p, np.float32) else share_log64(np.float64(p))


@overload(share_log, strict=False)  # strict compares annotations too
def _share_log(p: types.Type) -> Callable[[np.floating[Any]], np.floating[Any]]:
    if p == types.float32:
        return lambda p: share_log32(p)  # noqa: PLW0108  (numba wants a Python function)
    return lambda p: share_log64(np.float64(p))

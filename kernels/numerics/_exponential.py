"""The exponential, the same bits on every machine: NumPy's differ in the last ones with the instruction set."""

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean

_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_INVERSE_LN2 = 1.44269504088896338700
_LOWEST = -745.5
_HIGHEST = 709.78
_BIAS = np.int64(1023)


@lean
def exp64(x: np.float64) -> np.float64:
    """Exponential of a float64 that is not NaN, within one unit in the last place (Sun's fdlibm, ``e_exp.c``)."""
    bounded = min(max(x, _LOWEST), _HIGHEST)
    k = np.floor(bounded * _INVERSE_LN2 + 0.5)
    high = bounded - k * _LN2_HIGH
    low = k * _LN2_LOW
    r = high - low
    z = r * r
    c = r - z * (
        1.66666666666666019037e-01
        + z
        * (
            -2.77777777770155933842e-03
            + z * (6.61375632143793436117e-05 + z * (-1.65339022054652515390e-06 + z * 4.13813679705723846039e-08))
        )
    )
    y = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    half = np.int64(k) >> np.int64(1)  # in two steps: 2^k itself may be denormal or infinite
    first = np.int64((half + _BIAS) << np.int64(52)).view(np.float64)
    second = np.int64((np.int64(k) - half + _BIAS) << np.int64(52)).view(np.float64)
    scaled = y * first * second
    return np.float64(np.inf) if x > _HIGHEST else scaled


@lean
def _exponentials(x: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for i in range(x.shape[0]):
        out[i] = exp64(x[i])


def exponential(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponentials of float64 numbers that are not NaN, of any shape."""
    out = np.empty(x.size)
    _exponentials(np.ascontiguousarray(x).reshape(-1), out)
    return out.reshape(x.shape)

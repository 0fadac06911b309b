"""What no kernel can be faster than, measured on this machine: a row of `make bench-kernels` says how far it is off.

Each is the cost of the one operation that a kernel cannot do without, alone and with its data in the nearest cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.support.timing import median_seconds
from kernels.diversity._distances import BLOCK, Points, points, squared_distances
from kernels.numerics._logarithm import share_log

Array = NDArray[Any]

_REPEATS = 7
_njit: Any = numba.njit

F = TypeVar("F", bound=Callable[..., Any])


def _compiled(function: F) -> F:
    return cast("F", _njit(nogil=True, error_model="numpy", _nrt=False)(function))


@_compiled
def _logarithms(x: Array, out: Array, times: int) -> None:
    for _ in range(times):
        for i in range(x.shape[0]):
            out[i] = x[i] * share_log(x[i])


@_compiled
def _additions(x: Array, times: int) -> float:
    total = 0.0
    for _ in range(times):
        for i in range(x.shape[0]):
            total += x[i]
    return total


@_compiled
def _chain(following: Array, times: int) -> int:
    at = 0
    for _ in range(times):
        at = following[np.uint64(at)]
    return at


@_compiled
def _look_ups(table: Array, codes: Array, out: Array, times: int) -> None:
    for _ in range(times):
        for i in range(codes.shape[0]):
            out[i] &= table[codes[i]]


@_compiled
def _distances(rows: Points, out: Array, times: int) -> None:
    for _ in range(times):
        squared_distances(rows, 0, 0, out)


@cache
def logarithm(dtype: str) -> float:
    """Seconds of p ln p."""
    x = np.random.default_rng(0).random(2048).astype(dtype)
    out = np.empty_like(x)
    return median_seconds(lambda: _logarithms(x, out, 500), _REPEATS) / (500 * x.size)


@cache
def addition() -> float:
    """Seconds of a float64 addition that waits for the one before."""
    x = np.ones(1024)
    return median_seconds(lambda: _additions(x, 1_000), _REPEATS) / (1_000 * x.size)


@cache
def load() -> float:
    """Seconds of a load whose place is what the one before has loaded."""
    rng = np.random.default_rng(0)
    order = rng.permutation(2048)
    following = np.empty(order.size, np.int64)
    following[order] = np.roll(order, 1)
    return median_seconds(lambda: _chain(following, 1_000_000), _REPEATS) / 1_000_000


@cache
def look_up() -> float:
    """Seconds of a conjunction with an element of a table, whose place is in another array."""
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2**63, 1024).astype(np.uint64)
    codes = rng.integers(0, 1024, 1024).astype(np.uint16)
    out = np.zeros(1024, np.uint64)
    return median_seconds(lambda: _look_ups(table, codes, out, 1_000), _REPEATS) / (1_000 * codes.size)


@cache
def distance_term(dtype: str) -> float:
    """Seconds of a difference, squared and added to a sum: one feature of a distance."""
    rows = points("x", np.random.default_rng(0).normal(size=(BLOCK, 8)).astype(dtype))
    out = np.empty(BLOCK, dtype)
    return median_seconds(lambda: _distances(rows, out, 1_000), _REPEATS) / (1_000 * rows.numbers.size)


def read(*arrays: Array) -> float:
    """Seconds of reading arrays from the first to the last byte."""
    words = [array.reshape(-1).view(np.uint64) for array in arrays]
    return sum(median_seconds(word.max, _REPEATS) for word in words)


def bounded(what: str, bound: float, seconds: float) -> dict[str, Any]:
    """What a row says of its bound, and by how much it is missed."""
    return {
        "bound": what,
        "bound_milliseconds": round(bound * 1e3, 4),
        "times_its_bound": round(seconds / bound, 2),
    }

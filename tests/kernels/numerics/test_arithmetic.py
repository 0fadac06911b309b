"""What kernels compute with: logarithms, and vectors of four numbers."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from uncompiled import UNCOMPILED, sized

from kernels import entropy, margin
from kernels.numerics._logarithm import log32, log64, share_log32, share_log64
from kernels.numerics._simd import (
    WIDTH,
    every,
    floats,
    highest,
    lane,
    last,
    load,
    lower,
    row_sums,
    store,
    transposed,
    upper,
    words,
)

Array = NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def compiled(function: F) -> F:
    return cast("F", numba.njit(error_model="numpy")(function))


@compiled
def _logarithms(x: Array, out: Array, log: Callable[[Any], Any]) -> None:
    for i in range(x.shape[0]):
        out[i] = log(x[i])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("share", [False, True])
def test_logarithms_of_numbers_to_1_are_within_one_and_a_tenth_units_of_the_last_place(
    dtype: np.dtype[Any], share: bool
) -> None:
    log = (share_log32 if share else log32) if dtype == np.float32 else (share_log64 if share else log64)
    rng, n = np.random.default_rng(1), sized(100_000, 200)
    smallest = np.finfo(dtype).smallest_subnormal
    around = np.nextafter(np.array([0.5, np.sqrt(0.5), 1.0], dtype), np.array([0.0], dtype))
    ends = np.array([smallest, np.finfo(dtype).tiny, 0.5, np.sqrt(0.5), 1.0], dtype)
    spread = 2.0 ** rng.uniform(np.log2(np.float64(smallest)) + 1, 0, n)
    x = np.concatenate([rng.random(n), spread, ends, around]).astype(dtype)
    out = np.empty_like(x)
    _logarithms(x, out, log)
    want = np.log(x.astype(np.longdouble))
    units = np.abs(out - want) / np.spacing(np.abs(want).astype(dtype))
    # uncompiled a product and a sum are rounded apart, and then a unit more may be lost
    assert units[want != 0].max() < (2.1 if UNCOMPILED and share else 1.1)
    assert out[x == 1].tolist() == [0.0] * int((x == 1).sum())


@pytest.mark.parametrize("log", [share_log32, share_log64])
def test_no_probability_adds_no_entropy(log: Callable[[Any], Any]) -> None:
    zero = (np.float32 if log is share_log32 else np.float64)(0)
    assert zero * log(zero) == 0


@compiled
def _lanes_of(a: Array, b: Array, out: Array) -> None:
    x, y = load(a, 0), load(b, 0)
    rows = x, y, x + y, x - y, x * y, x / y, upper(x, y), lower(x, y), floats(words(x)), every(b[1])
    store(out, 0, rows[0])
    store(out, 4, rows[1])
    store(out, 8, rows[2])
    store(out, 12, rows[3])
    store(out, 16, rows[4])
    store(out, 20, rows[5])
    store(out, 24, rows[6])
    store(out, 28, rows[7])
    store(out, 32, rows[8])
    store(out, 36, rows[9])
    columns = transposed(x, y, rows[2], rows[3])
    store(out, 40, columns[0])
    store(out, 44, columns[1])
    store(out, 48, columns[2])
    store(out, 52, columns[3])
    for count in range(WIDTH):
        store(out, 56 + 4 * count, last(x, count))
    out[72] = highest(x)
    out[73] = lane(y, 2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_four_lanes_are_four_numbers(dtype: np.dtype[Any]) -> None:
    a, b = np.array([3, -1, 7, 2.5], dtype), np.array([2, 4, -0.5, 2.5], dtype)
    out = np.empty(74, dtype)
    _lanes_of(a, b, out)
    simple = [a, b, a + b, a - b, a * b, a / b, np.maximum(a, b), np.minimum(a, b), a, np.full(4, b[1])]
    kept = [np.where(np.arange(4) >= 4 - count, a, 0) for count in range(4)]
    want = [*simple, *np.stack([a, b, a + b, a - b]).T, *kept, a[[2]], b[[2]]]
    np.testing.assert_array_equal(out, np.concatenate(want).astype(dtype))


@compiled
def _sums_of_four(values: Array, c: int, out: Array) -> None:
    store(out, 0, row_sums(values, 0, c))


@pytest.mark.parametrize("c", [4, 5, 6, 7, 8, 20, 33])
def test_sums_of_four_rows_are_added_lane_by_lane(c: int) -> None:
    rows = np.random.default_rng(c).normal(size=(4, c))
    out = np.empty(4)
    _sums_of_four(rows.reshape(-1), c, out)
    tail = np.zeros((4, -c % 4))
    whole = np.concatenate([rows[:, : c - c % 4], tail, rows[:, c - c % 4 :]], axis=1).reshape(4, -1, 4)
    lanes = whole[:, 0]
    for k in range(1, whole.shape[1]):
        lanes = lanes + whole[:, k]
    assert out.tolist() == ((lanes[:, 0] + lanes[:, 2]) + (lanes[:, 1] + lanes[:, 3])).tolist()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("c", [2, 3, 4, 20])
def test_a_negative_zero_is_a_zero(c: int, dtype: np.dtype[Any]) -> None:
    p = np.zeros((9, c), dtype)
    p[:, 1] = 1
    plain = margin(p), entropy(p)
    p[:, 0] = -0.0
    assert [x.tolist() for x in (margin(p), entropy(p))] == [x.tolist() for x in plain]

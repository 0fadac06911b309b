"""Functions of one's own see the very windows that kernels see."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.windows.specs import Compute
from kernels.windows.state import WindowSpec, WindowState
from tests import naive


class Stream(NamedTuple):
    keys: NDArray[np.uint64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def part(self, start: int, stop: int | None = None) -> Stream:
        return Stream(self.keys[start:stop], self.times[start:stop], self.values[start:stop])


def random_stream(seed: int, n: int) -> Stream:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(0, 3, n)) + rng.integers(-15, 16, n)
    values = np.round(rng.normal(size=(n, 2)) * 3, 1)
    values[rng.random((n, 2)) < 0.15] = np.nan
    return Stream(rng.integers(0, 4, n).astype(np.uint64), times, values)


def decayed(values: NDArray[np.float64], ages: NDArray[np.float64]) -> float:
    return float((values * 0.5 ** (ages * 1e6 / 5.0)).sum())


def largest(values: NDArray[np.float64], _: NDArray[np.float64]) -> float:
    return float(values.max()) if len(values) else float("nan")


def middle(values: NDArray[np.float64], _: NDArray[np.float64]) -> float:
    return float(np.quantile(values, 0.5)) if len(values) else float("nan")


FUNCTIONS: Final[dict[str, tuple[float, Compute]]] = {
    "decayed_sum": (5.0, decayed),
    "max": (0.0, largest),
    "quantile": (0.5, middle),
}
"""Aggregates of the oracle, with their parameters, and functions of the same."""


def specs() -> tuple[list[WindowSpec], list[WindowSpec]]:
    known = [
        WindowSpec(name, column, size, current, parameter)
        for name, (parameter, _) in FUNCTIONS.items()
        for size in (3, 40)
        for current in (False, True)
        for column in (0, 1)
    ]
    own = [replace(spec, aggregate="own", parameter=0.0, function=FUNCTIONS[spec.aggregate][1]) for spec in known]
    return known, own


@pytest.mark.parametrize("lateness", [0, 8])
def test_a_function_equals_the_oracle_of_the_aggregate_that_it_computes(lateness: int) -> None:
    """Disordered rows, missing values, windows of several sizes and columns, kernels' aggregates beside them."""
    known, own = specs()
    stream = random_stream(1, 120)
    beside = [WindowSpec("count", -1, 10), WindowSpec("approx_distinct", 1, 10)]
    state = WindowState([beside[0], *own, beside[1]], 2, lateness)
    halves = [state.update(*stream.part(begin, end)) for begin, end in ((0, 50), (50, None))]
    got = np.concatenate(halves)
    want = naive.windows(known, stream, lateness)
    np.testing.assert_allclose(got[:, 1:-1], want, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(got[:, [0, -1]], WindowState(beside, 2, lateness).update(*stream))


def test_a_replay_gives_a_function_the_same_windows() -> None:
    _, own = specs()
    stream = random_stream(2, 100)
    whole = WindowState(own, 2, 4)
    want = whole.update(*stream)
    first = 20
    watermark = int(stream.times[:first].max())
    again = WindowState.with_watermark(own, 2, 4, watermark)
    got = again.update(*stream.part(first))
    reach = 40 + 4
    settled = np.minimum.accumulate(np.maximum.accumulate(stream.times)[::-1])[::-1] - reach > watermark
    assert settled.sum() > 20
    np.testing.assert_array_equal(got[settled[first:]], want[settled])


def test_a_state_with_a_function_says_that_it_has_no_bytes() -> None:
    _, own = specs()
    with pytest.raises(ValueError, match="a function has no bytes"):
        WindowState(own, 2, 0).to_bytes()

"""Windows of the newest rows and of sessions, and what reads a window whole: slope, z-score, rates."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from uncompiled import many_rows, sized

from kernels.sampling.hashing import hash64
from kernels.windows.specs import KINDS, NEEDS_NO_COLUMN, ROWS_LIMIT, WindowSpec
from kernels.windows.state import WindowState
from tests import naive

SECOND: Final = 1_000_000
PARAMETERS: Final = {"probability": 0.3, "half_life": 5.0, "": 0.0}


class Stream(NamedTuple):
    keys: NDArray[np.uint64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def part(self, start: int, stop: int | None = None) -> Stream:
        return Stream(self.keys[start:stop], self.times[start:stop], self.values[start:stop])


def one_key(times: list[int], values: list[float]) -> Stream:
    return Stream(np.zeros(len(times), np.uint64), np.array(times), np.array(values, np.float64).reshape(-1, 1))


def of(stream: Stream, *specs: WindowSpec, lateness: int = 0) -> NDArray[np.float64]:
    return WindowState(specs, stream.values.shape[1], lateness).update(*stream)


def cut_specs(size: int, *, rows: tuple[int, ...], gaps: tuple[int, ...]) -> list[WindowSpec]:
    """Every exact aggregate, by its rows and by its gaps."""
    return [
        WindowSpec(name, column, size, current, PARAMETERS[kind.parameter], rows=n, gap=gap)
        for name, kind in KINDS.items()
        if kind.error is None
        for column in ((-1, 0) if name in NEEDS_NO_COLUMN else (0,))
        for current in (False, True)
        for n, gap in [*((n, 0) for n in rows), *((0, gap) for gap in gaps)]
    ]


def test_the_last_n_rows_are_the_newest_that_have_a_value_within_the_size() -> None:
    stream = one_key([0, 1, 2, 3, 100, 101], [1.0, 2.0, math.nan, 4.0, 5.0, 6.0])
    got = of(stream, WindowSpec("sum", 0, 50, rows=2), WindowSpec("first", 0, 50, rows=2, include_current=True))
    np.testing.assert_array_equal(got, [[0, 1], [1, 1], [3, 1], [3, 2], [0, 5], [5, 5]])


def test_equal_times_are_taken_in_the_order_of_the_log() -> None:
    stream = one_key([5, 5, 5, 5], [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(of(stream, WindowSpec("sum", 0, 10, rows=2))[:, 0], [0, 1, 3, 5])


def test_a_session_goes_on_as_long_as_no_two_rows_lie_more_than_the_gap_apart() -> None:
    stream = one_key([0, 10, 20, 31, 41, 52], [math.nan, 1.0, 1.0, 1.0, 1.0, 1.0])
    got = of(
        stream,
        WindowSpec("count", -1, 1_000, gap=10),
        WindowSpec("sum", 0, 1_000, gap=10, include_current=True),
        WindowSpec("since_first", -1, 1_000, gap=10),
        WindowSpec("count", -1, 15, gap=10),
    )
    nan = math.nan
    want = [[0, 0, nan, 0], [1, 1, 1e-5, 1], [2, 2, 2e-5, 1], [0, 1, nan, 0], [1, 2, 1e-5, 1], [0, 1, nan, 0]]
    np.testing.assert_allclose(got, want, rtol=1e-15)


def test_a_late_row_joins_two_sessions_into_one() -> None:
    stream = one_key([0, 16, 8, 17], [1.0] * 4)
    got = of(stream, WindowSpec("count", -1, 100, gap=8), lateness=100)
    np.testing.assert_array_equal(got[:, 0], [0, 0, 1, 3])


def test_rate_and_since_first_are_of_earlier_rows_and_missing_while_no_time_has_passed() -> None:
    times = [0, 0, 2 * SECOND, 10 * SECOND]
    got = of(
        one_key(times, [0.0] * 4),
        WindowSpec("rate", -1, 60 * SECOND),
        WindowSpec("rate", -1, 60 * SECOND, include_current=True),
        WindowSpec("since_first", -1, 60 * SECOND),
        WindowSpec("rate", -1, 60 * SECOND, rows=1),
    )
    nan = math.nan
    np.testing.assert_array_equal(got, [[nan] * 4, [nan, nan, 0, nan], [1, 1, 2, 0.5], [0.3, 0.3, 10, 0.125]])


def test_with_a_column_rows_that_lack_its_value_are_neither_counted_nor_timed() -> None:
    stream = one_key([0, SECOND, 3 * SECOND, 4 * SECOND], [math.nan, 5.0, math.nan, 7.0])
    got = of(
        stream,
        WindowSpec("count", 0, 60 * SECOND, include_current=True),
        WindowSpec("since_last", 0, 60 * SECOND),
        WindowSpec("since_first", 0, 60 * SECOND),
        WindowSpec("rate", 0, 60 * SECOND),
        WindowSpec("count", -1, 60 * SECOND),
    )
    nan = math.nan
    want = [[0, nan, nan, nan, 0], [1, nan, nan, nan, 1], [1, 2, 2, 0.5, 2], [2, 3, 3, 1 / 3, 3]]
    np.testing.assert_allclose(got, want, rtol=1e-15)


def test_a_z_score_compares_the_row_with_its_past_and_is_missing_where_that_has_no_spread() -> None:
    stream = one_key([0, 1, 2, 3, 4, 5], [2.0, 2.0, 5.0, 4.0, math.nan, 3.0])
    got = of(stream, WindowSpec("zscore", 0, 100))[:, 0]
    nan = math.nan
    np.testing.assert_allclose(got, [nan, nan, nan, 1 / math.sqrt(3), nan, (3 - 3.25) / 1.5], rtol=1e-14)


def test_a_slope_is_per_second_of_event_time_and_0_where_nothing_changes() -> None:
    times = [0, SECOND, 3 * SECOND, 3 * SECOND]
    stream = Stream(
        np.zeros(4, np.uint64), np.array(times), np.array([[1e9, 7.0], [1e9 + 2, 7.0], [1e9 + 6, 7.0], [0.0, 7.0]])
    )
    got = of(stream, WindowSpec("slope", 0, 60 * SECOND), WindowSpec("slope", 1, 60 * SECOND))
    np.testing.assert_array_equal(got, [[math.nan] * 2, [math.nan] * 2, [2.0, 0.0], [2.0, 0.0]])


# ---- the same as the oracle

finite: Final = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.5, 5e-324, -5e-324, 1e300, -1.7976931348623157e308, 1e-300, 1e9, 1e9 + 1e-6]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-5, 5).map(float),
)
rows: Final = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-30, 60), st.one_of(finite, st.just(math.nan))), max_size=30
)


def stream_of(listed: list[tuple[int, int, float]]) -> Stream:
    return Stream(
        np.array([r[0] for r in listed], np.uint64),
        np.array([r[1] for r in listed], np.int64),
        np.array([r[2] for r in listed], np.float64).reshape(len(listed), 1),
    )


UNSTABLE: Final = ("slope", "zscore", "mean", "var", "std", "sum", "quantile", "decayed_sum", "decayed_mean")
"""Aggregates of which a sum of large values of both signs says little but its bound."""


@settings(max_examples=sized(150, 8), deadline=None)
@given(listed=rows, lateness=st.sampled_from([0, 5, 100]), n=st.integers(1, 6), gap=st.integers(1, 20))
def test_windows_of_rows_and_of_sessions_equal_their_oracle(
    listed: list[tuple[int, int, float]], lateness: int, n: int, gap: int
) -> None:
    specs = [s for s in cut_specs(40, rows=(n,), gaps=(gap,)) if s.aggregate not in UNSTABLE]
    stream = stream_of(listed)
    got = of(stream, *specs, lateness=lateness)
    np.testing.assert_allclose(got, naive.windows(specs, stream, lateness), rtol=1e-14)


@settings(max_examples=sized(150, 8), deadline=None)
@given(listed=rows, cut=st.sampled_from([{}, {"rows": 4}, {"gap": 6}]), current=st.booleans())
def test_slope_and_z_score_keep_their_bound_at_any_magnitude(
    listed: list[tuple[int, int, float]], cut: dict[str, int], current: bool
) -> None:
    """Off by at most 1e-12 of the spread of the values by that of the times, or of the z-score itself and 1."""
    stream = stream_of(listed)
    specs = [replace(WindowSpec(name, 0, 40, current), **cut) for name in ("slope", "zscore", "var")]  # type: ignore[arg-type]
    got = of(stream, *specs)
    with np.errstate(all="ignore"):
        want = naive.windows(specs[:2], stream, 0)
    for row, ((slope, zscore, _), (exact_slope, exact_zscore)) in enumerate(zip(got, want, strict=True)):
        spread = spread_of(stream, row)
        assert math.isnan(slope) == math.isnan(exact_slope)
        if not math.isnan(slope):
            assert abs(Fraction(slope) - Fraction(exact_slope)) <= spread * Fraction(1, 10**12) + Fraction(5e-324)
        assert math.isnan(zscore) == math.isnan(exact_zscore)
        if not math.isnan(zscore):
            assert zscore == pytest.approx(exact_zscore, rel=1e-11, abs=1e-12)


def spread_of(stream: Stream, row: int) -> Fraction:
    """Widest distance of two values of the row's key by the least that their times may be apart, per second."""
    values = [Fraction(float(x)) for x in stream.values[stream.keys == stream.keys[row], 0] if not math.isnan(x)]
    return (max(values) - min(values)) * 10**6 if values else Fraction(0)


@pytest.mark.parametrize("scale", [2.0**-1070, 2.0**-500, 1.0, 2.0**500, 2.0**1000])
def test_a_z_score_is_the_same_at_every_scale(scale: float) -> None:
    values = [1.0, 2.0, 3.5, -4.0, 8.0]
    got = of(one_key([0, 1, 2, 3, 4], [x * scale for x in values]), WindowSpec("zscore", 0, 100))[:, 0]
    want = of(one_key([0, 1, 2, 3, 4], values), WindowSpec("zscore", 0, 100))[:, 0]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("own", [-1.7976931348623157e308, 1.7976931348623157e308])
def test_the_z_score_of_a_value_much_larger_than_its_past_does_not_overflow_on_the_way(own: float) -> None:
    past = [math.copysign(1e307, -own), math.copysign(1.0, own)]
    got = of(one_key([0, 1, 2], [past[1], past[0], own]), WindowSpec("zscore", 0, 100))[-1, 0]
    assert got == pytest.approx(math.copysign(26.13032690425947, own), rel=1e-11)


def test_an_infinite_value_or_a_result_beyond_float64_is_missing() -> None:
    for values in ([1.0, math.inf, 2.0], [1.0, 2.0, -math.inf]):
        got = of(one_key([0, 1, 2], values), WindowSpec("zscore", 0, 100), WindowSpec("slope", 0, 100, True))
        assert np.isnan(got[-1]).all()
    got = of(one_key([0, 1, 2], [1e-300, 2e-300, 1e300]), WindowSpec("zscore", 0, 100))
    assert math.isnan(got[-1, 0])
    got = of(one_key([0, 1], [-1e308, 1e308]), WindowSpec("slope", 0, 100, True))
    assert math.isnan(got[-1, 0]), "2e314 a second"


# ---- whatever happens on the way


def long_stream(seed: int, n: int, disorder: int) -> Stream:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(0, 3, n)) + rng.integers(-disorder, disorder + 1, n)
    values = np.round(rng.normal(size=(n, 1)) * 3, 1)
    values[rng.random((n, 1)) < 0.3] = np.nan
    return Stream(rng.integers(0, 5, n).astype(np.uint64), times, values)


@many_rows
@pytest.mark.parametrize("lateness", [0, 8])
def test_a_state_of_many_rows_that_drops_what_no_row_can_see_equals_the_oracle(lateness: int) -> None:
    """Rows that come far too late are among them."""
    stream = long_stream(1, 1_500, 20)
    specs = [
        WindowSpec(a, -1 if a in NEEDS_NO_COLUMN else 0, 10_000, current, rows=n)
        for a in ("count", "sum", "last", "slope", "since_first")
        for current in (False, True)
        for n in (1, 3, 7)
    ]
    state = WindowState(specs, 1, lateness)
    edges = [0, 3, 500, 501, 1_200, 1_500]
    got = np.concatenate([state.update(*stream.part(a, b)) for a, b in itertools.pairwise(edges)])
    np.testing.assert_allclose(got, naive.windows(specs, stream, lateness), rtol=1e-9, atol=1e-9)
    kept = len(state.to_bytes())
    assert kept < 3_000, "a key keeps 7 rows and those of the lateness"


@many_rows
def test_what_the_last_rows_take_does_not_grow_with_the_rows_of_a_key() -> None:
    spec, n = WindowSpec("mean", 0, 10**9, rows=20), 100_000
    few, many = WindowState([spec], 1, 10), WindowState([spec], 1, 10)
    for state, rounds in ((few, 1), (many, 100)):
        for i in range(rounds):
            state.update(np.zeros(n // 100, np.uint64), np.arange(n // 100) + i * n // 100, np.ones((n // 100, 1)))
    assert many.nbytes == few.nbytes
    assert len(many.to_bytes()) < 1_000


@many_rows
@pytest.mark.parametrize("share", [0.0, 0.01])
def test_rows_that_lack_the_value_take_no_room_of_the_last_rows(share: float) -> None:
    """A column that is NULL elsewhere is how a window is of some rows only, and a key may never have its value."""
    specs, n = [WindowSpec("mean", 0, 10**9, rows=3), WindowSpec("last", 1, 10**9, rows=2)], 20_000
    values = np.where(np.random.default_rng(3).random((n, 2)) < share, 1.0, np.nan)
    values[:, 1] = np.where(np.arange(n) == 5, 7.0, np.nan)
    state = WindowState(specs, 2, 10)
    got = state.update(np.zeros(n, np.uint64), np.arange(n), values)
    assert (got[6:, 1] == 7.0).all(), "what is needed stays, however old"
    assert state.nbytes < 50_000
    assert len(state.to_bytes()) < 1_000


def test_a_function_of_a_package_sees_the_rows_that_kernels_see() -> None:
    def total(values: NDArray[np.float64], _: NDArray[np.float64]) -> float:
        return float(sum(values))

    stream = long_stream(2, 200, 15)
    known = [s for s in cut_specs(40, rows=(1, 4), gaps=(2,)) if s.aggregate == "sum"]
    own = [replace(spec, aggregate="own", function=total) for spec in known]
    for lateness in (0, 6):
        got = of(stream, *own, lateness=lateness)
        np.testing.assert_allclose(got, naive.windows(known, stream, lateness), rtol=1e-12, atol=1e-12)


def test_states_without_cut_windows_have_the_bytes_that_they_had() -> None:
    """Of the version before there were such windows."""
    specs = [WindowSpec("sum", 0, 40), WindowSpec("last", 0, 9, include_current=True), WindowSpec("count", -1, 7)]
    state = WindowState(specs, 1, 3)
    state.update(*long_stream(3, 100, 5))
    data = state.to_bytes()
    assert (data[:8], hash64(data)) == (b"TMWIN03\n", GOLDEN)
    assert WindowState.from_bytes(data).specs == tuple(specs)


GOLDEN: Final = 14369446383357435416


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (WindowSpec("sum", 0, 5, rows=-1), r"specs\[0\].rows"),
        (WindowSpec("sum", 0, 5, rows=ROWS_LIMIT + 1), r"specs\[0\].rows"),
        (WindowSpec("sum", 0, 5, gap=-1), r"specs\[0\].gap"),
        (WindowSpec("sum", 0, 5, rows=1, gap=1), "both rows and gap"),
        (WindowSpec("approx_quantile", 0, 5, rows=1), "approx_quantile keeps no rows"),
        (WindowSpec("slope", -1, 5), r"specs\[0\].column"),
    ],
)
def test_a_cut_that_does_not_fit_is_refused(spec: WindowSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowState([spec], 1, 0)

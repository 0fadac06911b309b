import itertools
from collections.abc import Callable
from typing import NamedTuple, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from uncompiled import many_rows, sized

from kernels.windows._aggregates import NAMES
from kernels.windows._store import LONG
from kernels.windows.specs import KINDS, NEEDS_NO_COLUMN, WHOLE
from kernels.windows.state import NO_WATERMARK, TIME_LIMIT, Aggregate, WindowSpec, WindowState
from tests import naive

AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)
SECOND = 1_000_000


class Stream(NamedTuple):
    keys: NDArray[np.uint64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def part(self, start: int, stop: int | None = None) -> "Stream":
        return Stream(self.keys[start:stop], self.times[start:stop], self.values[start:stop])


PARAMETERS: dict[str, float] = {"quantile": 0.3, "approx_quantile": 0.3, "decayed_sum": 5.0, "decayed_mean": 5.0}


COARSE: dict[Aggregate, float] = {"approx_distinct": 0.26, "approx_quantile": 0.2}
"""Errors of sketches so small that few rows fill them."""


def every_spec(sizes: tuple[int, ...] = (3, 10, 40)) -> list[WindowSpec]:
    coarse = [
        WindowSpec(a, 0, size, current, PARAMETERS.get(a, 0.0), error)
        for a, error in COARSE.items()
        for size in sizes
        for current in (False, True)
    ]
    whole = [
        WindowSpec(a, -1 if a in NEEDS_NO_COLUMN and column else column, size, current, PARAMETERS.get(a, 0.0))
        for a in AGGREGATES
        for size in sizes
        for current in (False, True)
        for column in (0, 1)
    ]
    return coarse + whole + cut_specs(sizes[-1])


def cut_specs(size: int) -> list[WindowSpec]:
    """Every aggregate over the newest rows, and over sessions."""
    exact = [name for name, kind in KINDS.items() if kind.error is None]
    return [
        WindowSpec(a, -1 if a in NEEDS_NO_COLUMN else 0, size, current, PARAMETERS.get(a, 0.0), rows=rows, gap=gap)
        for a in exact
        for current in (False, True)
        for rows, gap in ((1, 0), (5, 0), (0, 2))
    ]


def random_stream(seed: int, n: int, keys: int = 4, step: int = 2, disorder: int = 15) -> Stream:
    """Times that mostly rise, rows up to `disorder` out of place, repeated values, missing values."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(0, step + 1, n)) + rng.integers(-disorder, disorder + 1, n)
    values = np.round(rng.normal(size=(n, 2)) * 3, 1) + np.array([0.0, 1e6])
    values[rng.random((n, 2)) < 0.15] = np.nan
    return Stream(rng.integers(0, keys, n).astype(np.uint64), times, values)


nasty_values = st.sampled_from([0.0, -0.0, 1.0, -1.5, np.nan, np.inf, -np.inf, 5e-324, 1e300, 1e-300])
rows = st.lists(st.tuples(st.integers(0, 2), st.integers(-30, 60), nasty_values, nasty_values), min_size=0, max_size=30)


def stream_of(listed: list[tuple[int, int, float, float]]) -> Stream:
    return Stream(
        np.array([r[0] for r in listed], np.uint64),
        np.array([r[1] for r in listed], np.int64),
        np.array([r[2:] for r in listed], np.float64).reshape(len(listed), 2),
    )


INEXACT = {
    "sum", "mean", "var", "std", "since_last", "quantile", "decayed_sum", "decayed_mean", "slope", "zscore",
    "since_first", "rate",
}  # fmt: skip


def sketched(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles as a sketch that ends at 1e12 has them."""
    return np.clip(quantiles, -1e12, 1e12)


def assert_equals_oracle(
    specs: list[WindowSpec],
    stream: Stream,
    lateness: int,
    got: NDArray[np.float64],
    bounded: NDArray[np.int64] | None = None,
) -> None:
    with np.errstate(all="ignore"):
        want = naive.windows(specs, stream, lateness, len(stream.keys) - len(got), bounded)
    for i, spec in enumerate(specs):
        if spec.aggregate == "approx_quantile":
            # Within the error; where a magnitude is out of range the sketch's own bound is what it can say.
            np.testing.assert_allclose(got[:, i], sketched(want[:, i]), rtol=(spec.error or 0.01) + 1e-9, atol=1e-6)
        elif spec.aggregate in INEXACT:
            np.testing.assert_allclose(got[:, i], want[:, i], rtol=1e-9, atol=1e-9)
        else:
            np.testing.assert_array_equal(got[:, i], want[:, i])


@pytest.mark.parametrize("lateness", [0, 8, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_every_aggregate_equals_its_oracle_on_disordered_streams(seed: int, lateness: int) -> None:
    specs, stream = every_spec(), random_stream(seed, 160)
    assert_equals_oracle(specs, stream, lateness, WindowState(specs, 2, lateness).update(*stream))


def hot_stream(seed: int, n: int, disorder: int) -> Stream:
    """Two keys with thousands of rows in a window, and a third with few."""
    stream = random_stream(seed, n, step=3, disorder=disorder)
    stream.keys[:] = np.random.default_rng(seed).choice(3, n, p=[0.6, 0.39, 0.01])
    return stream


@many_rows
@pytest.mark.parametrize("lateness", [0, 50])
@pytest.mark.parametrize("disorder", [0, 30])
def test_long_windows_equal_their_oracle(disorder: int, lateness: int) -> None:
    specs = every_spec((100, 3_000, 4_100))
    stream = hot_stream(7, 6_000, disorder)
    got = WindowState(specs, 2, lateness).update(*stream)
    assert got[:, [s.aggregate == "count" for s in specs]].max() > 1_500, "no window is long"
    assert_equals_oracle(specs, stream, lateness, got[-12:])


@many_rows
@pytest.mark.parametrize("disorder", [0, 30])
def test_a_replay_of_long_windows_gives_the_same_bits_wherever_it_begins(disorder: int) -> None:
    whole_reads = {"quantile", "decayed_sum", "decayed_mean", "distinct", *WHOLE}
    specs = [s for s in every_spec((3_000, 4_100)) if s.aggregate not in whole_reads]
    stream, committed, lateness = hot_stream(8, 6_000, disorder), 4_700, 60
    whole = WindowState(specs, 2, lateness).update(*stream)
    horizon = stream.times[:committed].max() - 4_100 - lateness
    oldest = int(np.flatnonzero(stream.times[:committed] > horizon)[0])
    assert oldest > 1_000, "nothing is left out"
    for rewind in (oldest, oldest - 577, 1):
        replay = WindowState.with_watermark(specs, 2, lateness, int(stream.times[:rewind].max()))
        parts = [replay.update(*stream.part(a, a + 500)) for a in range(rewind, len(stream.keys), 500)]
        again = np.concatenate(parts)[committed - rewind :]
        assert again.tobytes() == whole[committed:].tobytes()
        copy = WindowState.from_bytes(replay.to_bytes())
        assert copy.to_bytes() == replay.to_bytes()


@pytest.mark.parametrize("disorder", [0, 30])
def test_windows_just_long_enough_for_blocks_equal_their_oracle(disorder: int) -> None:
    wanted: tuple[Aggregate, ...] = ("sum", "var", "min", "max", "first", "last", "count")
    specs = [WindowSpec(a, -1 if a == "count" else 1, 2_400) for a in wanted]
    stream = random_stream(9, 1_200, keys=1, disorder=disorder)
    stream.times[:] *= 2
    got = WindowState(specs, 2, 40).update(*stream)
    assert got[:, -1].max() > LONG, "no window is long"
    assert_equals_oracle(specs, stream, 40, got[-12:])


@many_rows
@pytest.mark.parametrize("outlier", [0.0, 1e9])
def test_variance_over_long_windows_is_exact_to_rounding(outlier: float) -> None:
    x = 1e9 + np.random.default_rng(0).normal(size=(3_000, 1))
    x[2_500] += outlier
    out = WindowState([WindowSpec("var", 0, 2_900, include_current=True)], 1, 0).update(
        np.zeros(3_000, np.uint64), np.arange(3_000), x
    )
    assert out[-1, 0] == pytest.approx(np.var(x[-2_900:], ddof=1), rel=1e-10)


@settings(max_examples=sized(60, 6), deadline=None)
@given(listed=rows, lateness=st.sampled_from([0, 5, 100]))
def test_windows_without_spread_equal_their_oracle_on_nasty_values(
    listed: list[tuple[int, int, float, float]], lateness: int
) -> None:
    spread = {"var", "std", "quantile", "decayed_mean", "slope", "zscore"}
    specs = [s for s in every_spec((1, 20)) if s.aggregate not in spread]
    stream = stream_of(listed)
    assert_equals_oracle(specs, stream, lateness, WindowState(specs, 2, lateness).update(*stream))


@settings(max_examples=sized(60, 6), deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), lateness=st.sampled_from([0, 8, 30]))
def test_a_replay_from_any_position_that_holds_all_relevant_rows_gives_the_same_bits(
    data: st.DataObject, seed: int, lateness: int
) -> None:
    specs, stream = every_spec(), random_stream(seed, 300)
    whole = WindowState(specs, 2, lateness).update(*stream)
    committed = data.draw(st.integers(0, 300), label="committed")
    horizon = stream.times[:committed].max(initial=NO_WATERMARK + 1000) - 40 - lateness
    relevant = np.flatnonzero(stream.times[:committed] > horizon)
    rewind = data.draw(st.integers(0, int(relevant[0]) if relevant.size else committed), label="rewind")
    watermark = int(stream.times[:rewind].max(initial=NO_WATERMARK))
    replay = WindowState.with_watermark(specs, 2, lateness, watermark)
    replay.update(*stream.part(rewind, committed))
    again = replay.update(*stream.part(committed))
    assert again.tobytes() == whole[committed:].tobytes()


@settings(max_examples=sized(40, 4), deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=6), seed=st.integers(0, 2**32 - 1))
def test_how_a_stream_is_cut_into_batches_changes_no_bit(cuts: list[int], seed: int) -> None:
    specs, stream = every_spec(), random_stream(seed, 300)
    whole = WindowState(specs, 2, 8).update(*stream)
    state = WindowState(specs, 2, 8)
    edges = [0, *sorted(cuts), 300]
    parts = [state.update(*stream.part(a, b)) for a, b in itertools.pairwise(edges)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@settings(max_examples=sized(40, 4), deadline=None)
@given(cut=st.integers(0, 300), seed=st.integers(0, 2**32 - 1))
def test_a_state_read_back_from_bytes_goes_on_with_the_same_bits(cut: int, seed: int) -> None:
    specs, stream = every_spec(), random_stream(seed, 300)
    state = WindowState(specs, 2, 8)
    state.update(*stream.part(0, cut))
    data = state.to_bytes()
    copy = WindowState.from_bytes(data)
    assert copy.to_bytes() == data
    assert (copy.specs, copy.watermark, copy.horizon()) == (tuple(specs), state.watermark, state.horizon())
    assert copy.update(*stream.part(cut)).tobytes() == state.update(*stream.part(cut)).tobytes()
    assert copy.to_bytes() == state.to_bytes()


def test_bytes_depend_on_the_relevant_rows_alone() -> None:
    specs, stream = every_spec(), random_stream(3, 400)
    long, short = WindowState(specs, 2, 8), WindowState(specs, 2, 8)
    long.update(*stream)
    short.watermark = int(stream.times[:300].max())
    short.update(*stream.part(300))
    assert stream.times[:300].max() < short.horizon()
    assert short.to_bytes() == long.to_bytes()


@pytest.mark.parametrize("aggregate", ["sum", "approx_distinct", "approx_quantile"])
def test_memory_stays_bounded_while_keys_come_and_go(aggregate: Aggregate) -> None:
    specs = [WindowSpec(aggregate, 0, 100)]
    state = WindowState(specs, 1, 0)
    sizes, each = [], sized(500, 100)
    for batch in range(200):
        keys = np.arange(batch * each, (batch + 1) * each).astype(np.uint64)
        state.update(keys, np.full(each, batch * 50), np.ones((each, 1)))
        sizes.append(state.nbytes)
    assert max(sizes[20:]) < 1.2 * max(sizes[:20]), "memory grew though few rows stay relevant"
    assert state.n_keys < 20 * each


@many_rows
def test_one_hot_key_with_a_long_window_counts_every_row() -> None:
    state = WindowState([WindowSpec("count", -1, 10**9), WindowSpec("sum", 0, 10**9)], 1, 0)
    out = state.update(np.zeros(5000, np.uint64), np.arange(5000), np.ones((5000, 1)))
    np.testing.assert_array_equal(out[:, 0], np.arange(5000))
    np.testing.assert_array_equal(out[:, 1], np.arange(5000))


def one_key(times: NDArray[np.int64], values: NDArray[np.float64]) -> Stream:
    return Stream(np.zeros(len(times), np.uint64), times, values.reshape(-1, 1))


@many_rows
@pytest.mark.parametrize("error", [0.0, 0.1])
def test_sketches_stay_within_their_errors_and_their_memory_however_many_rows_a_window_has(error: float) -> None:
    n, size = 100_000, 80_000
    values = np.random.default_rng(0).lognormal(3, 1, n)
    asked = [WindowSpec("approx_distinct", 0, size, error=error)]
    asked += [WindowSpec("approx_quantile", 0, size, parameter=p, error=error) for p in (0.01, 0.5, 0.99)]
    state = WindowState(asked, 1, 0)
    out = state.update(*one_key(np.arange(n), values))
    standard_error = error or 0.023
    assert out[-1, 0] == pytest.approx(size - 1, rel=4 * standard_error)
    pane = size // 24
    beginning = -((size - n) // pane) * pane
    np.testing.assert_allclose(
        out[-1, 1:], np.quantile(values[beginning:-1], [0.01, 0.5, 0.99], method="lower"), rtol=error or 0.01
    )
    exact = WindowState([WindowSpec("sum", 0, size)], 1, 0)
    exact.update(*one_key(np.arange(size), values[:size]))
    assert state.nbytes < exact.nbytes / 2
    assert len(state.to_bytes()) < len(exact.to_bytes()) / 5


@pytest.mark.parametrize("error", [0.0, 0.01, 0.1])
def test_few_values_are_counted_as_they_are(error: float) -> None:
    values = np.array([5.0, 0.0, -0.0, np.nan, 5.0, np.inf, -1e300, 5.0])
    spec = WindowSpec("approx_distinct", 0, 100, include_current=True, error=error)
    out = WindowState([spec], 1, 0).update(*one_key(np.arange(8), values))
    np.testing.assert_array_equal(out[:, 0], [1, 2, 2, 2, 2, 3, 4, 4])


def test_a_window_of_an_approximate_quantile_begins_at_a_multiple_of_its_24th() -> None:
    state = WindowState([WindowSpec("approx_quantile", 0, 240, parameter=0.0)], 1, 0)
    times = np.array([0, 9, 10, 239, 240, 249, 250, 259])
    out = state.update(*one_key(times, np.arange(8.0)))[:, 0]
    # From 240 on the window begins at 10, from 250 on at 20.
    np.testing.assert_allclose(out, [np.nan, 0, 0, 0, 2, 2, 3, 3], rtol=0.01)


def test_rows_that_came_before_count_in_sketches_though_they_are_newer() -> None:
    sketches = [WindowSpec("approx_distinct", 0, 48), WindowSpec("approx_quantile", 0, 48, parameter=1.0)]
    exact = [WindowSpec("distinct", 0, 48), WindowSpec("max", 0, 48)]
    out = WindowState([*sketches, *exact], 1, 100).update(*one_key(np.array([0, 30, 20]), np.array([1.0, 2.0, 3.0])))
    np.testing.assert_allclose(out[2], [2, 2, 1, 1], rtol=0.01)


def test_a_row_before_the_beginning_of_its_own_window_sees_an_empty_one() -> None:
    specs = [
        WindowSpec(a, 0, 48, current, PARAMETERS.get(a, 0.0))
        for a in ("approx_distinct", "approx_quantile")
        for current in (False, True)
    ]
    longer = WindowSpec("count", -1, 10_000)
    for asked in (specs, [*specs, longer]):
        out = WindowState(asked, 1, 10).update(*one_key(np.array([100, 101, 42]), np.ones(3)))
        np.testing.assert_array_equal(out[2, :4], [0, 0, np.nan, np.nan])


def test_windows_keep_what_they_need_themselves_and_not_what_others_need() -> None:
    short = [WindowSpec("sum", 0, 10)]
    alone, beside = (WindowState(s, 1, 0) for s in (short, [*short, WindowSpec("approx_distinct", 0, 10**6)]))
    stream = one_key(np.arange(sized(20_000, 2_000)), np.zeros(sized(20_000, 2_000)))
    alone.update(*stream)
    beside.update(*stream)
    assert beside.nbytes < 3 * alone.nbytes, "rows of a short window are kept for a long one"


def test_the_names_of_aggregates_are_those_of_the_kernels() -> None:
    assert get_args(Aggregate)[: len(NAMES)] == NAMES


def test_keys_that_differ_in_one_bit_do_not_meet() -> None:
    n = np.arange(5000, dtype=np.uint64)
    keys = np.unique(np.concatenate([np.uint64(1) << n[:64], n << np.uint64(40)]))
    out = WindowState([WindowSpec("count", -1, 100)], 0, 0).update(
        np.tile(keys, 2), np.zeros(2 * len(keys), np.int64), np.empty((2 * len(keys), 0))
    )
    np.testing.assert_array_equal(out[:, 0], np.repeat([0.0, 1.0], len(keys)))


def test_the_watermark_is_the_highest_time_and_the_horizon_lies_a_window_and_the_lateness_before() -> None:
    state = WindowState([WindowSpec("count", -1, 5), WindowSpec("count", -1, 20)], 0, 3)
    assert (state.watermark, state.horizon()) == (NO_WATERMARK, NO_WATERMARK)
    state.update(np.zeros(3, np.uint64), np.array([7, 100, 50]), np.empty((3, 0)))
    assert (state.watermark, state.horizon()) == (100, 77)


def test_times_far_from_the_epoch_do_not_overflow() -> None:
    specs = [WindowSpec("count", -1, TIME_LIMIT // 4), WindowSpec("since_last", -1, TIME_LIMIT // 4)]
    state = WindowState(specs, 0, TIME_LIMIT // 4)
    out = state.update(
        np.zeros(4, np.uint64), np.array([-TIME_LIMIT, -TIME_LIMIT, TIME_LIMIT, TIME_LIMIT]), np.empty((4, 0))
    )
    np.testing.assert_array_equal(out, [[0, np.nan], [1, 0], [0, np.nan], [1, 0]])


def test_variance_is_exact_to_rounding_far_from_zero() -> None:
    x = 1e9 + np.random.default_rng(0).normal(size=(2000, 1))
    out = WindowState([WindowSpec("var", 0, 10**6, include_current=True)], 1, 0).update(
        np.zeros(2000, np.uint64), np.arange(2000), x
    )
    assert out[-1, 0] == pytest.approx(np.var(x, ddof=1), rel=1e-9)


def test_readonly_and_strided_input_gives_the_same_as_plain_input() -> None:
    specs, stream = every_spec(), random_stream(5, 100)
    wide = np.full((200, 4), np.nan)
    wide[::2, ::2] = stream.values
    stream.times.flags.writeable = False
    got = WindowState(specs, 2, 0).update(stream.keys, stream.times, wide[::2, ::2])
    assert got.tobytes() == WindowState(specs, 2, 0).update(*stream).tobytes()


def bad_inputs() -> dict[str, tuple[Callable[[], object], str]]:
    good = [WindowSpec("sum", 0, 5)]
    state = WindowState(good, 1, 0)
    keys, times, values = np.zeros(2, np.uint64), np.zeros(2, np.int64), np.zeros((2, 1))
    data = WindowState(good, 1, 0).to_bytes()
    late = WindowState.with_watermark(good, 1, 0, 10)
    return {
        "no spec": (lambda: WindowState([], 1, 0), "at least one"),
        "unknown aggregate": (lambda: WindowState([WindowSpec("mode", 0, 5)], 1, 0), "'mode' is none of"),
        "column too high": (lambda: WindowState([WindowSpec("sum", 1, 5)], 1, 0), r"specs\[0\].column"),
        "column missing": (lambda: WindowState([WindowSpec("sum", -1, 5)], 1, 0), r"specs\[0\].column"),
        "empty window": (lambda: WindowState([WindowSpec("sum", 0, 0)], 1, 0), r"specs\[0\].size"),
        "parameter where none is": (lambda: WindowState([WindowSpec("sum", 0, 5, parameter=1.0)], 1, 0), "takes none"),
        "error of what is exact": (lambda: WindowState([WindowSpec("sum", 0, 5, error=0.1)], 1, 0), "sum is exact"),
        "error too small": (
            lambda: WindowState([WindowSpec("approx_distinct", 0, 5, error=0.001)], 1, 0),
            r"specs\[0\].error: expected a number from 0.0021 to 0.26, got 0.001",
        ),
        "no probability for a sketch": (
            lambda: WindowState([WindowSpec("approx_quantile", 0, 5, parameter=-1.0)], 1, 0),
            "parameter",
        ),
        "no probability": (lambda: WindowState([WindowSpec("quantile", 0, 5, parameter=2.0)], 1, 0), "parameter"),
        "no half-life": (lambda: WindowState([WindowSpec("decayed_sum", 0, 5)], 1, 0), r"specs\[0\].parameter"),
        "negative lateness": (lambda: WindowState(good, 1, -1), "lateness"),
        "signed keys": (
            lambda: state.update(keys.astype(np.int64), times, values),
            "keys: expected .* uint64",
        ),
        "float times": (lambda: state.update(keys, times.astype(float), values), "times: expected .* int64"),
        "big-endian values": (
            lambda: state.update(keys, times, values.astype(">f8")),
            "native-endian float64",
        ),
        "too few values": (lambda: state.update(keys, times, values[:1]), r"values: .* shape \(2, 1\)"),
        "flat values": (lambda: state.update(keys, times, values[:, 0]), r"values: .* shape \(2, 1\)"),
        "time out of range": (lambda: state.update(keys, times - 2**62, values), r"times\[0\]"),
        "watermark back": (lambda: setattr(late, "watermark", 9), "before 10"),
        "foreign bytes": (lambda: WindowState.from_bytes(b"x" * 100), "begins with"),
        "cut bytes": (lambda: WindowState.from_bytes(data[:-1]), "checksum"),
        "changed bytes": (lambda: WindowState.from_bytes(data[:20] + b"\x07" + data[21:]), "checksum"),
    }


@pytest.mark.parametrize("case", bad_inputs())
def test_what_does_not_fit_is_refused_with_its_name_and_what_was_expected(case: str) -> None:
    call, message = bad_inputs()[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_a_feature_that_is_asked_for_twice_is_given_twice() -> None:
    specs = [WindowSpec("sum", 0, 5), WindowSpec("count", -1, 5), WindowSpec("sum", 0, 5)]
    out = WindowState(specs, 2, 0).update(*random_stream(1, 50))
    np.testing.assert_array_equal(out[:, 0], out[:, 2])
    assert out.shape == (50, 3)


def test_a_refused_batch_adds_no_row() -> None:
    state = WindowState([WindowSpec("count", -1, 100)], 0, 0)
    with pytest.raises(ValueError, match=r"times\[1\]"):
        state.update(np.zeros(2, np.uint64), np.array([0, 2**62]), np.empty((2, 0)))
    assert (state.watermark, state.n_keys) == (NO_WATERMARK, 0)


@pytest.mark.parametrize("lateness", [0, 8])
@pytest.mark.parametrize("seed", range(3))
def test_rows_move_the_watermark_only_as_far_as_they_are_bounded(seed: int, lateness: int) -> None:
    specs, stream = every_spec(), random_stream(seed, 120)
    chance = np.random.default_rng(seed)
    ahead = np.where(chance.random(120) < 0.2, chance.integers(0, 60, 120), 0)  # clocks that run ahead of the others'
    stream = Stream(stream.keys, stream.times + ahead, stream.values)
    bounded = stream.times - np.maximum(ahead - 5, 0)
    assert_equals_oracle(specs, stream, lateness, WindowState(specs, 2, lateness).update(*stream, bounded), bounded)


def test_a_bound_after_a_rows_own_time_is_refused() -> None:
    state = WindowState([WindowSpec("count", -1, 10)], 0, 0)
    with pytest.raises(ValueError, match=r"bounded\[1\]: 8 lies after the row's time 7"):
        state.update(np.zeros(2, np.uint64), np.array([5, 7]), np.empty((2, 0)), np.array([5, 8]))

"""A look at windows gives what a row would be given, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from uncompiled import many_rows, sized

from kernels.windows.state import WindowSpec, WindowState
from tests.kernels.windows.test_windows import Stream, every_spec, hot_stream, random_stream


def own(values: NDArray[np.float64], ages: NDArray[np.float64]) -> float:
    return float(values.sum() - ages.sum())


def specs_of(sizes: tuple[int, ...]) -> list[WindowSpec]:
    """Every aggregate, and functions of one's own."""
    mine = [WindowSpec("custom", 0, size, current, function=own) for size in sizes for current in (False, True)]
    return every_spec(sizes) + mine


def memory(state: WindowState) -> list[bytes]:
    """All that a state holds, bit by bit, dead room included."""
    return [array.tobytes() for part in state._parts for array in part.store]


def row(stream: Stream, i: int) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.float64]]:
    return tuple(np.ascontiguousarray(each[i : i + 1]) for each in stream)  # type: ignore[return-value]


@settings(max_examples=sized(30, 4), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lateness=st.sampled_from([0, 8, 1000]),
    disorder=st.sampled_from([0, 15, 60]),
    ahead=st.sampled_from([0, 3]),
)
def test_a_look_gives_what_the_row_is_given_when_it_comes_and_changes_no_bit(
    seed: int, lateness: int, disorder: int, ahead: int
) -> None:
    specs, stream = specs_of((3, 40)), random_stream(seed, 120, disorder=disorder)
    state = WindowState(specs, 2, lateness)
    for i in range(len(stream.keys)):
        held = memory(state)
        seen = state.peek(*row(stream, i))
        assert memory(state) == held
        keys, times, values = row(stream, i)
        given_then = state.update(keys, times, values, times - ahead)
        np.testing.assert_array_equal(seen, given_then)


@settings(max_examples=sized(30, 4), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), lateness=st.sampled_from([0, 20]))
def test_rows_that_look_together_do_not_see_each_other(seed: int, lateness: int) -> None:
    specs, stream = specs_of((3, 40)), random_stream(seed, 90)
    state = WindowState(specs, 2, lateness)
    state.update(*stream.part(0, 60))
    together = state.peek(*stream.part(60))
    apart = np.concatenate([state.peek(*row(stream, i)) for i in range(60, 90)])
    np.testing.assert_array_equal(together, apart)


def test_looks_between_rows_change_no_feature() -> None:
    specs, stream = specs_of((3, 40)), random_stream(5, 200)
    looked, left = WindowState(specs, 2, 8), WindowState(specs, 2, 8)
    for i in range(0, 200, 10):
        looked.peek(*stream.part(i, i + 10))
        part = stream.part(i, i + 10)
        assert looked.update(*part).tobytes() == left.update(*part).tobytes()


@settings(max_examples=sized(30, 4), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), lateness=st.sampled_from([0, 20]), disorder=st.sampled_from([0, 60]))
def test_a_state_holds_the_keys_of_rows_that_can_enter_a_window_and_no_others(
    seed: int, lateness: int, disorder: int
) -> None:
    stream = random_stream(seed, 90, disorder=disorder)
    state = WindowState(every_spec((3, 40)), 2, lateness)
    state.update(*stream.part(0, 60))
    horizon = state.horizon()
    alive = set(stream.keys[:60][stream.times[:60] > horizon].tolist())
    keys = np.unique(np.append(stream.keys, np.uint64(123)))
    memory_before = memory(state)
    assert set(keys[state.holds(keys)].tolist()) == alive
    assert memory(state) == memory_before


@many_rows
@pytest.mark.parametrize("disorder", [0, 30])
def test_a_look_at_long_windows_gives_the_bits_that_the_row_is_given(disorder: int) -> None:
    specs = every_spec((100, 3_000, 4_100))
    stream = hot_stream(7, 5_000, disorder)
    state = WindowState(specs, 2, 50)
    state.update(*stream.part(0, 4_900))
    for i in range(4_900, 5_000):
        held = memory(state) if i % 20 == 0 else None
        seen = state.peek(*row(stream, i))
        assert held is None or memory(state) == held
        assert seen.tobytes() == state.update(*row(stream, i)).tobytes()


def test_a_look_at_a_state_without_rows_sees_empty_windows() -> None:
    state = WindowState([WindowSpec("count", -1, 10), WindowSpec("sum", 0, 10, include_current=True)], 1, 0)
    seen = state.peek(np.array([7, 7], np.uint64), np.array([5, 6]), np.array([[2.0], [3.0]]))
    np.testing.assert_array_equal(seen, [[0, 2], [0, 3]])
    assert state.n_keys == 0


def test_what_does_not_fit_is_refused() -> None:
    state = WindowState([WindowSpec("count", -1, 10)], 1, 0)
    with pytest.raises(ValueError, match="values"):
        state.peek(np.zeros(2, np.uint64), np.zeros(2, np.int64), np.zeros((1, 1)))

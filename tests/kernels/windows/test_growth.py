"""A large state that is full moves to a larger one in pieces, and no feature tells the difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uncompiled import many_rows, sized

from kernels.windows.specs import WHOLE, Aggregate
from kernels.windows.state import WindowSpec, WindowState
from tests.kernels.windows.test_peek import specs_of
from tests.kernels.windows.test_windows import Stream, every_spec, hot_stream, random_stream


def moving(state: WindowState) -> WindowState:
    """The state, whose stores move in pieces from the first on."""
    for part in state._parts:
        part.at_once = 0
    return state


def is_moving(state: WindowState) -> bool:
    return any(part._moving is not None for part in state._parts)


@settings(max_examples=sized(20, 3), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lateness=st.sampled_from([0, 20]),
    keys=st.sampled_from([3, 60, 400]),
    cuts=st.lists(st.integers(0, 600), max_size=12),
)
def test_a_state_that_moves_in_pieces_gives_the_bits_of_one_that_is_copied_at_once(
    seed: int, lateness: int, keys: int, cuts: list[int]
) -> None:
    specs, stream = specs_of((3, 40)), random_stream(seed, 600, keys=keys, disorder=30)
    pieces, whole = moving(WindowState(specs, 2, lateness)), WindowState(specs, 2, lateness)
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 600], strict=True):
        part = stream.part(begin, end)
        assert pieces.update(*part).tobytes() == whole.update(*part).tobytes()


@settings(max_examples=sized(20, 3), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), keys=st.sampled_from([60, 400]), cut=st.integers(50, 550))
def test_a_state_that_is_moving_is_looked_at_asked_for_its_keys_and_written_as_any_other(
    seed: int, keys: int, cut: int
) -> None:
    specs, stream = every_spec((3, 40)), random_stream(seed, 600, keys=keys, disorder=30)
    pieces, whole = moving(WindowState(specs, 2, 20)), WindowState(specs, 2, 20)
    for begin in range(0, cut, 10):
        part = stream.part(begin, min(begin + 10, cut))
        pieces.update(*part)
        whole.update(*part)
    rest = stream.part(cut)
    asked = np.append(np.unique(stream.keys), np.uint64(12345))
    np.testing.assert_array_equal(pieces.holds(asked), whole.holds(asked))
    assert pieces.peek(*rest).tobytes() == whole.peek(*rest).tobytes()
    assert pieces.to_bytes() == whole.to_bytes()
    assert pieces.update(*rest).tobytes() == whole.update(*rest).tobytes()


def test_a_move_is_over_long_before_the_new_store_is_full() -> None:
    """Else what is left would be copied at once, as a small store is."""
    state = moving(WindowState([WindowSpec("sum", 0, 10**9)], 1, 0))
    began = ended = 0
    before = False
    for batch in range(2_000):
        keys = np.arange(batch * 16, batch * 16 + 16).astype(np.uint64)
        state.update(keys, np.full(16, batch), np.ones((16, 1)))
        now = is_moving(state)
        began, ended, before = began + (now and not before), ended + (before and not now), now
    assert began >= 5, "it never moved"
    assert ended >= began - 1
    assert not any(part.store.counters[3] > 2**15 for part in state._parts)


@pytest.mark.parametrize("aggregate", ["sum", "last", "approx_distinct", "approx_quantile"])
def test_memory_stays_bounded_while_keys_come_and_go_and_stores_move(aggregate: Aggregate) -> None:
    state = moving(WindowState([WindowSpec(aggregate, 0, 100)], 1, 0))
    sizes, each = [], sized(500, 100)
    for batch in range(200):
        keys = np.arange(batch * each, (batch + 1) * each).astype(np.uint64)
        state.update(keys, np.full(each, batch * 50), np.ones((each, 1)))
        sizes.append(state.nbytes)
    assert max(sizes[40:]) < 1.5 * max(sizes[:40]), "memory grew though few rows stay relevant"


@many_rows
def test_the_rows_of_one_hot_key_move_with_their_summaries_made_again() -> None:
    long = {"quantile", "decayed_sum", "decayed_mean", "distinct", *WHOLE}  # read whole: slow, and without summaries
    specs = [spec for spec in every_spec((100, 3_000, 4_100)) if spec.aggregate not in long]
    stream = hot_stream(7, 5_000, 30)
    pieces, whole = moving(WindowState(specs, 2, 50)), WindowState(specs, 2, 50)
    for begin in range(0, 5_000, 250):
        part = stream.part(begin, begin + 500)
        assert pieces.update(*part).tobytes() == whole.update(*part).tobytes()


def test_where_the_system_gives_no_memory_for_a_move_the_rows_are_copied_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_args: object) -> None:
        raise MemoryError

    stream = random_stream(1, 4_000, keys=1_500)
    whole = WindowState([WindowSpec("sum", 0, 500)], 2, 0)
    monkeypatch.setattr("kernels.windows._part.Moving", refuse)
    pieces = moving(WindowState([WindowSpec("sum", 0, 500)], 2, 0))
    assert pieces.update(*stream).tobytes() == whole.update(*stream).tobytes()
    assert not is_moving(pieces)


def test_a_batch_that_fills_the_new_store_before_the_sweep_is_over_loses_no_row() -> None:
    """One batch of more rows than there are keys till then."""
    first = random_stream(1, 200, keys=100, step=0, disorder=0)
    more = Stream(
        np.arange(1_000, 31_000).astype(np.uint64) % np.uint64(10_000), np.full(30_000, 400), np.ones((30_000, 2))
    )
    pieces, whole = moving(WindowState([WindowSpec("count", -1, 10**6), WindowSpec("sum", 1, 10**6)], 2, 0)), None
    whole = WindowState([WindowSpec("count", -1, 10**6), WindowSpec("sum", 1, 10**6)], 2, 0)
    for batch in (first, more, first._replace(times=first.times + 500)):
        assert pieces.update(*batch).tobytes() == whole.update(*batch).tobytes()
    assert pieces.to_bytes() == whole.to_bytes()

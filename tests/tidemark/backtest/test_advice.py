"""When more labels stop paying, and which change is worth making."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tidemark.backtest.advice import gain, stops_paying

GRID = np.arange(0, 1_001, 10)


def naive(grid: list[int], mean: list[float]) -> int | None:
    """The rule, word by word."""
    for at, labels in enumerate(grid):
        later = [(far, value) for far, value in zip(grid, mean, strict=True) if far >= labels + 100]
        if not later:
            return None
        if all((value - mean[at]) / (far - labels) * 100 < 0.005 for far, value in later):
            return labels
    return None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=60), st.integers(3, 40))
@settings(max_examples=200, deadline=None)
def test_labels_stop_paying_where_the_rule_says(values: list[float], step: int) -> None:
    grid = [at * step for at in range(len(values))]
    assert stops_paying(np.array(grid), np.array(values)) == naive(grid, values)


def test_a_curve_that_ends_flat_stops_where_it_becomes_so_and_one_that_rises_does_not() -> None:
    flat = np.minimum(GRID / 400, 1.0) * 0.5
    stop = stops_paying(GRID, flat)
    assert stop is not None
    assert 380 <= stop <= 400
    assert stops_paying(GRID, GRID / 1_000) is None
    assert stops_paying(GRID[:8], np.full(8, 0.5)) is None, "nothing is known of a hundred more"


def test_a_late_step_is_waited_for() -> None:
    late = np.where(GRID >= 700, 0.8, 0.4)
    stop = stops_paying(GRID, late)
    assert stop is not None
    assert stop >= 690


def test_noise_about_a_level_is_no_reason_to_go_on_for_long() -> None:
    rng = np.random.default_rng(1)
    stops = [stops_paying(GRID, 0.6 + 0.002 * rng.normal(size=len(GRID))) for _ in range(200)]
    assert all(stop is not None and stop <= 100 for stop in stops)


def test_a_change_is_advised_by_chance_in_one_of_twenty_simulations_at_most() -> None:
    rng = np.random.default_rng(2)
    advised, runs, changes = 0, 300, 3
    for _ in range(runs):
        own = dict(enumerate(0.5 + 0.05 * rng.normal(size=5)))
        found = (gain(dict(enumerate(0.5 + 0.05 * rng.normal(size=5))), own, changes) for _ in range(changes))
        advised += any(each is not None and each.worth for each in found)
    assert advised / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_a_gain_is_that_of_a_paired_t_test_over_the_seeds_that_both_have() -> None:
    own = {0: 0.50, 1: 0.55, 2: 0.45, 9: 0.1}
    better = {0: 0.61, 1: 0.64, 2: 0.57, 7: 0.9}
    found = gain(better, own, 4)
    apart = np.array([0.11, 0.09, 0.12])
    assert found is not None
    assert found.low is not None
    assert found.mean == pytest.approx(apart.mean())
    assert found.low == pytest.approx(apart.mean() - stats.t.ppf(1 - 0.05 / 4, 2) * stats.sem(apart))
    assert found.worth


def test_one_seed_shows_nothing_and_a_small_gain_is_not_worth_it() -> None:
    single = gain({0: 0.9}, {0: 0.1}, 1)
    assert single is not None
    assert (single.low, single.worth) == (None, False)
    small = gain({at: 0.504 + at * 1e-5 for at in range(5)}, dict.fromkeys(range(5), 0.5), 1)
    assert small is not None
    assert not small.worth
    assert gain({0: 0.9}, {1: 0.1}, 1) is None

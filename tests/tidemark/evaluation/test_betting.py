"""Tests by betting: how seldom they err, how soon they end, and that a slow account of the same bets agrees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidemark.evaluation.betting import interval, is_above, wealth

Floats = NDArray[np.float64]


def account(values: list[float], bound: float, worth: float) -> list[float]:
    """The wealth, value by value: what was seen so far decides what is staked on the next."""
    money, seen, spread, found = 1.0, 0.0, 20 * 0.1, []
    for number, value in enumerate(values):
        mean = seen / (number + 200)
        goal = max(mean, worth)
        stake = min(goal / (spread / (number + 20) + goal**2), 0.75 / bound)
        money *= 1 + stake * value
        seen += value
        spread += (value - mean) ** 2
        found.append(money)
    return found


def differences(better: float, worse: float, shape: tuple[int, int], seed: int) -> Floats:
    """Of two models' hits: 1 where only the new one is right, -1 where only the old one is."""
    draws = np.random.default_rng(seed).random(shape)
    return np.where(draws < better, 1.0, np.where(draws < better + worse, -1.0, 0.0))


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=60), st.floats(0.001, 0.5))
@settings(max_examples=60)
def test_wealth_is_that_of_a_bettor_who_has_seen_only_what_came_before(values: list[float], worth: float) -> None:
    found = wealth(np.array(values), 2.0, worth)
    assert np.exp(found) == pytest.approx(account(values, 2.0, worth), rel=1e-9)


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_a_mean_of_0_is_seldom_taken_for_more_however_often_it_is_looked_at(rate: float) -> None:
    grown = wealth(differences(rate, rate, (2_000, 400), 1), 1.0, 0.02)
    assert (grown.max(axis=0) >= math.log(20)).mean() <= 0.05


@pytest.mark.parametrize("weighted", [False, True])
def test_a_lopsided_mean_of_0_is_seldom_taken_for_more_either(*, weighted: bool) -> None:
    rng = np.random.default_rng(2)
    values = rng.choice([-0.9, 0.1], p=[0.1, 0.9], size=(2_000, 400))
    values = values * rng.choice([0.5, 1.0, 4.0], size=values.shape) if weighted else values
    grown = wealth(values, 4.0 if weighted else 1.0, 0.02)
    assert (grown.max(axis=0) >= math.log(20)).mean() <= 0.05


def test_two_points_are_found_with_half_the_labels_of_a_test_of_fixed_size() -> None:
    grown = wealth(differences(0.05, 0.03, (9_000, 200), 3), 1.0, 0.02) >= math.log(20)
    labels = np.where(grown.any(axis=0), grown.argmax(axis=0) + 1, 9_000)
    fixed = (1.96 + 1.645) ** 2 * 0.0796 / 0.02**2  # an interval of 95 % that leaves out 0 with a chance of 95 %
    assert np.mean(labels) <= 0.52 * fixed


def test_an_interval_holds_the_mean_at_every_look_at_once() -> None:
    missed = 0
    for seed in range(60):
        values = differences(0.12, 0.07, (600, 1), seed)[:, 0]
        ends = [interval(values[:count], 1.0, 0.02) for count in range(100, 601, 100)]
        missed += not all(low <= 0.05 <= high for low, high in ends)
    assert missed <= 8  # each end errs in one of twenty at most


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), max_size=200), st.floats(0.005, 0.1))
@settings(max_examples=60, deadline=None)
def test_an_interval_leaves_out_0_only_where_the_test_says_so(values: list[float], worth: float) -> None:
    low, high = interval(np.array(values), 1.0, worth)
    assert low >= -1
    assert high <= 1
    assert (low >= 0) == is_above(np.array(values), 1.0, worth)
    assert (high <= 0) == is_above(-np.array(values), 1.0, worth)

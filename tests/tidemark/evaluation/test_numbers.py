"""Measures of numbers against their plain formulas, and intervals against the truth by simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from tidemark.evaluation.metrics import Floats
from tidemark.evaluation.numbers import (
    NumberFigure,
    NumberSample,
    coverage,
    error_difference,
    mae,
    more_answers,
    r_squared,
    rmse,
    share_foretold,
)
from tidemark.pipeline.model import NumberMetric

MEASURES = {"rmse": rmse, "mae": mae}


def sample(n: int, seed: int, *, entities: int | None = None) -> NumberSample:
    """Estimates of numbers; those of the heavier answers are worse, and so are all of some entities."""
    rng = np.random.default_rng(seed)
    truth = rng.gamma(2.0, 20.0, n)
    weight = rng.choice([1.0, 4.0], n)
    entity = None if entities is None else rng.integers(0, entities, n)
    off = 0.0 if entity is None else np.random.default_rng(seed + 1).normal(size=entities)[entity] * 8
    value = truth + off + rng.normal(size=n) * np.where(weight > 1, 8.0, 4.0)
    return NumberSample(truth, np.column_stack((value, value - 10, value + 10)), weight, entity)


def test_figures_are_those_of_scikit_learn() -> None:
    given = sample(200, 0)
    value, weight = given.estimates[:, 0], given.weight
    assert rmse(given).value == pytest.approx(root_mean_squared_error(given.truth, value, sample_weight=weight))
    assert mae(given).value == pytest.approx(mean_absolute_error(given.truth, value, sample_weight=weight))
    assert r_squared(given).value == pytest.approx(r2_score(given.truth, value, sample_weight=weight))
    assert share_foretold(given.truth, value) == pytest.approx(r2_score(given.truth, value))
    assert share_foretold(np.ones(3), np.zeros(3)) == 0
    inside = np.abs(given.errors) <= 10
    assert coverage(given).value == pytest.approx(np.average(inside, weights=weight))


@pytest.mark.parametrize("entities", [None, 30])
@pytest.mark.parametrize("n", [40, 300])
def test_intervals_hold_the_truth_as_often_as_they_say(n: int, entities: int | None) -> None:
    measures = (rmse, mae, r_squared)
    whole = [sample(4_000, seed, entities=None if entities is None else 2_000) for seed in range(1_000, 1_010)]
    truths = [np.mean([measure(each).value for each in whole]) for measure in measures]
    held = np.zeros(3)
    for seed in range(300):
        given = sample(n, 10 * seed, entities=entities)
        for place, (measure, truth) in enumerate(zip(measures, truths, strict=True)):
            found = measure(given)
            assert found.low is not None
            assert found.high is not None
            held[place] += found.low <= truth <= found.high
    assert (held / 300 > 0.88).all(), held / 300


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_a_difference_of_errors_is_paired_and_its_interval_holds_the_truth_as_often_as_it_says(
    metric: NumberMetric,
) -> None:
    """Two models that err alike are told apart by far fewer answers than each one's own interval would need."""

    def pair(n: int, seed: int) -> tuple[NumberSample, NumberSample]:
        first = sample(n, seed, entities=None)
        off = first.errors * 1.1 + np.random.default_rng(seed + 7).normal(size=n)
        return first, replace(first, estimates=np.column_stack((first.truth + off, first.estimates[:, 1:])))

    truth = float(np.mean([error_difference(*pair(4_000, seed), metric).value for seed in range(5_000, 5_040)]))
    held, widths, own = 0, [], []
    first, second = pair(100, 0)
    assert error_difference(first, first, metric).high == 0
    swapped = error_difference(second, first, metric).value or 0
    assert swapped == pytest.approx(-(error_difference(first, second, metric).value or 0))
    for seed in range(300):
        first, second = pair(100, 10 * seed)
        found, alone = error_difference(first, second, metric), MEASURES[metric](second)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
        widths.append(found.high - found.low)
        own.append((alone.high or 0) - (alone.low or 0))
    assert held / 300 > 0.92
    assert np.mean(widths) < 0.5 * np.mean(own)


def test_of_few_answers_nothing_is_said_and_more_are_asked_for() -> None:
    few = sample(2, 0)
    assert rmse(few).value is None
    assert r_squared(few).value is None
    assert more_answers(r_squared(few)) == 100
    assert coverage(NumberSample(few.truth, np.full((2, 3), np.nan), few.weight)).n == 0


def test_answers_without_an_interval_count_for_no_coverage() -> None:
    given = sample(50, 0)
    given.estimates[:40, 1:] = np.nan
    assert coverage(given).n == 10


def sample_of(truth: Floats, said: Floats) -> NumberSample:
    estimates = np.column_stack((said, said - 1, said + 1))
    return NumberSample(truth, estimates, np.ones(len(truth)))


def test_numbers_that_are_all_alike_have_no_variance_that_could_be_foretold() -> None:
    """The mean of thirty times 0.1 is not 0.1: their variance seemed to be 1e-34, and R² to be -1e32."""
    truth = np.full(30, 0.1)
    assert r_squared(sample_of(truth, truth + 1)) == NumberFigure(None, None, None, 30)


@pytest.mark.parametrize("level", [0.0, 0.1, 1 / 3])
def test_where_a_single_number_differs_no_interval_is_made_up(level: float) -> None:
    """Without it the others have no variance: what was left of it by rounding made the interval end at -1e30."""
    truth = np.full(30, level)
    truth[7] += 100
    found = r_squared(sample_of(truth, truth + np.linspace(1, 2, 30)))
    assert found.value is not None
    assert 0.9 < found.value < 1
    assert (found.low, found.high) == (None, None)


def test_errors_of_any_sizes_side_by_side_are_measured() -> None:
    for large in (1.0, 1e20, 1e99):
        for small in (1e-300, 1e-17, 1e-3):
            truth = np.array([0.0, 0.0, 1.0, 0.0])
            sample = sample_of(truth, truth + np.array([small, small, large, small]))
            for figure in (rmse(sample), mae(sample), r_squared(sample)):
                assert figure.value is not None
                assert all(end is None or math.isfinite(end) for end in (figure.low, figure.high))
    found = rmse(sample_of(np.zeros(4), np.array([1e-17, 1e-17, 1e60, 1e-17])))
    assert (found.low, found.high) == (None, None), "from nothing to all says nothing"

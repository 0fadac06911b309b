from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.training.learners.evidence import PRIOR_OF_MEAN, RATE, importance, weights_of


def test_with_few_labels_the_model_is_the_mean_and_with_many_the_best() -> None:
    rng = np.random.default_rng(0)
    losses = [0.5 + 0.1 * rng.normal(size=2_000), 0.6 + 0.1 * rng.normal(size=2_000), np.full(2_000, 0.55)]
    mean = np.full(2_000, 0.53)
    few = weights_of([each[:5] for each in losses], mean[:5])
    many = weights_of(losses, mean)
    np.testing.assert_allclose(few, 1 / 3, atol=0.05)
    np.testing.assert_array_equal(many, [1, 0, 0])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 300), st.floats(0, 2))
def test_weights_are_hundredths_that_sum_to_one(seed: int, count: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    weights = weights_of([size * rng.random(count) for _ in range(4)], size * rng.random(count))
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    np.testing.assert_allclose(100 * weights, np.round(100 * weights), atol=1e-9)


def test_the_loss_of_the_mixture_is_within_its_bound_of_the_best_candidate() -> None:
    """Of each label foretold by the weights that the labels before it gave: Vovk's bound, by simulation."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        losses = [rng.exponential(each, 400) for each in rng.uniform(0.2, 0.8, 4)]
        mean = np.mean(losses, axis=0) - 0.02
        total = 0.0
        for at in range(400):
            weights = weights_of([each[:at] for each in losses], mean[:at])
            total += float(weights @ [each[at] for each in losses])  # convexity: no more than the mixture's own
        best = min(*(each.sum() for each in losses), mean.sum() + 400 * 0.02)
        assert total <= best + np.log(8 / (1 - PRIOR_OF_MEAN)) / RATE + 0.05 * best


def test_labels_that_a_model_asked_for_do_not_judge_where_enough_were_drawn() -> None:
    target = np.arange(200) % 2
    inclusion = np.where(np.arange(200) < 100, 0.1, np.nan)
    inclusion[:20] = 0.05
    weights = importance(inclusion, target)
    assert (weights[100:] == 0).all()
    assert weights[0] == pytest.approx(2 * weights[50])
    np.testing.assert_array_equal(importance(inclusion[80:], target[80:]), 1.0)
    np.testing.assert_array_equal(importance(None, target), 1.0)
    np.testing.assert_array_equal(importance(inclusion, np.zeros(200, np.int64)), 1.0)


def test_a_probability_that_is_none_counts_as_unknown() -> None:
    inclusion = np.full(100, 0.5)
    inclusion[:4] = [0.0, -1.0, 7.0, np.inf]
    weights = importance(inclusion, np.arange(100) % 2)
    assert (weights[:4] == 0).all()
    assert (weights[4:] == 1).all()

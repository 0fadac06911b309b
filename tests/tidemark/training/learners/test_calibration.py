from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from tidemark.training.learners.calibration import log_likelihoods, probabilities_of, scale_of


def test_the_scale_of_scores_is_found_again() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 1))
    target = (rng.random(20_000) < expit(3 * scores[:, 0] - 2)).astype(np.int64)
    scale = scale_of(scores, target, 2, 1.0)
    assert scale.slope == pytest.approx(3, rel=0.05)
    assert scale.intercept[0] == pytest.approx(-2, rel=0.05)


def test_the_scale_of_several_classes_is_found_again() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 4))
    odds = np.exp(2 * scores + [0.5, 0, -0.5, 0])
    cumulated = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
    target = (rng.random((20_000, 1)) > cumulated).sum(axis=1).clip(max=3)
    scale = scale_of(scores, target, 4, 1.0)
    assert scale.slope == pytest.approx(2, rel=0.05)
    np.testing.assert_allclose(scale.intercept - scale.intercept[1], [0.5, 0, -0.5, 0], atol=0.1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 60), st.sampled_from([1e-9, 1.0, 1e6]))
def test_whatever_the_scores_the_order_of_rows_stays_and_probabilities_sum_to_one(
    seed: int, classes: int, count: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, 1 if classes == 2 else classes)) * size
    scale = scale_of(scores, rng.integers(0, classes, count), classes, 1.0)
    assert scale.slope > 0
    given = probabilities_of(scale(scores))
    assert np.isfinite(given).all()
    np.testing.assert_allclose(given.sum(axis=1), 1.0)
    if classes == 2:
        assert (np.diff(given[np.argsort(scores[:, 0], kind="stable"), 1]) >= 0).all()


def test_a_perfect_score_of_few_labels_is_no_certainty() -> None:
    scores = np.repeat([[-1.0], [1.0]], 5, axis=0)
    given = probabilities_of(scale_of(scores, np.repeat([0, 1], 5), 2, 1.0)(scores))
    assert 0.7 < given[-1, 1] < 0.95


def test_likelihoods_are_of_the_second_class_where_there_is_one_score() -> None:
    np.testing.assert_allclose(np.exp(log_likelihoods(np.array([[0.0], [2.0]])))[:, 1], expit([0.0, 2.0]))

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from tidemark.training.learners.calibration import log_likelihoods, probabilities_of, scale_of, shifted


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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(0, 60), st.sampled_from([1e-9, 1.0, 1e6]))
def test_whatever_was_drawn_the_order_of_rows_stays(seed: int, classes: int, drawn: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(60, 1 if classes == 2 else classes)) * size
    target = rng.integers(0, classes, 60)
    weights = np.where(np.arange(60) < drawn, rng.exponential(1.0, 60), 0.0)
    scale = shifted(scale_of(scores, target, classes, 1.0), scores, target, classes, weights)
    assert scale.slope > 0
    given = probabilities_of(scale(scores))
    assert np.isfinite(given).all()
    np.testing.assert_allclose(given.sum(axis=1), 1.0)


def test_the_shift_of_the_stream_is_found_where_labels_were_asked_for() -> None:
    """Positives of labels asked for are ten times the stream's; with few drawn labels the scale stays between."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(30_000, 1))
    target = (rng.random(30_000) < expit(2 * scores[:, 0] - 4)).astype(np.int64)
    kept = (target == 1) | (rng.random(30_000) < 0.1)
    scale = scale_of(scores[kept], target[kept], 2, 1.0)
    assert scale.intercept[0] == pytest.approx(-4 + np.log(10), abs=0.1)
    mixed_scores = np.concatenate([scores[kept], scores])
    mixed_target = np.concatenate([target[kept], target])
    found = {}
    for drawn in (0, 20, 30_000):
        weights = np.zeros(len(mixed_target))
        weights[kept.sum() : kept.sum() + drawn] = 1.0
        found[drawn] = shifted(scale, mixed_scores, mixed_target, 2, weights).intercept[0]
    assert found[0] == scale.intercept[0]
    assert found[30_000] == pytest.approx(-4, abs=0.1)
    assert found[30_000] < found[20] < found[0]


def test_a_perfect_score_of_few_labels_is_no_certainty() -> None:
    scores = np.repeat([[-1.0], [1.0]], 5, axis=0)
    given = probabilities_of(scale_of(scores, np.repeat([0, 1], 5), 2, 1.0)(scores))
    assert 0.7 < given[-1, 1] < 0.95


def test_likelihoods_are_of_the_second_class_where_there_is_one_score() -> None:
    np.testing.assert_allclose(np.exp(log_likelihoods(np.array([[0.0], [2.0]])))[:, 1], expit([0.0, 2.0]))

"""Curves of a model: points and bins as scikit-learn has them, each with an interval that holds it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

from tidemark.evaluation.curves import calibration_error, precision_recall, reliability
from tidemark.evaluation.measures import Sample


def answers(n: int, seed: int, *, skill: float = 1.5, weighted: bool = True) -> Sample:
    """Two classes, scores that say something of them."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.2).astype(np.int64)
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + skill * (2 * truth - 1))))
    return Sample(
        truth, np.column_stack((1 - score, score)), rng.choice([0.5, 1.0, 2.0], n) if weighted else np.ones(n)
    )


@pytest.mark.parametrize("n", [30, 400, 2_000])
def test_precision_and_recall_at_each_threshold_are_scikit_learns(n: int) -> None:
    sample = answers(n, n)
    points = precision_recall(sample, 1)
    precision, recall, thresholds = precision_recall_curve(
        sample.truth == 1, sample.score(1), sample_weight=sample.weight
    )
    theirs = dict(zip(thresholds.tolist(), zip(precision.tolist(), recall.tolist(), strict=False), strict=False))
    assert 4 < len(points) <= 40
    for point in points:
        assert (point.precision, point.recall) == pytest.approx(theirs[point.threshold])
        assert point.low <= point.precision <= point.high
    assert [point.recall for point in points] == sorted(point.recall for point in points)
    assert points[-1].recall == pytest.approx(1)


def test_bins_of_as_many_answers_each_are_scikit_learns() -> None:
    sample = answers(500, 3, weighted=False)
    bins = reliability(sample, 1)
    observed, predicted = calibration_curve(sample.truth == 1, sample.score(1), n_bins=10, strategy="quantile")
    assert [each.n for each in bins] == [50] * 10
    assert [each.observed for each in bins] == pytest.approx(observed.tolist())
    assert [each.predicted for each in bins] == pytest.approx(predicted.tolist())
    assert sum(each.weight for each in bins) == pytest.approx(1)


def test_the_intervals_of_bins_hold_the_truth_of_a_calibrated_model() -> None:
    held = total = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        score = rng.uniform(0.05, 0.95, 300)
        truth = (rng.random(300) < score).astype(np.int64)
        for each in reliability(Sample(truth, np.column_stack((1 - score, score)), np.ones(300)), 1):
            held += each.low <= each.predicted <= each.high
            total += 1
    assert held / total > 0.93


def test_few_answers_and_answers_without_the_class_say_nothing() -> None:
    none = Sample(np.empty(0, np.int64), np.empty((0, 2)), np.empty(0))
    assert (precision_recall(none, 1), reliability(none, 1), calibration_error([])) == ([], [], None)
    without = Sample(np.zeros(40, np.int64), np.tile([0.7, 0.3], (40, 1)), np.ones(40))
    assert precision_recall(without, 1) == []
    bins = reliability(without, 1)
    assert [(each.n, each.observed) for each in bins] == [(40, 0.0)]
    assert bins[0].high > 0.02
    assert calibration_error(bins) == pytest.approx(0.3)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 1), st.floats(0, 1), st.floats(1e-3, 1e6), st.integers(0, 4)), min_size=1, max_size=80
    )
)
@settings(max_examples=200, deadline=None)
def test_every_share_is_within_its_interval_and_every_answer_in_one_bin(
    rows: list[tuple[int, float, float, int]],
) -> None:
    truth, score, weight, entity = (np.array(column) for column in zip(*rows, strict=True))
    sample = Sample(truth, np.column_stack((1 - score, score)), weight, entity)
    for point in precision_recall(sample, 1):
        assert 0 <= point.low <= point.precision <= point.high <= 1
        assert 0 <= point.recall <= 1
    bins = reliability(sample, 1)
    assert sum(each.n for each in bins) == (len(rows) if len(rows) >= 10 else 0)
    for each in bins:
        assert 0 <= each.low <= each.observed <= each.high <= 1

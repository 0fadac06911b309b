import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as peer

from tidemark.evaluation import metrics


def case(
    seed: int, rows: int, levels: int, share: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Truth, scores with ties (few levels) and weights, some zero."""
    rng = np.random.default_rng(seed)
    weight = rng.exponential(size=rows) * (rng.random(rows) > 0.1)
    return rng.random(rows) < share, rng.integers(0, levels, rows) / levels, weight


cases = st.builds(
    case,
    st.integers(0, 2**32 - 1),
    st.integers(2, 200),
    st.sampled_from([1, 3, 20, 10_000]),
    st.sampled_from([0.05, 0.5, 0.9]),
)


@given(cases, st.booleans())
def test_average_precision_equals_scikit_learn(
    data: tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], weighted: bool
) -> None:
    truth, score, weight = data
    assume(float((weight * truth).sum()) > 0)
    given_weight = weight if weighted else None
    expected = peer.average_precision_score(truth, score, sample_weight=given_weight)
    assert metrics.average_precision(truth, score, given_weight) == pytest.approx(expected, abs=1e-12)


def without_itself(truth: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    whole = metrics.average_precision(truth, score, weight)
    total = 0.0
    for row in np.flatnonzero(truth).tolist():
        above = [other for other in range(len(truth)) if other != row and score[other] >= score[row]]
        mass = sum(weight[other] for other in above)
        hits = sum(weight[other] for other in above if truth[other])
        total += weight[row] * (hits / mass if mass > 0 else whole)
    return total / float(weight[truth].sum())


@given(cases)
def test_a_positive_does_not_count_in_its_own_precision(
    given_case: tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    truth, score, weight = given_case
    assume((weight * truth).sum() > 0)
    found = metrics.average_precision_of_others(truth, score, weight)
    assert found == pytest.approx(without_itself(truth, score, weight), rel=1e-6, abs=1e-9)


def test_of_scores_that_tell_nothing_the_average_precision_of_others_is_the_share_of_positives() -> None:
    rng = np.random.default_rng(1)
    truth, score = rng.permuted(np.repeat([[True] * 10 + [False] * 990], 300, axis=0), axis=1), rng.random((300, 1_000))
    plain = np.mean([metrics.average_precision(*each) for each in zip(truth, score, strict=True)])
    others = np.mean([metrics.average_precision_of_others(*each) for each in zip(truth, score, strict=True)])
    assert plain > 0.014
    assert others == pytest.approx(0.01, abs=0.0015)


@given(cases, st.booleans())
def test_roc_auc_equals_scikit_learn(
    data: tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], weighted: bool
) -> None:
    truth, score, weight = data
    assume(float((weight * truth).sum()) > 0)
    assume(float((weight * ~truth).sum()) > 0)
    given_weight = weight if weighted else None
    expected = peer.roc_auc_score(truth, score, sample_weight=given_weight)
    assert metrics.roc_auc(truth, score, given_weight) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 6), st.booleans())
def test_log_loss_and_brier_equal_scikit_learn(seed: int, rows: int, classes: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.3), rows)
    truth = rng.integers(0, classes, rows)
    weight = rng.exponential(size=rows) + 0.01 if weighted else None
    labels = np.arange(classes)
    expected = peer.log_loss(truth, probabilities, sample_weight=weight, labels=labels)
    assert metrics.log_loss(truth, probabilities, weight) == pytest.approx(expected, rel=1e-9)
    if classes == 2:
        expected = peer.brier_score_loss(truth, probabilities[:, 1], sample_weight=weight, pos_label=1)
        assert metrics.brier(truth, probabilities, weight) == pytest.approx(expected, rel=1e-9)
    else:
        one_hot = np.eye(classes)[truth]
        expected = np.average(((probabilities - one_hot) ** 2).sum(axis=1), weights=weight)
        assert metrics.brier(truth, probabilities, weight) == pytest.approx(expected, rel=1e-9)


@given(cases, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_precision_and_recall_equal_scikit_learn(
    data: tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], threshold: float
) -> None:
    truth, score, weight = data
    flagged = score >= threshold
    precision, recall = metrics.precision_recall(truth, score, threshold, weight)
    if (weight * flagged).sum() > 0:
        assert precision == pytest.approx(peer.precision_score(truth, flagged, sample_weight=weight, zero_division=0.0))
    else:
        assert math.isnan(precision)
    if (weight * truth).sum() > 0:
        assert recall == pytest.approx(peer.recall_score(truth, flagged, sample_weight=weight, zero_division=0.0))
    else:
        assert math.isnan(recall)


@given(cases, st.integers(1, 50))
def test_precision_at_k_is_the_mean_over_all_orders_of_the_ties(
    data: tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], k: int
) -> None:
    truth, score, _ = data
    k = min(k, len(truth))
    rows = sorted(range(len(truth)), key=lambda i: -score[i])
    border = score[rows[k - 1]]
    above = [i for i in rows if score[i] > border]
    tied = [i for i in rows if score[i] == border]
    expected = (sum(truth[i] for i in above) + (k - len(above)) * sum(truth[i] for i in tied) / len(tied)) / k
    assert metrics.precision_at(truth, score, k) == pytest.approx(expected)


@given(cases, st.integers(1, 12))
def test_calibration_bins_hold_the_weight_and_the_means_of_their_rows(
    data: tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], bins: int
) -> None:
    truth, score, weight = data
    assume(weight.sum() > 0)
    result = metrics.calibration(truth, score, weight, bins)
    assert result.weight.sum() == pytest.approx(1)
    assert (result.weight * result.observed).sum() == pytest.approx(np.average(truth, weights=weight))
    assert (result.weight * result.predicted).sum() == pytest.approx(np.average(score, weights=weight))
    error = 0.0
    for b in range(bins):
        rows = [i for i in range(len(score)) if min(int(score[i] * bins), bins - 1) == b]
        mass = weight[rows].sum()
        if mass > 0:
            error += abs((weight[rows] * truth[rows]).sum() - (weight[rows] * score[rows]).sum()) / weight.sum()
    assert result.error == pytest.approx(error)


def test_a_calibrated_coin_has_no_calibration_error_and_an_overconfident_one_has() -> None:
    truth = np.array([True, False] * 50)
    assert metrics.calibration(truth, np.full(100, 0.5)).error == pytest.approx(0)
    assert metrics.calibration(truth, np.full(100, 0.9)).error == pytest.approx(0.4)


def test_what_the_data_cannot_define_is_nan() -> None:
    none = np.zeros(4, np.bool_)
    score = np.linspace(0, 1, 4)
    assert math.isnan(metrics.average_precision(none, score))
    assert math.isnan(metrics.roc_auc(none, score))
    assert math.isnan(metrics.roc_auc(~none, score))
    assert all(math.isnan(value) for value in metrics.precision_recall(none, score, 2.0))
    empty, no_rows = np.zeros(0, np.bool_), np.zeros(0)
    assert math.isnan(metrics.average_precision(empty, no_rows))
    assert math.isnan(metrics.precision_at(empty, no_rows, 3))
    assert math.isnan(metrics.calibration(empty, no_rows).error)
    assert math.isnan(metrics.log_loss(np.zeros(0, np.int64), np.zeros((0, 2))))


@pytest.mark.parametrize(
    ("truth", "score", "weight", "named"),
    [
        (np.zeros(2, np.int64), np.zeros(2), None, "truth"),
        (np.zeros(2, np.bool_), np.zeros(3), None, "score"),
        (np.zeros(2, np.bool_), np.array([0.5, np.nan]), None, "score: not finite in row 1"),
        (np.zeros(2, np.bool_), np.zeros(2), np.array([1.0, -1.0]), "weight"),
        (np.zeros(2, np.bool_), np.zeros(2), np.ones(3), "weight"),
    ],
)
def test_input_that_does_not_fit_is_refused_by_name(
    truth: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.float64] | None, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        metrics.average_precision(truth, score, weight)


@pytest.mark.parametrize(
    ("truth", "probabilities", "named"),
    [
        (np.array([0, 2]), np.full((2, 2), 0.5), "truth"),
        (np.array([0, -1]), np.full((2, 2), 0.5), "truth"),
        (np.array([0, 1]), np.full((3, 2), 0.5), "probabilities"),
        (np.array([0, 1]), np.full((2, 1), 1.0), "probabilities"),
        (np.array([0, 1]), np.array([[0.5, 0.5], [np.inf, 0.0]]), "probabilities: not finite in row 1"),
    ],
)
def test_a_probability_table_that_does_not_fit_is_refused_by_name(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        metrics.losses(truth, probabilities)


def test_options_out_of_range_are_refused_by_name() -> None:
    truth, score = np.zeros(2, np.bool_), np.array([0.5, 1.5])
    with pytest.raises(ValueError, match="k: expected"):
        metrics.precision_at(truth, score, 0)
    with pytest.raises(ValueError, match="bins"):
        metrics.calibration(truth, score, bins=0)
    with pytest.raises(ValueError, match=r"within \[0, 1\]"):
        metrics.calibration(truth, score)

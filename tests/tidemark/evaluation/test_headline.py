"""The headline: the measure suits the classes, the interval holds the truth, and more answers narrow it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from tidemark.evaluation import intervals, metrics
from tidemark.evaluation.headline import RARE, Headline, headline
from tidemark.evaluation.measures import Sample

TWO = ["no", "yes"]


def sample(truth: NDArray[np.int64], score: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> Sample:
    return Sample(truth, np.column_stack((1 - score, score)), np.ones(len(truth)) if weight is None else weight)


def drawn(n: int, rate: float, seed: int, *, skill: float = 1.5) -> Sample:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < rate).astype(np.int64)
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + skill * (truth - 0.5) * 2)))
    return sample(truth, score, rng.choice([0.5, 1.0, 2.0], n))


def test_common_classes_are_measured_by_accuracy() -> None:
    found = headline(drawn(400, 0.4, 1), TWO, "yes")
    assert found.metric == "accuracy"
    assert found.about == "yes"
    assert found.chance == pytest.approx(1 - (found.base_rate or 0))


def test_a_rare_class_is_measured_by_average_precision_as_scikit_learn_has_it() -> None:
    given = drawn(600, 0.05, 2)
    found = headline(given, TWO, "yes")
    assert found.metric == "average_precision"
    expected = average_precision_score(given.truth, given.probabilities[:, 1], sample_weight=given.weight)
    assert found.value == pytest.approx(expected)
    assert found.chance == found.base_rate


def test_where_the_positive_class_is_the_common_one_the_rare_one_is_measured() -> None:
    given = drawn(600, 0.95, 3)
    found = headline(given, TWO, "yes")
    assert (found.metric, found.about) == ("average_precision", "no")
    expected = average_precision_score(given.truth == 0, given.probabilities[:, 0], sample_weight=given.weight)
    assert found.value == pytest.approx(expected)


def test_several_classes_are_measured_by_the_mean_of_their_recalls() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 4, 300)
    table = rng.random((300, 4)) + 2 * np.eye(4)[truth] * rng.random((300, 1))
    weight = rng.choice([1.0, 3.0], 300)
    found = headline(Sample(truth, table / table.sum(axis=1, keepdims=True), weight), list("abcd"), "a")
    assert found.metric == "macro_recall"
    assert found.value == pytest.approx(balanced_accuracy_score(truth, table.argmax(axis=1), sample_weight=weight))
    assert found.low < (found.value or 0) < found.high


def test_a_class_that_nobody_has_answered_widens_the_interval_by_its_share() -> None:
    truth = np.array([0, 1] * 50)
    table = np.eye(3)[truth] * 0.8 + 0.2 / 3
    found = headline(Sample(truth, table, np.ones(100)), list("abc"), "a")
    assert found.value == 1.0
    assert found.low < 2 / 3
    assert found.high == 1.0


def test_no_answer_says_nothing_but_how_many_are_needed() -> None:
    nothing = Sample(np.empty(0, np.int64), np.empty((0, 2)), np.empty(0))
    found = headline(nothing, TWO, "yes")
    assert (found.value, found.low, found.high, found.n, found.base_rate) == (None, 0.0, 1.0, 0, None)
    assert found.more == 100


def test_before_the_first_positive_it_tells_how_many_answers_bring_some() -> None:
    found = headline(sample(np.zeros(50, np.int64), np.linspace(0, 1, 50)), TWO, "yes")
    assert (found.metric, found.value) == ("average_precision", None)
    assert found.more > 300


def test_more_answers_are_needed_until_the_interval_is_narrow_and_none_after() -> None:
    few, many = (headline(drawn(n, 0.4, 5, skill=0.5), TWO, "yes") for n in (30, 1_000))
    assert few.more > 20
    assert (many.more, many.high - many.low < 0.2) == (0, True)
    promised = headline(drawn(30 + few.more, 0.4, 6, skill=0.5), TWO, "yes")
    assert promised.high - promised.low < 0.24


@given(
    st.integers(1, 60).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 3), min_size=n, max_size=n),
            st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5, 0.9, 1.0]), min_size=n, max_size=n),
            st.lists(st.floats(1e-3, 1e12), min_size=n, max_size=n),
            st.integers(2, 5),
        )
    )
)
@settings(max_examples=200)
def test_whatever_the_answers_the_interval_holds_the_figure_and_stays_within_0_and_1(
    case: tuple[list[int], list[float], list[float], int],
) -> None:
    labels, scores, weights, classes = case
    truth = np.array(labels) % classes
    table = np.full((len(labels), classes), 0.1)
    table[:, 1] += scores
    found: Headline = headline(
        Sample(truth, table / table.sum(axis=1, keepdims=True), np.array(weights)), list("abcde")[:classes], "b"
    )
    assert 0 <= found.low <= found.high <= 1
    assert found.value is None or found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert 0 <= found.base_low <= found.base_high <= 1
    assert 0 <= found.more <= 1_000_000


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("rate", "n"), [(0.5, 20), (0.05, 100), (0.02, 400), (0.3, 60)])
def test_intervals_hold_the_truth_as_often_as_they_say(rate: float, n: int, *, weighted: bool) -> None:
    """Of 300 draws; below 92 % would be chance once in a hundred if they held in 95 %."""
    rng = np.random.default_rng(int(1e4 * rate) + n)
    truth = (rng.random(400_000) < rate).astype(np.int64)
    score = 1 / (1 + np.exp(-(rng.normal(size=400_000) + 1.5 * (truth - 0.5) * 2)))
    population = sample(truth, score)
    whole = {
        "accuracy": float(((score >= 0.5) == truth).mean()),
        "average_precision": metrics.average_precision(truth == 1, score),
    }
    held = 0
    for _ in range(300):
        rows = rng.integers(0, 400_000, n)
        weight = rng.choice([0.5, 1.0, 2.0], n) if weighted else np.ones(n)
        found = headline(Sample(truth[rows], population.probabilities[rows], weight), TWO, "yes")
        held += found.low <= whole[found.metric] <= found.high
    assert held / 300 >= 0.92


def test_the_error_of_an_average_precision_is_the_spread_of_draws() -> None:
    rng = np.random.default_rng(7)
    values, errors = [], []
    for _ in range(300):
        given = drawn(400, 0.2, int(rng.integers(1 << 30)))
        truth, score = given.truth == 1, np.ascontiguousarray(given.probabilities[:, 1])
        values.append(metrics.average_precision(truth, score, given.weight))
        errors.append(metrics.average_precision_error(truth, score, given.weight))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.12)


def test_equal_scores_are_one_step_of_the_error_whatever_the_rows_order() -> None:
    rng = np.random.default_rng(8)
    truth, score, weight = rng.random(80) < 0.3, np.round(rng.random(80), 1), rng.random(80) + 0.5
    order = rng.permutation(80)
    error = metrics.average_precision_error(truth, score, weight)
    assert error == pytest.approx(metrics.average_precision_error(truth[order], score[order], weight[order]))
    step = 1e-6
    raised = np.array(
        [metrics.average_precision(truth, score, weight + step * (np.arange(80) == row)) for row in range(80)]
    )
    slopes = (raised - metrics.average_precision(truth, score, weight)) / step
    assert error == pytest.approx(np.sqrt(np.square(weight * slopes).sum() * 80 / 79), rel=1e-3)


def test_agresti_and_coulls_interval_is_that_of_two_more_hits_and_two_more_misses() -> None:
    hits, n = 12 + 3.8414588 / 2, 40 + 3.8414588
    reach = stats.norm.ppf(0.975) * np.sqrt(hits / n * (1 - hits / n) / n)
    assert intervals.agresti_coull(12 / 40, 40) == pytest.approx((hits / n - reach, hits / n + reach), abs=1e-6)
    assert intervals.agresti_coull(0.0, 20)[0] == 0.0
    assert intervals.agresti_coull(0.5, 0) == (0.0, 1.0)


def test_the_rare_class_has_less_than_a_fifth() -> None:
    assert headline(sample(np.array([1] * 21 + [0] * 79), np.linspace(0, 1, 100)), TWO, "yes").metric == "accuracy"
    assert RARE == 0.2

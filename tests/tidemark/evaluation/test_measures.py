"""Measures of weighted answers: as scikit-learn has them, with intervals that hold the truth and know entities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from tidemark.evaluation.focus import sizes
from tidemark.evaluation.measures import Measured, Sample, accuracy, average_precision, cost, precision, recall

THRESHOLD = 0.6


def drawn(n: int, rate: float, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < rate).astype(np.int64)
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * (2 * truth - 1))))
    return Sample(truth, np.column_stack((1 - score, score)), rng.choice([0.5, 1.0, 2.0], n))


def test_precision_and_recall_are_scikit_learns() -> None:
    given = drawn(400, 0.2, 1)
    flagged = given.score(1) >= THRESHOLD
    ours = precision(given, 1, THRESHOLD), recall(given, 1, THRESHOLD)
    for found, theirs in zip(ours, (precision_score, recall_score), strict=True):
        assert found.value == pytest.approx(theirs(given.truth, flagged, sample_weight=given.weight))
        assert found.low < (found.value or 0) < found.high


def test_the_cost_is_that_of_both_mistakes_in_units_of_the_dearer() -> None:
    given = drawn(400, 0.2, 2)
    flagged, positive = given.score(1) >= THRESHOLD, given.truth == 1
    price = np.where(positive & ~flagged, 8.0, np.where(~positive & flagged, 2.0, 0.0))
    found = cost(given, 1, missed=8.0, false=2.0, threshold=THRESHOLD)
    assert found.value == pytest.approx(float(np.average(price, weights=given.weight)) / 8)
    assert found == cost(given, 1, missed=4.0, false=1.0, threshold=THRESHOLD)


def test_a_mistake_that_nobody_has_seen_yet_is_not_ruled_out() -> None:
    right = Sample(np.zeros(30, np.int64), np.tile([1.0, 0.0], (30, 1)), np.ones(30))
    found = cost(right, 1, missed=10.0, false=1.0)
    assert found.value == 0.0
    assert 0.05 < found.high < 0.3


def test_without_positives_or_flags_nothing_is_said() -> None:
    given = Sample(np.zeros(9, np.int64), np.tile([1.0, 0.0], (9, 1)), np.ones(9))
    assert precision(given, 1) == recall(given, 1) == average_precision(given, 1) == Measured(None, 0.0, 1.0)
    empty = Sample(np.empty(0, np.int64), np.empty((0, 2)), np.empty(0))
    assert accuracy(empty).value is cost(empty, 1, missed=1.0, false=1.0).value is None


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 1), st.floats(0, 1), st.floats(1e-3, 1e9), st.integers(0, 4)), min_size=1, max_size=40
    ),
    alike=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_answers_intervals_hold_the_figure_and_stay_within_0_and_1(
    rows: list[tuple[int, float, float, int]], *, alike: bool
) -> None:
    truth, score, weight, entity = (np.array(column) for column in zip(*rows, strict=True))
    given = Sample(truth, np.column_stack((1 - score, score)), weight, entity if alike else None)
    for found in (
        accuracy(given),
        average_precision(given, 1),
        precision(given, 1),
        recall(given, 1),
        cost(given, 1, missed=10.0, false=1.0),
    ):
        assert 0 <= found.low <= found.high <= 1
        assert found.value is None or found.low - 1e-9 <= found.value <= found.high + 1e-9


@pytest.mark.parametrize("measure", ["accuracy", "average_precision", "recall", "cost"])
def test_intervals_hold_the_truth_where_events_of_an_entity_are_alike(measure: str) -> None:
    """Of 200 draws of 60 entities with five alike events each. Taken one by one, intervals held in 60 to 70 %."""
    rng = np.random.default_rng(3)

    def entities(count: int) -> Sample:
        truth = np.repeat((rng.random(count) < 0.3).astype(np.int64), 5)
        leaning = np.repeat(rng.normal(size=count), 5) + 0.1 * rng.normal(size=5 * count) + 0.8 * (2 * truth - 1)
        score = 1 / (1 + np.exp(-leaning))
        return Sample(truth, np.column_stack((1 - score, score)), np.ones(5 * count), np.repeat(np.arange(count), 5))

    def figure(of: Sample) -> Measured:
        if measure == "cost":
            return cost(of, 1, missed=3.0, false=1.0)
        if measure == "accuracy":
            return accuracy(of)
        return average_precision(of, 1) if measure == "average_precision" else recall(of, 1)

    whole = figure(entities(50_000)).value or 0.0
    held = 0
    for _ in range(200):
        found = figure(entities(60))
        held += found.low <= whole <= found.high
    assert held / 200 >= 0.91


def test_the_focused_draw_narrows_the_interval_of_an_accuracy_which_still_holds_the_truth() -> None:
    """Of 200 draws of 500 answers each; 180 would be chance once in a thousand if intervals held in 95 %."""
    rng = np.random.default_rng(6)
    truth = (rng.random(100_000) < 0.3).astype(np.int64)
    leaning = 3 * (rng.normal(size=100_000) + 1.5 * (2 * truth - 1)) + np.log(0.3 / 0.7)
    positive = 1 / (1 + np.exp(-leaning))
    table = np.column_stack((1 - positive, positive))
    whole = float((table.argmax(axis=1) == truth).mean())
    size = sizes(table)
    reach = np.cumsum(size) / size.sum()
    held, narrow, plain = 0, 0.0, 0.0
    for _ in range(200):
        rows = np.minimum(np.searchsorted(reach, rng.random(500)), len(truth) - 1)
        found = accuracy(Sample(truth[rows], table[rows], 1 / size[rows]))
        held += found.low <= whole <= found.high
        narrow += found.high - found.low
        rows = rng.integers(0, len(truth), 500)
        uniform = accuracy(Sample(truth[rows], table[rows], np.ones(500)))
        plain += uniform.high - uniform.low
    assert held > 180
    assert plain / narrow > 1.15

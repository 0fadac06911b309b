"""Thresholds with a guaranteed recall: seldom too high, however often they are looked at, and not needlessly low."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidemark.evaluation.focus import sizes
from tidemark.evaluation.measures import Sample
from tidemark.evaluation.thresholds import guaranteed

_EVENTS = 200_000
_RATE = 0.02


def population(seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(_EVENTS) < _RATE).astype(np.int64)
    leaning = rng.normal(size=_EVENTS) + 1.5 * (2 * truth - 1)
    positive = 1 / (1 + np.exp(-(3 * leaning + np.log(_RATE / (1 - _RATE)))))
    return truth, np.column_stack((1 - positive, positive))


@pytest.mark.parametrize("focused", [False, True])
def test_in_at_most_one_run_of_twenty_a_threshold_is_ever_told_that_finds_too_few(*, focused: bool) -> None:
    """Looked at after every hundredth label up to 3,000; of 120 runs, 12 would be chance once in a hundred at 5 %."""
    truth, table = population(1)
    score, positive = table[:, 1], truth == 1
    rng = np.random.default_rng(2)
    size = sizes(table) if focused else np.ones(_EVENTS)
    reach = np.cumsum(size) / size.sum()
    wrong, told, kept = 0, 0, []
    for _ in range(120):
        rows = np.minimum(np.searchsorted(reach, rng.random(3_000)), _EVENTS - 1)
        parts = [rows[:n] for n in (300, 600, 1_000, 1_500, 2_000, 3_000)]
        looks = [guaranteed(Sample(truth[part], table[part], 1 / size[part]), 1, 0.8).threshold for part in parts]
        finds = [None if look is None else float((score[positive] >= look).mean()) for look in looks]
        wrong += any(each is not None and each < 0.8 for each in finds)
        if finds[-1] is not None:
            told += 1
            kept.append(finds[-1])
    assert wrong <= 12
    assert told >= 100
    assert float(np.mean(kept)) < 0.96


def test_alerts_are_counted_with_their_interval_and_compared_with_what_is_affordable() -> None:
    truth, table = population(3)
    rows = np.random.default_rng(4).integers(0, _EVENTS, 4_000)
    found = guaranteed(Sample(truth[rows], table[rows], np.ones(4_000)), 1, 0.8)
    assert found.threshold is not None
    share = float((table[:, 1] >= found.threshold).mean())
    assert found.alerts.low <= share <= found.alerts.high
    assert found.fits(1.0)
    assert not found.fits(share / 2)
    assert found.more == 0


def test_without_enough_positives_it_tells_how_many_are_needed() -> None:
    nothing = Sample(np.zeros(50, np.int64), np.full((50, 2), 0.5), np.ones(50))
    assert guaranteed(nothing, 1, 0.8).threshold is None
    needed = guaranteed(nothing, 1, 0.8).more
    assert 14 <= needed <= 40
    sure = Sample(np.ones(needed, np.int64), np.full((needed, 2), 0.5), np.ones(needed))
    assert guaranteed(sure, 1, 0.8).threshold == 0.5
    few = Sample(np.ones(3, np.int64), np.full((3, 2), 0.5), np.ones(3))
    assert 0 < guaranteed(few, 1, 0.8).more < needed


@pytest.mark.parametrize("recall", [0.0, 1.0, -0.1, float("nan")])
def test_a_recall_that_no_threshold_can_be_sure_of_is_refused(recall: float) -> None:
    with pytest.raises(ValueError, match="recall"):
        guaranteed(Sample(np.ones(1, np.int64), np.full((1, 2), 0.5), np.ones(1)), 1, recall)


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.floats(1e-3, 1e3)),
        min_size=1,
        max_size=60,
    ),
    st.floats(0.05, 0.95),
)
@settings(max_examples=80, deadline=None)
def test_whatever_the_answers_it_flags_no_less_than_was_asked_of_those_that_it_rests_on(
    answers: list[tuple[int, float, float]], recall: float
) -> None:
    truth = np.array([each[0] for each in answers])
    score = np.array([each[1] for each in answers])
    weight = np.array([each[2] for each in answers])
    found = guaranteed(Sample(truth, np.column_stack((1 - score, score)), weight), 1, recall)
    assert found.positives == truth.sum()
    assert (found.threshold is None) == (found.more > 0)
    if found.threshold is not None:
        assert found.threshold in score[truth == 1]

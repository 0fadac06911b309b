import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tidemark.evaluation import intervals


@given(st.integers(1, 200), st.floats(0, 1))
def test_wilsons_interval_equals_scipys(n: int, share: float) -> None:
    hits = round(share * n)
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert intervals.wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_seen_says_nothing() -> None:
    assert intervals.wilson(0.0, 0) == (0.0, 1.0)
    assert intervals.of_average_precision(0.3, 0.1, 0, 0.3) == (0.0, 1.0)


def test_the_interval_of_an_average_precision_holds_it_and_narrows_with_positives() -> None:
    few, many = (intervals.of_average_precision(0.3, n**-0.5 / 3, n, 0.3) for n in (10, 1000))
    assert few[0] < many[0] < 0.3 < many[1] < few[1]
    few, many = (intervals.of_average_precision(1.0, 0.0, n, 1.0) for n in (10, 1000))
    assert 0.5 < few[0] < many[0] < few[1] == many[1] == 1.0


def test_the_normal_interval_is_two_standard_errors_wide_on_each_side() -> None:
    assert intervals.normal(1.0, 0.5) == pytest.approx((1 - 0.98, 1 + 0.98), abs=1e-4)


def test_newcombes_interval_of_a_difference_is_the_published_one() -> None:
    low, high = intervals.newcombe(56 / 70, 70, 48 / 80, 80)  # Newcombe 1998, table II, example (a), method 10
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    assert intervals.newcombe(0.5, 40, 0.5, 40)[0] == -intervals.newcombe(0.5, 40, 0.5, 40)[1]


def test_the_interval_of_a_median_holds_it_in_19_of_20_samples_and_is_not_told_of_few() -> None:
    assert intervals.of_median([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    for size in (9, 30, 200):
        held = 0
        for seed in range(400):
            low, high = intervals.of_median(np.random.default_rng((size, seed)).lognormal(size=size).tolist()) or (
                2.0,
                0.0,
            )
            held += low <= 1.0 <= high
        assert 0.93 <= held / 400 <= 1.0, size

"""Isolation forest: equal to the obvious version, ranks as scikit-learn's does, whatever the units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest
from uncompiled import sized

from kernels import isolation
from kernels.diversity._distances import uniforms
from tests import naive


@settings(max_examples=sized(25, 4), deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60), st.integers(1, 6), st.integers(2, 40), st.sampled_from(["f4", "f8"]))
def test_depths_equal_those_of_the_obvious_version(seed: int, n: int, d: int, sample: int, dtype: str) -> None:
    x = np.round(np.random.default_rng(seed).normal(size=(n, d)), 1).astype(dtype)
    size = min(sample, n)
    lots = uniforms(seed, 5 * 5 * size).reshape(5, 5 * size)
    expected = naive.isolation(x.astype(np.float64), lots, size)
    np.testing.assert_allclose(isolation(x, seed, trees=5, sample=sample), expected, rtol=1e-12)


def test_the_order_is_that_of_scikit_learns_forest() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(600, 4)), rng.normal(size=(12, 4)) * 4])
    own = -isolation(x, 3, trees=300)
    theirs = -IsolationForest(n_estimators=300, random_state=0).fit(x).score_samples(x)
    ranks = [np.argsort(np.argsort(each)) for each in (own, theirs)]
    assert np.corrcoef(ranks[0], ranks[1])[0, 1] > 0.97
    assert set(np.argsort(-own)[:6]) <= set(range(600, 612)) | set(np.argsort(-theirs)[:12])


def test_units_and_shifts_of_columns_change_nothing() -> None:
    x = np.random.default_rng(2).normal(size=(80, 3))
    assert isolation(x, 1).tolist() == isolation(x * [2.0**20, 0.5, 2.0**-30], 1).tolist()


def test_rows_that_are_alike_are_as_deep_as_any_and_an_odd_one_is_not() -> None:
    x = np.zeros((300, 2))
    np.testing.assert_allclose(isolation(x, 1), 1.0)
    x[7] = 1.0
    depths = isolation(x, 1, sample=300)
    assert depths.argmin() == 7
    assert depths[7] < 0.5


def test_a_row_or_none_has_no_others_to_be_odd_among() -> None:
    assert isolation(np.zeros((1, 2)), 0).tolist() == [1.0]
    assert isolation(np.zeros((0, 2)), 0).tolist() == []
    np.testing.assert_allclose(isolation(np.zeros((3, 0)), 0), 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_refused_by_its_index(value: float) -> None:
    x = np.zeros((5, 2))
    x[3, 1] = value
    with pytest.raises(ValueError, match=r"rows? 3"):
        isolation(x, 0)

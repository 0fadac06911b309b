"""A feature that tells the label by itself is named, and no other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidemark.training.leakage import leaking

NAMES = ("noise", "good", "leak")


def table(leak: NDArray[np.float64], target: NDArray[np.int64], seed: int = 0) -> NDArray[np.float64]:
    """Noise, a feature that tells much but not all, and the one that is tried."""
    random = np.random.default_rng(seed)
    return np.column_stack([random.normal(size=len(leak)), target + random.normal(size=len(leak)), leak])


def classes(count: int = 400, kinds: int = 2, seed: int = 1) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, kinds, count)


@given(seed=st.integers(0, 1_000), kinds=st.integers(2, 5))
def test_a_category_that_each_class_has_its_own_of_is_named(seed: int, kinds: int) -> None:
    target = classes(kinds=kinds, seed=seed)
    written = np.random.default_rng(seed).permutation(kinds).astype(float)[target]
    assert leaking(table(written, target), NAMES, target) == ("leak",)
    assert leaking(table(np.where(target == 0, np.nan, written), target), NAMES, target) == ("leak",), "missing tells"


@given(seed=st.integers(0, 1_000), way=st.sampled_from([-1.0, 1.0]))
def test_a_number_that_one_threshold_parts_into_the_classes_is_named(seed: int, way: float) -> None:
    target = classes(seed=seed)
    spread = np.random.default_rng(seed).uniform(0, 0.99, len(target))
    assert leaking(table(way * (target + spread), target), NAMES, target) == ("leak",)
    given_later = np.where(target == 1, target + spread, np.nan)
    assert leaking(table(given_later, target), NAMES, target) == ("leak",), "a number that only positives have"


@given(seed=st.integers(0, 1_000))
def test_a_feature_that_is_wrong_now_and_then_and_an_id_are_not_named(seed: int) -> None:
    random = np.random.default_rng(seed)
    target = classes(seed=seed)
    wrong = np.where(random.random(len(target)) < 0.08, 1 - target, target).astype(float)
    assert leaking(table(wrong, target), NAMES, target) == ()
    assert leaking(table(random.permutation(len(target)).astype(float), target), NAMES, target) == (), "an id"


@pytest.mark.parametrize("positives", [0, 1, 19])
def test_of_few_labels_nothing_is_said(positives: int) -> None:
    target = (np.arange(500) < positives).astype(np.int64)
    assert leaking(table(target.astype(float), target), NAMES, target) == ()
    assert leaking(np.empty((0, 3)), NAMES, np.empty(0, np.int64)) == ()


@given(seed=st.integers(0, 1_000))
def test_a_feature_in_the_order_of_the_numbers_is_named_and_one_that_is_only_near_them_is_not(seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = random.gamma(2.0, size=300)
    features = np.column_stack([random.normal(size=300), numbers + random.normal(0, 0.5, 300), -3 * numbers**2])
    assert leaking(features, NAMES, numbers) == ("leak",)
    features[:200, 2] = np.nan
    assert leaking(features, NAMES, numbers) == (), "it is missing in most"

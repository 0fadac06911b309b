"""Gower's distance, as every kernel that takes it sees it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uncompiled import sized

import kernels
from kernels import Gower, density, facility_location, gower, k_center_greedy, kmeans_pp, novelty, typicality
from tests import naive
from tests.kernel_table import with_holes

Array = np.ndarray[Any, Any]
OF_PAIRS = ("kmeans_pp", "k_center_greedy", "facility_location")
SEEDS = st.integers(0, 2**32)


def mixed(seed: int, n: int, d: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return with_holes(rng, rng.normal(size=(n, d)) * 10.0 ** rng.integers(-3, 4, d))


def distances(x: Array, categories: Array, metric: Gower) -> Array:
    """Of all rows to all rows, by a kernel."""
    columns = [
        novelty(x, x[i : i + 1], categories=categories, labeled_categories=categories[i : i + 1], metric=metric)
        for i in range(len(x))
    ]
    return np.array(columns)


@settings(max_examples=sized(60, 6))
@given(seed=SEEDS, n=st.integers(1, 12), zero=st.booleans())
def test_a_distance_equals_the_oracles_is_symmetric_and_between_0_and_1(seed: int, n: int, zero: bool) -> None:
    x, categories = mixed(seed, n)
    weights = np.array([2.0, 0.0 if zero else 0.3, 1.0])
    metric = gower(x, categories, weights=weights, category_weights=np.array([1.0, 0.5]))
    got = distances(x, categories, metric)
    np.testing.assert_allclose(got, naive.squared(x, x, categories, categories, metric), rtol=1e-12, atol=1e-15)
    assert got.tobytes() == got.T.copy().tobytes()
    assert np.all((got >= 0) & (got <= 1))
    assert np.all(np.diag(got) == 0)


@settings(max_examples=sized(40, 6))
@given(seed=SEEDS, factor=st.sampled_from([-1.0, 2.0**-40, -(2.0**30)]))
def test_units_and_direction_of_a_column_and_names_of_categories_do_not_matter(seed: int, factor: float) -> None:
    x, categories = mixed(seed, 12)
    other = x * np.array([factor, 1.0, 1.0])
    renamed = np.where(categories >= 0, 7 * (2 - categories) + 100, categories)
    want = distances(x, categories, gower(x, categories))
    assert distances(other, renamed, gower(other, renamed)).tobytes() == want.tobytes()


@settings(max_examples=sized(40, 6))
@given(seed=SEEDS)
def test_a_column_that_is_missing_or_weighs_nothing_does_not_count(seed: int) -> None:
    x, categories = mixed(seed, 10)
    without = distances(x[:, :2], categories, gower(x[:, :2], categories))
    gone = np.concatenate([x[:, :2], np.full((10, 1), np.nan)], axis=1)
    assert distances(gone, categories, gower(gone, categories)).tobytes() == without.tobytes()
    metric = gower(x, categories, weights=np.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(distances(x, categories, metric), without, rtol=1e-12)


@settings(max_examples=sized(30, 4))
@given(seed=SEEDS, n=st.integers(2, 12))
def test_the_similarity_is_positive_semidefinite_where_nothing_is_missing(seed: int, n: int) -> None:
    """Gower's theorem, by which 1 - S is a squared distance."""
    rng = np.random.default_rng(seed)
    x, categories = rng.normal(size=(n, 3)), rng.integers(0, 3, (n, 2))
    similarity = 1 - distances(x, categories, gower(x, categories, weights=rng.uniform(0, 2, 3)))
    assert np.linalg.eigvalsh(similarity).min() > -1e-12


def test_rows_that_have_nothing_both_are_as_far_apart_as_can_be() -> None:
    x, y = np.array([[1.0, np.nan]]), np.array([[np.nan, 1.0]])
    assert novelty(x, y, metric=gower(np.concatenate([x, y]))).tolist() == [1.0]
    assert density(x, y, metric=gower(np.concatenate([x, y]))).tolist() == [0.0]


def test_numbers_beyond_the_range_and_of_a_constant_column_differ_in_full() -> None:
    metric = gower(np.array([[0.0, 5.0], [2.0, 5.0]]))
    x = np.array([[9.0, 5.0], [1.0, 5.0 + 1e-12], [2.0, 5.0]])
    assert novelty(x, np.array([[0.0, 5.0]]), metric=metric).tolist() == [0.5, 0.75, 0.5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ranges_of_extreme_numbers_are_right(dtype: type[np.float32] | type[np.float64]) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([[0.0], [tiny], [2 * tiny]], dtype)
    assert novelty(x, x[:1].copy(), metric=gower(x)).tolist() == [0.0, 0.5, 1.0]
    largest = np.finfo(dtype).max / 2
    x = np.array([[-largest], [0.0], [largest]], dtype)
    assert novelty(x, x[:1].copy(), metric=gower(x)).tolist() == [0.0, 0.5, 1.0]


def test_categories_alone_differ_by_their_share() -> None:
    categories = np.array([[0, 1, 2], [0, 1, 1], [0, -1, 1]])
    x = np.zeros((3, 0))
    metric = gower(x, categories, category_weights=np.array([1.0, 1.0, 2.0]))
    got = distances(x, categories, metric)
    np.testing.assert_allclose(got, [[0, 2 / 4, 2 / 3], [2 / 4, 0, 0], [2 / 3, 0, 0]])
    assert len(k_center_greedy(x, 2, categories=categories, metric=metric)) == 2


@pytest.mark.parametrize("name", OF_PAIRS)
def test_picks_do_not_depend_on_units_of_a_column(name: str) -> None:
    x, categories = mixed(3, 60)
    seed = (7,) if name == "kmeans_pp" else ()
    other = x * np.array([2.0**-20, 2.0**9, -1.0])
    kernel = getattr(kernels, name)
    want = kernel(x, 9, *seed, categories=categories, metric=gower(x, categories))
    assert kernel(other, 9, *seed, categories=categories, metric=gower(other, categories)).tolist() == want.tolist()


def test_facility_location_maximises_the_sum_of_similarities() -> None:
    x, categories = mixed(5, 40)
    metric = gower(x, categories)
    similarity = 1 - distances(x, categories, metric)
    picks = facility_location(x, 5, categories=categories, metric=metric)
    for turn, pick in enumerate(picks):
        covered = similarity[picks[:turn]].max(axis=0, initial=0)
        gains = np.maximum(similarity - covered, 0).sum(axis=1)
        assert gains[pick] >= gains.max() - 1e-9


def test_infinities_rows_of_nothing_and_other_metrics_are_refused() -> None:
    x = np.array([[0.0, 1.0], [np.inf, 1.0], [np.nan, np.nan]])
    metric = gower(x[:1])
    for rows, options, message in (
        (x, {"metric": metric}, "x: infinity in row 1 of 3"),
        (x[::2], {"metric": metric}, "x: nothing that Gower's distance weighs in row 1 of 2"),
        (x[:1], {"metric": gower(x[:1, :1])}, "metric: expected one of kernels.gower, of 2 numbers and 0 categories"),
        (
            x[:1],
            {"metric": metric, "categories": np.zeros((1, 1), int)},
            "of 2 numbers and 1 categories, got of 2 and 0",
        ),
        (x[:1], {"metric": "gower"}, "metric: expected one of kernels.gower, .*got str"),
    ):
        with pytest.raises(ValueError, match=message):
            typicality(rows, 1, **options)
    with pytest.raises(ValueError, match="scale: Gower's similarity has none"):
        density(x[:1], x[:1], scale=1.0, metric=metric)
    with pytest.raises(ValueError, match="scale: expected a number"):
        density(x[:1], x[:1])


def test_a_range_or_weights_that_say_nothing_are_refused() -> None:
    x = np.array([[-1e308], [1e308]])
    with pytest.raises(ValueError, match="the range of column 0 is above the largest float64"):
        gower(x)
    for weights, message in (
        (np.zeros(1), "expected one above 0"),
        (np.array([-1.0]), "weights: expected finite numbers that are not below 0"),
        (np.ones(2), r"weights: expected .*\(1,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            gower(x[:1], weights=weights)


def test_k_means_draws_in_proportion_to_the_distance() -> None:
    """Of three rows, after the first: 0.25 and 1 away."""
    x, weights = np.array([[0.0], [1.0], [4.0]]), np.ones(3)
    metric = gower(x)
    draws = [
        kmeans_pp(x, 1, seed, weights=weights, centres=x[:1], metric=metric)[0] for seed in range(sized(4_000, 400))
    ]
    assert 0 not in draws
    assert abs(np.mean(np.array(draws) == 1) - 0.2) < sized(3, 9) / 100

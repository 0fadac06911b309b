from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uncompiled import many_trials, sized

from kernels.sampling.hashing import coin, hash_int64, unit
from kernels.sampling.weighted import (
    WeightedReservoir,
    WeightedSample,
    exponential_bottom_k,
    inclusion_probabilities,
    poisson_sample,
    priority_sample,
    robust_mixture,
    systematic_sample,
)
from tests import naive

weights_lists = st.lists(
    st.one_of(st.floats(0, 10), st.sampled_from([0.0, 1.0, 1e-300, 1e300])), min_size=1, max_size=20
)
WEIGHTS = np.array([0.1, 0.0, 1.0, 2.0, 3.0, 8.0])


@given(weights=st.lists(st.floats(0.01, 10), min_size=1, max_size=20), share=st.floats(0, 1))
def test_inclusion_probabilities_equal_sharing_out_again_and_again(weights: list[float], share: float) -> None:
    size = share * len(weights)
    got = inclusion_probabilities(np.array(weights), size)
    np.testing.assert_allclose(got, naive.inclusion_probabilities(np.array(weights), size), rtol=1e-9, atol=1e-300)


@given(weights=weights_lists, share=st.floats(0, 1))
def test_inclusion_probabilities_sum_to_the_size_and_rise_with_the_weights(weights: list[float], share: float) -> None:
    size = share * len(weights)
    got = inclusion_probabilities(np.array(weights), size)
    assert got.sum() == pytest.approx(min(size, np.count_nonzero(weights)))
    assert got.min() >= 0
    assert got.max() <= 1
    assert np.all(np.diff(got[np.argsort(weights)]) >= -1e-12)


@given(weights=weights_lists, uniform=st.floats(0.05, 1))
def test_a_robust_mixture_leaves_no_row_out_of_reach(weights: list[float], uniform: float) -> None:
    n = len(weights)
    got = robust_mixture(np.array(weights), n / 2, uniform)
    assert got.sum() == pytest.approx(n / 2)
    assert got.min() >= uniform / 2 * (1 - 1e-9)


def test_a_mixture_of_nothing_but_uniform_is_uniform() -> None:
    np.testing.assert_allclose(robust_mixture(WEIGHTS, 2.0, 1.0), 2 / 6)
    np.testing.assert_allclose(robust_mixture(np.zeros(4), 2.0, 0.5), 0.5)
    np.testing.assert_allclose(robust_mixture(WEIGHTS, 2.0, 0.0), inclusion_probabilities(WEIGHTS, 2.0))


@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), share=st.floats(0, 1), whole=st.booleans())
def test_systematic_sampling_equals_its_oracle_and_has_the_size_asked_for(
    seed: int, n: int, share: float, whole: bool
) -> None:
    size = float(round(share * n)) if whole else share * n
    probabilities = inclusion_probabilities(np.random.default_rng(seed).exponential(size=n) + 0.01, size)
    toss = int(hash_int64(np.array([seed]))[0])
    sample = systematic_sample(probabilities, toss)
    assert sample.indices.tolist() == naive.systematic_sample(probabilities, 1.0 - unit(toss))
    assert len(sample.indices) in ({int(size)} if whole else {int(size), int(size) + 1})
    np.testing.assert_array_equal(sample.inclusion_probabilities, probabilities[sample.indices])


@pytest.mark.parametrize("toss", [0, 1, 2**11, 2**64 - 1])
def test_systematic_sampling_keeps_its_size_at_the_ends_of_the_range_of_starts(toss: int) -> None:
    assert len(systematic_sample(np.full(1000, 0.1), toss).indices) == 100
    assert systematic_sample(np.array([1.0, 0.0, 1.0]), toss).indices.tolist() == [0, 2]


def poisson(policy: int) -> WeightedSample:
    return poisson_sample(inclusion_probabilities(WEIGHTS, 2.5), coin(1, 2, np.arange(6), policy))


def systematic(policy: int) -> WeightedSample:
    return systematic_sample(inclusion_probabilities(WEIGHTS, 3.0), int(hash_int64(np.array([policy]))[0]))


def priority(policy: int) -> WeightedSample:
    return priority_sample(WEIGHTS, coin(1, 2, np.arange(6), policy), 3)


@many_trials
@pytest.mark.parametrize("design", [poisson, systematic, priority])
def test_sums_divided_by_inclusion_probabilities_are_unbiased(design: Callable[[int], WeightedSample]) -> None:
    values = np.array([5.0, 0.0, 1.0, -2.0, 7.0, 3.0])
    estimates = np.zeros((4_000, 6))
    for policy in range(len(estimates)):
        sample = design(policy)
        estimates[policy, sample.indices] = values[sample.indices] / sample.inclusion_probabilities
    error = estimates.mean(axis=0) - values
    assert np.all(np.abs(error) <= 4.5 * estimates.std(axis=0) / np.sqrt(len(estimates)) + 1e-12)


def test_priority_samples_of_partitions_merge_into_that_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    weights, coins, k = rng.exponential(size=300), coin(1, 2, np.arange(300), 3), 20
    whole = priority_sample(weights, coins, k)
    kept = np.concatenate(
        [
            part[priority_sample(weights[part], coins[part], k + 1).indices]
            for part in np.split(np.arange(300), [90, 120])
        ]
    )
    merged = priority_sample(weights[kept], coins[kept], k)
    assert kept[merged.indices].tolist() == whole.indices.tolist()
    np.testing.assert_allclose(merged.inclusion_probabilities, whole.inclusion_probabilities, rtol=1e-12)


def reservoir_rows(policy: int, k: int) -> np.ndarray:
    reservoir = WeightedReservoir(k, policy)
    reservoir.update(WEIGHTS)
    return reservoir.rows


def exponential_rows(policy: int, k: int) -> np.ndarray:
    return exponential_bottom_k(WEIGHTS, coin(1, 2, np.arange(6), policy), k)


@many_trials
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("draw", [reservoir_rows, exponential_rows])
def test_successive_sampling_includes_rows_as_often_as_it_should(
    draw: Callable[[int, int], np.ndarray], k: int
) -> None:
    trials = 6_000
    counts = np.zeros(6)
    for policy in range(trials):
        counts[draw(policy, k)] += 1
    want = np.zeros(6)
    want[WEIGHTS > 0] = naive.successive_inclusion(WEIGHTS[WEIGHTS > 0].tolist(), k)
    assert np.all(np.abs(counts / trials - want) <= 4.5 * np.sqrt(want * (1 - want) / trials))


@settings(max_examples=sized(40, 4))
@given(seed=st.integers(0, 2**64 - 1), k=st.integers(1, 20), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_a_reservoir_does_not_depend_on_how_the_stream_is_cut(seed: int, k: int, cuts: list[int]) -> None:
    weights = np.random.default_rng(7).exponential(size=200)
    whole, parts = WeightedReservoir(k, seed), WeightedReservoir(k, seed)
    whole.update(weights)
    for part in np.split(weights, sorted(cuts)):
        parts.update(part)
    assert parts.rows.tolist() == whole.rows.tolist()
    assert parts.seen == whole.seen == 200
    assert len(set(whole.rows.tolist())) == k


@many_trials
def test_tiny_and_huge_weights_stay_in_proportion() -> None:
    counts = np.zeros(3)
    for policy in range(2_000):
        reservoir = WeightedReservoir(1, policy)
        reservoir.update(np.array([1e-200, 2e-200, 1e-200]))
        counts[reservoir.rows] += 1
    np.testing.assert_allclose(counts / 2_000, [0.25, 0.5, 0.25], atol=0.05)
    coins = coin(1, 2, np.arange(3), 5)
    for scale in (1e-300, 1e300):
        np.testing.assert_array_equal(
            priority_sample(np.array([1.0, 2.0, 3.0]) * scale, coins, 2).indices,
            priority_sample(np.array([1.0, 2.0, 3.0]), coins, 2).indices,
        )


def test_rows_without_weight_are_never_drawn_and_few_rows_are_all_drawn() -> None:
    coins = coin(1, 2, np.arange(6), 5)
    assert sorted(exponential_bottom_k(WEIGHTS, coins, 6)) == [0, 2, 3, 4, 5]
    sample = priority_sample(WEIGHTS, coins, 6)
    assert sorted(sample.indices) == [0, 2, 3, 4, 5]
    assert sample.inclusion_probabilities.tolist() == [1.0] * 5
    assert reservoir_rows(1, 6).tolist() == [0, 2, 3, 4, 5]
    assert inclusion_probabilities(WEIGHTS, 6.0).tolist() == [1, 0, 1, 1, 1, 1]


def test_a_negative_zero_is_no_weight_and_no_error() -> None:
    weights, coins = np.array([1.0, -0.0, 2.0, 0.5]), coin(1, 2, np.arange(4), 3)
    plain = np.abs(weights)
    for k in (2, 9):
        got, want = priority_sample(weights, coins, k), priority_sample(plain, coins, k)
        assert [part.tolist() for part in got] == [part.tolist() for part in want]
        assert exponential_bottom_k(weights, coins, k).tolist() == exponential_bottom_k(plain, coins, k).tolist()


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_a_weight_that_is_no_weight_is_refused_with_its_row(bad: float) -> None:
    weights, coins = np.array([1.0, bad]), coin(1, 2, np.arange(2), 5)
    for call in (
        lambda: inclusion_probabilities(weights, 1.0),
        lambda: robust_mixture(weights, 1.0, 0.5),
        lambda: priority_sample(weights, coins, 1),
        lambda: exponential_bottom_k(weights, coins, 1),
        lambda: WeightedReservoir(1, 1).update(weights),
    ):
        with pytest.raises(ValueError, match=r"weights\[1\]"):
            call()


def test_other_input_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probabilities\[1\]: 1.5"):
        poisson_sample(np.array([0.0, 1.5]), coin(1, 2, np.arange(2), 5))
    with pytest.raises(ValueError, match=r"size: expected a number from 0\.0 to 6\.0"):
        inclusion_probabilities(WEIGHTS, 7.0)
    with pytest.raises(ValueError, match="uniform: expected a number"):
        robust_mixture(WEIGHTS, 2.0, np.nan)
    with pytest.raises(ValueError, match="uniform: expected a number"):
        robust_mixture(WEIGHTS, 2.0, True)
    assert robust_mixture(np.empty(0), 0.0, 0.5).shape == (0,)

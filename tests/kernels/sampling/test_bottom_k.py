import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uncompiled import many_trials, sized

from kernels.sampling.bottom_k import StreamingTopK, bottom_k, bottom_k_sample, bottom_k_threshold, top_k
from kernels.sampling.hashing import coin, unit
from tests import naive

few_coins = st.lists(st.sampled_from([0, 1, 2, 2**63, 2**64 - 1]), max_size=40)
few_scores = st.lists(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 5e-324, -5e-324, 1e308]), max_size=40
)


def u64(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, np.uint64)


@given(coins=few_coins, k=st.integers(0, 50), seed=st.integers(0, 1000))
def test_bottom_k_equals_sorting_with_ties_settled_by_id_then_row(coins: list[int], k: int, seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 5, len(coins)).astype(np.uint64)
    assert bottom_k(u64(coins), k, ids).tolist() == naive.bottom_k(coins, k, ids.tolist())
    assert bottom_k(u64(coins), k).tolist() == naive.bottom_k(coins, k, [0] * len(coins))


@given(scores=few_scores, k=st.integers(0, 50), seed=st.integers(0, 1000))
def test_top_k_equals_sorting_with_ties_settled_by_id_and_nan_last(scores: list[float], k: int, seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 5, len(scores)).astype(np.uint64)
    best = top_k(np.array(scores, np.float64), ids, k)
    assert best.indices.tolist() == naive.top_k(scores, ids.tolist(), k)
    assert best.nan_rows.tolist() == [i for i, s in enumerate(scores) if np.isnan(s)]


@pytest.mark.parametrize("k", [1, 7, 100, 2_000, 4_999, 5_000, 6_000])
@pytest.mark.parametrize("order", ["random", "rising", "falling", "equal"])
def test_small_and_large_k_equal_sorting_whatever_the_order(k: int, order: str) -> None:
    coins = np.random.default_rng(k).integers(0, 2_000, 5_000).astype(np.uint64)
    coins = {"random": coins, "rising": np.sort(coins), "falling": np.sort(coins)[::-1], "equal": coins * 0}[
        order
    ].astype(np.uint64)
    ids = np.random.default_rng(k + 1).permutation(5_000).astype(np.uint64)
    assert bottom_k(coins, k, ids).tolist() == naive.bottom_k(coins.tolist(), k, ids.tolist())
    assert top_k(coins.astype(np.float32), ids, k).indices.tolist() == naive.top_k(
        coins.astype(float).tolist(), ids.tolist(), k
    )


@given(coins=few_coins, k=st.integers(1, 50))
def test_the_threshold_is_the_next_coin_and_one_where_everything_was_taken(coins: list[int], k: int) -> None:
    threshold, inclusion = bottom_k_threshold(u64(coins), k)
    assert threshold == (sorted(coins)[k] if len(coins) > k else 2**64 - 1)
    assert inclusion == (unit(threshold) if len(coins) > k else 1.0)


@settings(max_examples=sized(50, 5))
@given(seed=st.integers(0, 10**6), k=st.integers(1, 30), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_partitions_that_propose_k_plus_one_give_the_sample_of_the_whole(seed: int, k: int, cuts: list[int]) -> None:
    coins = coin(seed, 0, np.arange(200), 1)
    whole = bottom_k_sample(coins, k)
    parts = np.split(coins, sorted(cuts))
    proposed = np.concatenate([part[bottom_k(part, k + 1)] for part in parts])
    merged = bottom_k_sample(proposed, k)
    assert proposed[merged.indices].tolist() == coins[whole.indices].tolist()
    assert merged.inclusion_probability == whole.inclusion_probability


@many_trials
def test_sums_divided_by_the_inclusion_probability_are_unbiased() -> None:
    values = np.random.default_rng(1).exponential(size=300) ** 2
    estimates = []
    for policy in range(4_000):
        sample = bottom_k_sample(coin(3, 1, np.arange(300), policy), 20)
        estimates.append(values[sample.indices].sum() / sample.inclusion_probability)
    error = np.mean(estimates) - values.sum()
    assert abs(error) < 4 * np.std(estimates) / np.sqrt(len(estimates))


@settings(max_examples=sized(50, 5))
@given(seed=st.integers(0, 10**6), k=st.integers(1, 30), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_a_streaming_top_k_does_not_depend_on_batches_and_merges(seed: int, k: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=200), 1)
    scores[rng.random(200) < 0.1] = np.nan
    ids = rng.permutation(200).astype(np.uint64)
    edges = [0, *sorted(cuts), 200]
    stream, parts = StreamingTopK(k), []
    for a, b in itertools.pairwise(edges):
        stream.update(scores[a:b], ids[a:b])
        parts.append(StreamingTopK(k))
        parts[-1].update(scores[a:b], ids[a:b])
    merged = StreamingTopK(k)
    for part in reversed(parts):
        merged.merge(part)
    best = top_k(scores[~np.isnan(scores)], ids[~np.isnan(scores)], k).indices
    assert stream.ids.tolist() == merged.ids.tolist() == ids[~np.isnan(scores)][best].tolist()
    assert stream.scores.tolist() == merged.scores.tolist()
    assert stream.nan_seen == merged.nan_seen == np.isnan(scores).sum()


def test_input_of_another_type_or_length_is_refused() -> None:
    coins = u64([1, 2])
    with pytest.raises(ValueError, match=r"coins: expected a native-endian uint64"):
        bottom_k(coins.astype(np.int64), 1)
    with pytest.raises(ValueError, match=r"ids: .* shape \(2,\)"):
        bottom_k(coins, 1, u64([1]))
    with pytest.raises(ValueError, match="k: expected an integer from 0"):
        bottom_k(coins, -1)
    with pytest.raises(ValueError, match="k: expected an integer from 1"):
        bottom_k_sample(coins, 0)
    with pytest.raises(ValueError, match=r"scores: expected a native-endian float32 or float64"):
        top_k(np.array([1, 2]), None, 1)

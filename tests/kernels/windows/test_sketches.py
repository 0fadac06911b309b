import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uncompiled import sized

from kernels.sampling.hashing import hash_int64
from kernels.windows.sketches import (
    add_distinct,
    add_quantiles,
    distinct_estimate,
    distinct_sketch,
    quantile_estimate,
    quantile_layout,
    quantile_sketch,
)

PROBABILITIES = np.array([0.0, 0.01, 0.25, 0.5, 0.9, 0.999, 1.0])


def distinct_of(numbers: np.ndarray, precision: int = 12) -> np.ndarray:
    sketch = distinct_sketch(1, precision)
    add_distinct(sketch, np.zeros(len(numbers), np.int64), hash_int64(numbers))
    return sketch


@pytest.mark.parametrize("precision", [6, 12])
@pytest.mark.parametrize("n", [0, 1, 20, 1_000, sized(50_000, 2_000)])
def test_the_estimated_number_of_values_lies_within_four_standard_errors(n: int, precision: int) -> None:
    errors = []
    for seed in range(sized(20, 3)):
        numbers = np.arange(n) + seed * 10**9
        errors.append(distinct_estimate(distinct_of(np.repeat(numbers, 2), precision))[0] - n)
    error = 1.04 / np.sqrt(2**precision) * n
    assert np.max(np.abs(errors)) <= 4 * error + 0.1
    assert abs(np.mean(errors)) <= 4 * error / np.sqrt(20) + 0.1


@given(seed=st.integers(0, 999), cut=st.integers(0, 200))
def test_merged_registers_are_those_of_the_union_in_any_order(seed: int, cut: int) -> None:
    numbers = np.random.default_rng(seed).integers(0, 150, 200)
    merged = np.maximum(distinct_of(numbers[cut:]), distinct_of(numbers[:cut]))
    np.testing.assert_array_equal(merged, distinct_of(np.random.default_rng(1).permutation(numbers)))


def test_groups_are_counted_apart() -> None:
    sketch = distinct_sketch(3)
    numbers = np.arange(3_000)
    add_distinct(sketch, np.where(numbers < 1_000, 0, 2), hash_int64(numbers))
    np.testing.assert_allclose(distinct_estimate(sketch), [1_000, 0, 2_000], rtol=0.07)


def test_hashes_at_the_ends_of_the_range_fit_the_registers() -> None:
    sketch = distinct_sketch(1, 4)
    add_distinct(sketch, np.zeros(2, np.int64), np.array([0, 2**64 - 1], np.uint64))
    assert (sketch[0, 0], sketch[0, 15]) == (61, 1)
    assert distinct_estimate(np.full((1, 16), 61, np.uint8))[0] == np.inf


@given(
    values=st.lists(
        st.one_of(st.floats(-1e11, 1e11), st.sampled_from([0.0, -0.0, np.nan, 1.0, 2.0, 1e-7, -1e-6])), max_size=50
    ),
    accuracy=st.sampled_from([0.001, 0.01, 0.2]),
)
def test_quantiles_lie_within_their_relative_accuracy(values: list[float], accuracy: float) -> None:
    layout = quantile_layout(accuracy)
    sketch = quantile_sketch(1, layout)
    add_quantiles(sketch, np.zeros(len(values), np.int64), np.array(values, np.float64), layout)
    present = np.sort([v for v in values if not np.isnan(v)])
    got = quantile_estimate(sketch, PROBABILITIES, layout)[0]
    if not len(present):
        assert np.isnan(got).all()
        return
    true = present[np.floor(PROBABILITIES * (len(present) - 1)).astype(int)]
    assert np.all(np.abs(got - true) <= accuracy * np.abs(true) * (1 + 1e-9) + 1e-6)


def test_quantile_sketches_add_up() -> None:
    layout = quantile_layout()
    values = np.random.default_rng(0).lognormal(3, 2, 10_000)
    groups = np.random.default_rng(1).integers(0, 4, 10_000)
    apart, whole = quantile_sketch(4, layout), quantile_sketch(1, layout)
    add_quantiles(apart, groups, values, layout)
    add_quantiles(whole, groups * 0, values, layout)
    np.testing.assert_array_equal(apart.sum(axis=0), whole[0])
    assert whole.sum() == 10_000


def test_magnitudes_out_of_range_are_kept_in_the_last_bucket() -> None:
    layout = quantile_layout(largest=1e6)
    sketch = quantile_sketch(1, layout)
    add_quantiles(sketch, np.zeros(3, np.int64), np.array([np.inf, 1e300, -np.inf]), layout)
    got = quantile_estimate(sketch, np.array([0.0, 1.0]), layout)[0]
    np.testing.assert_allclose(got, [-1e6, 1e6], rtol=0.03)


def test_what_does_not_fit_is_refused() -> None:
    layout, one = quantile_layout(), np.zeros(1, np.int64)
    frozen = distinct_sketch(1)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="can be written to"):
        add_distinct(frozen, one, hash_int64(one))
    with pytest.raises(ValueError, match=r"expected \(g, 2\*\*p\)"):
        distinct_estimate(np.zeros((1, 100), np.uint8))
    with pytest.raises(ValueError, match="groups: expected numbers from 0 to 0"):
        add_distinct(distinct_sketch(1), one + 1, hash_int64(one))
    with pytest.raises(ValueError, match="counts: expected"):
        add_quantiles(np.zeros((1, 5), np.int64), one, np.zeros(1), layout)
    with pytest.raises(ValueError, match=r"probabilities: .* got 2\.0"):
        quantile_estimate(quantile_sketch(1, layout), np.array([2.0]), layout)
    with pytest.raises(ValueError, match="accuracy"):
        quantile_layout(0.0)

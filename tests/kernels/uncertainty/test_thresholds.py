import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uncompiled import many_trials

from kernels.sampling.hashing import coin
from kernels.uncertainty.thresholds import ThresholdState, variable_uncertainty
from tests import naive


def stream(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 1.0, n)
    confidence[rng.random(n) < 0.05] = np.nan
    return confidence, coin(seed, 0, np.arange(n), 1)


@given(seed=st.integers(0, 999), budget=st.floats(0, 1), spread=st.sampled_from([0.0, 0.5, 1.0]))
def test_what_is_chosen_equals_the_published_rule(seed: int, budget: float, spread: float) -> None:
    confidence, coins = stream(seed, 300)
    factors = [1 + spread * naive.box_muller(int(c)) for c in coins]
    got = variable_uncertainty(confidence, coins, ThresholdState(), budget, spread=spread, window=30)
    assert got.chosen.tolist() == naive.variable_uncertainty(confidence.tolist(), factors, budget, 0.01, 30)


@given(seed=st.integers(0, 999), cut=st.integers(0, 300))
def test_the_state_carries_on_where_a_batch_ended(seed: int, cut: int) -> None:
    confidence, coins = stream(seed, 300)
    whole = variable_uncertainty(confidence, coins, ThresholdState(), 0.2)
    first = variable_uncertainty(confidence[:cut], coins[:cut], ThresholdState(), 0.2)
    second = variable_uncertainty(confidence[cut:], coins[cut:], first.state, 0.2)
    assert np.concatenate([first.chosen, second.chosen]).tolist() == whole.chosen.tolist()
    assert second.state == whole.state


@many_trials
def test_the_budget_is_kept_and_uncertain_events_are_preferred() -> None:
    confidence, coins = stream(1, 20_000)
    for spread in (0.0, 1.0):
        chosen = variable_uncertainty(confidence, coins, ThresholdState(), 0.05, spread=spread).chosen
        assert chosen.mean() <= 0.05 + 1 / 100
        assert np.nanmean(confidence[chosen]) < np.nanmean(confidence) - 0.01
    assert not variable_uncertainty(confidence, coins, ThresholdState(), 0.0).chosen.any()


@many_trials
def test_the_varied_factor_is_standard_normal() -> None:
    factors = np.array([naive.box_muller(int(c)) for c in coin(1, 2, np.arange(20_000), 3)])
    assert abs(factors.mean()) < 0.03
    assert abs(factors.std() - 1) < 0.03


def test_arguments_that_do_not_fit_are_refused() -> None:
    confidence, coins = stream(1, 3)
    with pytest.raises(ValueError, match="budget: expected a number"):
        variable_uncertainty(confidence, coins, ThresholdState(), 1.5)
    with pytest.raises(ValueError, match=r"coins: .* shape \(3,\)"):
        variable_uncertainty(confidence, coins[:2], ThresholdState(), 0.5)
    with pytest.raises(ValueError, match=r"state\.threshold"):
        variable_uncertainty(confidence, coins, ThresholdState(threshold=np.nan), 0.5)

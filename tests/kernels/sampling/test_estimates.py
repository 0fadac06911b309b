import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uncompiled import many_trials

from kernels.sampling._distributions import incomplete_beta, t_quantile
from kernels.sampling.estimates import (
    Estimate,
    active_inference,
    hajek,
    horvitz_thompson,
    lure,
    stratified_mean,
    stratified_ratio,
)
from kernels.sampling.hashing import coin
from kernels.sampling.weighted import inclusion_probabilities, poisson_sample
from tests import naive

NAN = math.nan


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


@pytest.mark.parametrize("df", [1.0, 2.0, 3.7, 30.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("probability", [0.001, 0.025, 0.3, 0.5, 0.9, 0.975, 0.9999])
def test_quantiles_of_t_equal_scipys(probability: float, df: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason="SciPy is the oracle")
    assert t_quantile(probability, df) == pytest.approx(stats.t.ppf(probability, df), rel=1e-7, abs=1e-7)


@given(a=st.floats(0.1, 1e4), b=st.floats(0.1, 1e4), x=st.floats(0, 1))
def test_the_incomplete_beta_function_equals_scipys(a: float, b: float, x: float) -> None:
    special = pytest.importorskip("scipy.special", reason="SciPy is the oracle")
    assert incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-7, abs=1e-9)


@given(
    counts=st.lists(st.tuples(st.integers(2, 6), st.integers(0, 50)), min_size=1, max_size=6), seed=st.integers(0, 999)
)
def test_a_stratified_mean_equals_the_textbook(counts: list[tuple[int, int]], seed: int) -> None:
    strata = np.repeat(np.arange(len(counts)), [n for n, _ in counts])
    population = ints(*[n + more for n, more in counts])
    values = np.random.default_rng(seed).normal(size=len(strata))
    got = stratified_mean(values, strata, population)
    mean, variance = naive.stratified_mean(values.tolist(), strata.tolist(), population.tolist())
    assert got.value == pytest.approx(mean, rel=1e-9, abs=1e-9)
    assert got.se == pytest.approx(math.sqrt(variance), rel=1e-9, abs=1e-9)
    assert got.low <= got.value <= got.high
    assert got.n == len(strata)


def test_strata_with_fewer_than_two_answers_collapse_with_their_neighbours() -> None:
    values = np.array([1.0, 2.0, 4.0, 5.0, 7.0])
    got = stratified_mean(values, ints(0, 2, 3, 3, 4), ints(10, 10, 10, 20, 10))
    assert math.isfinite(got.se)
    assert got.value == pytest.approx((30 * 1.5 + 20 * 4.5 + 10 * 7) / 60)


def test_an_answer_that_did_not_come_is_stood_for_by_the_others_of_its_stratum() -> None:
    with_gap = stratified_mean(np.array([1.0, NAN, 3.0, 5.0, 6.0]), ints(0, 0, 0, 1, 1), ints(10, 30))
    without = stratified_mean(np.array([1.0, 3.0, 5.0, 6.0]), ints(0, 0, 1, 1), ints(10, 30))
    assert with_gap == without


def test_a_census_leaves_no_doubt() -> None:
    for values in ([0.0, 1.0, 1.0, 0.0], [2.0, 5.0, 1.0, 4.0], [0.0] * 4):
        got = stratified_mean(np.array(values), ints(0, 0, 1, 1), ints(2, 2))
        mean = float(np.mean(values))
        assert got == Estimate(mean, mean, mean, 0.0, 4)


def test_no_positive_among_300_leaves_the_rate_below_about_one_and_a_half_percent() -> None:
    got = stratified_mean(np.zeros(300), np.zeros(300, np.int64), ints(10**6))
    assert (got.value, got.low, got.se) == (0.0, 0.0, 0.0)
    assert 3 / 300 < got.high < 1.5 / 100


def test_nothing_known_is_told_as_nothing_known() -> None:
    empty = np.empty(0)
    nothing = [
        stratified_mean(empty, ints(), ints(5)),
        stratified_mean(np.array([NAN]), ints(0), ints(5)),
        stratified_ratio(empty, empty, ints(), ints(5)),
        horvitz_thompson(empty, empty, 5),
        hajek(empty, empty),
        lure(empty, empty, 5),
        active_inference(np.array([0.5]), np.array([NAN]), np.array([0.1])),
    ]
    for got in nothing:
        assert math.isnan(got.value)
        assert math.isnan(got.se)
        assert (got.low, got.high, got.n) == (-math.inf, math.inf, 0)
    ratio = stratified_ratio(np.zeros(3), np.zeros(3), ints(0, 0, 0), ints(5))
    assert (ratio.low, ratio.high, ratio.n) == (0.0, 1.0, 0)


def test_one_answer_gives_a_value_and_the_widest_interval() -> None:
    got = stratified_mean(np.array([2.5]), ints(0), ints(100))
    assert (got.value, got.low, got.high) == (2.5, -math.inf, math.inf)
    proportion = stratified_mean(np.array([1.0]), ints(0), ints(100))
    assert proportion.low < 0.05
    assert proportion.high == 1.0


def test_a_ratio_over_one_stratum_is_the_ratio_of_the_means() -> None:
    y, x = np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0, 4.0])
    got = stratified_ratio(y, x, ints(0, 0, 0), ints(300))
    residuals = (y - 7 / 9 * x) / 3
    assert got.value == pytest.approx(7 / 9)
    assert got.se == pytest.approx(math.sqrt(0.99 * residuals.var(ddof=1) / 3))


def test_horvitz_thompson_and_hajek_equal_their_formulas() -> None:
    y, p = np.array([1.0, 3.0, 2.5]), np.array([0.5, 0.1, 1.0])
    total = horvitz_thompson(y, p, 20)
    assert total.value == pytest.approx((2 + 30 + 2.5) / 20)
    assert total.se == pytest.approx(math.sqrt(0.5 * 4 + 0.9 * 900) / 20)
    mean = hajek(y, p)
    assert mean.value == pytest.approx(34.5 / 13)
    assert mean.se == pytest.approx(
        math.sqrt(1.5 * (0.5 * (2 * (1 - 34.5 / 13)) ** 2 + 0.9 * (10 * (3 - 34.5 / 13)) ** 2)) / 13
    )
    assert horvitz_thompson(np.array([4.0, NAN, 2.0]), np.full(3, 0.5), 6).value == pytest.approx(3.0)


@given(seed=st.integers(0, 999), drawn=st.integers(1, 20), more=st.integers(0, 20))
def test_lure_equals_its_formula(seed: int, drawn: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    losses, probabilities = rng.exponential(size=drawn), rng.uniform(0.01, 1, drawn)
    got = lure(losses, probabilities, drawn + more)
    assert got.value == pytest.approx(naive.lure(losses.tolist(), probabilities.tolist(), drawn + more))


def test_lure_of_uniform_draws_is_the_plain_mean_with_the_finite_population_correction() -> None:
    losses = np.random.default_rng(0).exponential(size=40)
    got = lure(losses, 1 / (100.0 - np.arange(40)), 100)
    assert got.value == pytest.approx(losses.mean())
    assert got.se == pytest.approx(losses.std(ddof=1) / math.sqrt(40) * math.sqrt(0.6), rel=0.1)
    assert lure(losses, 1 / (40.0 - np.arange(40)), 40).se == 0.0


def test_active_inference_with_everything_labeled_is_the_mean_of_the_labels() -> None:
    labels = np.random.default_rng(0).normal(size=50)
    got = active_inference(np.zeros(50), labels, np.ones(50))
    assert got.value == pytest.approx(labels.mean())
    assert got.se == pytest.approx(labels.std(ddof=1) / math.sqrt(50))


def test_good_predictions_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=2000)
    seen = np.where(rng.random(2000) < 0.1, labels, NAN)
    good = active_inference(labels + rng.normal(size=2000) * 0.1, seen, np.full(2000, 0.1))
    blind = active_inference(np.zeros(2000), seen, np.full(2000, 0.1))
    assert good.se < blind.se / 2


# ---- coverage: of 95 % intervals, over worlds in which the truth is known

RATES = np.random.default_rng(1).exponential(size=40) * 0.03
SIZES = np.random.default_rng(2).integers(60, 300, 40)
STRATA = np.repeat(np.arange(40), SIZES)
N = len(STRATA)


def tiles(rng: np.random.Generator, y: np.ndarray, response: float) -> tuple[np.ndarray, np.ndarray]:
    """A random five of each stratum, of whom a share answers."""
    rows = np.concatenate([rng.choice(np.flatnonzero(h == STRATA), 5, replace=False) for h in range(40)])
    return np.where(rng.random(len(rows)) < response, y[rows], NAN), rows


def stratified_rate(rng: np.random.Generator) -> tuple[Estimate, float]:
    y = (rng.random(N) < RATES[STRATA]).astype(float)
    values, rows = tiles(rng, y, 0.7)
    return stratified_mean(values, STRATA[rows], SIZES), float(y.mean())


def stratified_amount(rng: np.random.Generator) -> tuple[Estimate, float]:
    y = rng.exponential(size=N) + RATES[STRATA] * 50
    values, rows = tiles(rng, y, 0.7)
    return stratified_mean(values, STRATA[rows], SIZES), float(y.mean())


def recall(rng: np.random.Generator) -> tuple[Estimate, float]:
    y = (rng.random(N) < 0.1 + RATES[STRATA]).astype(float)
    hit = y * (rng.random(N) < 0.7)
    values, rows = tiles(rng, y, 0.7)
    return stratified_ratio(hit[rows], values, STRATA[rows], SIZES), float(hit.sum() / y.sum())


def poisson_draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    score = rng.beta(0.4, 4, 3000)
    y = (rng.random(3000) < score).astype(float)
    sample = poisson_sample(
        inclusion_probabilities(score + 0.05, 150.0), coin(1, 2, np.arange(3000), int(rng.integers(2**62)))
    )
    return y, sample.indices, sample.inclusion_probabilities


def hajek_rate(rng: np.random.Generator) -> tuple[Estimate, float]:
    y, rows, p = poisson_draw(rng)
    return hajek(y[rows], p), float(y.mean())


def horvitz_thompson_rate(rng: np.random.Generator) -> tuple[Estimate, float]:
    y, rows, p = poisson_draw(rng)
    return horvitz_thompson(y[rows], p, 3000), float(y.mean())


def active_rate(rng: np.random.Generator) -> tuple[Estimate, float]:
    score = rng.beta(0.4, 4, 3000)
    y = (rng.random(3000) < 0.8 * score).astype(float)
    p = inclusion_probabilities(np.sqrt(score * (1 - score)) + 0.05, 200.0)
    return active_inference(score, np.where(rng.random(3000) < p, y, NAN), p), 0.8 * 0.4 / 4.4


def lure_loss(rng: np.random.Generator) -> tuple[Estimate, float]:
    loss = rng.exponential(size=400)
    guess = loss * rng.uniform(0.5, 1.5, 400) + 0.2
    left, rows, q = guess.copy(), [], []
    for _ in range(60):
        p = left / left.sum()
        rows.append(int(rng.choice(400, p=p)))
        q.append(p[rows[-1]])
        left[rows[-1]] = 0.0
    return lure(loss[rows], np.array(q), 400), float(loss.mean())


COVERAGE: dict[str, Callable[[np.random.Generator], tuple[Estimate, float]]] = {
    "stratified_rate": stratified_rate,
    "stratified_amount": stratified_amount,
    "recall": recall,
    "hajek_rate": hajek_rate,
    "horvitz_thompson_rate": horvitz_thompson_rate,
    "active_rate": active_rate,
    "lure_loss": lure_loss,
}


@many_trials
@pytest.mark.parametrize("name", COVERAGE)
def test_intervals_cover_the_truth_as_often_as_they_say(name: str) -> None:
    rng = np.random.default_rng(5)
    trials = [COVERAGE[name](rng) for _ in range(400)]
    covered = np.mean([e.low <= truth <= e.high for e, truth in trials])
    error = np.array([e.value - truth for e, truth in trials])
    assert covered >= 0.92, f"95 % intervals cover {covered:.1%}"
    assert abs(error.mean()) < 4 * error.std() / 20, "biased"


def test_what_does_not_fit_is_refused() -> None:
    one, half = np.array([1.0]), np.array([0.5])
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: stratified_mean(one, ints(1), ints(5)), "strata: expected numbers from 0 to 0"),
        (lambda: stratified_mean(np.ones(2), ints(0, 0), ints(1)), r"population\[0\]: 1 events, but 2"),
        (lambda: stratified_mean(np.ones(2), ints(0), ints(1)), r"values: .* shape \(1,\)"),
        (lambda: stratified_mean(one, ints(0), ints(5), level=95), "level: expected a number from 0.0 to 1.0"),
        (lambda: stratified_mean(np.array([math.inf]), ints(0), ints(5)), r"values\[0\]: infinite"),
        (lambda: hajek(one, np.array([0.0])), r"inclusion\[0\]: 0.0 is no probability"),
        (lambda: horvitz_thompson(one, half, 0), "population: expected an integer from 1"),
        (lambda: lure(np.array([NAN]), half, 5), r"losses\[0\]: NaN"),
        (lambda: lure(one, np.array([NAN]), 5), r"probabilities\[0\]: nan"),
        (lambda: lure(np.ones(2), np.ones(2), 1), "population: expected an integer from 2"),
        (lambda: active_inference(np.array([NAN]), one, half), r"predictions\[0\]: NaN"),
        (lambda: active_inference(half, one, np.array([2.0])), r"inclusion\[0\]: 2.0"),
        (lambda: t_quantile(1.0, 3.0), "probability"),
        (lambda: t_quantile(0.5, 0.9), "df"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()

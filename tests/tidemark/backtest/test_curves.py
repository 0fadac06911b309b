"""Curves by labels and their bands."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tidemark.backtest.curves import curve_of, grid_of
from tidemark.backtest.plays import BLOCKS, Play, Point


def play(seed: int, values: list[tuple[int, float]], spread: float = 0.0, constant: float = 0.1) -> Play:
    """A play whose blocks of the exam differ by so much."""
    tilt = np.linspace(-spread, spread, BLOCKS)
    points = tuple(Point(labels, value, tuple((value + tilt).tolist())) for labels, value in values)
    end = values[-1][0] if values else 0
    return Play("a", seed, Point(0, constant, (constant,) * BLOCKS), points, end, end, 0.0)


def test_a_curve_is_the_mean_over_seeds_of_the_champion_in_force() -> None:
    grid = grid_of(40)
    curve = curve_of([play(0, [(10, 0.4), (30, 0.8)]), play(1, [(20, 0.6)])], grid)
    for at, labels in enumerate(grid.tolist()):
        one = 0.1 if labels < 10 else 0.4 if labels < 30 else 0.8
        other = 0.1 if labels < 20 else 0.6
        assert curve.mean[at] == pytest.approx((one + other) / 2)
    assert (curve.low <= curve.mean + 1e-12).all()
    assert (curve.high >= curve.mean - 1e-12).all()
    assert curve.areas[1] == pytest.approx((0.1 * 20 + 0.6 * 20) / 40, abs=0.01)


def test_a_band_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.5, 0.7, 4)
    plays = [play(seed, [(5, float(value))], spread=0.02) for seed, value in enumerate(values)]
    curve = curve_of(plays, grid_of(10))
    logit = np.log(values / (1 - values))
    left_out = values.mean() + np.linspace(-0.02, 0.02, BLOCKS)
    blocks = np.log(left_out / (1 - left_out))
    variance = (BLOCKS - 1) * blocks.var()
    reach = stats.t.ppf(0.975, BLOCKS - 1) * np.sqrt(logit.var(ddof=1) * 1.25 + 2 * variance)
    middle = np.log(values.mean() / (1 - values.mean()))
    assert curve.low[-1] == pytest.approx(1 / (1 + np.exp(-(middle - reach))))
    assert curve.high[-1] == pytest.approx(1 / (1 + np.exp(-(middle + reach))))


def test_the_band_of_a_share_holds_that_of_a_later_period_as_often_as_it_says() -> None:
    """Accuracy of a model on an exam of 400 events, and on 400 later ones: 95 %, give or take."""
    rng, held, runs = np.random.default_rng(5), 0, 300
    for _ in range(runs):
        plays = []
        for seed in range(5):
            truth = float(np.clip(0.8 + 0.02 * rng.normal(), 0, 1))
            plays.append((seed, truth))
        exam = rng.random(400)
        made = []
        for seed, truth in plays:
            right = exam < truth
            blocks = [float(np.delete(right, block).mean()) for block in np.array_split(np.arange(400), BLOCKS)]
            made.append(
                Play(
                    "a",
                    seed,
                    Point(0, 0.5, (0.5,) * BLOCKS),
                    (Point(1, float(right.mean()), tuple(blocks)),),
                    1,
                    1,
                    0.0,
                )
            )
        curve = curve_of(made, grid_of(1))
        later = float((rng.random(400) < np.clip(0.8 + 0.02 * rng.normal(), 0, 1)).mean())
        held += bool(curve.low[-1] <= later <= curve.high[-1])
    assert 0.92 <= held / runs <= 0.985


def test_qualities_of_none_and_all_have_finite_bands() -> None:
    curve = curve_of([play(0, [(5, 1.0)], constant=0.0), play(1, [(5, 1.0)], constant=0.0)], grid_of(10))
    assert np.isfinite(curve.low).all()
    assert np.isfinite(curve.high).all()


def test_the_band_of_a_quality_below_zero_holds_it() -> None:
    """R² of a model that is worse than the mean: on the scale of shares its band was from 0 to 0."""
    plays = [play(0, [(5, -0.5), (8, 0.9)], 0.05, 0.0), play(1, [(5, -0.3), (8, 0.8)], 0.05, 0.0)]
    curve = curve_of(plays, grid_of(10), below_zero=True)
    for at, mean in ((0, 0.0), (5, -0.4), (9, 0.85)):
        assert curve.mean[at] == pytest.approx(mean)
        assert curve.low[at] <= mean <= curve.high[at] < 1
    assert curve.low[5] < -0.5
    assert curve.high[5] > -0.3
    sure = curve_of([play(seed, [(5, 1.0)], constant=0.0) for seed in (0, 1)], grid_of(10), below_zero=True)
    assert np.isfinite([sure.low, sure.high]).all()

"""Curves of quality by labels, and the bands in which one's own run on a later period is to be expected.

A band is a 95 % prediction interval on the logit scale; of R², which has no least value, on that of the logarithm of
what it leaves (1 - R²). Three things make it wide: seeds differ; the exam is a sample
of events, and so is the later period that one's own run will be measured on; and periods differ. The last two are
estimated by leaving out each tenth of the exam in turn, in the order of time (a block jackknife: Künsch 1989). They
count twice, for the exam and for the later period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.sampling._distributions import t_quantile
from tidemark.backtest.plays import BLOCKS, Play, Point

Floats = NDArray[np.float64]
_EDGE: Final = 1e-4
"""Qualities nearer to 0 and 1 are taken to be so far from them; R² nearer to 1."""
_POINTS: Final = 101


@dataclass(frozen=True, slots=True)
class Curve:
    """An arm. mean, low, high: (n,) quality after so many labels, and its band.  areas: (seeds,) mean over labels."""

    mean: Floats
    low: Floats
    high: Floats
    areas: Floats


def grid_of(labels: int) -> NDArray[np.int64]:
    """Numbers of labels at which curves are drawn, from 0 on."""
    return np.unique(np.linspace(0, labels, _POINTS).round().astype(np.int64))


def curve_of(plays: Sequence[Play], grid: NDArray[np.int64], *, below_zero: bool = False) -> Curve:
    """Curve of an arm's plays.

    Args:
        plays: one or more.
        grid: (n,) numbers of labels.
        below_zero: whether quality may be below 0, as R² is where a model is worse than the mean.

    Returns:
        The curve at the grid.

    """
    scaled, back = (_log_rest, _of_log_rest) if below_zero else (_logit, _expit)
    values = np.array([_steps(play, grid, None) for play in plays])
    without = np.array([[_steps(play, grid, block) for block in range(BLOCKS)] for play in plays])
    mean = values.mean(axis=0)
    middle, left_out = scaled(mean), scaled(without.mean(axis=0))
    of_exam = (BLOCKS - 1) / BLOCKS * np.square(left_out - left_out.mean(axis=0)).sum(axis=0)
    seeds = len(plays)
    of_seeds = scaled(values).var(axis=0, ddof=1) if seeds > 1 else np.zeros(len(grid))
    reach = t_quantile(0.975, BLOCKS - 1) * np.sqrt(of_seeds * (1 + 1 / seeds) + 2 * of_exam)
    return Curve(mean, back(middle - reach), back(middle + reach), _areas(values, grid))


def _steps(play: Play, grid: NDArray[np.int64], block: int | None) -> Floats:
    """(n,) quality of the model in force after each number of labels; without a block of the exam."""
    curve = np.full(len(grid), _value(play.constant, block))
    for point in play.points:
        curve[grid >= point.labels] = _value(point, block)
    return curve


def _value(point: Point, block: int | None) -> float:
    return point.value if block is None else point.without[block]


def _areas(values: Floats, grid: NDArray[np.int64]) -> Floats:
    return np.asarray(np.trapezoid(values, grid, axis=1) / max(1, int(grid[-1] - grid[0])))


def _logit(share: Floats) -> Floats:
    kept = np.clip(share, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(kept / (1 - kept)))


def _expit(value: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-value)))


def _log_rest(share: Floats) -> Floats:
    return np.asarray(-np.log(np.maximum(1 - share, _EDGE)))


def _of_log_rest(value: Floats) -> Floats:
    return np.asarray(1 - np.exp(-value))

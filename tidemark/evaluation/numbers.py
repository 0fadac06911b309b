"""Measures of estimates of a number on answers of the random draw, each with a 95 % interval.

Each answer counts for as many events as it was drawn from: a weighted mean over all weights (Hájek 1971). Answers of
one entity tell each other's, so that errors are those of entities (Särndal, Swensson and Wretman 1992, section 8.3).
Intervals of errors are those of their logarithms, by the jackknife over entities (Efron and Stein 1981, "The jackknife
estimate of variance"): errors are skewed, no figure is below 0, and linearisation is too sure of few answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.sampling._distributions import t_quantile
from tidemark.evaluation.measures import effective_number, share_of
from tidemark.evaluation.metrics import Floats, by_entity
from tidemark.pipeline.model import NumberMetric

NARROW: Final = 0.1
"""Half the width of the interval of R² that is narrow enough to tell how good a model is."""
_LEVEL: Final = 0.975
_FEWEST: Final = 3
"""Entities below which nothing is said."""
_MOST_MORE: Final = 1_000_000
_NOISE: Final = 1e-12
"""Share of a sum of squares to which a difference of two such sums is exact."""
_WIDEST: Final = 20.0
"""Half the width of the interval of a logarithm, above which nothing is said: it is from 1 to 500 million times."""


@dataclass(frozen=True, slots=True)
class NumberSample:
    """Answers to measure with, in parallel arrays.

    truth: (n,) numbers.  estimates: (n, 3) the number and the ends of its interval, of a model that had not learnt from
    the row; ends are NaN where it tells none.  weight: (n,) above 0, how many events each answer stands for.
    entity: (n,) whose event each is; None: each of an entity of its own.
    """

    truth: Floats
    estimates: Floats
    weight: Floats
    entity: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Answers."""
        return len(self.truth)

    @property
    def errors(self) -> Floats:
        """(n,) what was said less what is true."""
        return np.asarray(self.estimates[:, 0] - self.truth, np.float64)


@dataclass(frozen=True, slots=True)
class NumberFigure:
    """A figure with its 95 % interval, of n answers; None where nothing can be said."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def rmse(sample: NumberSample) -> NumberFigure:
    """Root of the mean squared error, in the number's unit."""
    return _of_mean(np.square(sample.errors), sample, 0.5)


def mae(sample: NumberSample) -> NumberFigure:
    """Mean absolute error, in the number's unit."""
    return _of_mean(np.abs(sample.errors), sample, 1.0)


def r_squared(sample: NumberSample) -> NumberFigure:
    """Share of the numbers' variance that is foretold: 1 less the mean squared error over the variance."""
    n, weight = len(sample), sample.weight
    if n < _FEWEST:
        return NumberFigure(None, None, None, n)
    centred = sample.truth - _mean(sample.truth, weight)
    off, squares = np.square(centred), np.square(sample.errors)
    variance, error = _mean(off, weight), _mean(squares, weight)
    differ = sample.truth.min() < sample.truth.max()  # the mean of equal numbers is rounded: they seem to vary
    if not (differ and variance > 0 and error > 0):
        return NumberFigure(1.0 if differ and variance > 0 else None, None, None, n)
    ratio = error / variance
    parts = np.column_stack((weight, weight * squares, weight * centred, weight * off))
    width = _log_width(parts, sample, _log_ratio)
    if width is None:
        return NumberFigure(1 - ratio, None, None, n)
    return NumberFigure(1 - ratio, 1 - ratio * math.exp(width), 1 - ratio * math.exp(-width), n)


def error_difference(first: NumberSample, second: NumberSample, metric: NumberMetric) -> NumberFigure:
    """An error of the second less that of the first, on the same answers.

    Args:
        first: answers with the estimates of one model.
        second: the same answers, weights and entities with those of another.
        metric: which error.

    Returns:
        The difference in the number's unit, whose interval is by the jackknife over entities.

    """
    n, weight, power = len(first), first.weight, 0.5 if metric == "rmse" else 1.0
    if n < _FEWEST:
        return NumberFigure(None, None, None, n)
    one, other = (np.abs(each.errors) ** (1 / power) for each in (first, second))
    parts = np.column_stack((weight, weight * one, weight * other))

    def figure(sums: Floats) -> Floats:
        found: Floats = (sums[:, 2] / sums[:, 0]) ** power - (sums[:, 1] / sums[:, 0]) ** power
        return found

    value = float(figure(parts.sum(axis=0)[None, :])[0])
    width = _width(parts, first, figure)
    if width is None:
        return NumberFigure(value, None, None, n)
    return NumberFigure(value, value - width, value + width, n)


def share_foretold(truth: Floats, value: Floats) -> float:
    """R² of answers that count alike, without an interval.

    Of numbers that are all alike there is no variance to foretell: 0, or 1 where all of them are foretold.

    Args:
        truth: (n,) numbers.
        value: (n,) what was said of them.

    """
    off = float(np.square(value - truth).mean())
    if not (len(truth) and truth.min() < truth.max()):
        return float(off == 0)
    return 1 - off / max(float(truth.var()), 1e-300)


def coverage(sample: NumberSample) -> NumberFigure:
    """Share of events whose number lies in its interval, of those with one."""
    low, high = sample.estimates[:, 1], sample.estimates[:, 2]
    known = ~np.isnan(low)
    if not known.any():
        return NumberFigure(None, None, None, 0)
    hits = (low <= sample.truth) & (sample.truth <= high)
    entity = None if sample.entity is None else sample.entity[known]
    found = share_of(hits[known], sample.weight[known], entity)
    return NumberFigure(found.value, found.low, found.high, int(known.sum()))


def more_answers(found: NumberFigure) -> int:
    """About how many more answers the interval of an R² needs to be narrow, if its width falls with their root."""
    if found.value is None or found.low is None or found.high is None:
        return math.ceil(1 / NARROW**2)
    return max(0, min(math.ceil(found.n * (((found.high - found.low) / 2 / NARROW) ** 2 - 1)), _MOST_MORE))


def _of_mean(values: Floats, sample: NumberSample, power: float) -> NumberFigure:
    """A power of the weighted mean of values above 0."""
    n = len(sample)
    if n < _FEWEST:
        return NumberFigure(None, None, None, n)
    mean = _mean(values, sample.weight)
    if not mean > 0:
        return NumberFigure(0.0, None, None, n)
    width = _log_width(np.column_stack((sample.weight, sample.weight * values)), sample, _log_mean)
    if width is None:
        return NumberFigure(mean**power, None, None, n)
    return NumberFigure(mean**power, (mean * math.exp(-width)) ** power, (mean * math.exp(width)) ** power, n)


def _width(parts: Floats, sample: NumberSample, figure: Callable[[Floats], Floats]) -> float | None:
    """Half the width of the interval of a figure of sums; None where it can't be told without some entity.

    parts: (n, k) what each answer adds to the sums.  figure: of (m, k) sums.
    """
    own = np.column_stack([by_entity(parts[:, at], sample.entity) for at in range(parts.shape[1])])
    n = len(own)
    if n < _FEWEST:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        without = figure(own.sum(axis=0) - own)
    if not np.isfinite(without).all():
        return None
    error = math.sqrt((n - 1) / n * float(np.square(without - without.mean()).sum()))
    freedom = max(effective_number(own[:, 0]) - 1, 1.0)
    return t_quantile(_LEVEL, freedom) * error


def _log_width(parts: Floats, sample: NumberSample, figure: Callable[[Floats], Floats]) -> float | None:
    """The same of a logarithm; None too where an interval would be so wide that it says nothing."""
    width = _width(parts, sample, figure)
    return None if width is None or width > _WIDEST else width


def _log_mean(sums: Floats) -> Floats:
    """Of (m, 2) sums of weights and of weighted values."""
    found: Floats = np.log(sums[:, 1] / sums[:, 0])
    return found


def _log_ratio(sums: Floats) -> Floats:
    """Of (m, 4) sums of weights, of weighted squared errors, of weighted numbers and of their squares."""
    weight, squares, numbers, squared = sums.T
    spread = squared - np.square(numbers) / weight
    spread[spread < _NOISE * squared] = np.nan  # numbers that are all alike: what is left of them is rounded
    found: Floats = np.log(squares / spread)
    return found


def _mean(values: Floats, weight: Floats) -> float:
    return float((weight * values).sum() / weight.sum())

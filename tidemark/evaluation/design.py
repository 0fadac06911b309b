"""Estimates from a stratified random sample with non-response: the tiles' exploration draws and their answers.

Each tile is a stratum of known size N, of which k events were drawn (bottom-k of the coins, so a simple random
sample) and n were answered. Answers are taken to be missing at random within their tile: an answered event stands
for N / n events. Sources: Särndal, Swensson, Wretman 1992, "Model Assisted Survey Sampling", 3.7 (stratified
sampling), 5.6 (ratio), 15.6 (response groups); Wolter 2007, 2.5 (collapsed strata).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONFIDENCE = 0.95
"""Chance with which each interval of this module covers the truth."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate with its 95 % interval, standard error, and the number of answers in its domain."""

    value: float
    low: float
    high: float
    error: float
    n: int


@dataclass(frozen=True, slots=True)
class StratifiedSample:
    """The answered events of a stratified draw.

    weight: (n,) how many events each answer stands for; sums to the size of all tiles.
    group: (n,) index of the answer's variance group: tiles next to each other, collapsed until there are two answers.
    size: (groups,) events in each group.
    """

    weight: Floats
    group: Ints
    size: Floats

    @classmethod
    def of(cls, tile: Ints, tile_count: Ints, answered: NDArray[np.bool_]) -> StratifiedSample:
        """Sample of the answered rows of a draw.

        tile: (k,) stratum of each drawn event; neighbours in number are neighbours in time.
        tile_count: (k,) events in the event's tile.  answered: (k,) whether its answer came.
        Raises ValueError where arrays differ in length, a tile has two sizes, or more draws than events.
        """
        if not tile.shape == tile_count.shape == answered.shape:
            raise ValueError(f"expected equal lengths, got {tile.shape}, {tile_count.shape}, {answered.shape}")
        tiles, first, stratum, drawn = np.unique(tile, return_index=True, return_inverse=True, return_counts=True)
        sizes = tile_count[first].astype(np.float64)
        if np.any(tile_count != sizes[stratum]):
            raise ValueError(f"tile_count: two sizes for tile {tile[np.argmax(tile_count != sizes[stratum])]}")
        if np.any(drawn > sizes):
            raise ValueError(f"tile_count: more draws than events in tile {tiles[np.argmax(drawn > sizes)]}")
        answers = np.bincount(stratum[answered], minlength=tiles.shape[0])
        groups = _collapse(answers)
        count = int(groups[-1]) + 1 if groups.shape[0] else 0
        size = np.bincount(groups, sizes, count).astype(np.float64)
        heard = np.bincount(groups, sizes * (answers > 0), count)
        with np.errstate(divide="ignore", invalid="ignore"):
            per_answer = sizes / answers * (size / heard)[groups]
        chosen = stratum[answered]
        return cls(per_answer[chosen], groups[chosen], size)

    def mean(self, values: Floats) -> Estimate | None:
        """Mean of a quantity over all events; values: (n,). None below two answers. Interval by Student's t."""
        return self.ratio(values, np.ones_like(values))

    def ratio(self, numerator: Floats, denominator: Floats) -> Estimate | None:
        """Total of one quantity over the total of another; rows outside of a domain are 0 in both.

        None below two answers with a denominator. Interval by Student's t.
        """
        solved = self._solve(numerator, denominator)
        if solved is None:
            return None
        value, error, freedom, n = solved
        reach = student_t(freedom) * error
        return Estimate(value, value - reach, value + reach, error, n)

    def share(self, numerator: NDArray[np.bool_], denominator: NDArray[np.bool_]) -> Estimate | None:
        """Share of the events in `denominator` that are in `numerator` too. None below two answers in the domain.

        Interval: Wilson's, with the effective sample size p(1 - p) / variance and Student's t (Korn and Graubard
        1998), so that it keeps its width where every answer is the same.
        """
        solved = self._solve((numerator & denominator).astype(np.float64), denominator.astype(np.float64))
        if solved is None:
            return None
        value, error, freedom, n = solved
        if 0 < value < 1:
            effective = value * (1 - value) / error**2 if error > 0 else math.inf
        else:
            unseen = 1 - self.weight.shape[0] / float(self.size.sum())
            effective = n / unseen if unseen > 0 else math.inf
        low, high = wilson(value, effective, student_t(freedom))
        return Estimate(value, low, high, error, n)

    def _solve(self, numerator: Floats, denominator: Floats) -> tuple[float, float, int, int] | None:
        """Ratio, its standard error, degrees of freedom, and answers in the domain, by linearisation."""
        if not numerator.shape == denominator.shape == self.weight.shape:
            raise ValueError(f"expected {self.weight.shape[0]} values, got {numerator.shape} and {denominator.shape}")
        inside = int(np.count_nonzero(denominator))
        if inside < 2:
            return None
        total = float(np.sum(self.weight * denominator))
        value = float(np.sum(self.weight * numerator)) / total
        residual = self.weight * (numerator - value * denominator)
        groups = self.size.shape[0]
        n = np.bincount(self.group, minlength=groups).astype(np.float64)
        mean = np.bincount(self.group, residual, groups) / np.maximum(n, 1)
        spread = np.bincount(self.group, np.square(residual - mean[self.group]), groups)
        variance = np.sum(spread * n / np.maximum(n - 1, 1) * np.maximum(1 - n / self.size, 0))
        freedom = min(int(n.sum()) - groups, inside - 1)
        return value, math.sqrt(float(variance)) / total, max(freedom, 1), inside


def wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's score interval of a share seen in n (effective) draws, z standard errors wide (Wilson 1927)."""
    if math.isinf(n):
        return share, share
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share))


def logit_interval(value: float, positives: float) -> tuple[float, float]:
    """95 % interval of an average precision estimated from so many (effective) positives.

    On the logit scale with standard error (positives * value * (1 - value))^-1/2: Boyd, Eng, Page 2013, "Area under
    the precision-recall curve: point estimates and confidence intervals", 3.2. The whole [0, 1] at 0 and 1.
    """
    if not 0 < value < 1 or positives <= 0:
        return 0.0, 1.0
    middle = math.log(value / (1 - value))
    reach = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) / math.sqrt(positives * value * (1 - value))
    return _expit(middle - reach), _expit(middle + reach)


def student_t(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t: exact for 1 and 2 degrees of freedom, within 1 % above.

    Cornish-Fisher expansion, Abramowitz and Stegun 1964, 26.7.5.
    """
    if freedom < 1:
        raise ValueError(f"freedom: expected at least 1, got {freedom}")
    p = 0.5 + confidence / 2
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    x = NormalDist().inv_cdf(p)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92_160,
    )
    return x + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def _collapse(answers: Ints) -> Ints:
    """Group index of each tile: neighbours joined until a group has two answers; a rest joins the last group."""
    groups = np.zeros(answers.shape[0], np.int64)
    group, inside = 0, 0
    for position, count in enumerate(answers.tolist()):
        groups[position] = group
        inside += count
        if inside >= 2:
            group, inside = group + 1, 0
    if inside < 2 and group > 0:
        groups[groups == group] = group - 1
    return groups


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

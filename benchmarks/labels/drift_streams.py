"""A stream of ten features with a daily cycle, its labels, and ten kinds of change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DAY: Final = 86_400_000_000
NAMES: Final = ["amount", "rate", "age", "gap", "load", "price", "channel", "sensor", "night", "score"]
_CORRELATED: Final = np.linalg.cholesky(0.5 * np.eye(10) + 0.5)


def rows(rng: np.random.Generator, begin: int, n: int, a_day: int, *, cycle: bool) -> Floats:
    """Rows from the `begin`th on: ten features that go together, skewed, of few values, with gaps.

    cycle: two of them follow the time of day.
    """
    found = rng.normal(size=(n, 10)) @ _CORRELATED.T
    hour = np.sin(2 * np.pi * (begin + np.arange(n)) / a_day)
    if cycle:
        found[:, 1] += 0.7 * hour
        found[:, 5] += 0.4 * hour
    found[:, 5] = np.exp(found[:, 5])
    found[:, 6] = np.digitize(found[:, 6], [-1, 0, 1])
    found[:, 7] = np.where(rng.random(n) < 0.05, np.nan, found[:, 7])
    found[:, 8] = found[:, 8] > 1.28
    return found


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of change. column: that it is about.  apply: to rows, with how many came since, and rows of a day."""

    name: str
    column: int
    apply: Callable[[Floats, NDArray[np.int64], int, np.random.Generator], None]


def _mean(x: Floats, _since: NDArray[np.int64], _a_day: int, _rng: np.random.Generator) -> None:
    x[:, 0] += 0.3


def _scale(x: Floats, _since: NDArray[np.int64], _a_day: int, _rng: np.random.Generator) -> None:
    x[:, 2] *= 1.5


def _correlation(x: Floats, _since: NDArray[np.int64], _a_day: int, rng: np.random.Generator) -> None:
    x[:, 3] = rng.normal(size=len(x))


def _missing(x: Floats, _since: NDArray[np.int64], _a_day: int, rng: np.random.Generator) -> None:
    x[rng.random(len(x)) < 0.05, 4] = np.nan


def _category(x: Floats, _since: NDArray[np.int64], _a_day: int, rng: np.random.Generator) -> None:
    x[rng.random(len(x)) < 0.03, 6] = 4.0


def _gradual(x: Floats, since: NDArray[np.int64], a_day: int, _rng: np.random.Generator) -> None:
    x[:, 0] += np.minimum(since / (4 * a_day), 1.0)


def _recurring(x: Floats, since: NDArray[np.int64], a_day: int, _rng: np.random.Generator) -> None:
    x[:, 0] += np.where(since // (a_day // 8) % 2 == 0, 0.5, 0.0)


def _segment(x: Floats, _since: NDArray[np.int64], _a_day: int, _rng: np.random.Generator) -> None:
    x[x[:, 8] > 0, 2] += 1.0


KINDS: Final = (
    Kind("mean, by .3 standard deviations", 0, _mean),
    Kind("scale, by half", 2, _scale),
    Kind("correlation of one feature with all, .5 to 0", 3, _correlation),
    Kind("missing, 0 to 5 %", 4, _missing),
    Kind("a new category, 3 %", 6, _category),
    Kind("gradual, one standard deviation in four days", 0, _gradual),
    Kind("recurring, .5 standard deviations every other three hours", 0, _recurring),
    Kind("in a segment of 10 %, by one standard deviation", 2, _segment),
)


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of randomly drawn cases: the model's probability of the positive class, and the truth."""

    probabilities: Floats
    truths: NDArray[np.bool_]


def answers(rng: np.random.Generator, n: int, *, rate: float = 0.1, flipped: float = 0.0) -> Answers:
    """Some answers. rate: of positives.  flipped: share of truths that are the other way round than was learnt."""
    truths = rng.random(n) < rate
    odds = np.log(0.1 / 0.9) + 2.0 + rng.normal(scale=1.5, size=n) + np.where(truths, 1.5, -2.5)
    return Answers(1 / (1 + np.exp(-odds)), truths ^ (rng.random(n) < flipped))

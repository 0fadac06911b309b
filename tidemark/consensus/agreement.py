"""How far annotators agree beyond chance: Krippendorff's alpha of classes and of numbers, Cohen's and Fleiss' kappa.

Intervals are percentile bootstraps over cases (Efron 1979), the unit that was drawn; all three are functions of sums
over cases, so that a resample is a weighting of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from tidemark.consensus.answers import Answers, Array1, Array2

_RESAMPLES: Final = 2_000
_CHUNK: Final = 4_000_000
"""Weights that are held at a time."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """value: 1 for full agreement, 0 for as much as by chance; NaN where no two answered a case, or all said the same.

    low, high: 95 % interval.  cases: those that it rests on.
    """

    value: float
    low: float
    high: float
    cases: int


def krippendorff_alpha(answers: Answers, *, seed: int = 0) -> Agreement:
    """Krippendorff 2011, "Computing Krippendorff's alpha-reliability": any number of answers a case."""
    counts = answers.counts()
    return _bootstrapped(counts[counts.sum(axis=1) >= 2], _alpha, seed)


def krippendorff_alpha_of_numbers(answers: Iterable[tuple[str, float]], *, seed: int = 0) -> Agreement:
    """Krippendorff 2011 for interval data: how far two numbers disagree is the square of their difference.

    Args:
        answers: (case, number) of each answer, finite; any number of answers a case.
        seed: of the bootstrap.

    Returns:
        Alpha and its interval, over the cases of two answers or more.

    """
    by_case: dict[str, list[float]] = {}
    for case, number in answers:
        by_case.setdefault(case, []).append(number)
    cases = [numbers for numbers in by_case.values() if len(numbers) > 1]
    every = np.array([number for numbers in cases for number in numbers])
    largest = float(np.abs(every).max(initial=0.0)) or 1.0
    middle = float(np.mean(every / largest)) if len(every) else 0.0
    rows = np.zeros((len(cases), 4))  # of numbers from -2 to 2 around 0: their squares neither overflow nor cancel
    for row, numbers in zip(rows, cases, strict=True):
        apart = np.array(numbers) / largest - middle
        disagreement = 2 * len(numbers) ** 2 * np.var(apart) / (len(numbers) - 1)
        row[:] = len(numbers), disagreement, apart.sum(), np.sum(apart**2)
    return _bootstrapped(rows, _alpha_of_numbers, seed)


def fleiss_kappa(answers: Answers, *, seed: int = 0) -> Agreement:
    """Fleiss 1971, "Measuring nominal scale agreement among many raters".

    Raises:
        ValueError: some cases have more answers than others, where only `krippendorff_alpha` is defined.

    """
    counts = answers.counts()
    numbers = np.unique(counts.sum(axis=1))
    if len(numbers) > 1:
        raise ValueError("Fleiss' kappa needs as many answers for each case; use krippendorff_alpha")
    return _bootstrapped(counts[counts.sum(axis=1) >= 2], _fleiss, seed)


def cohen_kappa(answers: Answers, first: str, second: str, *, seed: int = 0) -> Agreement:
    """Cohen 1960, "A coefficient of agreement for nominal scales": of two annotators, over the cases of both.

    Raises:
        ValueError: there is no such annotator.

    """
    said = []
    for annotator in (first, second):
        if annotator not in answers.annotator_ids:
            raise ValueError(f"{annotator!r} gave no answer")
        mine = answers.annotators == answers.annotator_ids.index(annotator)
        said.append(dict(zip(answers.items[mine].tolist(), answers.labels[mine].tolist(), strict=True)))
    both = sorted(said[0].keys() & said[1].keys())
    size = len(answers.classes)
    table = np.zeros((len(both), size * size))
    table[np.arange(len(both)), [said[0][item] * size + said[1][item] for item in both]] = 1.0
    return _bootstrapped(table, _cohen, seed)


def _bootstrapped(rows: Array2, statistic: Callable[[Array2, Array2], Array1], seed: int) -> Agreement:
    """statistic: of weights (resamples, cases) and rows (cases, columns)."""
    cases = len(rows)
    if cases == 0:
        return Agreement(math.nan, math.nan, math.nan, 0)
    value = float(statistic(np.ones((1, cases)), rows)[0])
    rng = np.random.default_rng(seed)
    at_once = max(1, min(_RESAMPLES, _CHUNK // cases))
    found = [
        statistic(rng.multinomial(cases, np.full(cases, 1 / cases), size=at_once).astype(np.float64), rows)
        for _ in range(-(-_RESAMPLES // at_once))
    ]
    drawn = np.concatenate(found)
    drawn = drawn[np.isfinite(drawn)]  # a resample of cases on which all say the same tells nothing of chance
    if not len(drawn) or not math.isfinite(value):
        return Agreement(value, math.nan, math.nan, cases)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Agreement(value, float(low), float(high), cases)


def _alpha(weights: Array2, counts: Array2) -> Array1:
    answers = counts.sum(axis=1)
    apart = (answers**2 - np.sum(counts**2, axis=1)) / (answers - 1)
    total, by_class = weights @ answers, weights @ counts
    return _beyond_chance(weights @ apart / total, (total**2 - np.sum(by_class**2, axis=1)) / (total * (total - 1)))


def _alpha_of_numbers(weights: Array2, rows: Array2) -> Array1:
    """rows: of each case its answers, their disagreement, their sum and their sum of squares."""
    total, apart, sums, squares = (weights @ column for column in rows.T)
    return _beyond_chance(apart / total, 2 * (total * squares - sums**2) / (total * (total - 1)))


def _fleiss(weights: Array2, counts: Array2) -> Array1:
    answers = counts.sum(axis=1)
    together = (np.sum(counts**2, axis=1) - answers) / (answers * (answers - 1))
    cases, total = weights.sum(axis=1), weights @ answers
    by_chance = np.sum((weights @ counts / total[:, None]) ** 2, axis=1)
    return _beyond_chance(1 - weights @ together / cases, 1 - by_chance)


def _cohen(weights: Array2, table: Array2) -> Array1:
    size = math.isqrt(table.shape[1])
    joint = (weights @ table / weights.sum(axis=1, keepdims=True)).reshape(-1, size, size)
    by_chance = np.sum(joint.sum(axis=2) * joint.sum(axis=1), axis=1)
    return _beyond_chance(1 - np.trace(joint, axis1=1, axis2=2), 1 - by_chance)


def _beyond_chance(observed: Array1, expected: Array1) -> Array1:
    """1 - observed over expected disagreement; NaN where chance would never disagree."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(expected > 0, 1 - observed / expected, np.nan), np.float64)

"""What a sample with known inclusion probabilities says about everything it was drawn from, with its uncertainty.

A value that is missing (NaN) is a case that was drawn and not answered. It is taken to be missing at random among the
cases that share its stratum (or, in designs without strata, among all), and it never counts as drawn for nothing: the
answers that came stand for it.

Intervals: Student's t where values are unbounded. Means and ratios of zeros and ones get Wilson's interval at the
effective sample size ``p * (1 - p) / se**2``, at most Kish's size of the weights, with t in place of z: the plain
normal interval covers far too little for rare events and few labels (Korn and Graubard 1998, "Confidence intervals for
proportions with small expected number of positive counts estimated from survey data"; Wilson 1927). No answer at all
gives NaN between the bounds, never an error, so that a monitor can say that it knows nothing.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, integer, number
from kernels.sampling._distributions import t_quantile

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated mean or ratio.

    value: the estimate, NaN where nothing is known.  low, high: ends of the confidence interval.  se: standard
    error, NaN where it can't be told.  n: answers that it rests on.
    """

    value: float
    low: float
    high: float
    se: float
    n: int


class _Groups(NamedTuple):
    """Answers in groups of strata with at least two answers each (one, where there are no two)."""

    group: _Ints
    weight: _Floats
    answers: _Ints
    population: _Floats


def _is_proportion(values: _Floats) -> bool:
    return bool(np.all((values == 0.0) | (values == 1.0)))


def _unknown(n: int, *, proportion: bool, value: float = math.nan) -> Estimate:
    low, high = (0.0, 1.0) if proportion else (-math.inf, math.inf)
    return Estimate(value, low, high, math.nan, n)


def _t_interval(value: float, se: float, df: float, n: int, level: float) -> Estimate:
    if df <= 0 or math.isnan(se):
        return _unknown(n, proportion=False, value=value)
    reach = t_quantile(0.5 + level / 2, df) * se
    return Estimate(value, value - reach, value + reach, se, n)


def _wilson_interval(value: float, se: float, most_n: float, df: float, n: int, level: float) -> Estimate:
    """Wilson's interval at the effective size, at most ``most_n``, which it is where all answers agree."""
    value = min(max(value, 0.0), 1.0)
    if most_n == math.inf:
        return Estimate(value, value, value, 0.0, n)
    spread = value * (1.0 - value)
    size = min(spread / se**2, most_n) if spread > 0.0 and se > 0.0 else most_n
    t = t_quantile(0.5 + level / 2, max(df, 1.0))
    centre = (value + t**2 / (2 * size)) / (1 + t**2 / size)
    reach = t / (1 + t**2 / size) * math.sqrt(spread / size + t**2 / (4 * size**2))
    low, high = max(0.0, min(value, centre - reach)), min(1.0, max(value, centre + reach))
    return Estimate(value, low, high, se, n)


def _grouped(answered: _Ints, population: _Ints) -> _Groups:
    """Collapse strata, in their order, until every group has two answers; weight each answer by what it stands for."""
    counts = np.bincount(answered, minlength=population.shape[0])
    group_of = np.zeros(population.shape[0], np.int64)
    group, held = 0, 0
    left = int(counts.sum())
    for stratum, count in enumerate(counts.tolist()):
        if held >= 2 and left >= 2:
            group, held = group + 1, 0
        group_of[stratum] = group
        held += count
        left -= count
    standing = np.where(counts > 0, population, 0)
    population_of = np.bincount(group_of, weights=population).astype(np.float64)
    standing_of = np.bincount(group_of, weights=standing)
    group_of_answer = group_of[answered]
    weight = (population / np.maximum(counts, 1))[answered]
    weight *= population_of[group_of_answer] / standing_of[group_of_answer]
    return _Groups(group_of_answer, weight, np.bincount(group_of_answer), population_of)


def _group_variances(groups: _Groups, residuals: _Floats) -> _Floats:
    """Each group's part of the variance of the weighted mean: between its answers, less what was seen of it."""
    total = groups.population.sum()
    sums = np.bincount(groups.group, weights=groups.weight)
    means = np.bincount(groups.group, weights=groups.weight * residuals) / sums
    distance = groups.weight * (residuals - means[groups.group])
    squares = np.bincount(groups.group, weights=distance**2)
    m = groups.answers
    unseen = 1.0 - m / groups.population
    with np.errstate(divide="ignore", invalid="ignore"):
        part: _Floats = np.where(m > 1, squares * m / (m - 1) * unseen, np.where(unseen > 0, np.nan, 0.0)) / total**2
    return part


def _effective_n(weight: _Floats, unseen: float) -> float:
    """Kish's effective size of unequal weights, with the finite population's correction."""
    return math.inf if unseen <= 0.0 else float(weight.sum() ** 2 / (weight**2).sum()) / unseen


def _stratified_input(
    columns: dict[str, NDArray[np.floating]], strata: _Ints, population: _Ints
) -> tuple[list[_Floats], _Ints, _Ints]:
    """Check the input and keep the rows in which every column has an answer."""
    checked_strata = array("strata", strata, np.int64, (None,))
    n = checked_strata.shape[0]
    counts = array("population", population, np.int64, (None,))
    if n and not (checked_strata.min() >= 0 and checked_strata.max() < counts.shape[0]):
        raise ValueError(f"strata: expected numbers from 0 to {counts.shape[0] - 1}, the strata of population")
    drawn = np.bincount(checked_strata, minlength=counts.shape[0])
    if np.any(drawn > counts):
        worst = int(np.argmax(drawn > counts))
        raise ValueError(f"population[{worst}]: {counts[worst]} events, but {drawn[worst]} were drawn from them")
    values = [_answers(name, column, n) for name, column in columns.items()]
    complete = ~np.any([np.isnan(v) for v in values], axis=0)
    return [v[complete] for v in values], checked_strata[complete], counts


def _answers(name: str, values: NDArray[np.floating], n: int | None) -> _Floats:
    checked: _Floats = array(name, values, (np.float32, np.float64), (n,)).astype(np.float64)
    if np.isinf(checked).any():
        raise ValueError(f"{name}[{int(np.argmax(np.isinf(checked)))}]: infinite")
    return checked


def stratified_mean(values: NDArray[np.floating], strata: _Ints, population: _Ints, *, level: float = 0.95) -> Estimate:
    """Mean of a population of which every stratum was sampled at random, whatever the share of each.

    values: (n,) float32 or float64; NaN was drawn and not answered; all 0 or 1 is a proportion.  strata: (n,) int64,
    stratum of each value, 0 to h - 1.  population: (h,) int64, number of events in each stratum. A tile's bottom-k
    sample is such a random sample, given its threshold.  level: confidence, 0 to 1.

    ``sum_h N_h / N * mean_h``, variance ``sum_h (N_h / N)**2 * (1 - n_h / N_h) * s_h**2 / n_h`` (Cochran 1977,
    chapter 5). Strata with less than two answers are collapsed with their neighbours (section 5A.12), which makes
    the interval wider, not narrower; one without an answer is stood for by the others of its group.
    """
    level = number("level", level, 0.0, 1.0)
    (answers,), answered, counts = _stratified_input({"values": values}, strata, population)
    n = answers.shape[0]
    proportion = _is_proportion(answers)
    if n == 0:
        return _unknown(0, proportion=False)
    groups = _grouped(answered, counts)
    value = float((groups.weight * answers).sum() / groups.weight.sum())
    parts = _group_variances(groups, answers)
    se = math.sqrt(parts.sum())
    if proportion:
        unseen = 1.0 - n / float(groups.population.sum())
        df = n - groups.answers.shape[0]
        return _wilson_interval(value, se, _effective_n(groups.weight, unseen), df, n, level)
    return _t_interval(value, se, _satterthwaite(parts, groups.answers), n, level)


def _satterthwaite(parts: _Floats, answers: _Ints) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite 1946)."""
    spread = parts > 0
    if not spread.any():
        return float((answers - 1).sum())
    return float(parts.sum() ** 2 / (parts[spread] ** 2 / (answers[spread] - 1)).sum())


def stratified_ratio(
    numerator: NDArray[np.floating],
    denominator: NDArray[np.floating],
    strata: _Ints,
    population: _Ints,
    *,
    level: float = 0.95,
) -> Estimate:
    """Ratio of two means over the population, such as precision (hits over alarms) or recall (hits over positives).

    numerator, denominator: (n,) float32 or float64; NaN in either was drawn and not answered.  Others as in
    ``stratified_mean``.  Both all 0 or 1, and no numerator without its denominator, is a proportion, of which ``n``
    counts the rows with denominator 1.

    The combined ratio estimate; its variance is that of the mean of ``(y - ratio * x) / mean(x)`` (Cochran 1977,
    sections 6.11 and 6.12). The bias is of the order of 1 / n.
    """
    level = number("level", level, 0.0, 1.0)
    (y, x), answered, counts = _stratified_input(
        {"numerator": numerator, "denominator": denominator}, strata, population
    )
    proportion = _is_proportion(y) and _is_proportion(x) and bool(np.all(y <= x))
    n = int(x.sum()) if proportion else x.shape[0]
    if x.shape[0] == 0:
        return _unknown(0, proportion=False)
    groups = _grouped(answered, counts)
    total = float((groups.weight * x).sum())
    if total == 0.0:
        return _unknown(n, proportion=proportion)
    value = float((groups.weight * y).sum()) / total
    mean = total / float(groups.weight.sum())
    parts = _group_variances(groups, (y - value * x) / mean)
    se = math.sqrt(parts.sum())
    if proportion:
        unseen = 1.0 - x.shape[0] / float(groups.population.sum())
        return _wilson_interval(value, se, _effective_n(groups.weight[x > 0], unseen), n - 1, n, level)
    return _t_interval(value, se, _satterthwaite(parts, groups.answers), n, level)


def _sampled_input(name: str, values: NDArray[np.floating], inclusion: _Floats) -> tuple[_Floats, _Floats]:
    """Check values and inclusion probabilities; lower the probabilities by the share that was not answered."""
    answers = _answers(name, values, None)
    checked = array("inclusion", inclusion, np.float64, answers.shape)
    bad = ~((checked > 0) & (checked <= 1))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"inclusion[{row}]: {checked[row]} is no probability above 0")
    answered = ~np.isnan(answers)
    weight = 1.0 / checked
    response = float(weight[answered].sum() / weight.sum()) if answered.any() else 1.0
    return answers[answered], checked[answered] * response


def horvitz_thompson(
    values: NDArray[np.floating], inclusion: _Floats, population: int, *, level: float = 0.95
) -> Estimate:
    """Mean of a population by ``sum(values / inclusion) / population``: unbiased for every design.

    values: (n,) float32 or float64 of the rows drawn; NaN was not answered.  inclusion: (n,) float64 probability of
    each row to be drawn, above 0.  population: number of events sampled from.  Variance and interval are those of
    independent draws, ``sum((1 - p) * (y / p)**2)``, which priority sampling obeys too and fixed-size designs fall
    below (Horvitz and Thompson 1952).  For proportions ``hajek`` has by far the smaller variance.
    """
    level = number("level", level, 0.0, 1.0)
    size = integer("population", population, 1, 2**62)
    y, p = _sampled_input("values", values, inclusion)
    if y.shape[0] == 0:
        return _unknown(0, proportion=False)
    se = math.sqrt(float(((1.0 - p) * (y / p) ** 2).sum())) / size
    return _t_interval(float((y / p).sum()) / size, se, y.shape[0] - 1, y.shape[0], level)


def hajek(values: NDArray[np.floating], inclusion: _Floats, *, level: float = 0.95) -> Estimate:
    """Mean of a population by ``sum(values / inclusion) / sum(1 / inclusion)``; its size need not be known.

    Arguments as in ``horvitz_thompson``; values all 0 or 1 are a proportion.  Variance by linearisation,
    ``n / (n - 1) * sum((1 - p) * ((y - mean) / p)**2) / sum(1 / p)**2``; the bias is of the order of 1 / n (Hájek
    1971; Särndal, Swensson and Wretman 1992, section 5.7).
    """
    level = number("level", level, 0.0, 1.0)
    y, p = _sampled_input("values", values, inclusion)
    n = y.shape[0]
    proportion = _is_proportion(y)
    if n == 0:
        return _unknown(0, proportion=False)
    weight = 1.0 / p
    value = float((weight * y).sum() / weight.sum())
    se = math.nan
    if n > 1:
        se = math.sqrt(n / (n - 1) * float(((1.0 - p) * (weight * (y - value)) ** 2).sum())) / float(weight.sum())
    if proportion:
        unseen = float(((1.0 - p) * weight**2).sum() / (weight**2).sum())
        return _wilson_interval(value, se, _effective_n(weight, unseen), n - 1, n, level)
    return _t_interval(value, se, n - 1, n, level)


def lure(losses: NDArray[np.floating], probabilities: _Floats, population: int, *, level: float = 0.95) -> Estimate:
    """Mean loss over a pool from rows that were drawn actively, one after the other: R_LURE.

    losses: (m,) float32 or float64 in the order of drawing.  probabilities: (m,) float64, the probability with which
    each was drawn from the rows then left, above 0.  population: size of the pool at the start.

    Weights ``1 + (N - M) / (N - m) * (1 / ((N - m + 1) * q_m) - 1)`` remove the bias of active sampling; the
    variance is that of the martingale behind them, with coefficients ``N * (N - M) / ((N - m) * (N - m + 1))``
    (Farquhar, Gal and Rainforth 2021, arXiv 2101.11665, theorems 3 to 5). A missing loss leaves no valid weights:
    NaN is refused.
    """
    level = number("level", level, 0.0, 1.0)
    y = _answers("losses", losses, None)
    drawn = y.shape[0]
    size = integer("population", population, drawn, 2**62)
    q = array("probabilities", probabilities, np.float64, (drawn,))
    if np.isnan(y).any():
        raise ValueError(f"losses[{int(np.argmax(np.isnan(y)))}]: NaN; the weights hold only where every loss is known")
    if not np.all((q > 0) & (q <= 1)):
        row = int(np.argmin((q > 0) & (q <= 1)))
        raise ValueError(f"probabilities[{row}]: {q[row]} is no probability above 0")
    if drawn == 0:
        return _unknown(0, proportion=False)
    left = size - np.arange(drawn, dtype=np.float64)
    share = (size - drawn) / np.maximum(left - 1.0, 1.0)
    value = float((y * (1.0 + share * (1.0 / (left * q) - 1.0))).mean())
    unseen_mean = value - (np.cumsum(y) - y) / size
    steps = size * share / left * (y / (size * q) - unseen_mean)
    se = math.sqrt(float((steps**2).sum()) / (drawn - 1) / drawn) if drawn > 1 else math.nan
    if drawn == size:
        return Estimate(value, value, value, 0.0, drawn)
    return _t_interval(value, se, drawn - 1, drawn, level)


def active_inference(
    predictions: NDArray[np.floating],
    labels: NDArray[np.floating],
    inclusion: _Floats,
    *,
    level: float = 0.95,
) -> Estimate:
    """Mean label of a stream from predictions of all events, corrected by the labels of those that were drawn.

    predictions: (n,) float32 or float64, what the model says of every event, in the labels' unit.  labels: (n,)
    float32 or float64, NaN where there is none.  inclusion: (n,) float64, probability of each event to be labeled,
    above 0, known for all.

    ``mean(f + (Y - f) * drawn / inclusion)``: unbiased whatever the predictions are worth, and the better they are
    the narrower. Variance over all n terms, so the interval is for the process behind the stream (Zrnic and Candès
    2024, "Active statistical inference", arXiv 2403.03208).
    """
    level = number("level", level, 0.0, 1.0)
    f = _answers("predictions", predictions, None)
    y = _answers("labels", labels, f.shape[0])
    p = array("inclusion", inclusion, np.float64, f.shape)
    if np.isnan(f).any():
        raise ValueError(f"predictions[{int(np.argmax(np.isnan(f)))}]: NaN; every event needs a prediction")
    if not np.all((p > 0) & (p <= 1)):
        row = int(np.argmin((p > 0) & (p <= 1)))
        raise ValueError(f"inclusion[{row}]: {p[row]} is no probability above 0")
    labeled = ~np.isnan(y)
    n = int(labeled.sum())
    proportion = n > 0 and _is_proportion(y[labeled]) and bool(np.all((f >= 0) & (f <= 1)))
    if n == 0:
        return _unknown(0, proportion=False)
    terms = f + np.where(labeled, (np.where(labeled, y, 0.0) - f) / p, 0.0)
    value = float(terms.mean())
    se = float(terms.std(ddof=1)) / math.sqrt(terms.shape[0]) if terms.shape[0] > 1 else math.nan
    if proportion and 0.0 < value < 1.0:
        return _wilson_interval(value, se, float(terms.shape[0]), n - 1, n, level)
    return _t_interval(value, se, n - 1, n, level)

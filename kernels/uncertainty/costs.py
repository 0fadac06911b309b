# ruff: noqa: FURB136  (as in kernels.uncertainty.scores)
"""Uncertainty that knows what is at stake: costs of errors, rare classes, and scores that are no probabilities yet.

The contract is that of ``kernels.uncertainty.scores``: probabilities (n, c), or the column P(class 1) for two classes,
float32 or float64; rows that are no probabilities raise ValueError by index.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array
from kernels.numerics._jit import lean
from kernels.numerics._logarithm import log64, log_of_complement
from kernels.uncertainty._probabilities import TOLERANCE, probabilities, refusal

Floats = NDArray[Any]


def expected_cost(proba: Floats, cost: NDArray[np.float64]) -> Floats:
    """Bayes risk: the expected cost of the best decision, min over d of sum_t p_t cost[t, d], of each row.

    What acting now is expected to cost, and so what a label is worth at most: with the cost of a missed fraud far above
    that of a review, rows of small P(fraud) count as much as ties.

    proba: (n, c) or binary (n,), float32 or float64.  cost: (c, decisions) float64 >= 0, the cost of deciding d when t
    is true; (2, decisions) for the binary column.  Returns (n,), same dtype as proba, in the units of cost.
    Elkan 2001, "The foundations of cost-sensitive learning". Raises ValueError (see the module), also for other costs.
    """
    return _decided(proba, cost, 0)


def cost_margin(proba: Floats, cost: NDArray[np.float64]) -> Floats:
    """The expected cost of the best decision less that of the second best, of each row: 0 at a tie, else below 0.

    proba: (n, c) or binary (n,), float32 or float64.  cost: as for ``expected_cost``, at least two decisions.
    Returns (n,), same dtype as proba, in the units of cost.
    Elkan 2001, "The foundations of cost-sensitive learning". Raises ValueError (see the module), also for other costs.
    """
    return _decided(proba, cost, 1)


def _decided(proba: Floats, cost: NDArray[np.float64], less: int) -> Floats:
    flat, c = probabilities("proba", proba)
    table = array("cost", cost, np.float64, (max(2, c), None))
    if table.shape[1] < 1 + less or not bool(np.all((table >= 0) & (table < np.inf))):
        raise ValueError(f"cost: expected finite costs that are not below 0 of at least {1 + less} decisions")
    result = np.empty(len(flat) // c, flat.dtype)
    if _decide(flat, c, flat.dtype.type(TOLERANCE), table, less, result):
        raise refusal("proba", flat, c)
    return result


@lean
def _decide(
    p: Floats, c: int, tolerance: np.floating[Any], cost: NDArray[np.float64], less: int, out: Floats
) -> np.uint32:
    bad = np.uint32(0)
    one = p.dtype.type(1)
    for i in range(out.shape[0]):
        total, low = p.dtype.type(0), p.dtype.type(0)
        for j in range(i * c, (i + 1) * c):
            total += p[j]
            low = p[j] if p[j] < low else low
        fits = total <= one if c == 1 else abs(total - one) <= tolerance
        if not (fits & (low >= p.dtype.type(0))):
            bad |= np.uint32(1)
        best, second = np.inf, np.inf
        for d in range(cost.shape[1]):
            expected = 0.0
            if c == 1:
                expected = (1.0 - p[i]) * cost[0, d] + p[i] * cost[1, d]
            else:
                for j in range(c):
                    expected += p[i * c + j] * cost[j, d]
            second = min(second, max(best, expected))
            best = min(best, expected)
        out[i] = best - second if less else best
    return bad


def shifted(proba: Floats, prior: NDArray[np.float64], target: NDArray[np.float64]) -> Floats:
    """Probabilities under other class priors: p_c target_c / prior_c, normalised.

    With ``target`` uniform any measure of the result is class-balanced: a rare class is not thought unlikely for being
    rare.

    proba: (n, c) or binary (n,), float32 or float64.  prior, target: (c,) float64 > 0, (2,) for the binary column; only
    ratios matter.  Returns the shape and dtype of proba.
    Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori probabilities".
    Raises ValueError (see the module), also for priors that are not above 0.
    """
    flat, c = probabilities("proba", proba)
    classes = max(2, c)
    before = array("prior", prior, np.float64, (classes,))
    after = array("target", target, np.float64, (classes,))
    factors = np.divide(after, before, out=np.zeros(classes), where=before > 0)
    if not bool(np.all((factors > 0) & (factors < np.inf))):
        raise ValueError("prior, target: expected finite numbers above 0")
    result = np.empty_like(flat)
    if _shift(flat, c, flat.dtype.type(TOLERANCE), factors / factors.max(), result):
        raise refusal("proba", flat, c)
    return result.reshape(proba.shape)


@lean
def _shift(p: Floats, c: int, tolerance: np.floating[Any], factors: NDArray[np.float64], out: Floats) -> np.uint32:
    bad = np.uint32(0)
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    for i in range(p.shape[0] // c):
        total, low, mass = zero, zero, 0.0
        for j in range(c):
            v = p[i * c + j]
            total += v
            low = v if v < low else low
            mass += np.float64(v) * factors[j]
        if c == 1:
            mass = (1.0 - p[i]) * factors[0] + p[i] * factors[1]
        fits = total <= one if c == 1 else abs(total - one) <= tolerance
        if not (fits & (low >= zero)):
            bad |= np.uint32(1)
        elif c == 1:
            out[i] = p[i] * factors[1] / mass
        else:
            for j in range(c):
                out[i * c + j] = p[i * c + j] * factors[j] / mass
    return bad


def weighted_entropy(proba: Floats, weights: NDArray[np.float64]) -> Floats:
    """Weighted entropy, -sum w_c p_c ln p_c, of each row: what is not known about the classes that matter.

    proba: (n, c) or binary (n,), float32 or float64.  weights: (c,) float64 >= 0, (2,) for the binary column, such as
    the cost of missing each class.  Returns (n,), same dtype as proba, in nats times the units of the weights.
    Guiaşu 1971, "Weighted entropy". Raises ValueError (see the module), also for weights below 0.
    """
    flat, c = probabilities("proba", proba)
    worth = array("weights", weights, np.float64, (max(2, c),))
    if not bool(np.all((worth >= 0) & (worth < np.inf))):
        raise ValueError("weights: expected finite numbers that are not below 0")
    result = np.empty(len(flat) // c, flat.dtype)
    if _weigh(flat, c, flat.dtype.type(TOLERANCE), worth, result):
        raise refusal("proba", flat, c)
    return result


@lean
def _weigh(p: Floats, c: int, tolerance: np.floating[Any], weights: NDArray[np.float64], out: Floats) -> np.uint32:
    bad = np.uint32(0)
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    for i in range(out.shape[0]):
        total, low, entropy = zero, zero, 0.0
        for j in range(c):
            v = p[i * c + j]
            total += v
            low = v if v < low else low
            if v > zero:
                a = np.float64(v)
                entropy -= weights[j if c > 1 else 1] * a * log64(a)
        if c == 1:
            a = np.float64(p[i])
            entropy -= weights[0] * (1.0 - a) * log_of_complement(a, 1.0 - a)
        fits = total <= one if c == 1 else abs(total - one) <= tolerance
        if not (fits & (low >= zero)):
            bad |= np.uint32(1)
        out[i] = max(entropy, 0.0)
    return bad


def recalibrated(proba: Floats, knots: NDArray[np.float64], values: NDArray[np.float64]) -> Floats:
    """Probabilities through a calibration curve, class by class, normalised: ``margin`` of it is a calibrated margin.

    proba: (n, c) or binary (n,), float32 or float64.  knots: (k,) float64 rising strictly from 0 to 1.  values: (k,)
    float64 from 0 to 1, not falling; between knots the curve is straight, as of isotonic regression or binning on
    labels with known inclusion probability. Rows that become all 0 are uniform.
    Returns the shape and dtype of proba.
    Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass probability estimates".
    Raises ValueError (see the module), also for a curve that is none.
    """
    flat, c = probabilities("proba", proba)
    x = array("knots", knots, np.float64, (None,))
    y = array("values", values, np.float64, x.shape)
    if len(x) < 2 or x[0] != 0 or x[-1] != 1 or not bool(np.all(np.diff(x) > 0)):
        raise ValueError("knots: expected numbers that rise strictly from 0 to 1")
    if not bool(np.all(np.diff(y) >= 0)) or not (y[0] >= 0 and y[-1] <= 1):
        raise ValueError("values: expected numbers from 0 to 1 that do not fall")
    result = np.empty_like(flat)
    if _recalibrate(flat, c, flat.dtype.type(TOLERANCE), x, y, result):
        raise refusal("proba", flat, c)
    return result.reshape(proba.shape)


@lean
def _on_curve(v: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    k = min(max(int(np.searchsorted(x, v)), 1), len(x) - 1)
    share = (min(v, 1.0) - x[k - 1]) / (x[k] - x[k - 1])
    return float(y[k - 1] + share * (y[k] - y[k - 1]))


@lean
def _recalibrate(
    p: Floats, c: int, tolerance: np.floating[Any], x: NDArray[np.float64], y: NDArray[np.float64], out: Floats
) -> np.uint32:
    bad = np.uint32(0)
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    for i in range(p.shape[0] // c):
        total, low, mass = zero, zero, 0.0
        for j in range(i * c, (i + 1) * c):
            total += p[j]
            low = p[j] if p[j] < low else low
        fits = total <= one if c == 1 else abs(total - one) <= tolerance
        if not (fits & (low >= zero)):
            bad |= np.uint32(1)
            continue
        if c == 1:
            out[i] = _on_curve(np.float64(p[i]), x, y)
            continue
        for j in range(i * c, (i + 1) * c):
            v = _on_curve(np.float64(p[j]), x, y)
            out[j] = v
            mass += v
        for j in range(i * c, (i + 1) * c):
            out[j] = out[j] / mass if mass > 0.0 else 1.0 / c
    return bad

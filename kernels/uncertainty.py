# ruff: noqa: FURB136  (min() of numba tests for NaN, which costs the loops their vectors)
"""How unsure a classifier is of each row: the larger, the more a label of that row is worth.

Every function takes probabilities of shape (n, c), rows summing to 1 within 1e-3, or for two classes the column
P(class 1) of shape (n,) or (n, 1), in float32 or float64, and returns (n,) in the same dtype (written to ``out`` if
given). A row with NaN, a number outside 0 to 1, or a wrong sum raises ValueError that names the rows; nothing is
spread or repaired.

Survey: Settles 2009, "Active learning literature survey".
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels._checks import array
from kernels._jit import kernel
from kernels._logarithm import log, log64, log_of_complement
from kernels._probabilities import TOLERANCE, output, probabilities, refusal

Floats = NDArray[Any]

_BLOCK = 2048


@kernel
def _binary_distance(p: Floats, out: Floats) -> np.uint32:
    """1 - |2p - 1|, which is the margin of a column; twice its least confidence."""
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    bad = np.uint32(0)
    for i in range(out.shape[0]):
        a = p[i]
        b = one - a
        low = a if a < b else b
        out[i] = low + low
        if not (a >= zero):
            bad |= np.uint32(1)
        if not (a <= one):
            bad |= np.uint32(1)
    return bad


@kernel
def _binary_ratio(p: Floats, out: Floats) -> np.uint32:
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    bad = np.uint32(0)
    for i in range(out.shape[0]):
        a = p[i]
        b = one - a
        low = a if a < b else b
        high = b if a < b else a
        out[i] = low / high
        if not (a >= zero):
            bad |= np.uint32(1)
        if not (a <= one):
            bad |= np.uint32(1)
    return bad


@kernel
def _pair_margin(p: Floats, tolerance: np.floating[Any], out: Floats) -> np.uint32:
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    bad = np.uint32(0)
    for i in range(out.shape[0]):
        a = p[2 * i]
        b = p[2 * i + 1]
        out[i] = one - abs(a - b)
        if not (abs(a + b - one) <= tolerance):
            bad |= np.uint32(1)
        if not (a >= zero):
            bad |= np.uint32(1)
        if not (b >= zero):
            bad |= np.uint32(1)
    return bad


@kernel
def _pair_least_confidence(p: Floats, tolerance: np.floating[Any], out: Floats) -> np.uint32:
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    bad = np.uint32(0)
    for i in range(out.shape[0]):
        a = p[2 * i]
        b = p[2 * i + 1]
        out[i] = one - (a if a > b else b)
        if not (abs(a + b - one) <= tolerance):
            bad |= np.uint32(1)
        if not (a >= zero):
            bad |= np.uint32(1)
        if not (b >= zero):
            bad |= np.uint32(1)
    return bad


@kernel
def _row_least_confidence(p: Floats, c: int, tolerance: np.floating[Any], out: Floats) -> np.uint32:
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    bad = np.uint32(0)
    for i in range(out.shape[0]):
        first, low, total = zero, zero, zero
        for j in range(i * c, (i + 1) * c):
            v = p[j]
            total += v
            low = v if v < low else low
            first = v if v > first else first
        out[i] = one - first
        if not ((abs(total - one) <= tolerance) & (low >= zero)):
            bad |= np.uint32(1)
    return bad


@kernel
def _row_top_two(p: Floats, c: int, quotient: int, tolerance: np.floating[Any], out: Floats) -> np.uint32:
    """1 - (first - second) of each row, or second / first."""
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    bad = np.uint32(0)
    for i in range(out.shape[0]):
        first, second, low, total = zero, zero, zero, zero
        for j in range(i * c, (i + 1) * c):
            v = p[j]
            total += v
            low = v if v < low else low
            lesser = v if v < first else first
            second = lesser if lesser > second else second
            first = v if v > first else first
        if (abs(total - one) <= tolerance) & (low >= zero):
            out[i] = second / first if quotient else one - (first - second)
        else:
            bad |= np.uint32(1)
    return bad


@kernel
def _row_entropy(p: Floats, c: int, tolerance: np.floating[Any], scratch: Floats, out: Floats) -> np.uint32:
    """Terms by blocks (vectorised), then the sums of rows (in the order of columns)."""
    one = p.dtype.type(1)
    zero = p.dtype.type(0)
    bad = np.uint32(0)
    rows = max(1, scratch.shape[0] // c)
    for start in range(0, out.shape[0], rows):
        stop = min(out.shape[0], start + rows)
        block = p[start * c : stop * c]
        for k in range(block.shape[0]):
            scratch[k] = block[k] * log(block[k])
        for i in range(stop - start):
            total, low, entropy = zero, zero, zero
            for k in range(i * c, (i + 1) * c):
                v = block[k]
                total += v
                low = v if v < low else low
                entropy -= scratch[k]
            out[start + i] = entropy if entropy > zero else zero
            if not ((abs(total - one) <= tolerance) & (low >= zero)):
                bad |= np.uint32(1)
    return bad


@kernel
def _binary_entropy(p: Floats, out: Floats) -> np.uint32:
    """Entropy of a column, computed in float64: 1 - p must not be rounded where p is small."""
    bad = np.uint32(0)
    cast = p.dtype.type
    for i in range(out.shape[0]):
        a = np.float64(p[i])
        b = 1.0 - a
        out[i] = cast(-(a * log64(a)) - b * log_of_complement(a, b))
        if not (a >= 0.0):
            bad |= np.uint32(1)
        if not (a <= 1.0):
            bad |= np.uint32(1)
    return bad


@kernel
def _add_gumbel(lots: NDArray[np.float64], scale: float, out: Floats) -> None:
    """ln(out) - scale ln(-ln(lot))."""
    for i in range(out.shape[0]):
        noise = -log64(-log64(lots[i])) * scale
        out[i] = log64(np.float64(out[i])) + noise if out[i] > 0 else -np.inf


def _tolerance(flat: Floats) -> np.floating[Any]:
    tolerance: np.floating[Any] = flat.dtype.type(TOLERANCE)
    return tolerance


def least_confidence(proba: Floats, *, out: Floats | None = None) -> Floats:
    """Least confidence, 1 - p_first, of each row: 0 when sure, 1 - 1/c when all classes are alike.

    proba: (n, c) or binary (n,), float32 or float64.  Returns (n,), same dtype.
    Lewis and Gale 1994, "A sequential algorithm for training text classifiers". Raises ValueError (see the module).
    """
    flat, c = probabilities("proba", proba)
    result = output(out, len(flat) // c, flat.dtype)
    if c == 1:
        bad = _binary_distance(flat, result)
        result *= flat.dtype.type(0.5)
    elif c == 2:
        bad = _pair_least_confidence(flat, _tolerance(flat), result)
    else:
        bad = _row_least_confidence(flat, c, _tolerance(flat), result)
    if bad:
        raise refusal("proba", flat, c)
    return result


def margin(proba: Floats, *, out: Floats | None = None) -> Floats:
    """Margin uncertainty, 1 - (p_first - p_second), of each row: 0 when sure, 1 at a tie.

    proba: (n, c) or binary (n,), float32 or float64.  Returns (n,), same dtype.
    Scheffer et al. 2001, "Active hidden Markov models for information extraction". Raises ValueError (see the module).
    """
    flat, c = probabilities("proba", proba)
    result = output(out, len(flat) // c, flat.dtype)
    if c == 1:
        bad = _binary_distance(flat, result)
    elif c == 2:
        bad = _pair_margin(flat, _tolerance(flat), result)
    else:
        bad = _row_top_two(flat, c, 0, _tolerance(flat), result)
    if bad:
        raise refusal("proba", flat, c)
    return result


def breaking_ties(proba: Floats, *, out: Floats | None = None) -> Floats:
    """Breaking ties, p_second - p_first, of each row: -1 when sure, 0 at a tie. Orders rows as margin does.

    proba: (n, c) or binary (n,), float32 or float64.  Returns (n,), same dtype.
    Luo et al. 2005, "Active learning to recognize multiple types of plankton". Raises ValueError (see the module).
    """
    result = margin(proba, out=out)
    result -= result.dtype.type(1)
    return result


def ratio(proba: Floats, *, out: Floats | None = None) -> Floats:
    """Ratio of the two largest, p_second / p_first, of each row: 0 when sure, 1 at a tie.

    proba: (n, c) or binary (n,), float32 or float64.  Returns (n,), same dtype.
    Monarch 2021, "Human-in-the-loop machine learning", 3.2. Raises ValueError (see the module).
    """
    flat, c = probabilities("proba", proba)
    result = output(out, len(flat) // c, flat.dtype)
    bad = _binary_ratio(flat, result) if c == 1 else _row_top_two(flat, c, 1, _tolerance(flat), result)
    if bad:
        raise refusal("proba", flat, c)
    return result


def entropy(proba: Floats, *, out: Floats | None = None) -> Floats:
    """Shannon entropy, -sum p ln p, of each row in nats: 0 when sure, ln c when all classes are alike.

    proba: (n, c) or binary (n,), float32 or float64; p = 0 adds 0.  Returns (n,), same dtype.
    Dagan and Engelson 1995, "Committee-based sampling for training probabilistic classifiers".
    Raises ValueError (see the module).
    """
    flat, c = probabilities("proba", proba)
    result = output(out, len(flat) // c, flat.dtype)
    if c == 1:
        bad = _binary_entropy(flat, result)
    else:
        scratch = np.empty(max(c, _BLOCK), flat.dtype)
        bad = _row_entropy(flat, c, _tolerance(flat), scratch, result)
    if bad:
        raise refusal("proba", flat, c)
    return result


def power_margin(
    proba: Floats, uniforms: NDArray[np.float64], *, beta: float = 1.0, out: Floats | None = None
) -> Floats:
    """Margin uncertainty as a lottery: ln(margin) + Gumbel / beta, whose k largest are k draws by margin^beta.

    The k largest are a sample without replacement with weights margin^beta (Gumbel top-k), so that a batch is not k
    near-copies of the most uncertain row.

    proba: (n, c) or binary (n,), float32 or float64.  uniforms: (n,) float64 in (0, 1), one of each row, such as
    ``unit(coin(...))``: the same events draw the same lots again.  beta: > 0; large means plain margin.
    Returns (n,), same dtype as proba; -inf where the margin is 0.
    Kirsch et al. 2023, "Stochastic batch acquisition: a simple baseline for deep active learning".
    Raises ValueError (see the module), also for uniforms outside (0, 1).
    """
    lots = array("uniforms", uniforms, np.float64, (len(proba),))
    if not beta > 0:
        raise ValueError(f"beta: expected a number above 0, got {beta!r}")
    if not bool(np.all((lots > 0) & (lots < 1))):
        raise ValueError("uniforms: expected numbers strictly between 0 and 1")
    result = margin(proba, out=out)
    _add_gumbel(lots, 1.0 / beta, result)
    return result

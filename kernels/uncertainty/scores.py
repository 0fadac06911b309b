# ruff: noqa: FURB136  (min() of numba tests for NaN, which costs the loops their vectors)
"""How unsure a classifier is of each row: the larger, the more a label of that row is worth.

Every function takes probabilities of shape (n, c), rows summing to 1 within 1e-3, or for two classes the column
P(class 1) of shape (n,) or (n, 1), in float32 or float64, and returns (n,) in the same dtype (written to ``out`` if
given). A row with NaN, a number outside 0 to 1, or a wrong sum raises ValueError that names the rows; nothing is
spread or repaired.

Survey: Settles 2009, "Active learning literature survey".
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array
from kernels.numerics._jit import lean
from kernels.numerics._logarithm import log64, log_of_complement, share_log
from kernels.numerics._simd import (
    WIDTH,
    Lanes,
    every,
    floats,
    highest,
    last,
    load,
    lower,
    row_sum,
    row_sums,
    store,
    transposed,
    upper,
    word_of,
    words,
)
from kernels.uncertainty._probabilities import TOLERANCE, output, probabilities, refusal

Floats = NDArray[Any]

_BLOCK = 2048
_MARGIN, _RATIO, _LEAST_CONFIDENCE = range(3)


@lean
def _column(p: Floats, what: int, out: Floats) -> bool:
    """As ``_pairs``, of the column of two classes."""
    one, zero = p.dtype.type(1), p.dtype.type(0)
    fine = True
    for i in range(out.shape[0]):
        a = p[i]
        b = one - a
        first, second = (a if a > b else b), (b if a > b else a)
        if what == _MARGIN:
            out[i] = second + second
        else:
            out[i] = second if what == _LEAST_CONFIDENCE else second / first
        fine &= (a >= zero) & (a <= one)
    return fine


class _Limits(NamedTuple):
    """Bits of the largest probability, and of the largest squared error of a sum, that are beyond doubt."""

    largest: Any
    error: Any


def _limits(flat: Floats) -> _Limits:
    largest, error = np.array([1 + TOLERANCE / 2, (TOLERANCE / 2) ** 2], flat.dtype).view(word_of(flat.dtype))
    return _Limits(largest, error)


@lean
def _pairs(p: Floats, what: int, tolerance: np.floating[Any], out: Floats) -> bool:
    """Write margin, ratio or least confidence of rows of two columns; False where one is no probabilities."""
    one, zero = p.dtype.type(1), p.dtype.type(0)
    fine = True  # a truth value: as a number it would keep the loop from being vectorised
    for i in range(out.shape[0]):
        a, b = p[2 * i], p[2 * i + 1]
        first, second = (a if a > b else b), (b if a > b else a)
        out[i] = _of_two(first, second, one, what)
        fine &= (abs(a + b - one) <= tolerance) & (second >= zero)
    return fine


@lean
def _triples(p: Floats, what: int, tolerance: np.floating[Any], out: Floats) -> bool:
    """As ``_pairs``, of rows of three columns."""
    one, zero = p.dtype.type(1), p.dtype.type(0)
    fine = True
    for i in range(out.shape[0]):
        a, b, c = p[3 * i], p[3 * i + 1], p[3 * i + 2]
        high, low = (a if a > b else b), (b if a > b else a)
        first, lesser = (high if high > c else c), (c if high > c else high)
        second, third = (low if low > lesser else lesser), (lesser if low > lesser else low)
        out[i] = _of_two(first, second, one, what)
        fine &= (abs(a + b + c - one) <= tolerance) & (third >= zero)
    return fine


@lean
def _of_two(first: Any, second: Any, one: Any, what: int) -> Any:  # noqa: ANN401  (numbers, or lanes of them)
    """What is asked of the two largest of a row."""
    if what == _MARGIN:
        return one - (first - second)
    return one - first if what == _LEAST_CONFIDENCE else second / first


@lean
def _two_largest(p: NDArray[Any], at: int, c: int) -> tuple[Lanes, Lanes, Lanes]:
    """Lane by lane, the two largest bits of a row of at least four columns, and the sums."""
    first = load(p, at)
    second = every(p.dtype.type(0))
    total = floats(first)
    k = WIDTH
    while k + WIDTH <= c:
        v = load(p, at + k)
        second = upper(second, lower(v, first))
        first = upper(first, v)
        total = total + floats(v)
        k += WIDTH
    if k < c:
        v = last(load(p, at + c - WIDTH), c - k)
        second = upper(second, lower(v, first))
        first = upper(first, v)
        total = total + floats(v)
    return first, second, total


@lean
def _fast_rows(p: NDArray[Any], one: np.floating[Any], c: int, what: int, limits: _Limits, out: Floats) -> int:
    """As ``_pairs``, of rows of at least four columns, four at a time; returns how many, or 0 where one is doubtful.

    Rows are given as bits: those of floats from 0 are in the floats' order, those of other floats are larger.
    """
    ones = every(one)
    largest = every(p.dtype.type(0))
    error = largest
    rows = out.shape[0] - out.shape[0] % WIDTH
    for i in range(0, rows, WIDTH):
        f0, s0, t0 = _two_largest(p, i * c, c)
        f1, s1, t1 = _two_largest(p, (i + 1) * c, c)
        f2, s2, t2 = _two_largest(p, (i + 2) * c, c)
        f3, s3, t3 = _two_largest(p, (i + 3) * c, c)
        fa, fb, fc, fd = transposed(f0, f1, f2, f3)
        sa, sb, sc, sd = transposed(s0, s1, s2, s3)
        ta, tb, tc, td = transposed(t0, t1, t2, t3)
        ab, cd = upper(fa, fb), upper(fc, fd)
        first = upper(ab, cd)
        second = upper(upper(upper(lower(fa, fb), lower(fc, fd)), lower(ab, cd)), upper(upper(sa, sb), upper(sc, sd)))
        largest = upper(largest, first)
        off = (ta + tc) + (tb + td) - ones
        error = upper(error, words(off * off))
        store(out, i, _of_two(floats(first), floats(second), ones, what))
    return rows if highest(largest) <= limits.largest and highest(error) <= limits.error else 0


@lean
def _rows(p: Floats, c: int, what: int, tolerance: np.floating[Any], out: Floats) -> bool:
    """As ``_pairs``, of rows of any number of columns."""
    one, zero = p.dtype.type(1), p.dtype.type(0)
    fine = True
    for i in range(out.shape[0]):
        first, second, low, total = zero, zero, zero, zero
        for j in range(i * c, (i + 1) * c):
            v = p[j]
            total += v
            low = v if v < low else low
            lesser = v if v < first else first
            second = lesser if lesser > second else second
            first = v if v > first else first
        row_is_fine = (abs(total - one) <= tolerance) & (low >= zero)
        out[i] = _of_two(first, second, one, what) if row_is_fine else zero
        fine &= row_is_fine
    return fine


@lean
def _entropies(p: Floats, c: int, tolerance: np.floating[Any], scratch: Floats, out: Floats) -> bool:
    """Entropies of rows of at least four columns: terms by blocks, then the sums of four rows; False as ``_pairs``.

    A row's sum has one order wherever the row is: its entropy must not depend on how a stream is cut.
    """
    one, zero = p.dtype.type(1), p.dtype.type(0)
    ones, zeros = every(one), every(zero)
    error = words(zeros)
    block = scratch.shape[0] // (WIDTH * c) * WIDTH
    fine = True
    for start in range(0, out.shape[0], block):
        stop = min(out.shape[0], start + block)
        first = start * c
        for k in range((stop - start) * c):
            v = p[np.uint64(first + k)]
            scratch[np.uint64(k)] = v * share_log(v)
            fine &= v >= zero
        fours = stop - (stop - start) % WIDTH
        for i in range(start, fours, WIDTH):
            off = row_sums(p, i * c, c) - ones
            error = upper(error, words(off * off))
            store(out, i, upper(zeros - row_sums(scratch, (i - start) * c, c), zeros))
        for i in range(fours, stop):
            entropy = zero - row_sum(scratch, (i - start) * c, c)
            out[i] = entropy if entropy > zero else zero
            fine &= abs(row_sum(p, i * c, c) - one) <= tolerance
    return bool(fine and highest(floats(error)) <= tolerance * tolerance)


@lean
def _pair_entropies(p: Floats, tolerance: np.floating[Any], out: Floats) -> bool:
    """As ``_entropies``, of rows of two columns."""
    one, zero = p.dtype.type(1), p.dtype.type(0)
    fine = True
    for i in range(out.shape[0]):
        a, b = p[2 * i], p[2 * i + 1]
        entropy = -(a * share_log(a)) - b * share_log(b)
        out[i] = entropy if entropy > zero else zero
        low = b if a > b else a
        fine &= (abs(a + b - one) <= tolerance) & (low >= zero)
    return fine


@lean
def _triple_entropies(p: Floats, tolerance: np.floating[Any], out: Floats) -> bool:
    """As ``_entropies``, of rows of three columns."""
    one, zero = p.dtype.type(1), p.dtype.type(0)
    fine = True
    for i in range(out.shape[0]):
        a, b, c = p[3 * i], p[3 * i + 1], p[3 * i + 2]
        entropy = -(a * share_log(a)) - b * share_log(b) - c * share_log(c)
        out[i] = entropy if entropy > zero else zero
        low = b if a > b else a
        fine &= (abs(a + b + c - one) <= tolerance) & (low >= zero) & (c >= zero)
    return fine


@lean
def _column_entropies(p: Floats, out: Floats) -> bool:
    """Entropy of a column, computed in float64: 1 - p must not be rounded where p is small."""
    fine = True
    cast = p.dtype.type
    for i in range(out.shape[0]):
        a = np.float64(p[i])
        b = 1.0 - a
        out[i] = cast(-(a * log64(a)) - b * log_of_complement(a, b))
        fine &= bool((a >= 0.0) & (a <= 1.0))
    return fine


@lean
def _add_gumbel(lots: NDArray[np.float64], scale: float, out: Floats) -> None:
    """ln(out) - scale ln(-ln(lot))."""
    for i in range(out.shape[0]):
        noise = -log64(-log64(lots[i])) * scale
        out[i] = log64(np.float64(out[i])) + noise if out[i] > 0 else -np.inf


def _tolerance(flat: Floats) -> np.floating[Any]:
    tolerance: np.floating[Any] = flat.dtype.type(TOLERANCE)
    return tolerance


def _measured(proba: Floats, what: int, out: Floats | None) -> Floats:
    """Margin, ratio or least confidence of each row. Raises ValueError."""
    flat, c = probabilities("proba", proba)
    result = output(out, len(flat) // c, flat.dtype)
    tolerance = _tolerance(flat)
    if c == 1:
        fine = _column(flat, what, result)
    elif c == 2:
        fine = _pairs(flat, what, tolerance, result)
    elif c == 3:
        fine = _triples(flat, what, tolerance, result)
    else:
        bits = flat.view(word_of(flat.dtype))
        done = _fast_rows(bits, flat.dtype.type(1), c, what, _limits(flat), result)
        fine = done == len(result) or _rows(flat[done * c :], c, what, tolerance, result[done:])
    if not fine:
        raise refusal("proba", flat, c)
    return result


def least_confidence(proba: Floats, *, out: Floats | None = None) -> Floats:
    """Least confidence, 1 - p_first, of each row: 0 when sure, 1 - 1/c when all classes are alike.

    proba: (n, c) or binary (n,), float32 or float64.  Returns (n,), same dtype.
    Lewis and Gale 1994, "A sequential algorithm for training text classifiers". Raises ValueError (see the module).
    """
    return _measured(proba, _LEAST_CONFIDENCE, out)


def margin(proba: Floats, *, out: Floats | None = None) -> Floats:
    """Margin uncertainty, 1 - (p_first - p_second), of each row: 0 when sure, 1 at a tie.

    proba: (n, c) or binary (n,), float32 or float64.  Returns (n,), same dtype.
    Scheffer et al. 2001, "Active hidden Markov models for information extraction". Raises ValueError (see the module).
    """
    return _measured(proba, _MARGIN, out)


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
    return _measured(proba, _RATIO, out)


def entropy(proba: Floats, *, out: Floats | None = None) -> Floats:
    """Shannon entropy, -sum p ln p, of each row in nats: 0 when sure, ln c when all classes are alike.

    proba: (n, c) or binary (n,), float32 or float64; p = 0 adds 0.  Returns (n,), same dtype.
    Dagan and Engelson 1995, "Committee-based sampling for training probabilistic classifiers".
    Raises ValueError (see the module).
    """
    flat, c = probabilities("proba", proba)
    result = output(out, len(flat) // c, flat.dtype)
    tolerance = _tolerance(flat)
    if c == 1:
        fine = _column_entropies(flat, result)
    elif c == 2:
        fine = _pair_entropies(flat, tolerance, result)
    elif c == 3:
        fine = _triple_entropies(flat, tolerance, result)
    else:
        scratch = np.empty(max(WIDTH * c, _BLOCK), flat.dtype)
        fine = _entropies(flat, c, tolerance, scratch, result)
    if not fine:
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

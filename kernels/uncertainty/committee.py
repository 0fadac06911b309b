# ruff: noqa: FURB136  (min() and max() of numba test for NaN, which costs these loops time)
"""How much the members of a committee disagree about each row: what a label would settle.

Every function takes the members' probabilities of shape (m, n, c), rows summing to 1 within 1e-3, or for two classes
the columns P(class 1) of shape (m, n), in float32 or float64, and returns (n,) in the same dtype. NaN, numbers
outside 0 to 1 and wrong sums raise ValueError that names the rows.

The members may be the truncations of one boosted forest, its virtual ensemble: ``Forest.virtual_ensemble``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, describe
from kernels.numerics._jit import lean
from kernels.numerics._logarithm import share_log, share_log64
from kernels.numerics._simd import WIDTH, every, floats, highest, row_sum, row_sums, store, upper, words
from kernels.uncertainty._probabilities import FLOATS, TOLERANCE, listed, refusal

Floats = NDArray[Any]

_BLOCK = 1024


@lean
def _row_sum(values: Floats, at: int, c: int) -> Any:  # noqa: ANN401  (a number of its dtype)
    """The sum of a row, the same wherever the row is."""
    total = values.dtype.type(0)
    if c >= WIDTH:
        total = row_sum(values, at, c)
    else:
        for k in range(at, at + c):
            total += values[k]
    return total


@lean
def _sums_are_one(p: Floats, first: int, rows: int, c: int, tolerance: np.floating[Any]) -> bool:
    """Whether rows of c columns sum to 1."""
    one = p.dtype.type(1)
    error = words(every(p.dtype.type(0)))
    done = rows - rows % WIDTH if c >= WIDTH else 0
    for i in range(0, done, WIDTH):
        off = row_sums(p, first + i * c, c) - every(one)
        error = upper(error, words(off * off))
    fine = highest(floats(error)) <= tolerance * tolerance
    for i in range(done, rows):
        fine &= abs(_row_sum(p, first + i * c, c) - one) <= tolerance
    return bool(fine)


@lean
def _entropies(
    p: Floats, c: int, tolerance: np.floating[Any], scratch: Floats, within: Floats, of_mean: Floats
) -> bool:
    """Of p (m, n c): the mean of the members' negative entropies, and the negative entropy of the mean; by blocks.

    scratch: (2, room of a block).  False where a row is no probabilities.
    """
    members = p.shape[0]
    rows = scratch.shape[1] // c
    mean, terms = scratch[0], scratch[1]
    zero = p.dtype.type(0)
    share = p.dtype.type(1) / p.dtype.type(members)
    fine = True
    for start in range(0, within.shape[0], rows):
        stop = min(start + rows, within.shape[0])
        size = (stop - start) * c
        mean[:] = 0
        terms[:] = 0
        for m in range(members):
            part = p[m]
            fine &= _sums_are_one(part, start * c, stop - start, c, tolerance)
            for k in range(size):
                v = part[np.uint64(start * c + k)]
                mean[np.uint64(k)] += v
                terms[np.uint64(k)] += v * share_log(v)
                fine &= v >= zero
        _add_rows(terms, share, c, within[start:stop])
        for k in range(size):
            v = mean[np.uint64(k)] * share
            mean[np.uint64(k)] = v * share_log(v)
        _add_rows(mean, p.dtype.type(1), c, of_mean[start:stop])
    return fine


@lean
def _add_rows(terms: Floats, factor: np.floating[Any], c: int, out: Floats) -> None:
    """The sums of rows of c columns, times a factor."""
    done = out.shape[0] - out.shape[0] % WIDTH if c >= WIDTH else 0
    for i in range(0, done, WIDTH):
        store(out, i, row_sums(terms, i * c, c) * every(factor))
    for i in range(done, out.shape[0]):
        out[i] = _row_sum(terms, i * c, c) * factor


@lean
def _votes(
    p: Floats, c: int, tolerance: np.floating[Any], logs: Floats, counts: NDArray[np.int64], out: Floats
) -> bool:
    """Entropy of the members' votes, given v / m ln(v / m) of each number of votes v; the share not won by the winner
    where there are none. False where a row is no probabilities.
    """  # noqa: D205  (a list of cases)
    members = p.shape[0]
    one, zero = p.dtype.type(1), p.dtype.type(0)
    fine = True
    for i in range(out.shape[0]):
        counts[:] = 0
        for m in range(members):
            row = p[m]
            first, low, total = row[np.uint64(i * c)], zero, row[np.uint64(i * c)]
            best = 0
            for k in range(1, c):
                v = row[np.uint64(i * c + k)]
                total += v
                low = v if v < low else low
                best = k if v > first else best
                first = v if v > first else first
            counts[np.uint64(best)] += 1
            fine &= (abs(total - one) <= tolerance) & (low >= zero) & (row[np.uint64(i * c)] >= zero)
        if logs.shape[0] > 0:
            entropy = 0.0
            for k in range(c):
                entropy -= logs[counts[k]]
            out[i] = max(entropy, 0.0)
        else:
            most = counts[0]
            for k in range(1, c):
                most = max(most, counts[k])
            out[i] = (members - most) / members
    return fine


def _members(proba: Floats) -> tuple[Floats, int]:
    """Check a committee's probabilities and return them as (m, n c), with c."""
    given = proba
    dimensions = getattr(given, "ndim", 0)
    if dimensions == 2:
        columns = array("proba", given, FLOATS, (None, None))
        given = np.stack([1 - columns, columns], axis=2)
    if dimensions not in {2, 3} or 0 in {given.shape[0], given.shape[2]}:
        raise ValueError(
            f"proba: expected probabilities of shape (m, n, c), or (m, n) for two classes, got {describe(proba)}"
        )
    checked = array("proba", given, FLOATS, (None, None, None))
    m, n, c = checked.shape
    return checked.reshape(m, n * c), c


def _refused(flat: Floats, c: int) -> ValueError:
    for member, rows in enumerate(flat):
        p = rows.reshape(-1, c)
        if not bool(np.all(p >= 0) and np.all(np.abs(p.sum(axis=1) - 1) <= TOLERANCE)):
            return refusal(f"proba, member {member}", rows, c)
    return ValueError(f"proba: {listed(np.arange(flat.shape[1] // c))} hold no probabilities")


def _measured(proba: Floats) -> tuple[Floats, Floats]:
    flat, c = _members(proba)
    n = flat.shape[1] // c
    within, of_mean = np.empty(n, flat.dtype), np.empty(n, flat.dtype)
    scratch = np.empty((2, max(c, _BLOCK)), flat.dtype)
    if not _entropies(flat, c, flat.dtype.type(TOLERANCE), scratch, within, of_mean):
        raise _refused(flat, c)
    return within, of_mean


def _voted(proba: Floats, *, entropy: bool) -> Floats:
    flat, c = _members(proba)
    out = np.empty(flat.shape[1] // c, flat.dtype)
    shares = np.arange(len(flat) + 1 if entropy else 0) / len(flat)
    logs = np.array([share * share_log64(share) for share in shares])
    if not _votes(flat, c, flat.dtype.type(TOLERANCE), logs, np.empty(c, np.int64), out):
        raise _refused(flat, c)
    return out


def vote_entropy(proba: Floats) -> Floats:
    """Entropy of the votes for each class, in nats: 0 when all vote alike, at most ln min(m, c). Ties: lowest class.

    proba: (m, n, c) or (m, n), float32 or float64.  Returns (n,), same dtype.
    Dagan and Engelson 1995, "Committee-based sampling for training probabilistic classifiers".
    Raises ValueError (see the module).
    """
    return _voted(proba, entropy=True)


def variation_ratio(proba: Floats) -> Floats:
    """Share of the votes not for the winner: 0 when all vote alike, at most 1 - 1/c. Ties: the lowest class.

    proba: (m, n, c) or (m, n), float32 or float64.  Returns (n,), same dtype.
    Freeman 1965, "Elementary applied statistics". Raises ValueError (see the module).
    """
    return _voted(proba, entropy=False)


def consensus_entropy(proba: Floats) -> Floats:
    """Entropy of the members' mean, in nats: all uncertainty, theirs and between them.

    proba: (m, n, c) or (m, n), float32 or float64.  Returns (n,), same dtype.
    Settles 2009, "Active learning literature survey", 3.2. Raises ValueError (see the module).
    """
    _, of_mean = _measured(proba)
    return np.maximum(-of_mean, 0, out=of_mean)


def bald(proba: Floats) -> Floats:
    """Mutual information of the label and the member: entropy of the mean less the mean of the entropies, in nats.

    What is left of the uncertainty when the members' own is taken away: 0 where all say the same, however unsure.

    proba: (m, n, c) or (m, n), float32 or float64.  Returns (n,), same dtype, never below 0.
    Houlsby et al. 2011, "Bayesian active learning for classification and preference learning".
    Raises ValueError (see the module).
    """
    within, of_mean = _measured(proba)
    within -= of_mean
    return np.maximum(within, 0, out=within)


def mean_kl(proba: Floats) -> Floats:
    """Mean Kullback-Leibler divergence of the members to their mean, in nats.

    (1/m) sum_j sum_c p_j ln(p_j / mean) is the same number as ``bald``, and is computed as that.

    proba: (m, n, c) or (m, n), float32 or float64.  Returns (n,), same dtype, never below 0.
    McCallum and Nigam 1998, "Employing EM and pool-based active learning for text classification".
    Raises ValueError (see the module).
    """
    return bald(proba)


def virtual_ends(iterations: int, members: int) -> list[int]:
    """Iterations after which to truncate a boosted forest for a virtual ensemble: evenly over its second half.

    iterations: >= 1.  members: >= 1.  Returns at most ``members`` rising numbers, the last is ``iterations``.
    Malinin et al. 2021, "Uncertainty in gradient boosting via ensembles", 3.2.
    """
    if iterations < 1 or members < 1:
        raise ValueError(f"iterations, members: expected at least 1 of each, got {iterations} and {members}")
    first = iterations // 2
    steps = [first + ((iterations - first) * (i + 1)) // members for i in range(members)]
    return sorted({max(1, step) for step in steps})

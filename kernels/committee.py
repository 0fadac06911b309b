"""How much the members of a committee disagree about each row: what a label would settle.

Every function takes the members' probabilities of shape (m, n, c), rows summing to 1 within 1e-3, or for two classes
the columns P(class 1) of shape (m, n), in float32 or float64, and returns (n,) in the same dtype. NaN, numbers
outside 0 to 1 and wrong sums raise ValueError that names the rows.

The members may be the truncations of one boosted forest, its virtual ensemble: ``Forest.virtual_ensemble``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels._checks import array, describe
from kernels._jit import kernel
from kernels._logarithm import log
from kernels._probabilities import FLOATS, TOLERANCE, listed, refusal

Floats = NDArray[Any]

_BLOCK = 1024


@kernel
def _check(p: Floats, c: int, tolerance: np.floating[Any]) -> np.uint32:
    """1 where a row of a block is no probabilities."""
    bad = np.uint32(0)
    one = p.dtype.type(1)
    for k in range(p.shape[0]):
        if not (p[k] >= p.dtype.type(0)):
            bad |= np.uint32(1)
    for i in range(p.shape[0] // c):
        total = p.dtype.type(0)
        for k in range(i * c, (i + 1) * c):
            total += p[k]
        if not (abs(total - one) <= tolerance):
            bad |= np.uint32(1)
    return bad


@kernel
def _entropies(p: Floats, c: int, tolerance: np.floating[Any], within: Floats, of_mean: Floats) -> np.uint32:
    """Of p (m, n c): the mean of the members' negative entropies, and the negative entropy of the mean; by blocks."""
    members = p.shape[0]
    rows = max(1, _BLOCK // c)
    mean, terms, mean_terms = np.empty(rows * c, p.dtype), np.empty(rows * c, p.dtype), np.empty(rows * c, p.dtype)
    share = p.dtype.type(1) / p.dtype.type(members)
    bad = np.uint32(0)
    for start in range(0, within.shape[0], rows):
        stop = min(start + rows, within.shape[0])
        size = (stop - start) * c
        mean[:] = 0
        terms[:] = 0
        for m in range(members):
            part = p[m, start * c : stop * c]
            bad |= _check(part, c, tolerance)
            for k in range(size):
                mean[k] += part[k]
                terms[k] += part[k] * log(part[k])
        for k in range(size):
            mean[k] *= share
            mean_terms[k] = mean[k] * log(mean[k])
        for i in range(start, stop):
            a, b = p.dtype.type(0), p.dtype.type(0)
            for k in range((i - start) * c, (i - start + 1) * c):
                a += terms[k]
                b += mean_terms[k]
            within[i] = a * share
            of_mean[i] = b
    return bad


@kernel
def _votes(
    p: Floats, c: int, tolerance: np.floating[Any], counts: NDArray[np.int64], out: Floats, mode: int
) -> np.uint32:
    """Entropy of the members' votes (mode 0), or the share not won by the winner (mode 1)."""
    members = p.shape[0]
    logs = np.zeros(members + 1)
    for v in range(1, members + 1):
        logs[v] = v / members * log(v / members)
    bad = np.uint32(0)
    for i in range(out.shape[0]):
        counts[:] = 0
        for m in range(members):
            row = p[m, i * c : (i + 1) * c]
            best, low, total = 0, row[0], row[0]
            for k in range(1, c):
                total += row[k]
                low = min(low, row[k])
                if row[k] > row[best]:
                    best = k
            counts[best] += 1
            if not ((abs(total - p.dtype.type(1)) <= tolerance) & (low >= p.dtype.type(0))):
                bad |= np.uint32(1)
        if mode == 0:
            entropy = 0.0
            for k in range(c):
                entropy -= logs[counts[k]]
            out[i] = max(entropy, 0.0)
        else:
            out[i] = (members - counts.max()) / members
    return bad


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
    if _entropies(flat, c, flat.dtype.type(TOLERANCE), within, of_mean):
        raise _refused(flat, c)
    return within, of_mean


def _voted(proba: Floats, mode: int) -> Floats:
    flat, c = _members(proba)
    out = np.empty(flat.shape[1] // c, flat.dtype)
    if _votes(flat, c, flat.dtype.type(TOLERANCE), np.empty(c, np.int64), out, mode):
        raise _refused(flat, c)
    return out


def vote_entropy(proba: Floats) -> Floats:
    """Entropy of the votes for each class, in nats: 0 when all vote alike, at most ln min(m, c). Ties: lowest class.

    proba: (m, n, c) or (m, n), float32 or float64.  Returns (n,), same dtype.
    Dagan and Engelson 1995, "Committee-based sampling for training probabilistic classifiers".
    Raises ValueError (see the module).
    """
    return _voted(proba, 0)


def variation_ratio(proba: Floats) -> Floats:
    """Share of the votes not for the winner: 0 when all vote alike, at most 1 - 1/c. Ties: the lowest class.

    proba: (m, n, c) or (m, n), float32 or float64.  Returns (n,), same dtype.
    Freeman 1965, "Elementary applied statistics". Raises ValueError (see the module).
    """
    return _voted(proba, 1)


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

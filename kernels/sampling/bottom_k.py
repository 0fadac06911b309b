"""Choosing k of n: the bottom-k sample by coin with its inclusion probability, and the k best scores.

Both orders are total (value, then id, then row), so a result depends neither on the machine nor on how a
stream was cut, and what several partitions keep can be merged: keep k (or k + 1) of each, concatenate, choose
again.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._checks import array, integer
from kernels.numerics._jit import kernel
from kernels.sampling._selection import Buffer, empty_buffer, in_order, offer
from kernels.sampling.hashing import unit

_MAX_U64: Final = 2**64 - 1
_MAX_K: Final = 2**40
_NAN_RANK = np.uint64(_MAX_U64)
_SIGN = np.uint64(2**63)
_BLOCK: Final = 2048


class TopK(NamedTuple):
    """The k best rows, best first, and the rows whose score was NaN."""

    indices: NDArray[np.int64]
    nan_rows: NDArray[np.int64]


class BottomKSample(NamedTuple):
    """A simple random sample: rows by rising coin, and the probability with which each row was to be in it."""

    indices: NDArray[np.int64]
    inclusion_probability: float


@kernel
def _score_of(rank: np.uint64) -> float:
    """The score that has a rank; -inf for that of NaN, behind which there is nothing."""
    bits = np.empty(1, np.uint64)
    bits[0] = ~rank & ~_SIGN if rank < _SIGN else rank
    score: float = bits.view(np.float64)[0]
    return score if score == score else -np.inf  # noqa: PLR0124


@kernel
def _offer_scores(
    scores: NDArray[np.float64], bits: NDArray[np.uint64], ids: NDArray[np.uint64], buffer: Buffer, k: int
) -> int:
    """Offer scores by ranks that rise as scores fall, 0.0 and -0.0 equal, NaN last; returns the number of NaN."""
    n_nan = 0
    ranks = np.empty(_BLOCK, np.uint64)
    for first in range(0, scores.shape[0], _BLOCK):
        size = min(_BLOCK, scores.shape[0] - first)
        # Where the bound is NaN's rank, NaN still have to be offered: ids settle which of them.
        bounded = buffer.bound[0] != _NAN_RANK
        least = _score_of(buffer.bound[0])
        block, block_bits = scores[first : first + size], bits[first : first + size]
        for r in range(size):
            x = block[r]
            rank = _NAN_RANK
            if not (bounded and x < least):
                if x > 0.0:
                    rank = ~(block_bits[r] | _SIGN)
                elif x <= 0.0:
                    rank = ~_SIGN if x == 0.0 else block_bits[r]
                else:
                    n_nan += 1
            ranks[r] = rank
        offer(buffer, k, ranks[:size], ids, first)
    return n_nan


def _checked_ids(ids: NDArray[np.uint64] | None, n: int) -> NDArray[np.uint64]:
    return array("ids", np.empty(0, np.uint64) if ids is None else ids, np.uint64, (0 if ids is None else n,))


def bottom_k(coins: NDArray[np.uint64], k: int, ids: NDArray[np.uint64] | None = None) -> NDArray[np.int64]:
    """Rows of the k smallest coins, smallest first; all rows where there are no more than k.

    coins: (n,) uint64, as ``hashing.coin`` tosses them.  ids: (n,) uint64 that settle equal coins, smaller
    first; without them the earlier row goes first.  Returns (min(k, n),) int64.

    A bottom-k sample is a simple random sample without replacement (Cohen and Kaplan 2007, "Summarizing data
    using bottom-k sketches"). For a sample of k with its inclusion probability see ``bottom_k_sample``.
    """
    checked = array("coins", coins, np.uint64, (None,))
    checked_ids = _checked_ids(ids, checked.shape[0])
    k = integer("k", k, 0, _MAX_K)
    if k == 0:
        return np.empty(0, np.int64)
    buffer = empty_buffer(k, checked.shape[0])
    offer(buffer, k, checked, checked_ids, 0)
    return in_order(buffer, k)


def bottom_k_threshold(coins: NDArray[np.uint64], k: int) -> tuple[int, float]:
    """The (k + 1)-th smallest coin τ and ``unit(τ)``, the inclusion probability of the k below it.

    coins: (n,) uint64 of all rows, or of the k + 1 smallest of each partition.  Where there are at most k,
    every row was certain to be taken: 2**64 - 1 and 1.0.  k: at least 1.
    """
    checked = array("coins", coins, np.uint64, (None,))
    k = integer("k", k, 1, _MAX_K)
    if checked.shape[0] <= k:
        return _MAX_U64, 1.0
    threshold = int(checked[bottom_k(checked, k + 1)[-1]])
    return threshold, unit(threshold)


def bottom_k_sample(coins: NDArray[np.uint64], k: int, ids: NDArray[np.uint64] | None = None) -> BottomKSample:
    """Sample k rows and tell the probability with which each row was to be in the sample.

    Over partitions: each proposes its ``bottom_k(coins, k + 1)``; this function, over all that was proposed,
    gives what it would have given over all rows. The probability is conditional on the threshold, as in
    ``priority_sample``: ``sum(values / inclusion_probability)`` is unbiased for the total (Cohen and Kaplan
    2007).
    """
    k = integer("k", k, 1, _MAX_K)
    rows = bottom_k(coins, k + 1, ids)
    if rows.shape[0] <= k:
        return BottomKSample(rows, 1.0)
    return BottomKSample(rows[:k], unit(int(coins[rows[k]])))


def top_k(scores: NDArray[np.floating], ids: NDArray[np.uint64] | None, k: int) -> TopK:
    """Rows of the k highest scores, highest first; all rows where there are no more than k.

    scores: (n,) float32 or float64; NaN comes after every number and is reported in ``nan_rows``.  ids: (n,)
    uint64 that settle equal scores, smaller first; without them the earlier row goes first.
    """
    checked = array("scores", scores, (np.float32, np.float64), (None,)).astype(np.float64, copy=False)
    checked_ids = _checked_ids(ids, checked.shape[0])
    k = integer("k", k, 0, _MAX_K)
    buffer = empty_buffer(max(k, 1), checked.shape[0])
    bits = checked.view(np.uint64)
    n_nan = _offer_scores(array("scores", checked, np.float64, (None,)), bits, checked_ids, buffer, max(k, 1))
    nan_rows = np.flatnonzero(np.isnan(checked)) if n_nan else np.empty(0, np.int64)
    return TopK(in_order(buffer, max(k, 1))[:k], nan_rows)


class StreamingTopK:
    """The k best of a stream so far: the same whatever the batches, and mergeable.

    k: how many to keep, at least 1. A row that is offered twice counts as two rows.
    """

    def __init__(self, k: int) -> None:
        self._k = integer("k", k, 1, _MAX_K)
        self.scores: NDArray[np.float64] = np.empty(0)
        self.ids: NDArray[np.uint64] = np.empty(0, np.uint64)
        self.nan_seen = 0

    def update(self, scores: NDArray[np.floating], ids: NDArray[np.uint64]) -> None:
        """Offer rows: (n,) float32 or float64 scores and (n,) uint64 ids. NaN scores are counted, never kept."""
        best = top_k(scores, ids, self._k)
        self.nan_seen += best.nan_rows.shape[0]
        rows = best.indices[~np.isnan(scores[best.indices])]
        kept_scores = np.concatenate([self.scores, scores[rows].astype(np.float64)])
        kept_ids = np.concatenate([self.ids, ids[rows]])
        kept = top_k(kept_scores, kept_ids, self._k).indices
        self.scores, self.ids = kept_scores[kept], kept_ids[kept]

    def merge(self, other: "StreamingTopK") -> None:
        """Take in what another one kept of another part of the stream."""
        self.update(other.scores, other.ids)
        self.nan_seen += other.nan_seen

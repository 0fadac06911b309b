"""Choosing k of n: the bottom-k sample by coin with its inclusion probability, and the k best scores.

Both orders are total (value, then id, then row), so a result depends neither on the machine nor on how a
stream was cut, and what several partitions keep can be merged: keep k (or k + 1) of each, concatenate, choose
again.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels._checks import array, integer
from kernels._jit import kernel
from kernels.hashing import unit

_MAX_U64: Final = 2**64 - 1
_MAX_K: Final = 2**40
_NAN_RANK = np.uint64(_MAX_U64)
_SIGN = np.uint64(2**63)
# A heap of k beats numpy's partition while few rows enter it; k·ln(n/k) of n random ones do.
_HEAP_SHARE: Final = 32


class TopK(NamedTuple):
    """The k best rows, best first, and the rows whose score was NaN."""

    indices: NDArray[np.int64]
    nan_rows: NDArray[np.int64]


class BottomKSample(NamedTuple):
    """A simple random sample: rows by rising coin, and the probability with which each row was to be in it."""

    indices: NDArray[np.int64]
    inclusion_probability: float


@kernel
def _sift_down(
    heap_ranks: NDArray[np.uint64], heap_ids: NDArray[np.uint64], heap_rows: NDArray[np.int64], top: int, size: int
) -> None:
    """Restore the heap whose root is the last in order (rank, id, row), after its element ``top`` has changed."""
    rank, id_, row = heap_ranks[top], heap_ids[top], heap_rows[top]
    hole = top
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            heap_ranks[right] > heap_ranks[child]
            or (
                heap_ranks[right] == heap_ranks[child]
                and (
                    heap_ids[right] > heap_ids[child]
                    or (heap_ids[right] == heap_ids[child] and heap_rows[right] > heap_rows[child])
                )
            )
        ):
            child = right
        if heap_ranks[child] < rank or (
            heap_ranks[child] == rank and (heap_ids[child] < id_ or (heap_ids[child] == id_ and heap_rows[child] < row))
        ):
            break
        heap_ranks[hole], heap_ids[hole], heap_rows[hole] = heap_ranks[child], heap_ids[child], heap_rows[child]
        hole = child
    heap_ranks[hole], heap_ids[hole], heap_rows[hole] = rank, id_, row


@kernel
def _first_by_heap(ranks: NDArray[np.uint64], ids: NDArray[np.uint64], out: NDArray[np.int64]) -> None:
    """The ``len(out)`` first rows in order (rank, id, row), in that order; ids may be empty."""
    k = out.shape[0]
    has_ids = ids.shape[0] > 0
    heap_ranks = ranks[:k].copy()
    heap_ids = ids[:k].copy() if has_ids else np.zeros(k, np.uint64)
    out[:] = np.arange(k)
    for top in range(k // 2 - 1, -1, -1):
        _sift_down(heap_ranks, heap_ids, out, top, k)
    for row in range(k, ranks.shape[0]):
        rank = ranks[row]
        if rank < heap_ranks[0] or (has_ids and rank == heap_ranks[0] and ids[row] < heap_ids[0]):
            heap_ranks[0] = rank
            heap_ids[0] = ids[row] if has_ids else np.uint64(0)
            out[0] = row
            _sift_down(heap_ranks, heap_ids, out, 0, k)
    for last in range(k - 1, 0, -1):
        heap_ranks[0], heap_ranks[last] = heap_ranks[last], heap_ranks[0]
        heap_ids[0], heap_ids[last] = heap_ids[last], heap_ids[0]
        out[0], out[last] = out[last], out[0]
        _sift_down(heap_ranks, heap_ids, out, 0, last)


@kernel
def _descending_ranks(scores: NDArray[np.float64], bits: NDArray[np.int64], out: NDArray[np.uint64]) -> int:
    """Unsigned ranks that rise as scores fall, 0.0 and -0.0 equal, NaN last; returns the number of NaN."""
    n_nan = 0
    for i in range(scores.shape[0]):
        x = scores[i]
        if x != x:  # noqa: PLR0124
            out[i] = _NAN_RANK
            n_nan += 1
        elif x > 0.0:
            out[i] = ~(np.uint64(bits[i]) | _SIGN)
        elif x == 0.0:
            out[i] = ~_SIGN
        else:
            out[i] = np.uint64(bits[i])
    return n_nan


def _first(ranks: NDArray[np.uint64], ids: NDArray[np.uint64], k: int) -> NDArray[np.int64]:
    """Rows of the k first in order (rank, id, row)."""
    n = ranks.shape[0]
    k = min(k, n)
    if k == 0:
        return np.empty(0, np.int64)
    if k * _HEAP_SHARE <= n or n <= 256:
        out = np.empty(k, np.int64)
        _first_by_heap(ranks, ids, out)
        return out
    bound = np.partition(ranks, k - 1)[k - 1]
    rows = np.flatnonzero(ranks <= bound)
    keys = (rows, ids[rows], ranks[rows]) if ids.shape[0] else (rows, ranks[rows])
    return rows[np.lexsort(keys)][:k].astype(np.int64)


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
    return _first(checked, _checked_ids(ids, checked.shape[0]), integer("k", k, 0, _MAX_K))


def bottom_k_threshold(coins: NDArray[np.uint64], k: int) -> tuple[int, float]:
    """The (k + 1)-th smallest coin τ and ``unit(τ)``, the inclusion probability of the k below it.

    coins: (n,) uint64 of all rows, or of the k + 1 smallest of each partition.  Where there are at most k,
    every row was certain to be taken: 2**64 - 1 and 1.0.  k: at least 1.
    """
    checked = array("coins", coins, np.uint64, (None,))
    k = integer("k", k, 1, _MAX_K)
    if checked.shape[0] <= k:
        return _MAX_U64, 1.0
    threshold = int(checked[_first(checked, _checked_ids(None, 0), k + 1)[-1]])
    return threshold, unit(threshold)


def bottom_k_sample(coins: NDArray[np.uint64], k: int, ids: NDArray[np.uint64] | None = None) -> BottomKSample:
    """Sample k rows and tell the probability with which each row was to be in the sample.

    Over partitions: each proposes its ``bottom_k(coins, k + 1)``; this function, over all that was proposed,
    gives what it would have given over all rows. The probability is conditional on the threshold, as in
    ``priority_sample``: ``sum(values / inclusion_probability)`` is unbiased for the total (Cohen and Kaplan
    2007).
    """
    _, inclusion = bottom_k_threshold(coins, k)
    return BottomKSample(bottom_k(coins, k, ids), inclusion)


def top_k(scores: NDArray[np.floating], ids: NDArray[np.uint64] | None, k: int) -> TopK:
    """Rows of the k highest scores, highest first; all rows where there are no more than k.

    scores: (n,) float32 or float64; NaN comes after every number and is reported in ``nan_rows``.  ids: (n,)
    uint64 that settle equal scores, smaller first; without them the earlier row goes first.
    """
    checked = array("scores", scores, (np.float32, np.float64), (None,)).astype(np.float64, copy=False)
    checked_ids = _checked_ids(ids, checked.shape[0])
    ranks = np.empty(checked.shape[0], np.uint64)
    n_nan = _descending_ranks(array("scores", checked, np.float64, (None,)), checked.view(np.int64), ranks)
    nan_rows = np.flatnonzero(ranks == _NAN_RANK) if n_nan else np.empty(0, np.int64)
    return TopK(_first(ranks, checked_ids, integer("k", k, 0, _MAX_K)), nan_rows.astype(np.int64))


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

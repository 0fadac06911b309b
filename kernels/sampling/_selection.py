"""The k first of n rows in the order (rank, id, row), in one pass and linear time.

A buffer takes in every row that is not behind the bound. When it is full, a selection among its rows (quickselect)
leaves the k first and makes the last of them the bound. Of n rows in random order k * log(n / k) enter the buffer, so
most rows cost one comparison; in the worst order all do, at a few comparisons each.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.numerics._jit import lean

_SIZE, _BOUNDED, _N_COUNTS = range(3)
_SLACK: Final = 256
_MIX: Final = 0x1E3779B97F4A7C15


class Buffer(NamedTuple):
    """Rows in the buffer; ``bound`` is rank and id of the last of the k first so far, once there are k."""

    ranks: NDArray[np.uint64]
    ids: NDArray[np.uint64]
    rows: NDArray[np.int64]
    bound: NDArray[np.uint64]
    counts: NDArray[np.int64]


def empty_buffer(k: int, n: int) -> Buffer:
    """A buffer for the k first of n rows, k at least 1."""
    room = min(2 * k + _SLACK, n + 1)
    return Buffer(
        np.empty(room, np.uint64),
        np.empty(room, np.uint64),
        np.empty(room, np.int64),
        np.full(2, 2**64 - 1, np.uint64),
        np.zeros(_N_COUNTS, np.int64),
    )


@lean
def _swap(ranks: NDArray[np.uint64], ids: NDArray[np.uint64], rows: NDArray[np.int64], i: int, j: int) -> None:
    ranks[i], ranks[j] = ranks[j], ranks[i]
    ids[i], ids[j] = ids[j], ids[i]
    rows[i], rows[j] = rows[j], rows[i]


@lean
def keep_first(buffer: Buffer, k: int) -> None:
    """Leave the k first of the rows in the buffer, unsorted, and set the bound.

    Hoare's selection with pivots from a fixed sequence, which no stored order is likely to defeat.
    """
    ranks, ids, rows = buffer.ranks, buffer.ids, buffer.rows
    low, high = 0, buffer.counts[_SIZE] - 1
    if high < k:
        return
    turn = 1
    while low < high:
        turn = (turn * _MIX + 1) & 0x7FFFFFFFFFFFFFFF
        pivot = low + (turn >> 20) % (high - low + 1)
        rank, id_, row = ranks[pivot], ids[pivot], rows[pivot]
        i, j = low, high
        while i <= j:
            while ranks[i] < rank or (ranks[i] == rank and (ids[i] < id_ or (ids[i] == id_ and rows[i] < row))):
                i += 1
            while ranks[j] > rank or (ranks[j] == rank and (ids[j] > id_ or (ids[j] == id_ and rows[j] > row))):
                j -= 1
            if i <= j:
                _swap(ranks, ids, rows, i, j)
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            break
    buffer.counts[_SIZE] = k
    buffer.counts[_BOUNDED] = 1
    buffer.bound[0], buffer.bound[1] = ranks[k - 1], ids[k - 1]


@lean
def offer(buffer: Buffer, k: int, ranks: NDArray[np.uint64], ids: NDArray[np.uint64], first: int) -> None:
    """Offer rows ``first``, ``first + 1``, ... in log order; ids may be empty, for none."""
    bound, counts = buffer.bound, buffer.counts
    to_ranks, to_ids, to_rows = buffer.ranks, buffer.ids, buffer.rows
    room = to_ranks.shape[0]
    has_ids = ids.shape[0] > 0
    rank_bound, size = bound[0], counts[_SIZE]
    for i in range(ranks.shape[0]):
        rank = ranks[i]
        if rank > rank_bound:
            continue
        id_ = ids[first + i] if has_ids else np.uint64(0)
        if rank == rank_bound and counts[_BOUNDED] and id_ >= bound[1]:
            continue
        to_ranks[size], to_ids[size], to_rows[size] = rank, id_, first + i
        size += 1
        if size == room:
            counts[_SIZE] = size
            keep_first(buffer, k)
            rank_bound, size = bound[0], counts[_SIZE]
    counts[_SIZE] = size


def in_order(buffer: Buffer, k: int) -> NDArray[np.int64]:
    """The k first rows of all that were offered, in order."""
    keep_first(buffer, k)
    size = int(buffer.counts[_SIZE])
    ranks, ids, rows = buffer.ranks[:size], buffer.ids[:size], buffer.rows[:size]
    by_rank = np.argsort(ranks)
    if np.any(ranks[by_rank[1:]] == ranks[by_rank[:-1]]):
        by_rank = np.lexsort((rows, ids, ranks))
    return rows[by_rank]

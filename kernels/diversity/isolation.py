# ruff: noqa: FURB136  (as in kernels.diversity.coverage)
"""How odd a row is among others, without a label: by how few random cuts it is alone."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.diversity._distances import finite, uniforms
from kernels.numerics._checks import integer
from kernels.numerics._jit import kernel, lean

Floats = NDArray[Any]


@lean
def _mean_depth(n: int) -> float:
    """Mean depth of an unsuccessful search in a binary tree of n rows: 2 H(n - 1) - 2 (n - 1) / n."""
    harmonic = 0.0
    for i in range(1, n):
        harmonic += 1.0 / i
    return 2.0 * harmonic - 2.0 * (n - 1) / n if n > 1 else 0.0


@lean
def _cut(x: Floats, rows: NDArray[np.int64], lots: NDArray[np.float64]) -> tuple[int, float]:
    """Column and value of a random cut between rows: of the columns in which they differ, any; -1 where there is none.

    lots: (2,), for the column and for the place between its least and its largest value.
    """
    differing = 0
    for j in range(x.shape[1]):
        for i in range(1, rows.shape[0]):
            if x[rows[i], j] != x[rows[0], j]:
                differing += 1
                break
    if not differing:
        return -1, 0.0
    wanted = int(lots[0] * differing)
    for j in range(x.shape[1]):
        low = high = np.float64(x[rows[0], j])
        for i in range(1, rows.shape[0]):
            value = np.float64(x[rows[i], j])
            low, high = (value if value < low else low), (value if value > high else high)
        if high > low:
            if not wanted:
                value = low + lots[1] * (high - low)
                return j, value if low < value <= high else high  # both sides get a row, whatever is rounded
            wanted -= 1
    return -1, 0.0


class _Tree(NamedTuple):
    """A tree of at most 2 * sample nodes: column of the cut, -1 at a leaf; its value; the first of two children; depth
    of rows that end there; and the rows of ``cut`` that each node holds, with its level.
    """  # noqa: D205  (a list of shapes)

    column: NDArray[np.int64]
    value: NDArray[np.float64]
    child: NDArray[np.int64]
    depth: NDArray[np.float64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    level: NDArray[np.int64]


@lean
def _split(x: Floats, rows: NDArray[np.int64], column: int, value: float) -> int:
    """Bring the rows below a value to the front; how many they are."""
    below = 0
    for i in range(rows.shape[0]):
        if x[rows[i], column] < value:
            rows[below], rows[i] = rows[i], rows[below]
            below += 1
    return below


@lean
def _grow(x: Floats, cut: NDArray[np.int64], limit: int, lots: NDArray[np.float64], tree: _Tree) -> None:
    """Grow a tree over the rows ``cut``, breadth first; lots (2 a node)."""
    tree.begin[0], tree.end[0], tree.level[0] = 0, cut.shape[0], 0
    nodes, node = 1, 0
    while node < nodes:
        rows, level = cut[tree.begin[node] : tree.end[node]], tree.level[node]
        tree.column[node], tree.depth[node] = -1, level + _mean_depth(rows.shape[0])
        if rows.shape[0] > 1 and level < limit:
            tree.column[node], tree.value[node] = _cut(x, rows, lots[2 * node : 2 * node + 2])
        if tree.column[node] >= 0:
            middle = tree.begin[node] + _split(x, rows, tree.column[node], tree.value[node])
            tree.child[node] = nodes
            tree.begin[nodes], tree.end[nodes], tree.level[nodes] = tree.begin[node], middle, level + 1
            tree.begin[nodes + 1], tree.end[nodes + 1], tree.level[nodes + 1] = middle, tree.end[node], level + 1
            nodes += 2
        node += 1


@lean
def _descend(x: Floats, tree: _Tree, out: NDArray[np.float64]) -> None:
    """Add the depth at which each row ends."""
    for row in range(x.shape[0]):
        node = 0
        while tree.column[node] >= 0:
            node = tree.child[node] + (0 if x[row, tree.column[node]] < tree.value[node] else 1)
        out[row] += tree.depth[node]


@kernel
def _isolation(x: Floats, sample: int, lots: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Add up the depths of rows (n, d) in trees of ``sample`` of them; lots (trees, 5 * sample)."""
    n, most = x.shape[0], 2 * sample
    order, cut = np.arange(n), np.empty(sample, np.int64)
    limit = 0
    while (1 << limit) < sample:
        limit += 1
    tree = _Tree(
        np.empty(most, np.int64),
        np.empty(most),
        np.empty(most, np.int64),
        np.empty(most),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
    )
    for t in range(lots.shape[0]):
        for i in range(sample):
            other = i + int(lots[t, i] * (n - i))
            order[i], order[other] = order[other], order[i]
        cut[:] = order[:sample]
        _grow(x, cut, limit, lots[t, sample:], tree)
        _descend(x, tree, out)


def isolation(x: Floats, seed: int, *, trees: int = 100, sample: int = 256) -> NDArray[np.float64]:
    """Isolation forest: the mean depth at which random cuts part a row from the others, over that of any row.

    About 1 of a row in the crowd, nearer to 0 the odder a row is; the authors' score is 2^-depth. A tree cuts
    ``sample`` of the rows (all, where there are fewer) at random columns and places, to the depth log2(sample). Units
    of columns play no part.

    x: (n, d) float32 or float64, finite: ``robust_scale`` tells missing values apart.  seed: 0 to 2^64 - 1.  trees,
    sample: at least 1.  Returns (n,) float64, above 0; 1 where all rows are alike.
    O(trees log2(sample) (n + sample d)).
    Liu et al. 2008, "Isolation forest". Raises ValueError (see ``kernels.diversity.kmeans_pp``).
    """
    rows, _ = finite("x", x)
    count = integer("trees", trees, 1, 10_000)
    size = min(integer("sample", sample, 1, 2**20), len(rows))
    if size < 2:
        return np.ones(len(rows))
    total = np.zeros(len(rows))
    _isolation(rows, size, uniforms(seed, count * 5 * size).reshape(count, 5 * size), total)
    return total / (count * _mean_depth(size))

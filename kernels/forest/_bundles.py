"""A forest walked eight trees at a time, without a branch that depends on a value: for a few rows.

One tree after the other is a chain of loads with a branch at each node that can't be predicted. Here the children of a
node lie side by side, the right one last, so that the next node is a sum, and a leaf is its own left child, so that
trees of a bundle may go on until the deepest is done. What is missing is settled beforehand: a row's value is -infinity
where missing goes left at a node, NaN where it goes right.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.forest._nodes import ZERO, Nodes
from kernels.forest.model_text import ForestModel
from kernels.numerics._jit import lean

TREES: Final = 8
_COLUMN: Final = 40
_LEFT: Final = (1 << _COLUMN) - 1


class Bundles(NamedTuple):
    """threshold, link, value (p,): of each place a node or leaf lies at: what to compare with; where the left child
    lies, and above ``_COLUMN`` bits the column to compare; the leaf's value. root, depth (trees,): where a tree begins,
    levels below. feature, kind (c,): of each column, but 0, the feature and LightGBM's decision type: what is missing
    and where it goes. Column 0 is -infinity.
    """  # noqa: D205  (a list of shapes)

    threshold: NDArray[np.float64]
    link: NDArray[np.int64]
    value: NDArray[np.float64]
    root: NDArray[np.int64]
    depth: NDArray[np.int64]
    feature: NDArray[np.int64]
    kind: NDArray[np.int64]


@lean
def _lay_out(
    nodes: Nodes, column: NDArray[np.int64], source: NDArray[np.int64], level: NDArray[np.int64], bundles: Bundles
) -> None:
    """Fill the places, tree by tree and breadth first; source, level: what lies at a place, and how deep."""
    free = 0
    for t in range(bundles.root.shape[0]):
        first = nodes.node_start[t]
        bundles.root[t] = free
        source[free] = 0 if nodes.node_start[t + 1] > first else -1
        level[free] = 0
        place = free
        free += 1
        while place < free:
            bundles.depth[t] = level[place]
            if source[place] < 0:
                bundles.threshold[place] = np.inf
                bundles.link[place] = place
                bundles.value[place] = nodes.leaf_value[nodes.leaf_start[t] + ~source[place]]
            else:
                node = first + source[place]
                bundles.threshold[place] = nodes.threshold[node]
                bundles.link[place] = (column[node] << _COLUMN) | free
                source[free], source[free + 1] = nodes.left[node], nodes.right[node]
                level[free] = level[free + 1] = level[place] + 1
                free += 2
            place += 1


def build(model: ForestModel, nodes: Nodes) -> Bundles | None:
    """Lay out a forest; None where it has categories."""
    if bool(np.any(model.decision_type & 1)):
        return None
    keys, column = np.unique(
        model.split_feature.astype(np.int64) * 16 + (model.decision_type & 14), return_inverse=True
    )
    places = len(model.threshold) + len(model.leaf_value)
    trees = model.trees
    bundles = Bundles(
        threshold=np.empty(places),
        link=np.empty(places, np.int64),
        value=np.zeros(places),
        root=np.empty(trees, np.int64),
        depth=np.empty(trees, np.int64),
        feature=np.concatenate([[0], keys // 16]),
        kind=np.concatenate([[0], keys % 16]),
    )
    _lay_out(nodes, column.astype(np.int64) + 1, np.empty(places, np.int64), np.empty(places, np.int64), bundles)
    return bundles


@lean
def _settle(row: NDArray[Any], bundles: Bundles, values: NDArray[np.float64]) -> None:
    """The value of each column, with what is missing sent where it goes."""
    values[0] = -np.inf
    for c in range(1, bundles.feature.shape[0]):
        value = np.float64(row[bundles.feature[c]])
        kind = bundles.kind[c]
        missing = kind >> 2
        absent = value != value  # noqa: PLR0124  (NaN)
        zero = abs(value) <= ZERO or (absent and missing != 2)
        if (missing == 2 and absent) or (missing == 1 and zero):
            values[c] = -np.inf if kind & 2 else np.nan
        else:
            values[c] = 0.0 if zero else value


@lean
def _next(place: int, bundles: Bundles, values: NDArray[np.float64]) -> int:
    link = bundles.link[np.uint64(place)]
    stays_left = values[np.uint64(link >> _COLUMN)] <= bundles.threshold[np.uint64(place)]
    return int((link & _LEFT) + (not stays_left))


@lean
def _walk(first: int, last: int, bundles: Bundles, values: NDArray[np.float64], reached: NDArray[np.int64]) -> None:
    """Where a row arrives in eight trees from ``first`` on, those behind ``last`` being ``last``."""
    root, depth = bundles.root, bundles.depth
    levels = 0
    for j in range(TREES):
        levels = max(levels, depth[min(first + j, last)])
    a, b = root[first], root[min(first + 1, last)]
    c, d = root[min(first + 2, last)], root[min(first + 3, last)]
    e, f = root[min(first + 4, last)], root[min(first + 5, last)]
    g, h = root[min(first + 6, last)], root[min(first + 7, last)]
    for _ in range(levels):
        a, b = _next(a, bundles, values), _next(b, bundles, values)
        c, d = _next(c, bundles, values), _next(d, bundles, values)
        e, f = _next(e, bundles, values), _next(f, bundles, values)
        g, h = _next(g, bundles, values), _next(h, bundles, values)
    reached[0], reached[1], reached[2], reached[3] = a, b, c, d
    reached[4], reached[5], reached[6], reached[7] = e, f, g, h


@lean
def add_up(
    x: NDArray[Any],
    ends: NDArray[np.int64],
    bundles: Bundles,
    values: NDArray[np.float64],
    reached: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """As ``_forest_tables.add_up``. values (c,), reached (8,): room to work in."""
    outputs = out.shape[2]
    for i in range(x.shape[0]):
        _settle(x[i], bundles, values)
        done = 0
        for e in range(ends.shape[0]):
            for k in range(outputs):
                out[e, i, k] = out[e - 1, i, k] if e else 0.0
            stop = ends[e] * outputs
            for first in range(done, stop, TREES):
                _walk(first, stop - 1, bundles, values, reached)
                for t in range(first, min(first + TREES, stop)):
                    out[e, i, t % outputs] += bundles.value[reached[t - first]]
            done = stop

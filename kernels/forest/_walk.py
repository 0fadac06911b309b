"""A forest walked node by node, on the numbers as they are: for a few rows, and for large trees."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.forest._nodes import Nodes, goes_left
from kernels.numerics._jit import lean


@lean
def leaf_of(row: NDArray[Any], t: int, nodes: Nodes) -> int:
    """The leaf that a row reaches in tree t."""
    first = nodes.node_start[t]
    node = 0 if nodes.node_start[t + 1] > first else -1
    while node >= 0:
        at = first + node
        value = np.float64(row[nodes.split_feature[at]])
        node = nodes.left[at] if goes_left(value, at, nodes) else nodes.right[at]
    return ~node


@lean
def add_up(x: NDArray[Any], outputs: int, ends: NDArray[np.int64], nodes: Nodes, out: NDArray[np.float64]) -> None:
    """As ``_forest_tables.add_up``."""
    for i in range(x.shape[0]):
        done = 0
        for e in range(ends.shape[0]):
            for k in range(outputs):
                out[e, i, k] = out[e - 1, i, k] if e else 0.0
            for t in range(done * outputs, ends[e] * outputs):
                out[e, i, t % outputs] += nodes.leaf_value[nodes.leaf_start[t] + leaf_of(x[i], t, nodes)]
            done = ends[e]


@lean
def find_leaves(x: NDArray[Any], nodes: Nodes, out: NDArray[np.int32]) -> None:
    """As ``_forest_tables.find_leaves``."""
    for i in range(x.shape[0]):
        for t in range(out.shape[1]):
            out[i, t] = leaf_of(x[i], t, nodes)


@lean
def add_changes(
    leaves: NDArray[np.int32],
    hessian: NDArray[np.float64],
    leaf_start: NDArray[np.int64],
    leaf_weight: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add 2 h / (weight of the leaf + h) over trees; h of the tree's output."""
    outputs = hessian.shape[1]
    for i in range(leaves.shape[0]):
        for t in range(leaves.shape[1]):
            h = hessian[i, t % outputs]
            weight = leaf_weight[leaf_start[t] + leaves[i, t]] + h
            out[i] += 2.0 * h / weight if weight > 0.0 else 0.0

"""Shapley values of one row: Lundberg et al. 2018, "Consistent individualized feature attribution for tree ensembles".

Algorithm 2 of that paper, which LightGBM's ``pred_contrib`` follows too, with a stack in place of its recursion. A
path is the set of features met on the way down; each has the share of training rows that pass where it is unknown
(``zero``), whether the row passes (``one``), and weights by the number of known features (``weight``).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.forest._nodes import Nodes, goes_left
from kernels.numerics._jit import kernel, lean


class Paths(NamedTuple):
    """One path for each level of the tree: (levels, levels) each."""

    feature: NDArray[np.int64]
    zero: NDArray[np.float64]
    one: NDArray[np.float64]
    weight: NDArray[np.float64]


@lean
def _extend(p: Paths, level: int, length: int, zero: float, one: float, feature: int) -> None:
    p.feature[level, length] = feature
    p.zero[level, length] = zero
    p.one[level, length] = one
    p.weight[level, length] = 1.0 if length == 0 else 0.0
    for i in range(length - 1, -1, -1):
        p.weight[level, i + 1] += one * p.weight[level, i] * (i + 1) / (length + 1)
        p.weight[level, i] = zero * p.weight[level, i] * (length - i) / (length + 1)


@lean
def _unwind(p: Paths, level: int, length: int, at: int) -> None:
    """Take element ``at`` out of the path."""
    one, zero = p.one[level, at], p.zero[level, at]
    carried = p.weight[level, length]
    for i in range(length - 1, -1, -1):
        if one != 0.0:
            kept = p.weight[level, i]
            p.weight[level, i] = carried * (length + 1) / ((i + 1) * one)
            carried = kept - p.weight[level, i] * zero * (length - i) / (length + 1)
        else:
            p.weight[level, i] = p.weight[level, i] * (length + 1) / (zero * (length - i))
    for i in range(at, length):
        p.feature[level, i] = p.feature[level, i + 1]
        p.zero[level, i] = p.zero[level, i + 1]
        p.one[level, i] = p.one[level, i + 1]


@lean
def _unwound_sum(p: Paths, level: int, length: int, at: int) -> float:
    """The sum of weights that the path would have without element ``at``."""
    one, zero = p.one[level, at], p.zero[level, at]
    carried = p.weight[level, length]
    total = 0.0
    for i in range(length - 1, -1, -1):
        if one != 0.0:
            part = carried * (length + 1) / ((i + 1) * one)
            total += part
            carried = p.weight[level, i] - part * zero * (length - i) / (length + 1)
        else:
            total += p.weight[level, i] / zero * (length + 1) / (length - i)
    return total


@lean
def _count(child: np.int64, t: int, nodes: Nodes) -> float:
    if child < 0:
        return np.float64(nodes.leaf_count[nodes.leaf_start[t] + ~child])
    return np.float64(nodes.node_count[nodes.node_start[t] + child])


@kernel
def _explain_tree(row: NDArray[Any], t: int, nodes: Nodes, p: Paths, phi: NDArray[np.float64]) -> None:
    first = nodes.node_start[t]
    levels = p.feature.shape[0]
    # what is still to visit: node, level, length of its parent's path, feature; fractions
    stack = np.empty((2 * levels, 4), np.int64)
    fractions = np.empty((2 * levels, 2), np.float64)
    stack[0] = (0, 0, 0, -1)
    fractions[0] = (1.0, 1.0)
    waiting = 1
    while waiting:
        waiting -= 1
        node, level, length, feature = stack[waiting]
        if level:
            for i in range(length):
                p.feature[level, i] = p.feature[level - 1, i]
                p.zero[level, i] = p.zero[level - 1, i]
                p.one[level, i] = p.one[level - 1, i]
                p.weight[level, i] = p.weight[level - 1, i]
        _extend(p, level, length, fractions[waiting, 0], fractions[waiting, 1], feature)
        if node < 0:
            value = nodes.leaf_value[nodes.leaf_start[t] + ~node]
            for i in range(1, length + 1):
                share = _unwound_sum(p, level, length, i) * (p.one[level, i] - p.zero[level, i])
                phi[p.feature[level, i]] += share * value
            continue
        at = first + node
        feature = np.int64(nodes.split_feature[at])
        left = goes_left(np.float64(row[feature]), at, nodes)
        zero, one = 1.0, 1.0
        met = 0
        while met <= length and p.feature[level, met] != feature:
            met += 1
        if met <= length:  # split on before: undo that, to redo it for this node
            zero, one = p.zero[level, met], p.one[level, met]
            _unwind(p, level, length, met)
            length -= 1
        for side in range(2):
            child = np.int64(nodes.left[at] if side == 0 else nodes.right[at])
            taken = left == (side == 0)
            stack[waiting] = (child, level + 1, length + 1, feature)
            fractions[waiting] = (zero * _count(child, t, nodes) / _count(node, t, nodes), one if taken else 0.0)
            waiting += 1


@kernel
def explain(row: NDArray[Any], levels: int, nodes: Nodes, out: NDArray[np.float64]) -> None:
    """Add the contributions of each feature, and last the expected score, for each output: out (outputs, d + 1)."""
    p = Paths(
        np.empty((levels, levels), np.int64), np.empty((levels, levels)), np.empty((levels, levels)),
        np.empty((levels, levels)),
    )  # fmt: skip
    outputs, d = out.shape[0], out.shape[1] - 1
    for t in range(nodes.node_start.shape[0] - 1):
        k = t % outputs
        begin, end = nodes.leaf_start[t], nodes.leaf_start[t + 1]
        if end - begin == 1:
            out[k, d] += nodes.leaf_value[begin]
            continue
        total = np.float64(nodes.node_count[nodes.node_start[t]])
        expected = 0.0
        for leaf in range(begin, end):
            expected += nodes.leaf_count[leaf] / total * nodes.leaf_value[leaf]
        out[k, d] += expected
        _explain_tree(row, t, nodes, p, out[k])

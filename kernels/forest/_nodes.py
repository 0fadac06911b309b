"""The nodes of a forest, and the decision at one of them."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.forest.model_text import ForestModel
from kernels.numerics._jit import lean

ZERO: Final = 1.0000000180025095e-35
"""LightGBM's kZeroThreshold: numbers no farther from 0 are 0."""

_MOST_INT = 2147483647.0


class Nodes(NamedTuple):
    """What walking needs of a ForestModel; ``node_set`` is the category set of each node in ``set_start``."""

    split_feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    decision_type: NDArray[np.uint8]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    node_start: NDArray[np.int64]
    node_set: NDArray[np.int64]
    set_start: NDArray[np.int64]
    words: NDArray[np.uint32]
    leaf_start: NDArray[np.int64]
    leaf_value: NDArray[np.float64]
    node_count: NDArray[np.int64]
    leaf_count: NDArray[np.int64]


def nodes_of(model: ForestModel) -> Nodes:
    """Lay out a model for walking."""
    tree = np.repeat(np.arange(model.trees), np.diff(model.node_start))
    categorical = (model.decision_type & 1) == 1
    node_set = np.where(categorical, model.set_first[tree] + np.where(categorical, model.threshold, 0), 0)
    return Nodes(
        model.split_feature, model.threshold, model.decision_type, model.left, model.right, model.node_start,
        node_set.astype(np.int64), model.set_start, model.words, model.leaf_start, model.leaf_value,
        model.node_count, model.leaf_count,
    )  # fmt: skip


@lean
def goes_left(value: float, node: int, nodes: Nodes) -> bool:
    """The decision of LightGBM's ``Tree::Decision`` at a node."""
    kind = nodes.decision_type[node]
    if kind & 1:
        if not (value > -1.0 and value <= _MOST_INT):  # NaN, negative, or beyond int: no category
            return False
        category = np.int64(value)
        word = nodes.set_start[nodes.node_set[node]] + category // 32
        if word >= nodes.set_start[nodes.node_set[node] + 1]:
            return False
        return bool((nodes.words[word] >> np.uint32(category % 32)) & np.uint32(1))
    missing = kind >> 2
    absent = value != value  # noqa: PLR0124  (NaN)
    zero = abs(value) <= ZERO or (absent and missing != 2)
    if (missing == 2 and absent) or (missing == 1 and zero):
        return bool(kind & 2)
    return bool((0.0 if zero else value) <= nodes.threshold[node])

"""Step functions of single features as a forest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.forest.model_text import ForestModel
from tidemark.registry.schema import ModelSchema

_MISSING_RIGHT: Final = 8
"""LightGBM's decision type of a number: NaN is missing, and goes to the right."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a feature adds to each output.

    feature: its index.  cuts: (b - 1,) thresholds, rising.  values: (b + 1, outputs) of each bin and, last, of what is
    missing.  counts: (b + 1,) training rows of each.
    """

    feature: int
    cuts: NDArray[np.float64]
    values: NDArray[np.float64]
    counts: NDArray[np.int64]


def step_forest(steps: Sequence[Step], constant: NDArray[np.float64], schema: ModelSchema) -> ForestModel:
    """The forest whose scores are a constant and what each step adds.

    Args:
        steps: a tree is made of each for each output; none make a constant forest.
        constant: (outputs,), in the leaves of the first trees.
        schema: features and classes.

    Returns:
        A forest whose scores are sums.

    """
    outputs = len(constant)
    shapes = [_shape(step) for step in steps] or [_Shape.constant()]
    given = [step.values for step in steps] or [np.zeros((1, outputs))]
    trees = [
        (shape, values[:, output] + (constant[output] if at == 0 else 0.0))
        for at, (shape, values) in enumerate(zip(shapes, given, strict=True))
        for output in range(outputs)
    ]
    nodes = [len(shape.left) for shape, _ in trees]
    return ForestModel(
        feature_names=schema.features,
        objective=schema.objectives[0],
        sigmoid=1.0,
        sqrt=False,
        outputs=outputs,
        classes=len(schema.classes) or outputs,
        average_output=False,
        split_feature=np.concatenate([shape.feature for shape, _ in trees]).astype(np.int32),
        threshold=np.concatenate([shape.threshold for shape, _ in trees]),
        decision_type=np.full(sum(nodes), _MISSING_RIGHT, np.uint8),
        left=np.concatenate([shape.left for shape, _ in trees]).astype(np.int32),
        right=np.concatenate([shape.right for shape, _ in trees]).astype(np.int32),
        node_count=np.concatenate([shape.node_count for shape, _ in trees]),
        node_start=np.cumsum([0, *nodes]).astype(np.int64),
        leaf_value=np.concatenate([values for _, values in trees]),
        leaf_weight=np.concatenate([shape.leaf_count for shape, _ in trees]).astype(np.float64),
        leaf_count=np.concatenate([shape.leaf_count for shape, _ in trees]),
        leaf_start=np.cumsum([0, *(len(values) for _, values in trees)]).astype(np.int64),
        set_first=np.zeros(len(trees) + 1, np.int64),
        set_start=np.zeros(1, np.int64),
        words=np.zeros(0, np.uint32),
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """A tree without its leaves' values, whose leaves are numbered as the bins."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    node_count: NDArray[np.int64]
    leaf_count: NDArray[np.int64]

    @classmethod
    def constant(cls) -> _Shape:
        none = np.zeros(0, np.int64)
        return cls(none, np.zeros(0), none, none, none, np.ones(1, np.int64))


def _shape(step: Step) -> _Shape:
    """What is missing leaves at the root; bins are told apart by halves.

    No leaf has a count of 0: contributions divide by it.
    """
    counts = np.maximum(1, step.counts)
    bins = len(step.cuts) + 1
    threshold: list[float] = []
    left: list[int] = []
    right: list[int] = []
    node_count: list[int] = []

    def grow(first: int, last: int) -> int:
        """Node over the bins first to last - 1; a bin alone is a leaf."""
        if last - first == 1:
            return ~first
        node, middle = len(threshold), (first + last) // 2
        threshold.append(float(step.cuts[middle - 1]))
        node_count.append(int(counts[first:last].sum()))
        left.append(0)
        right.append(0)
        left[node], right[node] = grow(first, middle), grow(middle, last)
        return node

    threshold.append(np.inf)
    node_count.append(int(counts.sum()))
    left.append(0)
    right.append(~bins)
    left[0] = grow(0, bins)
    return _Shape(
        np.full(len(threshold), step.feature), np.array(threshold), np.array(left), np.array(right),
        np.array(node_count, np.int64), counts.astype(np.int64),
    )  # fmt: skip

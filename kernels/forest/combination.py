"""Forests put together from others: scores scaled and shifted, and the trees of several forests laid side by side.

A raw score is a sum over trees, so that an affine change of it is a change of leaves, and a weighted mean of the scores
of several forests is again a forest. What was calibrated or combined is thus read, checked, predicted and explained as
any other forest.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kernels.forest.model_text import ForestModel


def affine(model: ForestModel, slope: float, intercept: NDArray[np.float64]) -> ForestModel:
    """The forest whose scores are ``slope * score + intercept``.

    A random forest's score is taken as the mean over its iterations, and becomes a sum of leaves.

    Args:
        model: k outputs and at least one iteration.
        slope: of every output.
        intercept: (k,), added to the leaves of the first iteration.

    Returns:
        A forest of the same trees whose scores are sums.

    Raises:
        ValueError: the forest has no trees, or the intercepts are not one for each output.

    """
    if model.trees == 0 or intercept.shape != (model.outputs,):
        raise ValueError(f"expected trees and {model.outputs} intercepts, got {model.trees} and {intercept.shape}")
    if model.average_output:
        slope /= model.iterations
    values = model.leaf_value * slope
    for output in range(model.outputs):
        values[model.leaf_start[output] : model.leaf_start[output + 1]] += intercept[output]
    return replace(model, leaf_value=values, average_output=False)


def joined(models: Sequence[ForestModel]) -> ForestModel:
    """The forest whose scores are the sums of the scores of several forests.

    Args:
        models: forests whose scores are sums, of the same features, objective and outputs.

    Returns:
        Their trees, one forest after the other.

    Raises:
        ValueError: there are none, one is a mean over its trees, or they are of different tasks.

    """
    if not models:
        raise ValueError("expected at least one forest")
    first = models[0]
    for model in models:
        same = (model.feature_names, model.objective, model.sigmoid, model.sqrt, model.outputs) == (
            first.feature_names, first.objective, first.sigmoid, first.sqrt, first.outputs
        )  # fmt: skip
        if model.average_output or not same:
            raise ValueError("expected forests of the same features and objective whose scores are sums")
    return replace(
        first,
        split_feature=np.concatenate([model.split_feature for model in models]),
        threshold=np.concatenate([model.threshold for model in models]),
        decision_type=np.concatenate([model.decision_type for model in models]),
        left=np.concatenate([model.left for model in models]),
        right=np.concatenate([model.right for model in models]),
        node_count=np.concatenate([model.node_count for model in models]),
        node_start=_starts([model.node_start for model in models]),
        leaf_value=np.concatenate([model.leaf_value for model in models]),
        leaf_weight=np.concatenate([model.leaf_weight for model in models]),
        leaf_count=np.concatenate([model.leaf_count for model in models]),
        leaf_start=_starts([model.leaf_start for model in models]),
        set_first=_starts([model.set_first for model in models]),
        set_start=_starts([model.set_start for model in models]),
        words=np.concatenate([model.words for model in models]),
    )


def stacked(models: Sequence[ForestModel]) -> ForestModel:
    """The forest of several outputs whose scores are those of several forests of one.

    Args:
        models: forests of the same features and objective, each of one output whose scores are sums.

    Returns:
        Their trees in turn; of a forest with fewer trees than another, the rest are constants of 0.

    Raises:
        ValueError: there are none, or they are other forests than that.

    """
    if not models or any(model.outputs != 1 or not model.trees for model in models):
        raise ValueError("expected forests with trees, of one output each")
    trees = range(max(model.trees for model in models))
    parts = [_tree(model, tree) if tree < model.trees else _nothing(model) for tree in trees for model in models]
    return replace(joined(parts), outputs=len(models), classes=len(models))


def _tree(model: ForestModel, tree: int) -> ForestModel:
    """A tree as a forest of its own."""
    nodes = slice(int(model.node_start[tree]), int(model.node_start[tree + 1]))
    leaves = slice(int(model.leaf_start[tree]), int(model.leaf_start[tree + 1]))
    first, last = int(model.set_first[tree]), int(model.set_first[tree + 1])
    sets = model.set_start[first : last + 1]
    return replace(
        model,
        split_feature=model.split_feature[nodes],
        threshold=model.threshold[nodes],
        decision_type=model.decision_type[nodes],
        left=model.left[nodes],
        right=model.right[nodes],
        node_count=model.node_count[nodes],
        node_start=np.array([0, nodes.stop - nodes.start]),
        leaf_value=model.leaf_value[leaves],
        leaf_weight=model.leaf_weight[leaves],
        leaf_count=model.leaf_count[leaves],
        leaf_start=np.array([0, leaves.stop - leaves.start]),
        set_first=np.array([0, last - first]),
        set_start=sets - sets[0],
        words=model.words[int(sets[0]) : int(sets[-1])],
    )


def _nothing(model: ForestModel) -> ForestModel:
    """A tree of one leaf, which adds nothing."""
    return replace(
        model,
        split_feature=model.split_feature[:0],
        threshold=model.threshold[:0],
        decision_type=model.decision_type[:0],
        left=model.left[:0],
        right=model.right[:0],
        node_count=model.node_count[:0],
        node_start=np.zeros(2, np.int64),
        leaf_value=np.zeros(1),
        leaf_weight=np.zeros(1),
        leaf_count=np.ones(1, np.int64),
        leaf_start=np.array([0, 1]),
        set_first=np.zeros(2, np.int64),
        set_start=np.zeros(1, np.int64),
        words=model.words[:0],
    )


def _starts(starts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Starts in arrays that lie one after the other, and the end of the last."""
    shifts = np.cumsum([0, *(each[-1] for each in starts)])
    shifted = [each[:-1] + shift for each, shift in zip(starts, shifts, strict=False)]
    return np.concatenate([*shifted, shifts[-1:]]).astype(np.int64)

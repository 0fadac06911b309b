"""A forest as LightGBM model text (``version=v4``), as `kernels.forest.model_text` reads it.

What the reader does not keep is written as nothing: gains and values of inner nodes are 0, ranges of features "none".
Predictions and contributions need none of them. Numbers are written so that reading gives the same bits.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from kernels.forest.model_text import ForestModel

_WITH_CLASSES = ("multiclass", "multiclassova")
_WITH_SIGMOID = ("binary", "multiclassova")


def write_model(model: ForestModel) -> str:
    """Text of a forest.

    Args:
        model: as the reader gives it, or put together of such.

    Returns:
        Text from which `parse_model` reads the same forest, and which LightGBM loads.

    """
    trees = ["".join(f"{line}\n" for line in _tree(model, tree)) for tree in range(model.trees)]
    head = [
        "tree",
        "version=v4",
        f"num_class={model.outputs}",
        f"num_tree_per_iteration={model.outputs}",
        "label_index=0",
        f"max_feature_idx={len(model.feature_names) - 1}",
        *([] if model.objective is None else [f"objective={_objective(model)}"]),
        *(["average_output"] if model.average_output else []),
        f"feature_names={' '.join(model.feature_names)}",
        f"feature_infos={' '.join('none' for _ in model.feature_names)}",
        f"tree_sizes={' '.join(str(len(text)) for text in trees)}",
        "",
    ]
    counts = np.bincount(model.split_feature, minlength=len(model.feature_names))
    used = sorted(np.flatnonzero(counts).tolist(), key=lambda feature: (-counts[feature], feature))
    tail = [
        "end of trees",
        "",
        "feature_importances:",
        *(f"{model.feature_names[feature]}={counts[feature]}" for feature in used),
        "",
        "parameters:",
        "end of parameters",
        "",
        "pandas_categorical:null",
    ]
    return "".join(f"{line}\n" for line in head) + "".join(trees) + "".join(f"{line}\n" for line in tail)


def _objective(model: ForestModel) -> str:
    words = [str(model.objective)]
    if model.objective in _WITH_CLASSES:
        words.append(f"num_class:{model.outputs}")
    if model.objective in _WITH_SIGMOID:
        words.append(f"sigmoid:{_real(model.sigmoid)}")
    return " ".join([*words, "sqrt"] if model.sqrt else words)


def _tree(model: ForestModel, tree: int) -> Iterator[str]:
    nodes = slice(int(model.node_start[tree]), int(model.node_start[tree + 1]))
    leaves = slice(int(model.leaf_start[tree]), int(model.leaf_start[tree + 1]))
    first, last = int(model.set_first[tree]), int(model.set_first[tree + 1])
    nothing = " ".join("0" for _ in range(nodes.stop - nodes.start))
    yield f"Tree={tree}"
    yield f"num_leaves={leaves.stop - leaves.start}"
    yield f"num_cat={last - first}"
    yield f"split_feature={_integers(model.split_feature[nodes])}"
    yield f"split_gain={nothing}"
    yield f"threshold={_reals(model.threshold[nodes])}"
    yield f"decision_type={_integers(model.decision_type[nodes])}"
    yield f"left_child={_integers(model.left[nodes])}"
    yield f"right_child={_integers(model.right[nodes])}"
    yield f"leaf_value={_reals(model.leaf_value[leaves])}"
    yield f"leaf_weight={_reals(model.leaf_weight[leaves])}"
    yield f"leaf_count={_integers(model.leaf_count[leaves])}"
    yield f"internal_value={nothing}"
    yield f"internal_weight={nothing}"
    yield f"internal_count={_integers(model.node_count[nodes])}"
    if last > first:
        starts = model.set_start[first : last + 1]
        yield f"cat_boundaries={_integers(starts - starts[0])}"
        yield f"cat_threshold={_integers(model.words[starts[0] : starts[-1]])}"
    yield "is_linear=0"
    yield "shrinkage=1"
    yield ""
    yield ""


def _integers(numbers: NDArray[np.integer]) -> str:
    return " ".join(map(str, numbers.tolist()))


def _reals(numbers: NDArray[np.float64]) -> str:
    return " ".join(_written(numbers.tolist()))


def _written(numbers: Iterable[float]) -> Iterator[str]:
    return map(_real, numbers)


def _real(number: float) -> str:
    return f"{number:.17g}"

"""LightGBM forests, read once from model text and predicted with numba: ``Booster.predict``, several times faster.

Raw scores are equal to LightGBM's to the last bit: the same decisions, and the same sums in the same order.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kernels.forest import _bundles as bundles
from kernels.forest import _tables as tables
from kernels.forest import _walk as walk
from kernels.forest._contributions import explain
from kernels.forest._nodes import nodes_of
from kernels.forest._walk import add_changes
from kernels.forest.model_text import MAX_BYTES, ForestModel, parse_model
from kernels.numerics._checks import array, describe, integer
from kernels.numerics._exponential import exponential
from kernels.uncertainty._probabilities import FLOATS
from kernels.uncertainty.committee import bald, consensus_entropy, virtual_ends

# Below so many rows walking is faster than encoding rows and looking up masks: of forests of 20 trees to 300, and of
# 500 trees with 63 leaves each, whose masks (19 MB) stay in no cache.
_FEW_ROWS = 12
_FEW_ROWS_OF_MANY_MASKS = 256
_MANY_MASKS = 16 * 1024 * 1024

_EXPONENTIAL = ("poisson", "gamma", "tweedie")
_SIGMOID = ("binary", "multiclassova", "cross_entropy")


class Forest:
    """A LightGBM model that predicts. Rows are (n, d) float32 or float64, features in its order; NaN is missing.

    Every method raises ValueError where rows have another shape or dtype than that. Instances don't change and may be
    shared by threads.
    """

    def __init__(self, model: ForestModel) -> None:
        self.model = model
        self._nodes = nodes_of(model)
        self._tables = tables.build(model, self._nodes)
        self._bundles = bundles.build(model, self._nodes)
        many = self._bundles is not None and self._tables is not None and self._tables.masks.nbytes > _MANY_MASKS
        self._few_rows = _FEW_ROWS_OF_MANY_MASKS if many else _FEW_ROWS
        self._whole = np.array([model.iterations], dtype=np.int64)
        self._levels = _levels(model)

    @classmethod
    def from_text(
        cls,
        text: bytes | str,
        *,
        max_bytes: int = MAX_BYTES,
        expect_features: Sequence[str] | None = None,
        expect_classes: int | None = None,
        expect_objective: str | None = None,
    ) -> Self:
        """Read model text as ``parse_model`` does. Raises ModelTextError."""
        return cls(
            parse_model(
                text,
                max_bytes=max_bytes,
                expect_features=expect_features,
                expect_classes=expect_classes,
                expect_objective=expect_objective,
            )
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the d features, in the order of columns."""
        return self.model.feature_names

    @property
    def classes(self) -> int:
        """Classes of the task: 2 for binary, c for multiclass, 1 for regression and custom objectives of one output."""
        return self.model.classes

    @property
    def outputs(self) -> int:
        """Raw scores of a row: c for multiclass, else 1."""
        return self.model.outputs

    @property
    def iterations(self) -> int:
        """Boosting iterations: trees of each output."""
        return self.model.iterations

    def raw(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Raw scores, before any link function, as ``Booster.predict(raw_score=True)``.

        x: (n, d).  Returns float64 (n,), or (n, c) where there are c > 1 outputs.
        """
        scores: NDArray[np.float64] = self._prefixes(self._rows(x), self._whole)[0]
        return scores

    def prefix_raw(self, x: NDArray[Any], ends: Sequence[int]) -> NDArray[np.float64]:
        """Raw scores of the forest truncated after each of some iterations, in one pass: its virtual ensemble.

        x: (n, d).  ends: e iterations, rising, each from 0 to ``iterations``.
        Returns float64 (e, n), or (e, n, c) where there are c > 1 outputs.
        Malinin et al. 2021, "Uncertainty in gradient boosting via ensembles", 3.2.
        Raises ValueError also where ``ends`` do not rise or are out of range.
        """
        checked = self._rows(x)
        stops = [integer("ends", end, 0, self.iterations) for end in ends]
        if any(later < sooner for sooner, later in pairwise(stops)):
            raise ValueError(f"ends: expected rising numbers of iterations, got {stops}")
        return self._prefixes(checked, np.array(stops, dtype=np.int64))

    def _prefixes(self, rows: NDArray[Any], ends: NDArray[np.int64]) -> NDArray[np.float64]:
        out = np.empty((len(ends), len(rows), self.outputs))
        if self._tables is not None and len(rows) >= self._few_rows:
            tables.add_up(rows, self.outputs, ends, self._tables, out)
        elif self._bundles is not None:
            values, reached = np.empty(len(self._bundles.feature)), np.empty(bundles.TREES, np.int64)
            bundles.add_up(rows, ends, self._bundles, values, reached, out)
        else:
            walk.add_up(rows, self.outputs, ends, self._nodes, out)
        return out[:, :, 0] if self.outputs == 1 else out

    def probability(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Predictions, as ``Booster.predict``.

        x: (n, d).  Returns float64: for a binary model P(class 1) (n,); for multiclass (n, c), rows summing to 1
        (``multiclassova``: each class by itself, so they do not); else the predicted value (n,).
        """
        return self.linked(self.raw(x), self.iterations)

    def linked(self, raw: NDArray[np.float64], iterations: int) -> NDArray[np.float64]:
        """Turn raw scores of the first ``iterations`` iterations into predictions: link function and averaging.

        raw: (..., n) or (..., n, c), as ``raw`` and ``prefix_raw`` return them.  Returns float64 of that shape.
        """
        model = self.model
        if model.average_output:
            raw = raw / max(1, iterations)
        if model.objective in _SIGMOID:
            result = 1.0 / (1.0 + exponential(-model.sigmoid * raw))
        elif model.objective == "multiclass":
            exponentials = exponential(raw - raw.max(axis=-1, keepdims=True))
            result = exponentials / exponentials.sum(axis=-1, keepdims=True)
        elif model.objective in _EXPONENTIAL:
            result = exponential(raw)
        elif model.objective == "cross_entropy_lambda":
            result = np.log1p(exponential(raw))
        elif model.sqrt:
            result = np.sign(raw) * raw * raw
        else:
            result = raw
        return np.asarray(result, dtype=np.float64)

    def virtual_ensemble(
        self, x: NDArray[Any], members: int = 10
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Predictions and what is not known about them, from one boosted forest in one pass.

        The members are the forest truncated after each of ``virtual_ends(iterations, members)``. For a classifier,
        the uncertainty is the entropy of their mean, and the disagreement its part that more data would settle, their
        mutual information (``bald``); for regression both are the variance of their predictions.

        x: (n, d).  members: >= 1.  Returns float64: probability as of ``probability``, uncertainty (n,), disagreement
        (n,). Raises ValueError also for a forest without trees, and for ``multiclassova`` and other objectives of
        several outputs that are no probabilities.
        Malinin et al. 2021, "Uncertainty in gradient boosting via ensembles".
        """
        ends = virtual_ends(self.iterations, members)
        predicted = np.stack([self.linked(raw, end) for raw, end in zip(self.prefix_raw(x, ends), ends, strict=True)])
        if self.classes == 1:
            spread = predicted.var(axis=0)
            return predicted[-1], spread, spread
        return predicted[-1], consensus_entropy(predicted), bald(predicted)

    def expected_change(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Expected model change: by how much a label of each row is expected to move the leaves that it reaches.

        A boosting step moves a leaf by gradient / (sum of hessians + new hessian); with p the prediction, the expected
        magnitude of class k's gradient is 2 p_k (1 - p_k), and its hessian p_k (1 - p_k). Summed over trees: rows that
        are unsure, and reach leaves that hold little data, count.

        x: (n, d).  Returns float64 (n,), in units of raw score, without the learning rate. Raises ValueError also for
        models that are not binary or multiclass.
        Settles et al. 2008, "Multiple-instance active learning" (expected gradient length), for Newton steps of
        leaves (Friedman 2001, "Greedy function approximation: a gradient boosting machine").
        """
        if self.model.objective not in {"binary", "multiclass"}:
            raise ValueError(f"expected_change: the model's objective is {self.model.objective}, not a classifier's")
        probability = self.probability(x)
        hessian = (probability * (1 - probability)).reshape(len(probability), self.outputs)
        change = np.zeros(len(probability))
        add_changes(self.leaves(x), hessian, self.model.leaf_start, self.model.leaf_weight, change)
        return change

    def leaves(self, x: NDArray[Any]) -> NDArray[np.int32]:
        """Leaf numbers, as ``Booster.predict(pred_leaf=True)``.

        x: (n, d).  Returns int32 (n, trees), trees of an iteration side by side.
        """
        checked = self._rows(x)
        out = np.empty((len(checked), self.model.trees), dtype=np.int32)
        if self._tables is None or len(checked) < _FEW_ROWS:
            walk.find_leaves(checked, self._nodes, out)
        else:
            tables.find_leaves(checked, self._tables, out)
        return out

    def contributions(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """How much each feature added to a row's score, as ``Booster.predict(pred_contrib=True)``: Shapley values.

        In random-forest mode they explain the mean over iterations, from which the prediction follows, where LightGBM
        explains the sum.

        row: (d,) float32 or float64.  Returns float64 (d + 1,), or (c, d + 1) where there are c > 1 outputs; the last
        is the expected score, and their sum is the score that the link function takes.
        Lundberg et al. 2018, "Consistent individualized feature attribution for tree ensembles".
        """
        checked = array("row", row, FLOATS, (len(self.feature_names),))
        out = np.zeros((self.outputs, len(self.feature_names) + 1))
        explain(checked, self._levels, self._nodes, out)
        if self.model.average_output:
            out /= max(1, self.iterations)
        return out[0] if self.outputs == 1 else out

    def _rows(self, x: NDArray[Any]) -> NDArray[Any]:
        d = len(self.feature_names)
        if getattr(x, "ndim", 0) == 2 and x.shape[1] != d:
            raise ValueError(f"x: the model has {d} features ({self._named()}), got {describe(x)}")
        return array("x", x, FLOATS, (None, d))

    def _named(self) -> str:
        names = self.feature_names
        return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _levels(model: ForestModel) -> int:
    """One more than the splits of the longest path of the forest, root and leaf counted."""
    deepest = 0
    for t in range(model.trees):
        nodes = slice(model.node_start[t], model.node_start[t + 1])
        depth = [1] * int(nodes.stop - nodes.start)
        children = zip(model.left[nodes].tolist(), model.right[nodes].tolist(), strict=True)
        for parent, pair in enumerate(children):
            for child in pair:
                if child >= 0:
                    depth[child] = depth[parent] + 1
        deepest = max(deepest, *depth, 0)
    return deepest + 2

"""Learners that LightGBM grows: boosted trees, random forests, extremely randomised trees.

A forest's score is the mean over its trees of an affine function of the share of a class among a leaf's labels. Each
tree starts from equal odds, whatever the classes' shares; calibration puts the odds right.

A forest grows in four parts. Each part sees three quarters of the labels, and scores the quarter it has not seen: these
scores, by which the forest is calibrated and judged, cost no further training. LightGBM does not tell which rows it
drew for a tree, so that scores out of the bag can't be had.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.forest.combination import affine
from kernels.forest.model_text import ForestModel, parse_model
from tidemark.errors import ModelError
from tidemark.pipeline import training_params
from tidemark.registry.codec import MAX_TEXT
from tidemark.registry.validate import parse
from tidemark.training.learners.member import (
    FOLDS,
    LEAST_ROWS,
    MANY_ROWS,
    Fitted,
    Labels,
    Member,
    Model,
    Parameters,
    Task,
    Weighted,
    Weights,
    folds_of,
    part,
    unknown,
)

if TYPE_CHECKING:
    import lightgbm as lgb

_TREES: Final = 64
_LEAVES: Final = 32
_TREES_OF_CLASSES: Final = 320
"""Trees and leaves are bounded by what a prediction costs: see docs/explanation/learners.md."""
_BINS: Final = 63
"""Of a feature. With LightGBM's 255, a training takes up to twice as long and few labels say no more by it."""
_BINS_TO_DRAW_FROM: Final = 127
_DRAWN: Final = 0.632
"""Share of the rows that a bootstrap sample holds; LightGBM draws without replacement (Breiman 2001)."""
_DRAWN_OF_PART: Final = _DRAWN * FOLDS / (FOLDS - 1)


def boosted_parameters(rows: int, features: int) -> Parameters:
    """Defaults of boosted trees, measured: see `tidemark.training.trainer`."""
    return {
        "num_iterations": 60,
        "learning_rate": 0.1,
        "num_leaves": int(np.clip(rows // 100, 8, 31)),
        "min_data_in_leaf": int(np.clip(rows // 8, 3, 20)),
        "feature_fraction_bynode": min(1.0, max(0.3, 3 / features)),
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "max_bin": _BINS,
    }


def forest_parameters(rows: int, features: int, outputs: int = 1) -> Parameters:
    """Defaults of a random forest (Breiman 2001): deep trees, the root of the number of features at each split."""
    return {
        "num_iterations": int(np.clip(_TREES_OF_CLASSES // outputs, FOLDS, _TREES)) // FOLDS * FOLDS,
        "num_leaves": _LEAVES,
        "min_data_in_leaf": int(np.clip(rows // 500, 2, 20)),
        "min_data_in_bin": 1,
        "max_bin": _BINS,
        "feature_fraction_bynode": min(1.0, math.ceil(math.sqrt(features)) / features),
        "bagging_fraction": _DRAWN,
        "bagging_freq": 1,
        "boost_from_average": False,
        "boosting": "rf",
    }


def extra_trees_parameters(rows: int, features: int, outputs: int = 1) -> Parameters:
    """Defaults of extremely randomised trees (Geurts et al. 2006): thresholds at random, nearly all rows."""
    return forest_parameters(rows, features, outputs) | {
        "bagging_fraction": 0.9,
        "extra_trees": True,
        "max_bin": _BINS_TO_DRAW_FROM,
    }


def booster_of(
    x: NDArray[np.float64], y: Labels, task: Task, chosen: Parameters, weights: Weights = None
) -> lgb.Booster:
    """LightGBM's model of rows; the same from the same rows, parameters, threads and seed.

    Args:
        x: (n, d) rows, NaN is missing.
        y: (n,) classes, or numbers.
        task: what is learnt.
        chosen: parameters, `num_iterations` among them.
        weights: of the rows.

    Returns:
        The booster.

    Raises:
        ModelError: LightGBM can't train on these rows.

    """
    import lightgbm as lgb  # noqa: PLC0415 a second, which what trains nothing yet does not wait for

    rest = {name: value for name, value in chosen.items() if name != "num_iterations"}
    parameters: dict[str, Any] = {
        "seed": task.seed,
        "verbosity": -1,
        **rest,
        "num_threads": task.threads,
        "deterministic": True,
        "force_row_wise": True,
        "objective": "regression" if task.is_number else task.schema.objectives[0],
    }
    if task.classes > 2:
        parameters["num_class"] = task.classes
    data = lgb.Dataset(
        x, y, weight=weights, feature_name=list(task.schema.features), params=parameters, free_raw_data=False
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of parameters' aliases; the log is no place for them
            # Else the booster is written as text and read again, which takes a fifth of the time and changes nothing.
            return lgb.train(
                parameters, data, num_boost_round=int(chosen["num_iterations"]), keep_training_booster=True
            )
    except lgb.basic.LightGBMError as error:
        given = task.params or {}
        raise ModelError(f"LightGBM can't train on {len(x)} labels: {error}; check training.params {given}") from error


def _named(task: Task) -> Parameters:
    return training_params.named(task.params or {})


def boosted(x: NDArray[np.float64], y: Labels, task: Task, weights: Weights = None) -> lgb.Booster:
    """Boosted trees as LightGBM makes them; arguments as `booster_of` has them."""
    chosen = boosted_parameters(len(x), x.shape[1]) | _named(task)
    return booster_of(x, y, task, chosen, weights)


@dataclass(frozen=True, slots=True)
class _Booster:
    """A model as LightGBM holds it.

    iterations: over which scores are a mean; 1 where they are a sum.
    """

    booster: lgb.Booster
    task: Task
    iterations: int = 1

    def scores(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """As `Model.scores`, on one thread: LightGBM gives the sum over the trees of a forest too."""
        given = np.asarray(self.booster.predict(x, raw_score=True, num_threads=1), np.float64)
        return given.reshape(len(x), self.task.outputs) / self.iterations

    def forest(self) -> ForestModel:
        """As `Model.forest`. The slope of its sigmoid is 1: a calibration gives scores a slope of its own."""
        model = self._parsed(self.booster.model_to_string(num_iteration=-1))
        return affine(model, 1.0, np.zeros(self.task.outputs)) if model.average_output else model

    def _parsed(self, text: str) -> ForestModel:
        schema = self.task.schema
        if not self.task.is_number:
            return replace(parse(text, schema), sigmoid=1.0)
        model = parse_model(text, max_bytes=MAX_TEXT, expect_features=schema.features, expect_objective="regression")
        return replace(model, objective=schema.objectives[0])


def _boosted(x: NDArray[np.float64], y: Labels, task: Task, weights: Weights = None, /) -> Model:
    return _Booster(boosted(x, y, task, weights), task)


def _boosted_held_out(x: NDArray[np.float64], y: Labels, task: Task, weights: Weights = None, /) -> Fitted:
    if len(x) < LEAST_ROWS:
        return unknown(_boosted(x, y, task, weights), len(x), task)
    folds = folds_of(y)
    held_out = np.full((len(x), task.outputs), np.nan)
    for fold in range(FOLDS if len(x) <= MANY_ROWS else 1):
        out = folds == fold
        held_out[out] = _boosted(x[~out], y[~out], task, part(weights, ~out)).scores(x[out])
    return Fitted(_boosted(x, y, task, weights), held_out)


class _Forest:
    def __init__(self, *, extra: bool) -> None:
        self._defaults = extra_trees_parameters if extra else forest_parameters
        self._fixed: Parameters = {"boosting": "rf", "boost_from_average": False}
        self._extra = extra

    def fit(self, x: NDArray[np.float64], y: Labels, task: Task, weights: Weights = None, /) -> Model:
        return self._grown(x, y, task, self._chosen(x, task), weights)

    def fit_held_out(self, x: NDArray[np.float64], y: Labels, task: Task, weights: Weights = None, /) -> Fitted:
        if len(x) < LEAST_ROWS:
            return unknown(self.fit(x, y, task, weights), len(x), task)
        folds = folds_of(y)
        chosen = self._chosen(x, task)
        trees = int(chosen["num_iterations"])
        if not self._extra:
            chosen["bagging_fraction"] = min(_DRAWN_OF_PART * float(chosen["bagging_fraction"]) / _DRAWN, 0.99)
        parts, held_out = [], np.empty((len(x), task.outputs))
        for fold in range(FOLDS):
            out = folds == fold
            own = chosen | {"num_iterations": max(1, trees // FOLDS)}
            seeded = Task(task.schema, task.seed * FOLDS + fold, task.threads, task.params)
            grown = self._grown(x[~out], y[~out], seeded, own, part(weights, ~out))
            parts.append((grown, 1 / FOLDS, np.zeros(task.outputs)))
            held_out[out] = grown.scores(x[out])
        return Fitted(Weighted(parts), held_out)

    def _chosen(self, x: NDArray[np.float64], task: Task) -> Parameters:
        return self._defaults(len(x), x.shape[1], task.outputs) | _named(task) | self._fixed

    def _grown(self, x: NDArray[np.float64], y: Labels, task: Task, chosen: Parameters, weights: Weights) -> Model:
        booster = booster_of(x, y, task, chosen, weights)
        return _Booster(booster, task, booster.current_iteration())


_FOREST = _Forest(extra=False)
_EXTRA_TREES = _Forest(extra=True)

BOOSTED: Final = Member(_boosted, _boosted_held_out, lambda _: 1.0)
FOREST: Final = Member(_FOREST.fit, _FOREST.fit_held_out, lambda share: 0.25 / (share * (1 - share)))
EXTRA_TREES: Final = Member(_EXTRA_TREES.fit, _EXTRA_TREES.fit_held_out, lambda share: 0.25 / (share * (1 - share)))

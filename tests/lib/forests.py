"""Small LightGBM models of every kind, and nasty rows to ask them about."""

from dataclasses import dataclass
from functools import cache
from os import environ
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

FEATURES = 6
CATEGORICAL = (3, 4)
ENVIRONMENT = dict(environ)


@dataclass(frozen=True)
class Kind:
    params: dict[str, Any]
    target: str = "binary"
    categorical: bool = False


_BASE = {"verbosity": -1, "num_threads": 1, "num_leaves": 8, "min_data_in_leaf": 5, "learning_rate": 0.3, "seed": 7}
_BAGGED = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}

KINDS: dict[str, Kind] = {
    **{
        name: Kind({"objective": name}, "positive")
        for name in (
            "regression", "regression_l1", "quantile", "huber", "fair", "poisson", "mape", "gamma", "tweedie",
        )
    },
    "sqrt": Kind({"objective": "regression", "reg_sqrt": True}, "positive"),
    "cross_entropy": Kind({"objective": "cross_entropy"}),
    "cross_entropy_lambda": Kind({"objective": "cross_entropy_lambda"}),
    "binary": Kind({"objective": "binary"}),
    "binary_sigmoid": Kind({"objective": "binary", "sigmoid": 0.7}),
    "binary_categorical": Kind({"objective": "binary", "min_data_per_group": 5, "cat_smooth": 1.0}, categorical=True),
    "one_hot_categorical": Kind({"objective": "binary", "max_cat_to_onehot": 80}, categorical=True),
    "zero_is_missing": Kind({"objective": "binary", "zero_as_missing": True}),
    "zero_is_missing_categorical": Kind(
        {"objective": "binary", "zero_as_missing": True, "min_data_per_group": 5}, categorical=True
    ),
    "nothing_is_missing": Kind({"objective": "binary", "use_missing": False}),
    "multiclass": Kind({"objective": "multiclass", "num_class": 3}, "classes"),
    "multiclass_categorical": Kind(
        {"objective": "multiclass", "num_class": 3, "min_data_per_group": 5}, "classes", categorical=True
    ),
    "multiclassova": Kind({"objective": "multiclassova", "num_class": 3}, "classes"),
    "rf": Kind({"objective": "binary", **_BAGGED}),
    "rf_multiclass": Kind({"objective": "multiclass", "num_class": 3, **_BAGGED}, "classes"),
    "rf_regression": Kind({"objective": "regression", **_BAGGED}, "positive"),
    "dart": Kind({"objective": "binary", "boosting": "dart"}),
    "goss": Kind({"objective": "binary", "data_sample_strategy": "goss"}),
    "extra_trees": Kind({"objective": "binary", "extra_trees": True, "path_smooth": 1.0}),
    "monotone": Kind({"objective": "regression", "monotone_constraints": [1, 0, 0, 0, 0, 0]}, "positive"),
    "stumps": Kind({"objective": "binary", "num_leaves": 2}),
    "constant": Kind({"objective": "binary"}, "zeros"),
    "large": Kind({"objective": "binary", "num_leaves": 300, "min_data_in_leaf": 1}),
}  # fmt: skip


def rows(n: int, seed: int) -> NDArray[np.float64]:
    """Features with NaN, zeros, categories (also negative and unseen) and a constant column."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, FEATURES))
    x[:, 1] = np.round(x[:, 1], 1)
    x[:, 3] = rng.integers(0, 70, n)
    x[:, 4] = rng.integers(0, 5, n)
    x[:, 5] = 1.0
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.1] = 0.0
    return x


def target(name: str, x: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed + 1)
    filled = np.nan_to_num(x)
    signal = filled[:, 0] - filled[:, 1] * filled[:, 2] + 0.4 * (filled[:, 3] % 3) + rng.normal(size=len(x)) / 2
    if name == "zeros":
        return np.zeros(len(x))
    if name == "positive":
        return np.abs(signal) + 0.1
    if name == "classes":
        return np.digitize(signal, [-0.4, 0.6]).astype(np.float64)
    return (signal > 0.3).astype(np.float64)


def fitted(
    params: dict[str, Any],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    rounds: int,
    categorical: tuple[int, ...] = (),
) -> lgb.Booster:
    return lgb.train({**_BASE, **params}, lgb.Dataset(x, y, categorical_feature=list(categorical)), rounds)


def trained(kind: Kind, *, seed: int, rounds: int, n: int, **params: object) -> lgb.Booster:
    x = rows(n, seed)
    y = target(kind.target, x, seed)
    return fitted({**kind.params, **params}, x, y, rounds, CATEGORICAL if kind.categorical else ())


@cache
def booster(kind: str, *, seed: int = 0, rounds: int = 5, n: int = 300) -> lgb.Booster:
    return trained(KINDS[kind], seed=seed, rounds=rounds, n=n)


@cache
def model_text(kind: str, *, seed: int = 0, rounds: int = 5) -> str:
    return str(booster(kind, seed=seed, rounds=rounds).model_to_string())

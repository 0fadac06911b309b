"""Which of LightGBM's parameters `training.params` may set, and to what: what would end a training is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tidemark.runtime.suggestions import near

OWN: Final = {
    "objective": "it follows from the number of classes",
    "num_class": "it follows from the classes",
    "metric": "gates.metric says what models are compared by",
    "early_stopping_round": "there are too few labels to keep some aside for it; write num_iterations",
    "linear_tree": "linear trees can't be checked before they are loaded",
    "boosting": 'training.learner names what learns; write learner = "forest" for a random forest (rf)',
    "data_sample_strategy": "bagging_fraction and bagging_freq say how rows are drawn",
    "input_model": "a model is trained from its labels alone",
    "init_score": "a model is trained from its labels alone",
    "deterministic": "the same labels must give the same model",
    "device_type": "the same labels must give the same model on every machine",
    "num_threads": "the same labels must give the same model on every machine",
    "force_col_wise": "the same labels must give the same model on every machine",
    "force_row_wise": "the same labels must give the same model on every machine",
    "verbosity": "flows have a log of their own",
    "tree_learner": "training is local",
    "machines": "training is local",
    "num_machines": "training is local",
    "categorical_feature": "categories are numbers in the pipeline's order",
    "forcedsplits_filename": "a model is trained from its labels alone",
    "forcedbins_filename": "a model is trained from its labels alone",
    "parser_config_file": "rows do not come from a file",
}
"""Parameters that are not to be set, and why."""
_ALIASES: Final = {
    "n_estimators": "num_iterations",
    "num_boost_round": "num_iterations",
    "num_trees": "num_iterations",
    "num_rounds": "num_iterations",
    "num_round": "num_iterations",
    "n_iter": "num_iterations",
    "max_iter": "num_iterations",
    "eta": "learning_rate",
    "shrinkage_rate": "learning_rate",
    "num_leaf": "num_leaves",
    "max_leaves": "num_leaves",
    "max_leaf_nodes": "num_leaves",
    "min_child_samples": "min_data_in_leaf",
    "min_samples_leaf": "min_data_in_leaf",
    "min_child_weight": "min_sum_hessian_in_leaf",
    "subsample": "bagging_fraction",
    "bagging": "bagging_fraction",
    "subsample_freq": "bagging_freq",
    "colsample_bytree": "feature_fraction",
    "colsample_bynode": "feature_fraction_bynode",
    "reg_alpha": "lambda_l1",
    "reg_lambda": "lambda_l2",
    "min_split_gain": "min_gain_to_split",
    "unbalance": "is_unbalance",
    "early_stopping_rounds": "early_stopping_round",
    "early_stopping": "early_stopping_round",
    "n_iter_no_change": "early_stopping_round",
    "application": "objective",
    "app": "objective",
    "loss": "objective",
    "num_classes": "num_class",
    "linear_trees": "linear_tree",
    "boosting_type": "boosting",
    "boost": "boosting",
    "device": "device_type",
    "n_jobs": "num_threads",
    "nthread": "num_threads",
    "verbose": "verbosity",
    "random_state": "seed",
    "random_seed": "seed",
}


@dataclass(frozen=True, slots=True)
class _Range:
    """What a parameter may be. `above`: the least value itself is none of them."""

    whole: bool
    least: float
    most: float
    above: bool = False


_SEED: Final = _Range(whole=True, least=0, most=2**31 - 1)
_SHARE: Final = _Range(whole=False, least=0, most=1, above=True)
_LARGE: Final = _Range(whole=False, least=0, most=1e15)
_POSITIVE: Final = _Range(whole=False, least=0, most=1e15, above=True)
RANGES: Final = {
    "num_iterations": _Range(whole=True, least=1, most=10_000),
    "learning_rate": _Range(whole=False, least=0, most=100, above=True),
    "num_leaves": _Range(whole=True, least=2, most=4_096),
    "max_depth": _Range(whole=True, least=-1, most=1_000),
    "min_data_in_leaf": _Range(whole=True, least=0, most=10**9),
    "min_sum_hessian_in_leaf": _LARGE,
    "bagging_fraction": _Range(whole=False, least=0.1, most=1),
    "bagging_freq": _Range(whole=True, least=0, most=10_000),
    "bagging_seed": _SEED,
    "feature_fraction": _SHARE,
    "feature_fraction_bynode": _SHARE,
    "feature_fraction_seed": _SEED,
    "extra_seed": _SEED,
    "data_random_seed": _SEED,
    "seed": _SEED,
    "max_delta_step": _LARGE,
    "lambda_l1": _LARGE,
    "lambda_l2": _LARGE,
    "min_gain_to_split": _LARGE,
    "min_data_per_group": _Range(whole=True, least=1, most=10**9),
    "max_cat_threshold": _Range(whole=True, least=1, most=10**6),
    "max_cat_to_onehot": _Range(whole=True, least=1, most=10**6),
    "cat_l2": _LARGE,
    "cat_smooth": _LARGE,
    "max_bin": _Range(whole=True, least=2, most=65_535),
    "min_data_in_bin": _Range(whole=True, least=1, most=10**9),
    "bin_construct_sample_cnt": _Range(whole=True, least=1, most=10**9),
    "scale_pos_weight": _POSITIVE,
    "sigmoid": _POSITIVE,
}
"""Numbers, and what they may be."""
TRUTHS: Final = frozenset({"extra_trees", "is_unbalance", "boost_from_average", "use_missing", "zero_as_missing"})


_FORESTS: Final = ("forest", "extra_trees")


def problems(params: Mapping[str, float | int | str | bool], learner: str = "boosted") -> Iterator[tuple[str, str]]:
    """What is wrong with parameters.

    Args:
        params: as in `training.params`.
        learner: as in `training.learner`.

    Yields:
        The parameter, and what is wrong with it in a sentence that says what to do.

    """
    seen: dict[str, str] = {}
    for name, value in params.items():
        known = _ALIASES.get(name, name)
        if known in seen:
            yield name, f"is another name of {seen[known]}; keep one"
        seen.setdefault(known, name)
        if known in OWN:
            yield name, f"can't be set: {OWN[known]}; remove it"
        elif known in TRUTHS:
            if not isinstance(value, bool):
                yield name, f"{value!r} is wrong; write true or false"
        elif known in RANGES:
            wrong = _outside(RANGES[known], value)
            if wrong:
                yield name, f"{value!r} is wrong; {wrong}"
        else:
            close = near(name, [*RANGES, *TRUTHS])
            remedy = f"did you mean {close}?" if close else "docs/how-to/operations.md lists those that are"
            yield name, f"is no parameter that can be set; {remedy}"
    if params.get("is_unbalance") is True and "scale_pos_weight" in params:
        yield "scale_pos_weight", "excludes is_unbalance; keep one"
    yield from _problems_of_learner(params, learner)


def _problems_of_learner(params: Mapping[str, float | int | str | bool], learner: str) -> Iterator[tuple[str, str]]:
    if learner == "linear":
        yield from ((name, "has no meaning with learner = 'linear'; remove it") for name in params)
    for name, value in params.items() if learner in _FORESTS else ():
        known = _ALIASES.get(name, name)
        if known == "bagging_freq" and value == 0:
            yield name, f"0 is wrong; learner = {learner!r} draws rows for each tree: write 1"
        elif known == "bagging_fraction" and value == 1:
            yield name, f"1 is wrong; learner = {learner!r} draws rows for each tree: write a number below 1"
        elif known == "extra_trees":
            yield name, f"can't be set with learner = {learner!r}, which says it; remove it"


def named(params: Mapping[str, float | int | str | bool]) -> dict[str, float | int | str | bool]:
    """The parameters under LightGBM's first names, so that a default and its alias never meet."""
    return {_ALIASES.get(name, name): value for name, value in params.items()}


def _outside(allowed: _Range, value: object) -> str | None:
    least, most = (int(allowed.least), int(allowed.most)) if allowed.whole else (allowed.least, allowed.most)
    bounds = f"above {least:g} and at most {most:g}" if allowed.above else f"from {least:,} to {most:,}"
    wanted = f"write a {'whole number' if allowed.whole else 'number'} {bounds}"
    if isinstance(value, bool) or not isinstance(value, int if allowed.whole else int | float):
        return wanted
    right = math.isfinite(value) and allowed.least <= value <= allowed.most
    return None if right and not (allowed.above and value <= allowed.least) else wanted

"""Forests that are put together and written are LightGBM models like others."""

from dataclasses import replace

import forests
import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.forest.combination import affine, joined, stacked
from kernels.forest.forest import Forest
from kernels.forest.model_text import ForestModel, parse_model
from kernels.forest.model_writer import write_model

ROWS = forests.rows(200, 11)
CLASSIFIERS = ["binary", "binary_categorical", "multiclass_categorical", "rf", "rf_multiclass", "constant", "large"]


def model(kind: str) -> ForestModel:
    return parse_model(forests.model_text(kind))


def scores(model: ForestModel) -> NDArray[np.float64]:
    """Raw scores (n, outputs) that LightGBM gives, of a random forest their mean."""
    booster = lgb.Booster(model_str=write_model(model))
    raw = np.asarray(booster.predict(ROWS, raw_score=True, num_threads=1)).reshape(len(ROWS), -1)
    return raw / model.iterations if model.average_output else raw


@pytest.mark.parametrize("kind", sorted(forests.KINDS))
def test_what_is_written_is_read_as_it_was_and_lightgbm_predicts_the_same(kind: str) -> None:
    before = model(kind)
    text = write_model(before)
    after = parse_model(text)
    for name in ForestModel.__slots__:
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name), err_msg=name)
    loaded = lgb.Booster(model_str=text)
    expected = forests.booster(kind).predict(ROWS, num_threads=1)
    np.testing.assert_array_equal(loaded.predict(ROWS, num_threads=1), expected)
    contributions = forests.booster(kind).predict(ROWS[:20], pred_contrib=True)
    np.testing.assert_allclose(loaded.predict(ROWS[:20], pred_contrib=True), contributions, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_scores_are_scaled_and_shifted(kind: str) -> None:
    before = model(kind)
    intercept = np.linspace(-1.0, 2.0, before.outputs)
    after = affine(before, 0.7, intercept)
    np.testing.assert_allclose(scores(after), 0.7 * scores(before) + intercept, rtol=1e-9, atol=1e-9)
    raw = Forest(after).raw(ROWS).reshape(len(ROWS), -1)
    np.testing.assert_array_equal(raw, scores(after))


@pytest.mark.parametrize(
    "kinds",
    [("binary", "rf", "extra_trees"), ("binary_categorical", "stumps"), ("multiclass_categorical", "multiclass")],
)
def test_scores_of_forests_are_added(kinds: tuple[str, ...]) -> None:
    parts = [affine(model(kind), 0.5, np.zeros(model(kind).outputs)) for kind in kinds]
    whole = joined(parts)
    np.testing.assert_allclose(scores(whole), sum(map(scores, parts)), rtol=1e-9, atol=1e-9)
    again = parse_model(write_model(whole))
    np.testing.assert_array_equal(Forest(again).raw(ROWS), Forest(whole).raw(ROWS))


def test_forests_of_other_tasks_are_not_added() -> None:
    with pytest.raises(ValueError, match="same features and objective"):
        joined([model("binary"), model("multiclass")])
    with pytest.raises(ValueError, match="scores are sums"):
        joined([model("rf")])
    with pytest.raises(ValueError, match="at least one"):
        joined([])
    with pytest.raises(ValueError, match="1 intercepts"):
        affine(model("binary"), 1.0, np.zeros(2))


def test_stacked_forests_have_the_scores_of_each_whatever_their_numbers_of_trees() -> None:
    first, second = model("binary_categorical"), affine(model("binary"), 0.5, np.array([1.0]))
    few = joined([second, second, second])
    both = replace(stacked([first, few]), objective=None)
    np.testing.assert_allclose(scores(both), np.hstack([scores(first), scores(few)]), rtol=1e-12)
    np.testing.assert_array_equal(Forest(both).raw(ROWS), scores(both))


def test_what_has_several_outputs_is_not_stacked() -> None:
    with pytest.raises(ValueError, match="one output each"):
        stacked([model("multiclass_categorical")])
    with pytest.raises(ValueError, match="one output each"):
        stacked([])

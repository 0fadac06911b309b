from __future__ import annotations

import numpy as np
import pytest
from models import dataset_of, rows, small_pipeline

from tidemark.errors import ConfigError, ModelError
from tidemark.evaluation.metrics import average_precision
from tidemark.pipeline import training_params
from tidemark.registry.schema import ModelSchema
from tidemark.registry.validate import parse
from tidemark.training.learners.trees import boosted_parameters as defaults
from tidemark.training.trainer import check_parameters, train

TWO = ModelSchema.of(small_pipeline())
THREE = ModelSchema.of(small_pipeline(classes=("x", "y", "z")))


@pytest.mark.parametrize("schema", [TWO, THREE], ids=["binary", "multiclass"])
def test_the_same_rows_give_the_same_text(schema: ModelSchema) -> None:
    data = dataset_of(*rows(90, 3, len(schema.classes)))
    first, second = train(data, schema), train(data, schema)
    assert first.text == second.text
    assert first.structure_sha256 == second.structure_sha256
    assert train(data, schema, seed=1).text != first.text


@pytest.mark.parametrize("schema", [TWO, THREE], ids=["binary", "multiclass"])
def test_probabilities_have_a_column_for_each_class_and_sum_to_one(schema: ModelSchema) -> None:
    model = train(dataset_of(*rows(90, 3, len(schema.classes))), schema)
    given = model.probabilities(rows(40, 4)[0])
    assert given.shape == (40, len(schema.classes))
    np.testing.assert_allclose(given.sum(axis=1), 1.0)


def test_thirty_labels_are_enough_to_learn_something() -> None:
    model = train(dataset_of(*rows(30, 1)), TWO)
    features, target = rows(2_000, 2)
    assert model.splits > 0
    assert average_precision(target == 1, model.probabilities(features)[:, 1]) > 0.8


def test_labels_that_are_all_alike_give_a_model_without_splits() -> None:
    model = train(dataset_of(np.ones((30, 3)), np.arange(30) % 2), TWO)
    assert model.splits == 0


def test_a_class_that_nobody_saw_yet_does_not_stop_a_multiclass_model() -> None:
    features, target = rows(60, 3)
    model = train(dataset_of(features, target), THREE)
    assert model.probabilities(features)[:, 2].max() < 0.01


def test_the_text_passes_the_strict_parse() -> None:
    model = train(dataset_of(*rows(60)), TWO)
    assert parse(model.text, TWO).trees == 60


@pytest.mark.parametrize("name", ["num_iterations", "n_estimators", "num_boost_round"])
def test_parameters_of_the_pipeline_replace_the_defaults(name: str) -> None:
    assert parse(train(dataset_of(*rows(60)), TWO, {name: 7}).text, TWO).trees == 7


def test_a_parameter_of_our_own_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"training\.params\.objective can't be set: it follows from"):
        check_parameters({"objective": "regression"})


def test_what_lightgbm_refuses_is_an_error_that_names_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"bagging_fraction 7.0 is wrong; write a number from 0.1 to 1"):
        train(dataset_of(*rows(60)), TWO, {"bagging_fraction": 7.0})
    monkeypatch.setattr(training_params, "problems", lambda *_: ())
    with pytest.raises(ModelError, match=r"check training.params .*bagging_fraction"):
        train(dataset_of(*rows(60)), TWO, {"bagging_fraction": 7.0})


AT_THE_EDGE: list[dict[str, float | int | str | bool]] = [
    {name: value}
    for name, allowed in training_params.RANGES.items()
    for value in (
        (int(allowed.least), min(int(allowed.most), 300))
        if allowed.whole
        else (1e-9 if allowed.above else float(allowed.least), float(allowed.most))
    )
]


@pytest.mark.parametrize("given", [*AT_THE_EDGE, *({name: True} for name in sorted(training_params.TRUTHS))], ids=str)
def test_what_check_takes_a_training_takes(given: dict[str, float | int | str | bool]) -> None:
    assert list(training_params.problems(given)) == []
    assert train(dataset_of(*rows(60)), TWO, {"num_iterations": 3} | given).text


def test_few_labels_get_small_leaves() -> None:
    assert defaults(20, 30)["min_data_in_leaf"] == 3
    assert defaults(80, 30)["min_data_in_leaf"] == 10
    assert defaults(100_000, 30)["min_data_in_leaf"] == 20
    assert (defaults(50, 2)["feature_fraction_bynode"], defaults(50, 30)["feature_fraction_bynode"]) == (1.0, 0.3)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np
import pytest
from models import dataset_of, registry_of, rows, small_model, small_pipeline

from tidemark.errors import ModelError
from tidemark.registry.codec import Registry, publish
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import Validator, parse, structure_sha256
from tidemark.training.trainer import train

VERSION = "v000001-00000000"
SCHEMA = ModelSchema.of(small_pipeline())


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Sandbox() as sandbox:
        yield Validator(SCHEMA, sandbox)


def registry_with(text: str | None = None, **changes: Any) -> Registry:  # noqa: ANN401 - any field
    model, manifest = small_model(SCHEMA)
    return registry_of(publish(msgspec.structs.replace(manifest, **changes), text or model.text, topic="m"))


def test_a_model_as_it_was_published_passes(validator: Validator) -> None:
    checked = validator.check(registry_with(), VERSION)
    assert checked.manifest.version == VERSION
    assert checked.forest.trees == 10


def test_an_active_model_gives_the_probabilities_of_lightgbm(validator: Validator) -> None:
    model, _ = small_model(SCHEMA)
    active = ActiveModel(validator.check(registry_with(), VERSION))
    data = rows(50, seed=9)[0]
    expected = model.booster.predict(data)
    np.testing.assert_allclose(active.probabilities(data)[:, 1], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(active.probabilities(data).sum(axis=1), 1.0)
    assert active.probabilities(data[:0]).shape == (0, 2)
    assert (active.version, active.schema_hash, active.classes) == (VERSION, SCHEMA.hash, ("no", "yes"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"features": ["a", "b"]}, "other widths"),
        ({"features": ["b", "a", "c"]}, "feature 0 is 'a', expected 'b'"),
        ({"features": ["a", "b"], "definitions": {}}, r"missing \['c'\]"),
        ({"features": ["b", "a", "c"], "definitions": {}}, "another order"),
        (
            {"definitions": SCHEMA.ids | {"b": "0" * 8}},
            "b is computed by another definition; a new champion is trained",
        ),
        ({"features": ["a", "b", "d"]}, "d is computed no more; a new champion is trained"),
        ({"classes": ["no"]}, "its classes are"),
        ({"classes": ["no", "yes", "maybe"]}, "its classes are"),
        ({"classes": ["yes", "no"]}, "its classes are"),
        ({"schema_hash": "0" * 16, "definitions": {}}, "a definition changed; train a new champion"),
        ({"golden": []}, "0 golden rows"),
        ({"golden": [[1.0, 2.0]], "golden_raw": [[0.0]]}, "other widths"),
        ({"golden": [[1.0, 2.0, 3.0]], "golden_raw": [[0.0, 0.0]]}, "golden scores have 2 columns"),
        ({"golden": [[1.0, 2.0, 3.0]], "golden_raw": [[77.0]]}, "golden row 0 scores .* where it scored 77"),
        ({"golden": [[0.0, 0.0, 0.0]] * 300, "golden_raw": [[0.0]] * 300}, "300 golden rows"),
        ({"structure_sha256": "0" * 64}, "structure_sha256"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_with_the_reason(
    validator: Validator, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ModelError, match=f"model {VERSION}: .*{why}"):
        validator.check(registry_with(**changes), VERSION)


def test_an_unknown_version_is_refused(validator: Validator) -> None:
    with pytest.raises(ModelError, match="its manifest is not in the topic"):
        validator.check(registry_with(), "v000009-00000000")


def test_a_leaf_changed_in_its_last_digits_is_noticed(validator: Validator) -> None:
    model, _ = small_model(SCHEMA)
    line = next(each for each in model.text.splitlines() if each.startswith("leaf_value="))
    first, _, rest = line.removeprefix("leaf_value=").partition(" ")
    digit = "1" if first[-1] != "1" else "2"
    text = model.text.replace(line, f"leaf_value={first[:-1]}{digit} {rest}")
    assert text != model.text
    with pytest.raises(ModelError, match=r"structure_sha256|golden row"):
        validator.check(registry_with(text), VERSION)


def test_a_changed_comment_is_harmless(validator: Validator) -> None:
    model, _ = small_model(SCHEMA)
    text = model.text.replace("[learning_rate: 0.1]", "[learning_rate: 0.2]")
    assert text != model.text
    checked = validator.check(registry_with(text), VERSION)
    assert structure_sha256(checked.forest) == model.structure_sha256


def test_golden_rows_reach_every_leaf() -> None:
    model, manifest = small_model(SCHEMA)
    golden = np.array([[np.nan if value is None else value for value in row] for row in manifest.golden])
    booster = lgb.Booster(model_str=model.text)
    reached = np.asarray(booster.predict(golden, pred_leaf=True)).reshape(len(golden), -1)
    every = np.asarray(booster.predict(rows(120)[0], pred_leaf=True)).reshape(120, -1)
    for tree in range(reached.shape[1]):
        assert set(reached[:, tree]) == set(every[:, tree])


@pytest.mark.parametrize("objective", ["regression", "cross_entropy"])
def test_a_model_that_gives_no_probabilities_of_these_classes_is_refused(objective: str) -> None:
    features, target = rows(100)
    booster = lgb.train(
        {"objective": objective, "verbosity": -1},
        lgb.Dataset(features, target, feature_name=["a", "b", "c"], params={"verbosity": -1}),
        3,
    )
    with pytest.raises(ModelError, match=r"num_class|objective"):
        parse(booster.model_to_string(), SCHEMA)


def test_a_model_of_other_features_is_refused_by_its_own_header() -> None:
    data = dataset_of(*rows(100))
    other = train(data, replace(SCHEMA, features=("a", "b", "d")))
    with pytest.raises(ModelError, match="feature 2 is 'd', expected 'c'"):
        parse(other.text, SCHEMA)


def test_a_model_without_trees_is_refused() -> None:
    data = dataset_of(*rows(100))
    text = train(data, SCHEMA, {"num_iterations": 1}).text
    start, end = text.index("Tree=0"), text.index("end of trees")
    sizes = next(line for line in text.splitlines() if line.startswith("tree_sizes="))
    empty = (text[:start] + text[end:]).replace(sizes, "tree_sizes=").split("feature_importances:")[0]
    with pytest.raises(ModelError, match=r"no trees|line"):
        parse(empty, SCHEMA)


def test_one_against_all_probabilities_are_made_to_sum_to_one() -> None:
    schema = ModelSchema.of(small_pipeline(classes=("x", "y", "z")))
    model, manifest = small_model(schema)
    features, target = rows(120, 0, 3)
    booster = lgb.train(
        {"objective": "multiclassova", "num_class": 3, "verbosity": -1, "num_threads": 1},
        lgb.Dataset(features, target, feature_name=["a", "b", "c"], params={"verbosity": -1}),
        5,
    )
    text = booster.model_to_string()
    raw = np.asarray(booster.predict(features[:4], raw_score=True))
    forest = parse(text, schema)
    golden = [[None if np.isnan(value) else float(value) for value in row] for row in features[:4]]
    changes = {"golden": golden, "golden_raw": raw.tolist(), "structure_sha256": structure_sha256(forest)}
    changed = msgspec.structs.replace(manifest, **changes)
    with Sandbox() as sandbox:
        checked = Validator(schema, sandbox).check(registry_of(publish(changed, text, topic="m")), VERSION)
    given = ActiveModel(checked).probabilities(features)
    one_by_one = np.asarray(booster.predict(features))
    np.testing.assert_allclose(given, one_by_one / one_by_one.sum(axis=1, keepdims=True))
    assert model.text != text


def test_a_forest_that_disagrees_with_lightgbm_is_not_used(validator: Validator) -> None:
    checked = validator.check(registry_with(), VERSION)
    off = msgspec.structs.replace(
        checked.manifest, golden_raw=[[value + 1e-6 for value in row] for row in checked.manifest.golden_raw]
    )
    with pytest.raises(ModelError, match="our forest disagrees with LightGBM: golden row 0"):
        ActiveModel(replace(checked, manifest=off))

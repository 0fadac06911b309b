"""What holds for every learner that `training.learner` may name."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import lightgbm as lgb
import numpy as np
import pytest
from models import dataset_of, rows, small_pipeline

from kernels.forest.forest import Forest
from tidemark.errors import ConfigError
from tidemark.evaluation.metrics import average_precision
from tidemark.pipeline.model import LearnerName
from tidemark.registry.codec import Registry, publish
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import Validator, parse
from tidemark.training.gate import Verdict
from tidemark.training.learners.member import Parameters
from tidemark.training.manifest import describe
from tidemark.training.trainer import check_parameters, stand_in, train

LEARNERS = get_args(LearnerName)
PIPELINES = {count: small_pipeline(classes=[f"c{index}" for index in range(count)]) for count in (2, 3, 50)}
SCHEMAS = {count: ModelSchema.of(pipeline) for count, pipeline in PIPELINES.items()}
EVERY = pytest.mark.parametrize("learner", LEARNERS)
OTHERS = pytest.mark.parametrize("learner", [name for name in LEARNERS if name != "boosted"])


@EVERY
@pytest.mark.parametrize("classes", [2, 3])
def test_the_same_labels_give_the_same_bytes(learner: LearnerName, classes: int) -> None:
    data = dataset_of(*rows(60, 3, classes))
    schema = SCHEMAS[classes]
    text = train(data, schema, learner=learner).text
    assert train(data, schema, learner=learner).text == text
    if learner != "linear":  # in which nothing is drawn
        assert train(data, schema, learner=learner, seed=1).text != text


@EVERY
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("count", [3, 60])
def test_a_stand_in_says_what_the_model_of_the_same_labels_says(learner: LearnerName, classes: int, count: int) -> None:
    data, asked = dataset_of(*rows(count, 3, classes)), rows(100, 4)[0]
    model = train(data, SCHEMAS[classes], learner=learner)
    given = stand_in(data, SCHEMAS[classes], learner=learner)(asked)
    np.testing.assert_allclose(given, model.probabilities(asked), rtol=1e-9)


@EVERY
@pytest.mark.parametrize("classes", [2, 50])
def test_what_is_served_is_what_lightgbm_says_of_the_text(learner: LearnerName, classes: int) -> None:
    schema = SCHEMAS[classes]
    given: Parameters = {} if learner == "linear" else {"num_iterations": 4}
    model = train(dataset_of(*rows(150, 3, classes)), schema, given, learner=learner)
    asked = rows(100, 4)[0]
    asked[:3] = [[np.inf, -np.inf, 0.0], [np.nan, 1e-40, -1e-40], [1e300, -1e300, np.nan]]
    served = Forest(parse(model.text, schema))
    raw = lgb.Booster(model_str=model.text).predict(asked, raw_score=True, num_threads=1)
    np.testing.assert_array_equal(served.raw(asked), raw)
    probability = served.probability(asked)
    whole = probability if classes > 2 else np.column_stack((1 - probability, probability))
    np.testing.assert_allclose(whole, model.probabilities(asked), rtol=1e-12)
    np.testing.assert_allclose(whole.sum(axis=1), 1.0)


@EVERY
@pytest.mark.parametrize("classes", [2, 3])
def test_a_published_model_passes_every_check_of_its_readers_and_its_parts_explain_its_score(
    learner: LearnerName, classes: int
) -> None:
    schema, data = SCHEMAS[classes], dataset_of(*rows(60, 3, classes))
    model = train(data, schema, learner=learner)
    manifest = describe(
        model,
        data,
        schema=schema,
        version="v000001-00000000",
        parent=None,
        created_at=1,
        trained_on=[],
        verdict=Verdict(passed=True, reason="first", metric="log_loss"),
    )
    registry = Registry(b"secret")
    registry.feed_outputs(publish(manifest, model.text, topic="p.models", secret=b"secret"))
    with Sandbox() as sandbox:
        active = ActiveModel(Validator(schema, sandbox).check(registry, manifest.version))
    for row in data.features[:5]:
        parts = active.forest.contributions(row)
        scores = parts.reshape(-1, 4).sum(axis=1)
        odds = np.exp(scores - scores.max()) if classes > 2 else np.array([1.0, np.exp(scores[0])])
        np.testing.assert_allclose(odds / odds.sum(), active.probabilities(row[None])[0], rtol=1e-9)


@EVERY
def test_a_rare_class_is_found_among_few_labels(learner: LearnerName) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(2_400, 3))
    target = (features[:, 0] > 1.5).astype(np.int64)
    model = train(dataset_of(features[:120], target[:120]), SCHEMAS[2], learner=learner)
    probability = model.probabilities(features[400:])[:, 1]
    assert 0 < target[:120].sum() < 20
    assert average_precision(target[400:] == 1, probability) > 0.8


@EVERY
@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_a_handful_of_labels_gives_probabilities(learner: LearnerName, count: int) -> None:
    features, target = rows(40, 3)[0], np.arange(count) % 2
    model = train(dataset_of(features[:count], target), SCHEMAS[2], learner=learner)
    given = model.probabilities(features)
    assert np.isfinite(given).all()
    assert (given.min(), given.max()) > (0.0, 0.5)


@EVERY
def test_labels_of_one_class_alone_give_probabilities(learner: LearnerName) -> None:
    """The gate's stand-ins may have seen only one."""
    features = rows(40, 3)[0]
    for schema in (SCHEMAS[2], SCHEMAS[3]):
        for only in (0, 1):
            model = train(dataset_of(features, np.full(40, only)), schema, learner=learner)
            assert (model.probabilities(features).argmax(axis=1) == only).all()


@OTHERS
def test_features_that_say_nothing_give_a_model_without_splits(learner: LearnerName) -> None:
    features = np.column_stack((np.ones(30), np.full(30, np.nan), np.zeros(30)))
    model = train(dataset_of(features, np.arange(30) % 2), SCHEMAS[2], learner=learner)
    assert model.splits == 0
    np.testing.assert_allclose(model.probabilities(rows(5)[0])[:, 1], 0.5, atol=0.05)


@OTHERS
def test_a_class_that_nobody_saw_yet_has_a_small_probability(learner: LearnerName) -> None:
    features, target = rows(60, 3)
    model = train(dataset_of(features, target), SCHEMAS[3], learner=learner)
    assert model.probabilities(features)[:, 2].max() < 0.1


@OTHERS
def test_probabilities_are_shares(learner: LearnerName) -> None:
    """Of rows that are given one in five, one in five is positive: where trees alone say .12 to .88."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(8_400, 3))
    share = 1 / (1 + np.exp(2.5 - 2 * features[:, 0]))
    target = (rng.random(len(share)) < share).astype(np.int64)
    model = train(dataset_of(features[:400], target[:400]), SCHEMAS[2], learner=learner)
    given = model.probabilities(features[400:])[:, 1]
    for group in np.array_split(np.argsort(given), 5):
        assert target[400:][group].mean() == pytest.approx(given[group].mean(), abs=0.1)
    assert given.max() - given.min() > 0.5


@OTHERS
def test_probabilities_are_those_of_the_stream_where_most_labels_were_asked_for(learner: LearnerName) -> None:
    """One in eight is positive, and half of the labels are: those asked for are of where the classes meet."""
    rng = np.random.default_rng(6)
    features = rng.normal(size=(20_000, 3))
    share = 1 / (1 + np.exp(3.2 - 2 * features[:, 0] - features[:, 1]))
    target = (rng.random(len(share)) < share).astype(np.int64)
    close = np.flatnonzero(np.abs(share[:5_000] - 0.5) < 0.25)[:350]
    labeled = np.concatenate([np.arange(5_000, 5_150), close])
    data = replace(
        dataset_of(features[labeled], target[labeled]),
        inclusion=np.where(np.arange(len(labeled)) < 150, 150 / 5_000, np.nan),
    )
    later = slice(6_000, None)
    given = train(data, SCHEMAS[2], learner=learner).probabilities(features[later])[:, 1]
    unknowing = train(replace(data, inclusion=None), SCHEMAS[2], learner=learner).probabilities(features[later])[:, 1]
    rate = target[later].mean()
    assert abs(given.mean() - rate) < 0.04
    assert abs(given.mean() - rate) < abs(unknowing.mean() - rate) + 0.01
    assert average_precision(target[later] == 1, given) > average_precision(target[later] == 1, unknowing) - 0.01


@OTHERS
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_the_stream_where_of_a_common_class_one_in_fifty_is_taken(
    learner: LearnerName, classes: int
) -> None:
    """One event in a hundred is of a rare class, and half of the labels are."""
    rng = np.random.default_rng(7)
    features = rng.normal(size=(60_000, 3))
    share = 1 / (1 + np.exp(6.2 - 2 * features[:, 0]))
    target = (rng.random(len(share)) < share).astype(np.int64) * rng.integers(1, classes, len(share))
    kept = np.where(target > 0, 1.0, 0.02)
    taken = np.flatnonzero(rng.random(len(share)) < kept)[:700]
    data = replace(dataset_of(features[taken], target[taken]), inclusion=kept[taken], uneven=True)
    rate, later = (target > 0).mean(), features[30_000:]
    given = 1 - train(data, SCHEMAS[classes], learner=learner).probabilities(later)[:, 0].mean()
    believed = (
        1
        - train(replace(data, inclusion=None, uneven=False), SCHEMAS[classes], learner=learner)
        .probabilities(later)[:, 0]
        .mean()
    )
    assert given == pytest.approx(rate, rel=0.4)
    assert believed > 5 * rate


@pytest.mark.parametrize("learner", ["forest", "extra_trees"])
@pytest.mark.parametrize("given", [{"subsample_freq": 0}, {"bagging_fraction": 1.0}, {"extra_trees": True}], ids=str)
def test_what_would_end_the_training_of_a_forest_is_refused_with_a_sentence(
    learner: LearnerName, given: dict[str, float | int | str | bool]
) -> None:
    check_parameters(given)
    with pytest.raises(ConfigError, match=rf"training\.params\.{next(iter(given))} .*learner = '{learner}'"):
        check_parameters(given, learner)


def test_parameters_that_a_learner_does_not_have_are_refused_with_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"training\.params\.num_leaves has no meaning with learner = 'linear'"):
        check_parameters({"num_leaves": 7}, "linear")


def test_in_a_mean_parameters_are_of_the_boosted_trees() -> None:
    data = dataset_of(*rows(60))
    few = parse(train(data, SCHEMAS[2], {"num_iterations": 3, "sigmoid": 2.0}, learner="mean").text, SCHEMAS[2])
    many = parse(train(data, SCHEMAS[2], learner="mean").text, SCHEMAS[2])
    assert many.trees - few.trees == 57

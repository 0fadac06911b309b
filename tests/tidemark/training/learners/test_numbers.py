"""What holds for every learner where the label is a number."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import lightgbm as lgb
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import dataset_of
from numpy.typing import NDArray

from kernels.forest.forest import Forest
from tidemark.errors import ModelError
from tidemark.pipeline.model import LearnerName
from tidemark.records import ModelManifest
from tidemark.registry.codec import Registry, publish
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import Validator, parse
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict
from tidemark.training.learners.member import Task
from tidemark.training.learners.numbers import Labeled, number_model, quantile
from tidemark.training.manifest import describe
from tidemark.training.trainer import TrainedModel, stand_in, train

LEARNERS = get_args(LearnerName)
EVERY = pytest.mark.parametrize("learner", LEARNERS)
SCHEMA = ModelSchema(("a", "b", "c"), (), "0" * 16, ("1", "2", "3"), (0.0, 300.0))
CLASSES = ModelSchema(("a", "b", "c"), ("no", "yes"), "0" * 16, ("1", "2", "3"))


def numbers(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features (count, 3), and numbers that follow from the first two, the less exactly the larger the third."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3))
    features[rng.random((count, 3)) < 0.05] = np.nan
    a, b, c = np.nan_to_num(features).T
    truth = 120 + 30 * a + 15 * np.sin(2 * b) + rng.normal(size=count) * (3 + 5 * np.abs(c))
    return features, np.clip(truth, 0, 300)


def labeled(count: int, seed: int = 0) -> Dataset:
    features, truth = numbers(count, seed)
    return replace(dataset_of(features, np.zeros(count, np.int64)), numbers=truth)


def manifest_of(model: TrainedModel, rows: Dataset, schema: ModelSchema) -> ModelManifest:
    verdict = Verdict(passed=True, reason="first champion", metric="rmse")
    return describe(
        model,
        rows,
        schema=schema,
        version="v000001-00000000",
        parent=None,
        created_at=1,
        trained_on=[],
        verdict=verdict,
    )


def registry_of(model: TrainedModel, rows: Dataset) -> Registry:
    registry = Registry()
    registry.feed_outputs(publish(manifest_of(model, rows, SCHEMA), model.text, topic="p.models"))
    return registry


@EVERY
def test_the_same_labels_give_the_same_bytes(learner: LearnerName) -> None:
    rows = labeled(60)
    text = train(rows, SCHEMA, learner=learner).text
    assert train(rows, SCHEMA, learner=learner).text == text


@EVERY
def test_what_is_served_is_what_lightgbm_says_of_the_text(learner: LearnerName) -> None:
    rows = labeled(80)
    model = train(rows, SCHEMA, learner=learner)
    asked = numbers(200, 1)[0]
    with Sandbox() as sandbox:
        served = ActiveModel(Validator(SCHEMA, sandbox).check(registry_of(model, rows), "v000001-00000000"))
    raw = np.asarray(lgb.Booster(model_str=model.text).predict(asked, raw_score=True))
    np.testing.assert_array_equal(Forest(parse(model.text, SCHEMA)).raw(asked), raw)
    np.testing.assert_array_equal(served.estimates(asked), model.estimates(asked))
    np.testing.assert_array_equal(served.says(asked), served.estimates(asked))


@EVERY
@pytest.mark.parametrize("count", [3, 80])
def test_a_stand_in_says_the_number_that_the_model_of_the_same_labels_says(learner: LearnerName, count: int) -> None:
    rows, asked = labeled(count), numbers(100, 1)[0]
    given = stand_in(rows, SCHEMA, learner=learner)(asked)
    np.testing.assert_allclose(given[:, 0], train(rows, SCHEMA, learner=learner).estimates(asked)[:, 0], rtol=1e-9)
    assert np.isnan(given[:, 1:]).all()


@EVERY
def test_a_model_is_far_better_than_the_mean_and_its_intervals_hold_what_they_say(learner: LearnerName) -> None:
    asked, truth = numbers(3_000, 99)
    held = []
    for seed in range(4):
        value, low, high = train(labeled(120, seed), SCHEMA, learner=learner).estimates(asked).T
        assert np.sqrt(np.mean((value - truth) ** 2)) < 0.65 * truth.std()
        assert ((low >= 0) & (low <= value) & (value <= high) & (high <= 300)).all()
        held.append(np.mean((low <= truth) & (truth <= high)))
    assert 0.85 < np.mean(held) < 0.97, held


def test_an_interval_is_wider_where_numbers_follow_less_exactly() -> None:
    _, low, high = train(labeled(800), SCHEMA, learner="auto").estimates(numbers(3_000, 99)[0]).T
    noise = np.abs(np.nan_to_num(numbers(3_000, 99)[0][:, 2]))
    assert (high - low)[noise > 1.5].mean() > 1.2 * (high - low)[noise < 0.3].mean()


def test_of_too_few_labels_the_interval_is_all_that_can_be_right() -> None:
    value, low, high = train(labeled(7), SCHEMA, learner="mean").estimates(numbers(50, 1)[0]).T
    assert ((low == 0) & (high == 300) & (value >= 0) & (value <= 300)).all()


def test_auto_is_hardly_worse_than_the_best_single_learner() -> None:
    asked, truth = numbers(3_000, 99)

    def error(learner: LearnerName) -> float:
        return float(
            np.sqrt(np.mean((train(labeled(300), SCHEMA, learner=learner).estimates(asked)[:, 0] - truth) ** 2))
        )

    singles = [error(name) for name in LEARNERS if name not in ("auto", "mean")]
    assert error("auto") < 1.05 * min(singles)


def test_intervals_hold_new_entities_whose_events_tell_each_others_numbers() -> None:
    rng = np.random.default_rng(0)

    def machines(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        machine = np.repeat(np.arange(count), 12)
        own = rng.normal(size=count)
        features = np.column_stack([np.repeat(rng.normal(size=(count, 2)), 12, axis=0), rng.normal(size=12 * count)])
        return features, np.clip(150 + 40 * own[machine] + rng.normal(size=12 * count), 0, 300), machine

    features, truth, machine = machines(40)
    rows = Labeled(features, truth, machine % 4, np.arange(len(truth)))
    asked, later, _ = machines(200)
    scores = number_model("mean", rows, Task(SCHEMA)).scores(asked)
    assert np.mean(np.abs(scores[:, 0] - later) <= scores[:, 1]) > 0.8


def test_drawn_labels_alone_say_how_wide_intervals_are_where_they_are_enough() -> None:
    features, truth = numbers(400, 5)
    odd = np.arange(400) % 4 == 0
    truth[odd] = np.clip(truth[odd] + np.where(np.arange(100) % 2, 90, -90), 0, 300)  # asked for being odd
    inclusion = np.where(odd, np.nan, 0.1)
    rows = Labeled(features, truth, np.arange(400) % 4, np.arange(400))
    all_alike = number_model("mean", rows, Task(SCHEMA)).scores(features)[:, 1].mean()
    drawn = number_model("mean", replace(rows, inclusion=inclusion), Task(SCHEMA)).scores(features)[:, 1].mean()
    assert drawn < 0.8 * all_alike


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=40),
    st.floats(0.5, 0.99),
)
def test_the_quantile_is_the_smallest_score_that_enough_labels_and_a_new_one_are_within(
    scores: list[float], level: float
) -> None:
    found = quantile(np.array(scores), np.ones(len(scores)), level)
    enough = [score for score in scores if sum(other <= score for other in scores) >= level * (len(scores) + 1) - 1e-6]
    assert found == min(enough, default=np.inf)


def test_a_model_of_a_number_is_not_served_to_classes_nor_the_other_way_round() -> None:
    rows = labeled(60)
    model = train(rows, SCHEMA, learner="linear")
    with Sandbox() as sandbox, pytest.raises(ModelError, match="it is a model of a number, and the label is classes"):
        Validator(CLASSES, sandbox).check(registry_of(model, rows), "v000001-00000000")
    with pytest.raises(ModelError, match="it is a model of classes, and the label is a number"):
        SCHEMA.places(msgspec.structs.replace(manifest_of(model, rows, SCHEMA), classes=["no", "yes"]))


def test_labels_that_are_all_alike_are_refused() -> None:
    with pytest.raises(ModelError, match="40 labels are too few or too alike to learn from"):
        train(replace(labeled(40), numbers=np.full(40, 7.0)), SCHEMA, learner="mean")

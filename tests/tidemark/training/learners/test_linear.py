from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from models import small_pipeline
from numpy.typing import NDArray

from kernels.forest.forest import Forest
from kernels.forest.model_text import parse_model
from kernels.forest.model_writer import write_model
from tidemark.evaluation.metrics import average_precision
from tidemark.registry.schema import ModelSchema
from tidemark.training.learners.linear import LINEAR, _ridge
from tidemark.training.learners.member import Task
from tidemark.training.learners.steps import Step, step_forest

SCHEMA = ModelSchema.of(small_pipeline())
TASK = Task(SCHEMA)


def score(x: NDArray[np.float64], y: NDArray[np.int64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    return Forest(LINEAR.fit(x, y, TASK).forest()).raw(asked)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=30, unique=True),
    st.lists(st.floats(), min_size=1, max_size=30),
)
def test_a_step_is_looked_up_as_a_table_whatever_the_numbers(cuts: list[float], asked: list[float]) -> None:
    rising = np.clip(np.array(sorted(cuts)), -1.7e308, 1.7e308)
    rising = np.unique(np.where(np.abs(rising) < 1e-34, 0.0, rising))
    values = np.arange(len(rising) + 2, dtype=np.float64)[:, None]
    step = Step(1, rising, values, np.zeros(len(values), np.int64))
    model = parse_model(write_model(step_forest([step], np.zeros(1), SCHEMA)))
    rows = np.zeros((len(asked), 3))
    rows[:, 1] = np.where(np.abs(asked) < 1e-34, 0.0, asked)
    expected = [len(rising) + 1 if np.isnan(value) else int((rising < value).sum()) for value in rows[:, 1]]
    np.testing.assert_array_equal(Forest(model).raw(rows), np.array(expected, np.float64))


def test_units_and_outliers_do_not_count() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = (x[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(np.int64)
    changed = x.copy()
    changed[:, 0] = np.exp(5 * x[:, 0])
    changed[int(np.argmax(x[:, 0])), 0] = np.inf
    np.testing.assert_allclose(score(x, y, x), score(changed, y, changed), rtol=1e-6)


def test_a_category_and_a_missing_value_have_weights_of_their_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    x[:, 0] = rng.integers(0, 6, 400)
    x[rng.random(400) < 0.3, 1] = np.nan
    share = np.where(x[:, 0] == 3, 0.7, 0.1) + np.where(np.isnan(x[:, 1]), 0.2, 0.0)
    y = (rng.random(400) < share).astype(np.int64)
    asked = np.array([[3.0, 0, 0], [2.0, 0, 0], [4.0, 0, 0], [2.0, np.nan, 0]])
    three, two, four, missing = score(x, y, asked)
    assert min(three - two, three - four) > 0.3
    assert missing - two > 0.1


def test_scores_held_out_are_those_of_a_model_without_the_row() -> None:
    """With the bins and the penalty that were chosen on all rows, as they are."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (40, 3)).astype(np.float64)
    y = ((x[:, 0] + rng.normal(size=40) / 2) > 0.5).astype(np.int64)
    fitted = LINEAR.fit_held_out(x, y, TASK)
    inside = Forest(fitted.model.forest()).raw(x)
    shares = y.astype(np.float64)
    assert np.mean((fitted.held_out[:, 0] - shares) ** 2) > np.mean((inside - shares) ** 2)
    assert np.corrcoef(fitted.held_out[:, 0], inside)[0, 1] > 0.95


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    """But for the bins, which are of rows."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (60, 3)).astype(np.float64)
    y = ((x[:, 0] + rng.normal(size=60) / 2) > 1).astype(np.int64)
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    columns, shares = x - 1, y[:, None].astype(np.float64)
    twice = np.concatenate([np.arange(60), np.arange(20)])
    weighted = _ridge(columns, shares, weights)
    repeated = _ridge(columns[twice], shares[twice], np.ones(80))
    np.testing.assert_allclose(weighted.slopes, repeated.slopes, rtol=0.05)
    np.testing.assert_allclose(_ridge(columns, shares, np.full(60, 1.0)).left_out.mean(), y.mean(), atol=0.05)


def test_of_many_features_the_strongest_are_kept() -> None:
    features = 300
    rng = np.random.default_rng(0)
    schema = ModelSchema(tuple(f"f{at}" for at in range(features)), ("no", "yes"), "")
    x = rng.normal(size=(1_200, features))
    y = (x[:, 7] + x[:, 8] > 1).astype(np.int64)
    model = LINEAR.fit(x[:200], y[:200], Task(schema)).forest()
    assert model.trees == 160
    assert average_precision(y[200:] == 1, Forest(model).raw(x[200:])) > 0.45

"""The random arms, and what is read out of a run, without a Kafka."""

from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from labeling import candidate

from tidemark.demo.experiment import DRAWS, Exam, Stream, random_arms
from tidemark.demo.insight import asked, measured, reliability, weights
from tidemark.demo.result import ModelPoint
from tidemark.pipeline import load
from tidemark.records import Candidate, Label, Metric

FRAUD = load(Path(__file__).parents[3] / "pipelines" / "fraud.toml")
NAMES = FRAUD.feature_names
POSITIVE = FRAUD.label.classes.index("fraud")


def made(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of which the first tells the class, now and then."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, len(NAMES)))
    return features, features[:, 0] + rng.normal(size=rows) > 1.5


def test_random_arms_are_drawn_anew_and_train_on_the_schedule_of_the_active_one() -> None:
    features, truth = made(2_000, 1)
    stream = Stream(features, np.arange(2_000) // 100, lambda row: "fraud" if truth[row] else "legitimate")
    exam = Exam(*made(500, 2), POSITIVE)
    spent = dict.fromkeys(range(20), 6)
    draws = random_arms(FRAUD, stream, spent, exam, seed=1)
    assert len(draws) == DRAWS
    assert draws == random_arms(FRAUD, stream, spent, exam, seed=1)
    assert len({tuple(point.average_precision for point in points) for points in draws}) == DRAWS
    for points in draws:
        labels = [point.labels for point in points]
        assert labels[-1] == 120
        assert labels[0] < FRAUD.training.every, "as early as the active arm"
        assert all(0.0 <= point.average_precision <= 1.0 for point in points)
        assert points[-1].average_precision > exam.truth.mean()


def test_what_decides_and_whether_it_comes_true_is_told_of_a_model() -> None:
    features, truth = made(1_500, 3)
    parameters = {"objective": "binary", "verbose": -1, "num_threads": 1}
    booster = lgb.train(parameters, lgb.Dataset(features, truth.astype(int), feature_name=list(NAMES)), 20)
    told = weights(booster, features)
    assert told[0].name == NAMES[0]
    assert told[0].share > 0.5
    assert sum(weight.share for weight in told) <= 1.0 + 1e-9
    exam = Exam(features, truth, POSITIVE)
    rows = reliability(truth, exam.said(booster))
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    assert sum(row.share * row.observed for row in rows) == pytest.approx(truth.mean())


def test_examples_are_of_each_reason_from_early_and_late() -> None:
    cases: dict[str, Candidate] = {}
    labels = []
    for number in range(9):
        case = candidate(
            number, reason="cold" if number < 3 else "uncertain", probabilities=None if number < 3 else [0.3, 0.7]
        )
        cases[case.event_id] = case
        values = {name: getattr(case, name) for name in Label.__struct_fields__ if hasattr(case, name)}
        values |= {"status": "answered", "annotator": "ada", "known_at": 5, "answered_at": 6, "annotation_id": "a"}
        labels.append(Label(**values | {"label": "fraud" if number % 2 else "legitimate"}))
    examples, counts = asked(FRAUD, cases, labels, lambda name: f"truth of {name}")
    assert [(example.reason, example.time) for example in examples] == [
        ("cold", 1_000),
        ("cold", 1_002),
        ("uncertain", 1_003),
        ("uncertain", 1_008),
    ]
    assert examples[0].said is None
    assert examples[-1].said == [0.3, 0.7][POSITIVE]
    assert examples[-1].truth == "truth of T8"
    assert [(count.reason, count.asked, count.positives) for count in counts] == [("cold", 3, 1), ("uncertain", 6, 3)]


def test_the_headline_is_put_beside_the_truth_of_its_model() -> None:
    def metric(model: str, value: float | None, measure: str = "average_precision") -> Metric:
        return Metric(
            name="quality", value=value, low=0.1, high=0.9, n=7, at=0, model=model, source="labels",
            detail={"metric": measure},
        )  # fmt: skip

    active = [ModelPoint(f"v{number}", number, 1, number / 100) for number in range(20)]
    metrics = [
        metric("v1", 0.2),
        metric("v1", 0.3),
        metric("v2", None),
        metric("other", 0.4),
        metric("v3", 0.9, "accuracy"),
    ]
    metrics += [metric(f"v{number}", 0.5) for number in range(4, 20)]
    told = measured(metrics, active)
    assert (told[0].model, told[0].value, told[0].truth) == ("v1", 0.3, 0.01)
    assert (told[-1].model, told[-1].truth) == ("v19", 0.19)
    assert len(told) == 6
    assert measured([], active) == []

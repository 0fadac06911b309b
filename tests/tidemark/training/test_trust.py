"""Whose labels count less: surely wrong ones alone, whatever cases their source was given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import Dataset
from tidemark.training.learners.member import Task
from tidemark.training.trainer import stand_in
from tidemark.training.trust import LEAST, Trust, doubtful, measured, several

SCHEMA = ModelSchema(("x", "y", "z"), ("no", "yes"), "")


def labels(n: int, seed: int, *, rate: float = 0.4) -> tuple[Dataset, NDArray[np.float64]]:
    """Rows with right answers, and how likely each is positive."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3))
    score = 2.5 * features[:, 0] + features[:, 1]
    p = 1 / (1 + np.exp(-(score - np.quantile(score, 1 - rate))))
    target = (rng.random(n) < p).astype(np.int64)
    ids = tuple(map(str, range(n)))
    return Dataset(features, target, ids, np.arange(n), 0, np.arange(n)), p


def answered(rows: Dataset, who: NDArray[np.int64], wrong: NDArray[np.bool_]) -> Dataset:
    said = np.where(wrong, 1 - rows.target, rows.target)
    return replace(rows, target=said, sources=tuple(f"a{by}" for by in who.tolist()))


def weights(rows: Dataset) -> dict[str, float]:
    found = measured(rows, Task(SCHEMA))
    assert found is not None
    by_name = dict_of(found)
    assert found.weights.tolist() == [by_name.get(name or "", 1.0) for name in rows.sources or ()]
    return by_name


def dict_of(found: Trust) -> dict[str, float]:
    return {each.name: each.weight for each in found.sources}


@pytest.mark.parametrize("rate", [0.4, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_a_source_that_is_always_wrong_counts_nothing_and_the_others_whole(seed: int, rate: float) -> None:
    rows, _ = labels(300, seed, rate=rate)
    who = np.random.default_rng(seed).integers(0, 5, 300)
    found = weights(answered(rows, who, who == 0))
    assert found.pop("a0") < 0.1
    assert set(found.values()) == {1.0}


@pytest.mark.parametrize("seed", range(3))
def test_a_model_without_the_wrong_source_is_nearly_that_of_right_answers(seed: int) -> None:
    rows, _ = labels(300, seed)
    others, _ = labels(2_000, seed + 100)
    who = np.random.default_rng(seed).integers(0, 5, 300)
    given = answered(rows, who, who == 0)
    trust = measured(given, Task(SCHEMA))
    assert trust is not None

    def loss(learnt: Dataset) -> float:
        said = stand_in(learnt, SCHEMA, learner="mean")(others.features)
        return float(-np.log(np.clip(said[np.arange(2_000), others.target], 1e-6, 1)).mean())

    right, unhandled, handled = loss(rows), loss(given), loss(given.trusted(trust.weights))
    assert handled - right < (unhandled - right) / 3


@pytest.mark.parametrize("seed", range(8))
def test_nobody_is_distrusted_where_all_are_alike_even_who_has_the_hard_cases(seed: int) -> None:
    rows, p = labels(400, seed, rate=[0.4, 0.04][seed % 2])
    rng = np.random.default_rng(seed)
    who = rng.integers(1, 5, 400)
    who[np.argsort(np.abs(p - 0.5))[:80]] = 0  # an expert, who is asked what the model does not know
    assert set(weights(answered(rows, who, rng.random(400) < 0.1)).values()) == {1.0}


def test_who_answers_few_is_believed() -> None:
    rows, _ = labels(300, 1)
    who = np.random.default_rng(1).integers(1, 5, 300)
    who[: LEAST - 1] = 0
    assert "a0" not in weights(answered(rows, who, who == 0))


def test_thousands_of_names_cost_no_more_than_one() -> None:
    rows, _ = labels(3_000, 6)
    found = measured(replace(rows, sources=tuple(f"a{at // 2}" for at in range(3_000))), Task(SCHEMA))
    assert found is not None
    assert found.sources == []
    assert (found.weights == 1).all()


def test_one_source_alone_is_compared_with_nobody() -> None:
    rows, _ = labels(60, 1)
    assert not several(rows)
    assert not several(replace(rows, sources=("ada",) * 60))
    assert not several(replace(rows, sources=(None,) * 30 + ("ada",) * 30))
    assert several(replace(rows, sources=("bob",) * 30 + ("ada",) * 30))


def test_what_is_beyond_doubt_counts_whole() -> None:
    rows, _ = labels(300, 2)
    who = np.random.default_rng(2).integers(0, 4, 300)
    given = answered(rows, who, who == 0)
    given = replace(given, sources=tuple(None if name == "a0" else name for name in given.sources or ()))
    found = measured(given, Task(SCHEMA))
    assert found is not None
    assert (found.weights == 1).all()


def test_all_labels_count_where_one_class_alone_would_be_left() -> None:
    rows, _ = labels(10, 3)
    given = replace(rows, target=np.array([1, 1, *[0] * 8]))
    assert given.trusted(np.array([0.0, 0.0, *[1.0] * 8])) is given
    assert given.trusted(np.array([0.0, 1.0, *[1.0] * 8])).counts.sum() == 9


def test_labels_of_one_class_alone_tell_nothing() -> None:
    rows, _ = labels(60, 4)
    assert measured(replace(rows, target=np.zeros(60, np.int64), sources=("a", "b") * 30), Task(SCHEMA)) is None


def test_wrong_labels_are_among_the_doubtful_first() -> None:
    rows, p = labels(400, 5)
    sure = np.flatnonzero(np.abs(p - 0.5) > 0.45)[:20]
    wrong = np.zeros(400, np.bool_)
    wrong[sure] = True
    given = answered(replace(rows, target=(p > 0.5).astype(np.int64)), np.zeros(400, np.int64), wrong)
    trust = measured(given, Task(SCHEMA))
    assert trust is not None
    first = doubtful(trust, given.target)[:30].tolist()
    assert len(set(first) & set(sure.tolist())) >= 10  # one and a half by chance

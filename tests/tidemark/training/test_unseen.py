"""What stands in for a champion on labels that it has learnt from: unseen by all, made seldom, neither flattering nor
belittling it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.evaluation.metrics import average_precision
from tidemark.training.dataset import Dataset
from tidemark.training.folds import FOLDS
from tidemark.training.target import ClassTarget
from tidemark.training.unseen import Probabilities, Unseen, base_size

Floats = NDArray[np.float64]


def labeled(
    features: Floats,
    target: NDArray[np.int64],
    keys: tuple[str | None, ...] | None = None,
    known: NDArray[np.int64] | None = None,
) -> Dataset:
    n = len(target)
    known = np.arange(n) if known is None else known
    ids = tuple(f"e{event}" for event in range(n))
    return Dataset(features, target, ids, np.arange(n), 0, known, keys=keys, times=known)


def numbered(count: int, *, seed: int = 0, keys: int = 1_000) -> Dataset:
    """Rows whose only feature is their number."""
    rng = np.random.default_rng(seed)
    names = tuple(f"k{key}" for key in rng.integers(0, keys, count))
    known = rng.permutation(count).astype(np.int64)
    return labeled(np.arange(count, dtype=np.float64)[:, None], rng.integers(0, 2, count), names, known)


def sure(features: Floats) -> Floats:
    return np.full((len(features), 2), 0.5)


def first(rows: Dataset, count: int) -> NDArray[np.bool_]:
    learnt = np.zeros(len(rows), np.bool_)
    learnt[np.argsort(rows.known)[:count]] = True
    return learnt


@given(st.integers(0, 90), st.integers(0, 40))
@settings(deadline=None)
def test_every_label_is_answered_by_a_model_that_learnt_neither_from_it_nor_from_its_entity(old: int, new: int) -> None:
    given = numbered(old + new, keys=40)
    keys, learnt = given.keys or (), first(given, old)
    base = np.argsort(given.known)[:old][: base_size(old)]
    many = len({keys[row] for row in base}) >= 4 * FOLDS
    base_keys = [keys[row] for row in base]
    many = many and max((base_keys.count(key) for key in set(base_keys)), default=0) * FOLDS <= len(base)

    def learn(part: Dataset) -> Probabilities:
        events = part.features[:, 0].astype(int).tolist()

        def answers(features: Floats) -> Floats:
            asked = features[:, 0].astype(int).tolist()
            assert not set(asked) & set(events)
            if many and set(asked) <= set(base.tolist()):
                assert not {keys[row] for row in asked} & {keys[row] for row in events}
            return sure(features)

        return answers

    found = Unseen(learn, ClassTarget(2)).probabilities(given, learnt, sure)
    assert np.isfinite(found.table).all()


def test_a_stand_in_has_learnt_from_nearly_as_many_labels_as_the_champion() -> None:
    sizes: list[int] = []

    def learn(part: Dataset) -> Probabilities:
        sizes.append(len(part))
        return sure

    given = numbered(400)
    Unseen(learn, ClassTarget(2)).probabilities(given, first(given, 400), sure)
    assert min(sizes) >= 0.6 * 400


def test_stand_ins_are_made_anew_only_when_the_labels_have_grown_by_a_quarter() -> None:
    given = numbered(400)
    trained: list[int] = []

    def learn(part: Dataset) -> Probabilities:
        trained.append(len(part))
        return sure

    unseen = Unseen(learn, ClassTarget(2))
    for used in range(100, 400, 10):
        unseen.probabilities(given, first(given, used), sure)
    sizes = {base_size(used) for used in range(100, 400, 10)}
    assert len(trained) <= (2 * FOLDS + 4) * len(sizes) <= (2 * FOLDS + 4) * 8


def test_labels_whose_stand_in_cannot_be_trained_are_not_left_out() -> None:
    def learn(_: Dataset) -> Probabilities:
        raise ModelError("one class only")

    given = numbered(30)
    found = Unseen(learn, ClassTarget(2)).probabilities(given, np.ones(30, np.bool_), sure)
    assert np.isfinite(found.table).all()
    assert found.table.sum(axis=1) == pytest.approx(1)


def neighbours(part: Dataset) -> Probabilities:
    """The shares of the classes among the five nearest rows."""

    def answers(features: Floats) -> Floats:
        nearest = np.argsort(np.abs(features[:, :1] - part.features[:, 0]), axis=1, kind="stable")[:, :5]
        share = (part.target[nearest].sum(axis=1) + 0.5) / 6
        return np.column_stack((1 - share, share))

    return answers


def stream(count: int, seed: int, *, changing: bool) -> Dataset:
    """The class follows the hour, anew on each day where the stream is changing."""
    rng = np.random.default_rng(seed)
    at = np.arange(count)
    hour = rng.random(count)
    phase = rng.random(count // 20 + 1)[at // 20] if changing else np.zeros(count)
    target = (rng.random(count) < np.where((hour + phase) % 1 < 0.5, 0.9, 0.1)).astype(np.int64)
    feature = at // 20 + 0.4 * hour if changing else hour
    return labeled(feature[:, None], target)


def test_where_the_stream_changes_only_answers_by_models_of_earlier_labels_count() -> None:
    distrusted = 0
    for seed in range(10):
        given = stream(600, seed, changing=True)
        found = Unseen(neighbours, ClassTarget(2)).probabilities(given, first(given, 600), sure)
        if found.way == "forward validation":
            distrusted += 1
            assert (found.ahead or 0) > 0
            answered = np.isfinite(found.table[:, 0])
            assert answered[-380:].all()
            assert not answered[:210].any()
    assert distrusted >= 9


def test_where_it_does_not_all_count_but_for_one_base_in_twenty() -> None:
    ways = []
    for seed in range(60):
        given = stream(300, seed, changing=False)
        ways.append(Unseen(neighbours, ClassTarget(2)).probabilities(given, first(given, 300), sure).way)
    assert ways.count("forward validation") <= 6


def prototypes(part: Dataset) -> Probabilities:
    """Linear discriminant with as many noisy directions as labels are few: it gains much from each label."""
    if len(set(part.target.tolist())) < 2:
        raise ModelError("one class only")
    apart = part.features[part.target == 1].mean(axis=0) - part.features[part.target == 0].mean(axis=0)
    middle = float(np.mean(part.features @ apart))

    def answers(features: Floats) -> Floats:
        share = 1 / (1 + np.exp(-(features @ apart - middle)))
        return np.column_stack((1 - share, share))

    return answers


def test_with_a_rare_class_the_figure_is_about_what_the_champion_reaches() -> None:
    """Mean over 80 streams; forward validation of all labels is .17 below it."""
    rng = np.random.default_rng(5)
    direction = np.zeros(40)
    direction[:8] = 1.0

    def drawn(count: int) -> tuple[Floats, NDArray[np.int64]]:
        target = (rng.random(count) < 0.08).astype(np.int64)
        return rng.normal(size=(count, 40)) + target[:, None] * direction, target

    differences = []
    for _ in range(80):
        features, target = drawn(150)
        later, truth = drawn(4_000)
        given = labeled(features, target)
        champion = prototypes(given)
        found = Unseen(prototypes, ClassTarget(2)).probabilities(given, np.ones(150, np.bool_), champion).table
        answered = np.isfinite(found[:, 0])
        said = average_precision(target[answered] == 1, np.ascontiguousarray(found[answered, 1]))
        differences.append(said - average_precision(truth == 1, np.ascontiguousarray(champion(later)[:, 1])))
    assert abs(float(np.mean(differences))) < 0.08


def test_two_days_of_the_same_entities_leave_nothing_to_learn_from_and_still_have_answers() -> None:
    """No label of the day before is of another entity."""
    given = labeled(np.zeros((200, 1)), np.arange(200) % 2, tuple(f"k{event % 40}" for event in range(200)))

    def learn(part: Dataset) -> Probabilities:
        assert len(part) > 0
        return sure

    assert np.isfinite(Unseen(learn, ClassTarget(2)).probabilities(given, first(given, 200), sure).table).all()

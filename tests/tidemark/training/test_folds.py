"""Folds of labels: whole entities, an even share of each class, and room between pieces of one that is cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.training.dataset import Dataset
from tidemark.training.folds import FOLDS, Folds, are_many, entities


def labeled(keys: Sequence[str | None], times: list[int], target: list[int] | None = None) -> Dataset:
    n = len(keys)
    return Dataset(
        features=np.zeros((n, 1)),
        target=np.zeros(n, np.int64) if target is None else np.array(target),
        event_ids=tuple(f"e{event}" for event in range(n)),
        first_seen=np.arange(n),
        known_until=0,
        keys=tuple(keys),
        times=np.array(times, np.int64),
    )


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), min_size=1, max_size=120),
    st.integers(0, 50),
)
@settings(max_examples=60, deadline=None)
def test_every_label_is_in_one_fold_and_no_entity_on_both_sides_while_there_are_many(
    events: list[tuple[int, int]], reach: int
) -> None:
    keys = [f"k{key}" for key, _ in events]
    rows = labeled(keys, list(range(len(events))), [target for _, target in events])
    folds = Folds(rows, reach)
    assert ((folds.number >= 0) & (folds.number < 2 * FOLDS)).all()
    for fold in np.unique(folds.number).tolist():
        own, learnt = folds.number == fold, folds.learnable(fold)
        assert not (own & learnt).any()
        if are_many(entities(rows)):
            assert not {key for key, is_own in zip(keys, own, strict=True) if is_own} & {
                key for key, is_learnt in zip(keys, learnt, strict=True) if is_learnt
            }
            assert (own | learnt).all()


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=80), st.integers(1, 10_000), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_of_few_entities_nothing_within_the_windows_reach_of_a_fold_is_learnt_from(
    times: list[int], reach: int, machines: int
) -> None:
    keys = [f"m{place % machines}" for place in range(len(times))]
    rows = labeled(keys, times)
    folds = Folds(rows, reach)
    near = min(reach, -(-(max(times) - min(times) + 1) // 20))
    for fold in np.unique(folds.number).tolist():
        learnt = np.flatnonzero(folds.learnable(fold)).tolist()
        for own in np.flatnonzero(folds.number == fold).tolist():
            assert all(abs(times[own] - times[row]) >= near for row in learnt if keys[row] == keys[own])


def test_each_fold_has_its_share_of_a_rare_class() -> None:
    target = [1] * 10 + [0] * 490
    folds = Folds(labeled([f"k{event}" for event in range(500)], list(range(500)), target), 0)
    assert np.bincount(folds.number[:10]).tolist() == [2] * FOLDS
    assert np.bincount(folds.number[10:]).tolist() == pytest.approx([98] * FOLDS, abs=1)


def test_an_entity_that_nobody_knows_is_one_of_its_own_and_folds_follow_from_the_labels_alone() -> None:
    rows = labeled([None] * 40 + ["None"] * 2, list(range(42)))
    assert len(set(entities(rows).tolist())) == 41
    assert np.array_equal(Folds(rows, 5).number, Folds(rows, 5).number)

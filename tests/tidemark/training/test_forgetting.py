"""Old labels count less where that foretells the newest ones better, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from models import dataset_of, small_pipeline
from numpy.typing import NDArray

from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import Dataset
from tidemark.training.forgetting import half_life_of, weights_by_age
from tidemark.training.learners.member import Task
from tidemark.training.trainer import stand_in, train

SCHEMA = ModelSchema.of(small_pipeline(classes=["c0", "c1"]))
TASK = Task(SCHEMA)
Floats = NDArray[np.float64]


def labels(seed: int, n: int, *, turned: bool = False) -> tuple[Floats, NDArray[np.int64]]:
    """Rows whose class a feature decides, and another one once the stream has turned."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(SCHEMA.features)))
    decides = -x[:, 0] if turned else x[:, 0]
    return x, (decides + rng.normal(scale=0.5, size=n) > 0).astype(np.int64)


def both(seed: int, before: int, after: int) -> Dataset:
    (x, y), (later, their) = labels(seed, before), labels(seed + 1, after, turned=True)
    return dataset_of(np.vstack([x, later]), np.concatenate([y, their]))


def test_after_a_change_old_labels_count_less_and_the_model_is_better() -> None:
    data = both(1, 600, 120)
    asked, truth = labels(9, 1_000, turned=True)
    weights = weights_by_age(data, TASK)
    assert weights is not None
    assert weights[-1] > 4 * weights[0]
    assert weights.mean() == pytest.approx(1)
    hits = [
        float(np.mean(stand_in(data, SCHEMA, forget=forget)(asked).argmax(axis=1) == truth)) for forget in (False, True)
    ]
    assert hits[1] > hits[0] + 0.2


def test_where_nothing_changes_all_labels_count_alike() -> None:
    kept = [half_life_of(dataset_of(*labels(seed, 500)), TASK) for seed in range(10)]
    assert kept.count(None) >= 9


def test_few_labels_are_never_forgotten() -> None:
    assert half_life_of(both(1, 80, 79), TASK) is None


def test_age_is_that_of_the_events_however_late_their_labels_are_known() -> None:
    data = both(1, 600, 120)
    times = np.arange(len(data), dtype=np.int64)
    shuffled = np.random.default_rng(0).permutation(len(data))
    mixed = replace(
        data,
        features=data.features[shuffled],
        target=data.target[shuffled],
        event_ids=tuple(data.event_ids[at] for at in shuffled),
        known_at=np.arange(len(data), dtype=np.int64),
        times=times[shuffled],
    )
    assert half_life_of(mixed, TASK) == half_life_of(replace(data, times=times), TASK) is not None


@pytest.mark.parametrize("learner", ["boosted", "linear", "mean"])
def test_every_learner_forgets_and_the_same_labels_give_the_same_bytes(learner: str) -> None:
    data = both(2, 300, 100)
    texts = [train(data, SCHEMA, learner=learner, forget=forget).text for forget in (True, True, False)]  # type: ignore[arg-type]
    assert texts[0] == texts[1] != texts[2]

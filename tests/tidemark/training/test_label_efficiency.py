"""The offline loop that policies are tuned with: selection and retraining without Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.labels.efficiency import Point, Trial, changed, ratio
from tidemark.registry.sandbox import Sandbox
from tidemark.simulators import simulate

_FILE = Path(__file__).parents[3] / "pipelines" / "fraud.toml"


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial.of(changed(_FILE, []), simulate("fraud", 11, 20_000), 6_000)


@pytest.fixture(scope="module")
def champions(trial: Trial) -> list[Point]:
    with Sandbox() as sandbox:
        return list(trial.active(sandbox))


def test_a_trial_finds_the_same_champions_again(trial: Trial, champions: list[Point]) -> None:
    with Sandbox() as sandbox:
        again = list(trial.active(sandbox))
    assert champions == again
    assert len(champions) > 3
    labels = [point.labels for point in champions]
    assert labels == sorted(set(labels))
    assert labels[-1] <= trial.pipeline.selection.budget * len(set(trial.stream.tiles.tolist()))


def test_the_ratio_is_of_the_first_champion_that_is_as_good_as_the_random_arms_last(
    trial: Trial, champions: list[Point]
) -> None:
    with Sandbox() as sandbox:
        found = ratio(trial, sandbox, 11)
    spent = dict.fromkeys(trial.stream.tiles.tolist(), trial.pipeline.selection.budget)
    goal = trial.goal(spent, 11)
    good = [point.labels for point in champions if point.average_precision >= goal]
    assert found == (good[0] / sum(spent.values()) if good else 1.0)


def test_settings_replace_those_of_the_file() -> None:
    pipeline = changed(_FILE, ["training.every=7", 'selection.policy="margin"', "gates.min_holdout=5"])
    assert (pipeline.training.every, pipeline.selection.policy, pipeline.gates.min_holdout) == (7, "margin", 5)
    assert pipeline.selection.budget == changed(_FILE, []).selection.budget

"""What a simulation compares."""

from __future__ import annotations

from pathlib import Path

import pytest
from histories import shop

from tidemark.backtest.arms import OWN, RANDOM, arms_of, with_settings
from tidemark.errors import ConfigError
from tidemark.pipeline import load

FILES = sorted((Path(__file__).parents[3] / "pipelines").rglob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_pipeline_with_no_key_changed_is_the_pipeline(file: Path) -> None:
    pipeline = load(file)
    assert with_settings(pipeline, {}, checked=True) == pipeline


def test_each_arm_changes_what_it_names_and_the_pipelines_own_is_first() -> None:
    pipeline = shop()
    arms = {arm.name: arm for arm in arms_of(pipeline, ["margin", "badge"], ["boosted", "mean"])}
    assert list(arms) == [OWN, RANDOM, "badge", "learner mean", "train sooner"]
    assert arms[OWN].pipeline is pipeline
    assert arms["badge"].pipeline.selection.policy == "badge"
    assert arms["learner mean"].pipeline.training.learner == "mean"
    sooner = arms["train sooner"].pipeline
    assert (sooner.training.every, sooner.training.min_labels, sooner.gates.min_holdout) == (50, 6, 3)
    for arm in arms.values():
        assert with_settings(pipeline, arm.settings) == arm.pipeline


def test_options_of_a_strategy_are_not_those_of_another() -> None:
    pipeline = shop(policy='"power_margin"\noptions = { beta = 2.0 }')
    assert pipeline.selection.options
    changed = next(arm for arm in arms_of(pipeline, ["badge"]) if arm.name == "badge")
    assert changed.pipeline.selection.options is None


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"strategies": ["bagde"]}, "selection.policy: .*bagde.*badge"),
        ({"learners": ["net"]}, "training.learner: "),
        ({"schedules": ["later"]}, "there is no schedule 'later'; write 'sooner'"),
    ],
)
def test_what_there_is_not_is_refused_by_name(asked: dict[str, list[str]], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        arms_of(shop(), **asked)
    assert len(str(refused.value).splitlines()) < 4

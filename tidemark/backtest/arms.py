"""What a simulation compares: the pipeline as it is, labels drawn at random, and one change after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline
from tidemark.pipeline.checks import find_problems
from tidemark.pipeline.loading import in_folder

OWN: Final = "as it is"
RANDOM: Final = "random"
STRATEGIES: Final = ("margin", "badge", "robust")
LEARNERS: Final = ("mean", "boosted")
SOONER: Final = "sooner"
"""The schedule that trains sooner: with half of the labels, and twice as often."""
Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Arm:
    """A pipeline that is played.

    name: for people.  settings: what it changes, by table and key, as TOML has them.
    """

    name: str
    settings: Settings
    pipeline: Pipeline


def arms_of(
    pipeline: Pipeline,
    strategies: Sequence[str] = STRATEGIES,
    learners: Sequence[str] = LEARNERS,
    schedules: Sequence[str] = (SOONER,),
) -> list[Arm]:
    """The arms of a pipeline, its own first and random second.

    Args:
        pipeline: as it is.
        strategies: that its policy is changed to.
        learners: that its learner is changed to.
        schedules: `sooner`, or nothing.

    Returns:
        The arms; what the pipeline has already is left out.

    Raises:
        ConfigError: there is no such strategy, learner or schedule, or the pipeline can't have it.

    """
    own, training, gates = pipeline.selection.policy, pipeline.training, pipeline.gates
    arms = [Arm(OWN, {}, pipeline)]
    arms += [
        _changed(pipeline, name, {"selection": {"policy": name}})
        for name in dict.fromkeys((RANDOM, *strategies))
        if name != own
    ]
    arms += [
        _changed(pipeline, f"learner {name}", {"training": {"learner": name}})
        for name in dict.fromkeys(learners)
        if name != pipeline.learner
    ]
    for name in dict.fromkeys(schedules):
        if name != SOONER:
            raise ConfigError(f"there is no schedule '{name}'; write '{SOONER}', or leave --schedules out")
        settings = {
            "training": {"every": max(1, training.every // 2), "min_labels": max(2, training.min_labels // 2)},
            "gates": {"min_holdout": max(1, gates.min_holdout // 2)},
        }
        arms.append(_changed(pipeline, "train sooner", settings))
    return arms


def with_settings(pipeline: Pipeline, settings: Settings, *, checked: bool = False) -> Pipeline:
    """The pipeline with some keys changed.

    Args:
        pipeline: as it is.
        settings: by table and key.
        checked: whether it is known that they go together.

    Returns:
        The changed pipeline.

    Raises:
        ConfigError: the pipeline can't have them; says why.

    """
    changed = dict(pipeline.model_dump(exclude_unset=True))
    for table, keys in settings.items():
        changed[table] = {**changed.get(table, {}), **keys}
        if "policy" in keys:
            changed[table].pop("options", None)
    try:
        made = in_folder(Pipeline.model_validate(changed), pipeline.folder)
    except ValueError as error:
        raise ConfigError(_first(error)) from error
    if not checked and (problems := find_problems(made)):
        raise ConfigError(f"{problems[0].key}: {problems[0].text}")
    return made


def _changed(pipeline: Pipeline, name: str, settings: Settings) -> Arm:
    return Arm(name, settings, with_settings(pipeline, settings))


def _first(error: ValueError) -> str:
    details = getattr(error, "errors", None)
    if details is None:
        return str(error)
    first = details()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"

"""A pipeline simulated on a history: plays, curves and advice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemark.backtest.advice import Gain, gain, stops_paying
from tidemark.backtest.answers import answers_of
from tidemark.backtest.arms import OWN, RANDOM, Arm, Settings, with_settings
from tidemark.backtest.curves import Curve, curve_of, grid_of
from tidemark.backtest.history import History
from tidemark.backtest.pace import Pace, paced
from tidemark.backtest.plays import Play, Played, played
from tidemark.backtest.result import ArmCurve, Simulation
from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline
from tidemark.pipeline.durations import format_duration
from tidemark.pipeline.model import Cost
from tidemark.selection.cost import in_cases
from tidemark.training.leakage import leakage_words, leaking


def simulate(  # noqa: PLR0913 - all but the first three are options
    pipeline: Pipeline,
    history: History,
    source: str,
    *,
    arms: Sequence[Arm],
    labels: int | None = None,
    seeds: int = 5,
    minutes: float = 10,
    notes: Sequence[str] = (),
    show: Callable[[float, int], None] = lambda _share, _done: None,
) -> Simulation:
    """Play a pipeline's loop on a history, as it is and changed, and say what to make of it.

    Args:
        pipeline: as it is.
        history: its own.
        source: name of the history.
        arms: of `tidemark.backtest.arms.arms_of`.
        labels: that are spent; by default what the pipeline would spend, at most 1,000.
        seeds: plays of each arm.
        minutes: after which no more is played.
        notes: what is to be told beside what this finds.
        show: told what share was played, and how many plays are done.

    Returns:
        The simulation.

    Raises:
        ConfigError: there are not so many labels, or the time was too short for one play of the pipeline as it is.
        ModelError: a model of our own was refused, which is a bug.

    """
    pace = paced(history, in_cases(pipeline).selection, labels)
    same: Settings = {"selection": pace.settings}
    at_pace = [Arm(arm.name, arm.settings, with_settings(in_cases(arm.pipeline), same, checked=True)) for arm in arms]
    found = played(pace.stream, at_pace, range(seeds), minutes=minutes, show=show)
    by_arm = {arm.name: [play for play in found.plays if play.arm == arm.name] for arm in arms}
    if not by_arm[OWN]:
        raise ConfigError(
            f"no play was done: {found.stopped}; give more --minutes, a smaller --budget or fewer --events"
        )
    grid = grid_of(max(play.labels for play in found.plays))
    curves = {
        name: curve_of(plays, grid, below_zero=pipeline.label.is_number) for name, plays in by_arm.items() if plays
    }
    gains = {
        arm.name: gain(_areas(by_arm, curves, arm.name), _areas(by_arm, curves, OWN), len(arms) - 1)
        for arm in arms
        if arm.name in curves and arm.name != OWN
    }
    chosen = _best(gains)
    stop = stops_paying(grid, curves[chosen].mean)
    answered = answers_of(pipeline)
    examined = pace.stream.target[pace.stream.exam :][pace.stream.askable[pace.stream.exam :]]
    cost = pipeline.selection.cost
    goal = float(curves[RANDOM if RANDOM in curves else OWN].mean[-1])
    return Simulation(
        source=source,
        title=pipeline.title or pipeline.name,
        metric=answered.metric,
        positive=pipeline.label.positive,
        constant=by_arm[OWN][0].constant.value,
        spread=answered.spread(examined),
        unit=pipeline.label.unit or "",
        events=history.events,
        labels=history.labels,
        positives=history.positives,
        unlabeled=history.unlabeled,
        played=pace.stream.exam - pace.stream.begin,
        exam=len(examined),
        budget=pace.labels,
        arms=[
            _arm_curve(arm, by_arm[arm.name], grid, curves[arm.name], gains.get(arm.name), goal)
            for arm in arms
            if arm.name in curves
        ],
        chosen=chosen,
        stop=stop,
        toml=toml_of(_settings(arms, chosen, pace, stop, 1 if cost is None else cost.case)),
        notes=[
            *notes,
            *_leakage_notes(pipeline, history),
            *_costs(cost, pace.labels, stop),
            *_notes(pipeline, history, pace, found, by_arm),
        ],
        seconds=round(sum(play.seconds for play in found.plays), 1),
    )


def toml_of(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of keys as TOML. Values are texts, numbers and truth values, which TOML writes as JSON does."""
    tables = []
    for table, keys in settings.items():
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
        tables.append("\n".join([f"[{table}]", *lines]))
    return "\n\n".join(tables) + "\n"


def _areas(by_arm: Mapping[str, Sequence[Play]], curves: Mapping[str, Curve], name: str) -> dict[int, float]:
    return {play.seed: float(area) for play, area in zip(by_arm[name], curves[name].areas, strict=True)}


def _best(gains: Mapping[str, Gain | None]) -> str:
    """The change that is worth most; the pipeline as it is where none is."""
    worth = {name: each.mean for name, each in gains.items() if each is not None and each.worth}
    return max(worth, key=lambda name: worth[name], default=OWN)


def _costs(cost: Cost | None, labels: int, stop: int | None) -> list[str]:
    """What the labels cost, where they have a cost."""
    if cost is None:
        return []
    text = f"{labels:,} labels cost {labels * cost.case:,} {cost.unit}, each reckoned at {cost.case:,}"
    return [f"{text}; more than {stop * cost.case:,} {cost.unit} hardly pay" if stop else text]


def _settings(arms: Sequence[Arm], chosen: str, pace: Pace, stop: int | None, each: int) -> Settings:
    """Tables to paste. each: what a case costs, by which `total` is counted."""
    own = next(arm for arm in arms if arm.name == chosen).settings
    selection = {**own.get("selection", {}), **pace.settings}
    if stop:
        selection["total"] = stop
    if "total" in selection:
        selection["total"] *= each
    return {"selection": selection, **{table: keys for table, keys in own.items() if table != "selection"}}


def _arm_curve(
    arm: Arm, plays: Sequence[Play], grid: NDArray[np.int64], curve: Curve, gained: Gain | None, goal: float
) -> ArmCurve:
    reached = np.flatnonzero(curve.mean >= goal)
    return ArmCurve(
        name=arm.name,
        settings=arm.settings,
        seeds=len(plays),
        labels=sum(play.labels for play in plays) / len(plays),
        grid=grid.tolist(),
        mean=curve.mean.round(5).tolist(),
        low=curve.low.round(5).tolist(),
        high=curve.high.round(5).tolist(),
        area=round(float(curve.areas.mean()), 5),
        gain=None if gained is None else round(gained.mean, 5),
        gain_low=None if gained is None or gained.low is None else round(gained.low, 5),
        as_good_from=int(grid[reached[0]]) if len(reached) else None,
    )


def _leakage_notes(pipeline: Pipeline, history: History) -> list[str]:
    stream = history.stream
    known = stream.askable
    found = leaking(stream.features[known], pipeline.feature_names, stream.target[known])
    return [leakage_words(found)] if found else []


def _notes(
    pipeline: Pipeline, history: History, pace: Pace, found: Played, by_arm: Mapping[str, Sequence[Play]]
) -> list[str]:
    notes = []
    if found.stopped:
        notes.append(f"partial: {len(found.plays)} of {found.planned} plays were done, for {found.stopped}")
        if unplayed := [name for name, plays in by_arm.items() if not plays]:
            notes.append(f"not played: {', '.join(unplayed)}")
    if history.unlabeled:
        notes.append(f"{history.unlabeled:,} events have no label: they are streamed and can't be asked about")
    if history.too_new:
        notes.append(
            f"{history.too_new:,} events of the last {format_duration(pipeline.label.delay)} (label.delay) are left "
            "out: their truth may not have arrived (--all-known uses them)"
        )
    if "budget" in pace.settings:
        notes.append(
            f"{pace.labels:,} labels are more than the pipeline's pace asks for here ({pace.at_own:,}): a tile asks "
            f"{pace.settings['budget']:,}"
        )
    elif pace.at_own > pace.labels:
        notes.append(
            f"the pipeline's pace would ask for {pace.at_own:,} labels here: played is what comes before the exam and "
            f"asks for {pace.labels:,} (--budget)"
        )
    own = by_arm[OWN]
    if not any(play.points for play in own):
        least = pipeline.training.min_labels
        notes.append(
            f"no model came of {pace.labels:,} labels: the first needs {least:,} (training.min_labels) or more"
        )
    late = sum(play.asked - play.labels for play in own) / len(own)
    if late >= 1:
        notes.append(
            f"of {own[0].asked:,} cases asked, {late:,.0f} are answered after the exam begins, and not learnt from: an "
            f"answer takes {format_duration(history.answers) if history.answers else '0s'}"
        )
    if len(own) < 2:
        notes.append("with one play nothing can be said about chance: no change is advised")
    return notes

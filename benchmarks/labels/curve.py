"""One arm on one set with one seed: the product's loop over the stream, without Kafka.

It is played as `tidemark simulate` plays it (`tidemark.backtest`). A label is known when its tile closes. A seed tosses
the coins of the selection, and seeds the trainer.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from benchmarks.labels.arms import Arm
from benchmarks.labels.drafted_sets import DraftedSet
from tidemark.backtest.examination import Examination
from tidemark.backtest.loop import Loop
from tidemark.backtest.playing import play
from tidemark.pipeline import Pipeline
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import Dataset, dataset
from tidemark.training.trainer import train

MOMENTS: Final = 24
_NEXT: Final = 8
"""The next period is this part of the stream."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run gives.

    points: each champion's labels spent, and its quality on the exam.
    track: at 24 moments of the stream, labels spent, quality of the model in force on the next period and on the exam
        (before the first model, of a constant), and positive labels so far.
    final: quality on the exam of a model of all labels, without the gate.  lightgbm: of LightGBM's defaults.
    constant: of a constant.  first_model: labels spent before it.  gate: challengers that it kept out, and let in.
    """

    set: str
    arm: str
    seed: int
    labels: int
    points: list[tuple[int, float]]
    track: list[tuple[int, float, float, int]]
    final: float
    lightgbm: float
    constant: float
    first_model: int | None
    gate: tuple[int, int]
    log_loss: float
    seconds: float

    def row(self) -> dict[str, Any]:
        """The run as JSON has it."""
        return asdict(self)


def played(data: DraftedSet, name: str, arm: Arm, seed: int, sandbox: Sandbox) -> Run:
    """Play an arm.

    Args:
        data: the set.
        name: of the arm.
        arm: what it changes.
        seed: of coins and trainer.
        sandbox: where models are checked.

    Returns:
        The run; the same from the same arguments, but for the seconds.

    """
    begun = time.process_time()
    pipeline = data.pipeline({**arm.settings, "selection.version": f"s{seed}"})
    loop = Loop(pipeline, sandbox, seed=seed, headline=False)
    exam = final_exam(data, pipeline)
    moments = moments_of(data)
    points: list[tuple[int, float]] = []
    track: list[tuple[int, float, float, int]] = []
    on_exam = exam.constant
    for at, moment in enumerate(play(data.stream, pipeline, loop)):
        if moment.champion is not None:
            on_exam = exam.of(moment.champion.says(exam.features))
            points.append((moment.known, on_exam))
        if at in moments:
            period = next_period(data, pipeline, moment.last + 1)
            model = loop.champion
            now = period.constant if model is None else period.of(model.says(period.features))
            track.append((moment.known, now, on_exam, moment.positives))
    labels = dataset(loop.labels, ModelSchema.of(pipeline))
    final, log_loss = exam.constant, float("nan")
    if len(set(labels.answers)) > 1:
        training = pipeline.training
        of_all = train(labels, ModelSchema.of(pipeline), training.params, learner=pipeline.learner, seed=seed)
        final = exam.of(of_all.says(exam.features))
        log_loss = float("nan") if pipeline.label.is_number else _log_loss(of_all.probabilities(exam.features), exam)
    kept = [bool(metric.detail["passed"]) for metric in loop.metrics if metric.name.startswith("gate_")]
    return Run(
        set=data.name,
        arm=name,
        seed=seed,
        labels=len(loop.labels),
        points=[(spent, round(value, 5)) for spent, value in points],
        track=[(spent, round(now, 5), round(then, 5), found) for spent, now, then, found in track],
        final=round(final, 5),
        lightgbm=round(_by_lightgbm(labels, data, exam), 5),
        constant=round(exam.constant, 5),
        first_model=points[0][0] if points else None,
        gate=(kept.count(False), kept.count(True)),
        log_loss=round(log_loss, 5),
        seconds=round(time.process_time() - begun, 2),
    )


def _log_loss(given: NDArray[np.float64], exam: Examination) -> float:
    own = given[np.arange(len(exam.truth)), exam.truth]
    return float(-np.log(np.clip(own, 1e-6, 1)).mean())


def moments_of(data: DraftedSet) -> set[int]:
    """Numbers of the tiles after which the track is taken."""
    return set(np.linspace(0, len(list(data.stream.by_tile())) - 1, MOMENTS).round().astype(int).tolist())


def final_exam(data: DraftedSet, pipeline: Pipeline) -> Examination:
    """What comes after the stream."""
    return Examination(data.stream, pipeline, np.arange(data.streamed, len(data.target)))


def next_period(data: DraftedSet, pipeline: Pipeline, after: int) -> Examination:
    """The eighth of the stream's length that begins with a row."""
    return Examination(data.stream, pipeline, np.arange(after, min(after + data.streamed // _NEXT, len(data.target))))


def _by_lightgbm(labels: Dataset, data: DraftedSet, exam: Examination) -> float:
    """Quality of a model of LightGBM's defaults."""
    if len(set(labels.answers)) < 2:
        return exam.constant
    if labels.numbers is not None:
        task: dict[str, Any] = {"objective": "regression"}
    else:
        classes = int(data.target.max()) + 1
        task = {"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": classes}
    rows = lgb.Dataset(labels.features, labels.answers, params={"verbosity": -1})
    booster = lgb.train({**task, "verbosity": -1, "num_threads": 1}, rows)
    given = np.asarray(booster.predict(exam.features, num_threads=1), np.float64)
    if labels.numbers is not None:
        return exam.of(given[:, None])
    return exam.of(given if given.ndim == 2 else np.column_stack((1 - given, given)))

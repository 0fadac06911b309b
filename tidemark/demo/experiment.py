"""The two arms, measured on a later period that no label came from."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.demo.result import ModelPoint
from tidemark.evaluation.metrics import average_precision
from tidemark.pipeline import Pipeline
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import Dataset
from tidemark.training.schedule import pause
from tidemark.training.trainer import probabilities, train

if TYPE_CHECKING:
    import lightgbm as lgb

DRAWS: Final = 5
"""Random arms that the active one is compared with."""


@dataclass(frozen=True, slots=True)
class Exam:
    """The later period: features (n, d), NaN is missing; truth (n,) bool, positive or not."""

    features: NDArray[np.float64]
    truth: NDArray[np.bool_]
    positive: int

    def average_precision(self, booster: lgb.Booster) -> float:
        """Average precision of a model."""
        return average_precision(self.truth, self.said(booster))

    def said(self, booster: lgb.Booster) -> NDArray[np.float64]:
        """(n,) probability of the positive class by a model."""
        return np.ascontiguousarray(probabilities(booster, self.features)[:, self.positive])


@dataclass(frozen=True, slots=True)
class Stream:
    """What was streamed: features (n, d), tile (n,) of each event, and the annotators' answer by row."""

    features: NDArray[np.float64]
    tiles: NDArray[np.int64]
    answer: Callable[[int], str]


def random_arms(
    pipeline: Pipeline, stream: Stream, spent: Mapping[int, int], exam: Exam, *, seed: int
) -> list[list[ModelPoint]]:
    """Models of `DRAWS` random arms: one draw is luck, good or bad."""
    halt = threading.Event()
    with ThreadPoolExecutor(min(DRAWS, os.cpu_count() or 1)) as threads:
        draws = [
            threads.submit(random_arm, pipeline, stream, spent, exam, seed=seed, draw=draw, halt=halt)
            for draw in range(DRAWS)
        ]
        try:
            return [draw.result() for draw in draws]
        finally:
            halt.set()  # Ctrl-C need not wait for them
            for draw in draws:
                draw.cancel()


def random_arm(
    pipeline: Pipeline,
    stream: Stream,
    spent: Mapping[int, int],
    exam: Exam,
    *,
    seed: int,
    draw: int = 0,
    halt: threading.Event | None = None,
) -> list[ModelPoint]:
    """Models of an arm that asks about as many events of each tile as `spent` says, drawn at random.

    It trains when the pipeline's schedule says, with the pipeline's trainer. Every model counts; none is held back by a
    gate. halt: ends it early.
    """
    schema = ModelSchema.of(pipeline)
    positive = pipeline.label.classes.index(pipeline.label.positive)
    rng = np.random.default_rng([seed, 0x52414E44, draw] if draw else [seed, 0x52414E44])
    chosen: list[int] = []
    targets: list[int] = []
    points: list[ModelPoint] = []
    trained = 0
    for tile in sorted(spent):
        rows = np.flatnonzero(stream.tiles == tile)
        for row in rng.permutation(rows)[: spent[tile]].tolist():
            chosen.append(row)
            targets.append(pipeline.label.classes.index(stream.answer(row)))
            due = len(chosen) - trained >= pause(pipeline, trained or None)
            if due and _enough(pipeline, targets, positive):
                if halt is not None and halt.is_set():
                    return points
                points.append(_trained(stream, chosen, targets, schema, exam, pipeline))
                trained = len(chosen)
    if len(chosen) > trained and _enough(pipeline, targets, positive):
        points.append(_trained(stream, chosen, targets, schema, exam, pipeline))
    return points


def _enough(pipeline: Pipeline, targets: list[int], positive: int) -> bool:
    count = targets.count(positive)
    training = pipeline.training
    return len(targets) >= training.min_labels and training.min_positive <= count < len(targets)


def _trained(
    stream: Stream, chosen: list[int], targets: list[int], schema: ModelSchema, exam: Exam, pipeline: Pipeline
) -> ModelPoint:
    target = np.array(targets, dtype=np.int64)
    rows = Dataset(
        features=stream.features[chosen],
        target=target,
        event_ids=tuple(str(row) for row in chosen),
        first_seen=np.arange(len(chosen), dtype=np.int64),
        known_until=0,
    )
    model = train(rows, schema, pipeline.training.params, learner=pipeline.learner)
    return ModelPoint(
        version=f"r{len(chosen):06d}",
        labels=len(chosen),
        positives=int((target == exam.positive).sum()),
        average_precision=exam.average_precision(model.booster),
    )

"""The two arms, measured on a later period that no label came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from tidemark.demo.result import ModelPoint
from tidemark.evaluation.metrics import average_precision
from tidemark.pipeline import Pipeline
from tidemark.registry.schema import ModelSchema
from tidemark.training.dataset import Dataset
from tidemark.training.trainer import probabilities, train


@dataclass(frozen=True, slots=True)
class Exam:
    """The later period: features (n, d), NaN is missing; truth (n,) bool, positive or not."""

    features: NDArray[np.float64]
    truth: NDArray[np.bool_]
    positive: int

    def average_precision(self, booster: lgb.Booster) -> float:
        """Average precision of a model."""
        return average_precision(self.truth, probabilities(booster, self.features)[:, self.positive])


@dataclass(frozen=True, slots=True)
class Stream:
    """What was streamed: features (n, d), tile (n,) of each event, and the annotators' answer by row."""

    features: NDArray[np.float64]
    tiles: NDArray[np.int64]
    answer: Callable[[int], str]


def random_arm(
    pipeline: Pipeline, stream: Stream, spent: Mapping[int, int], exam: Exam, *, seed: int
) -> list[ModelPoint]:
    """Models of an arm that asks about as many events of each tile as `spent` says, drawn at random.

    It trains at the pipeline's trigger with the pipeline's trainer. Every model counts; none is held back by a gate.
    """
    schema = ModelSchema.of(pipeline)
    positive = pipeline.label.classes.index(pipeline.label.positive)
    rng = np.random.default_rng([seed, 0x52414E44])
    chosen: list[int] = []
    targets: list[int] = []
    points: list[ModelPoint] = []
    trained = 0
    for tile in sorted(spent):
        rows = np.flatnonzero(stream.tiles == tile)
        for row in rng.permutation(rows)[: spent[tile]].tolist():
            chosen.append(row)
            targets.append(pipeline.label.classes.index(stream.answer(row)))
            if len(chosen) - trained >= pipeline.training.every and _enough(pipeline, targets, positive):
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
    model = train(rows, schema, pipeline.training.params, learner=pipeline.training.learner)
    return ModelPoint(
        version=f"r{len(chosen):06d}",
        labels=len(chosen),
        positives=int((target == exam.positive).sum()),
        average_precision=exam.average_precision(model.booster),
    )

"""Rows at the end of their way: scored by the model in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.features.rows import DerivedFeatures
from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import Schema
from tidemark.records import NO_MODEL, encode
from tidemark.registry.label_counts import LabelCounts
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Output, Partition
from tidemark.runtime.steps import RoundContext
from tidemark.selection.scoring import Scores, score, score_number
from tidemark.stream.hops import event_ids
from tidemark.stream.lateness import Punctuality
from tidemark.stream.models import ActiveModel, CountsLabels, Estimates, ModelSource, Scales
from tidemark.stream.outputs import Meta, Offers, Scored
from tidemark.stream.steps.rule_counts import SCALED, RuleCounts
from tidemark.stream.steps.window_features import Featured, Windowed


@dataclass(frozen=True, slots=True)
class Portion:
    """Scored rows, the tile of each, and where their parts come from."""

    scored: Scored
    tiles: NDArray[np.int64]
    metas: list[tuple[int, int, Meta]]


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a round gives.

    model: version of the model in force.  outputs: predictions, and metrics of how late rows come.
    portions: the scored rows.  idle: partitions that have just become idle.
    """

    model: str
    outputs: Sequence[Output] = ()
    portions: Sequence[Portion] = ()
    idle: Sequence[Meta] = ()


class PredictStep:
    """Scores rows, all of a round by one model, and gives a prediction for each.

    models: where the model in force comes from.  cleaned: columns of the rows after cleaning.
    """

    def __init__(self, pipeline: Pipeline, models: ModelSource, cleaned: Schema) -> None:
        self._pipeline = pipeline
        self._models = models
        self._derived = DerivedFeatures(pipeline)
        self._computed = pipeline.feature_names[: len(pipeline.features) + len(pipeline.windows)]
        self._offers = Offers(pipeline, cleaned)
        self._model: ActiveModel | None = None
        self._punctuality = Punctuality()
        self._scaled = RuleCounts(pipeline.topics.metrics, SCALED)
        self._rebuilding = False
        self._opinions = Opinions(pipeline)

    def process(self, windowed: Windowed, context: RoundContext) -> Predicted:
        """Predictions.

        Raises:
            ModelError: the model gives probabilities of the wrong shape.

        """
        if context.tick is not None:
            return Predicted(self._version, self._told(context.tick), idle=windowed.idle)
        if context.replay:
            self._rebuilding = True
            return Predicted(self._version)
        self._model = self._models.current()
        outputs: list[Output] = []
        portions = []
        for featured in windowed.portions:
            portion = self._scored(featured)
            portions.append(portion)
            outputs += self._offers.predictions(portion.scored)
        return Predicted(self._version, outputs, portions)

    def fields(self, partition: Partition) -> dict[str, Any]:  # noqa: ARG002 one model for all
        """The model in force: a record for people."""
        return {"model": self._version}

    @property
    def _version(self) -> str:
        return NO_MODEL if self._model is None else self._model.version

    def _told(self, now: float) -> list[Output]:
        """Metrics of how late rows come, and how many are ahead."""
        rebuilding, self._rebuilding = self._rebuilding, False
        told = self._punctuality.tell(now, self._version, rebuilding=rebuilding)
        topic = self._pipeline.topics.metrics
        metrics = [Output(topic, encode(metric), metric.name.encode()) for metric in told]
        return [*metrics, *self._scaled.tell(now)]

    def _scored(self, featured: Featured) -> Portion:
        rows = featured.rows
        self._punctuality.add(rows)
        features = self._derived(rows.features[self._computed])
        known = self._model if self._model is not None else self._label_counts()
        scores = self._scores(features, known)
        tiles = np.maximum(featured.watermarks, rows.bounded) // self._pipeline.selection.tile
        ids = event_ids(rows.origins, rows.origin, rows.offsets)
        return Portion(Scored(rows, self._offers.identity(rows, ids), scores, features), tiles, featured.metas)

    def _label_counts(self) -> LabelCounts | None:
        return self._models.label_counts() if isinstance(self._models, CountsLabels) else None

    def _scores(self, features: pl.DataFrame, known: ActiveModel | LabelCounts | None) -> Scores:
        selection, model, n = self._pipeline.selection, self._model, len(features)
        if model is None:
            return score(selection, NO_MODEL, None, n, known)
        table = features.to_numpy(order="c")
        if isinstance(model, Scales):
            self._scaled.add(len(table), model.scaled(table))
        return self._opinions(model, table, known)


class Opinions:
    """What models of a pipeline say of rows, as predictions tell it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._selection, self._classes = pipeline.selection, len(pipeline.label.classes)
        self._bounds = ModelSchema.of(pipeline).bounds

    def __call__(self, model: ActiveModel, table: NDArray[np.float64], source: object = None) -> Scores:
        """What a model says.

        Args:
            model: of the pipeline.
            table: (n, features) in the order of `Pipeline.feature_names`; NaN is missing.
            source: what else can be asked of the rows (`Scores.source`).

        Returns:
            Probabilities or estimates, with the uncertainty by the pipeline's strategy.

        Raises:
            ModelError: the model is of another label.

        """
        if self._bounds is None:
            said = probabilities_of(model, table, self._classes)
            return score(self._selection, model.version, said, len(table), source)
        if not isinstance(model, Estimates):
            raise ModelError(f"model {model.version} gives no number: it was trained for classes; retrain it")
        return score_number(self._selection, model.version, model.estimates(table), self._bounds, source)


def probabilities_of(model: ActiveModel, table: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """What a model says of rows.

    Args:
        model: of the pipeline.
        table: (n, features) in the order of `Pipeline.feature_names`; NaN is missing.
        classes: how many the pipeline has.

    Returns:
        (n, classes), each row sums to 1.

    Raises:
        ModelError: the model gives probabilities of another shape.

    """
    given = model.probabilities(table)
    expected = (len(table), classes)
    if given.shape != expected:
        raise ModelError(
            f"model {model.version} gives probabilities of shape {given.shape}, expected {expected}: "
            "it was trained for other classes; retrain it"
        )
    return given

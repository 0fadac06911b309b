"""What events are ranked by: the strategy's score, or while positives are few how likely each is positive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

import kernels
from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import EvaluationError, Expression, Schema, compile_expression, evaluate
from tidemark.pipeline.model import Selection
from tidemark.registry.label_counts import LabelCounts
from tidemark.selection.doubt import doubt_of
from tidemark.selection.start import Sought, looks_for_positives, share_of_odd
from tidemark.strategies import Scored, make

Floats = NDArray[np.float64]
Stage = Literal["", "positives"]
"""What a ranking is for: the strategy's, or to find positives."""
RULE: Final = 1.0
"""Score, without a model, of an event for which the expert's rule is true."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model in force says of n rows. Without a model, `probabilities` is None and the uncertainty NaN.

    source: the model itself, for what else it can tell; without one the `LabelCounts`, where they are known.
    estimates: (n, 3) where the label is a number; `probabilities` are then what it is doubted by
    (`tidemark.selection.doubt`).
    """

    model: str
    probabilities: Floats | None
    uncertainty: Floats
    source: object = None
    estimates: Floats | None = None

    @property
    def of_classes(self) -> Floats | None:
        """Probabilities of the label's classes; None without a model, and of a number."""
        return self.probabilities if self.estimates is None else None

    def only(self, rows: NDArray[np.int64] | slice) -> Scores:
        """Those of some rows."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        estimates = None if self.estimates is None else self.estimates[rows]
        return Scores(self.model, probabilities, self.uncertainty[rows], self.source, estimates)


def score(selection: Selection, model: str, probabilities: Floats | None, n: int, source: object = None) -> Scores:
    """Uncertainty of n rows by the strategy's measure, as predictions tell it."""
    if probabilities is None:
        return Scores(model, None, np.full(n, np.nan), source)
    return Scores(model, probabilities, make(selection).uncertainty(probabilities), source)


def score_number(  # the arguments are those of `score`, and the label's bounds
    selection: Selection, model: str, estimates: Floats, bounds: tuple[float, float], source: object = None
) -> Scores:
    """Uncertainty of n rows, whose estimates are (n, 3), by the strategy's measure of what they are doubted by."""
    doubted = score(selection, model, doubt_of(estimates, bounds), len(estimates), source)
    return replace(doubted, estimates=estimates)


@dataclass(frozen=True, slots=True)
class Ranking:
    """value: (n,) what rows are ranked by, NaN: by their coins.  unsure: (n,) 1 - margin; None without a model.

    share: of the active cases for what the start looks for, where labels have told something: without a model for the
    rule and oddness, in the stage `positives` for the likeliest positives.
    """

    value: Floats
    unsure: Floats | None
    stage: Stage
    share: float | None = None


class Ranker:
    """Ranks the events of a pipeline, batch by batch."""

    def __init__(self, pipeline: Pipeline) -> None:
        label, self._start = pipeline.label, pipeline.start
        self._strategy = make(pipeline.selection, label.classes)
        self._positive = 0 if label.is_number else label.classes.index(label.positive)
        schema: Schema = dict.fromkeys(pipeline.feature_names, pl.Float64())
        rule = self._start.rule
        self._rule = None if rule is None else compile_expression("rule", rule, None, schema)
        self._classes = label.classes

    def __call__(self, scores: Scores, features: pl.DataFrame, draws: NDArray[np.uint64]) -> Ranking:
        """Rank n rows. features: of the pipeline, NaN is missing.  draws: (n,) a coin of each."""
        probabilities, n = scores.probabilities, len(draws)
        if probabilities is None:
            return Ranking(self._by_rule(features), None, "", self._share_of_odd(scores.source))
        unsure = np.asarray(kernels.margin(probabilities), np.float64)
        if self._strategy.ranks and n:
            sought = self._sought(scores.source)
            if sought is not None:
                likely = np.ascontiguousarray(probabilities[:, sought.classes].sum(axis=1))
                return Ranking(likely, unsure, "positives", sought.share)
        table = features.to_numpy(order="c") if features.width else np.empty((n, 0))
        rows = Scored(probabilities, table, draws, self._positive, scores.source)
        return Ranking(self._strategy.score(rows), unsure, "")

    def _share_of_odd(self, source: object) -> float | None:
        if not isinstance(source, LabelCounts) or not self._classes:
            return None
        counts = source.of(self._classes)
        return share_of_odd(self._start, counts.drawn, counts.chosen, self._positive)

    def _sought(self, model: object) -> Sought | None:
        known: Sequence[int] = getattr(model, "class_counts", ())
        drawn: Sequence[int] = getattr(model, "drawn_counts", ())
        return looks_for_positives(self._start, known, drawn, self._positive)

    def _by_rule(self, features: pl.DataFrame) -> Floats:
        """`RULE` where the expert's rule is true, else NaN; where it fails, it is not true."""
        rule = self._rule
        if rule is None:
            return np.full(len(features), np.nan)
        nullable = features.select(pl.all().fill_nan(None))
        try:
            hit = evaluate([rule], nullable)["rule"]
        except EvaluationError:
            hit = pl.Series([_hit(rule, nullable[row : row + 1]) for row in range(len(nullable))], dtype=pl.Boolean)
        return np.where(hit.fill_null(value=False).to_numpy(), RULE, np.nan)


def _hit(rule: Expression, row: pl.DataFrame) -> bool:
    try:
        return bool(evaluate([rule], row)["rule"][0])
    except EvaluationError:
        return False

"""The headline in the retrain flow: how good the champion is, on labels it has not learnt from.

It is measured when there is another champion, and with every twentieth more answers of the random draw: at positions
of `P.labels` that follow from the log alone, so that a crash neither leaves one out nor gives one twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.evaluation.draw import answered_weights, is_drawn
from tidemark.evaluation.headline import Headline, headline
from tidemark.evaluation.labels import drawn_labels
from tidemark.evaluation.measures import Sample
from tidemark.evaluation.numbers import NumberSample
from tidemark.evaluation.thresholds import guaranteed
from tidemark.pipeline import Pipeline
from tidemark.records import Label, Metric
from tidemark.registry.serving import ActiveModel
from tidemark.training.alerting import alert_metric, events_a_day
from tidemark.training.dataset import Dataset
from tidemark.training.folds import are_many, entities
from tidemark.training.metrics import figure_metric
from tidemark.training.number_headline import number_metrics
from tidemark.training.target import target_of
from tidemark.training.unseen import Learner, Unseen

NAME: Final = "quality"
MOST: Final = 2_000
"""Answers that the headline rests on, the newest: more would narrow it little, and hold what has changed since."""
_PART: Final = 20


class HeadlineLog:
    """What was drawn at random and answered, and when the headline was measured last.

    heard: events of the draw that were answered so far.  told, told_of: `heard` and the champion's version at the last
    measurement, which are committed with the offsets.
    """

    def __init__(self, told: int = 0, told_of: str = "") -> None:
        self.told = told
        self.told_of = told_of
        self._events: set[str] = set()

    @property
    def heard(self) -> int:
        """Events of the draw that were answered so far."""
        return len(self._events)

    def add(self, label: Label) -> None:
        """Take in an annotation."""
        if label.status == "answered" and is_drawn(label):
            self._events.add(label.event_id)

    def due(self, version: str) -> bool:
        """Whether the headline of this champion is to be measured at this position."""
        return version != self.told_of or self.heard - self.told >= max(1, self.told // _PART)

    def tell(self, version: str) -> None:
        """It was measured."""
        self.told, self.told_of = self.heard, version


class Headliner:
    """Measures champions of one pipeline. learn: trains a stand-in."""

    def __init__(self, pipeline: Pipeline, learn: Learner) -> None:
        self._pipeline = pipeline
        reach = max((window.size for window in pipeline.windows), default=0)
        self._unseen = Unseen(learn, target_of(pipeline), reach)

    def measure(
        self,
        champion: ActiveModel,
        labels: Iterable[Label],
        rows: Dataset,
        learnt: NDArray[np.bool_],
        at: int,
    ) -> list[Metric]:
        """The headline's record, and that of alerts where the pipeline says what they must find.

        Args:
            champion: the model in force.
            labels: annotations that are known, in order.
            rows: what they make, in the pipeline's features and classes.
            learnt: (n,) which rows the champion has learnt from.
            at: µs, of the record.

        Returns:
            The metrics `quality` and `alert_threshold`; of a number `quality`, `rmse`, `mae` and `interval_coverage`. A
            value is None where nothing can be said yet.

        """
        drawn = [label for label in drawn_labels(labels, self._pipeline.label.order) if is_drawn(label)]
        weights = answered_weights(drawn)
        answers = self._unseen.probabilities(rows, learnt, champion.says)
        answered = np.isfinite(answers.table[:, 0]) & rows.counts
        places = [place for place, event in enumerate(rows.event_ids) if answered[place] and event in weights]
        order = np.argsort(rows.known[places], kind="stable")[-MOST:]
        chosen = np.array(places, np.int64)[order]
        weight = np.array([weights[rows.event_ids[place]] for place in chosen.tolist()], np.float64)
        entity = entities(rows)[chosen]
        of_many = entity if len(chosen) and are_many(entity) else None
        since = int((~learnt[chosen]).sum())
        rest: dict[str, str | float | int | None] = {
            "since_champion": since,
            "learnt_from": len(chosen) - since,
            "drawn": len(drawn),
            "unanswered": sum(label.status != "answered" for label in drawn),
            "way": answers.way,
            "cross_fitting_ahead": answers.ahead,
        }
        spec, alerts = self._pipeline.label, self._pipeline.alerts
        if spec.is_number:
            numbers = NumberSample(rows.of_numbers[chosen], answers.table[chosen], weight, of_many)
            return number_metrics(numbers, spec.unit, champion.version, at, rest)
        sample = Sample(rows.target[chosen], answers.table[chosen], weight, of_many)
        found = headline(sample, spec.classes, spec.positive)
        quality = _metric(found, champion.version, at, rest)
        if alerts is None:
            return [quality]
        a_day = events_a_day(drawn, self._pipeline.selection.tile)
        told = guaranteed(sample, spec.classes.index(spec.positive), alerts.recall)
        return [quality, alert_metric(told, alerts, a_day, champion.version, at)]


def _metric(found: Headline, version: str, at: int, rest: Mapping[str, str | float | int | None]) -> Metric:
    detail = {
        "metric": found.metric,
        "of_class": found.about,
        "base_rate": found.base_rate,
        "base_rate_low": found.base_low,
        "base_rate_high": found.base_high,
        "chance": found.chance,
        "more": found.more,
        **rest,
    }
    return figure_metric(NAME, found, version, at, detail)

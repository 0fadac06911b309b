"""What the model made of an event and how it was ranked: derived again, and compared with what was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels import hash64
from tidemark.errors import ModelError, TopicError
from tidemark.evaluation.focus import stretched
from tidemark.features.windows import NO_WATERMARK
from tidemark.lineage.comparing import Comparison
from tidemark.lineage.derivation import known
from tidemark.lineage.finding import Finder
from tidemark.lineage.models import Models
from tidemark.lineage.story import Lineage, ScorePart
from tidemark.lineage.topic_reader import offset_of
from tidemark.lineage.tracing import Trail
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import feature_ids
from tidemark.records import NO_MODEL, Candidate, Prediction
from tidemark.registry.estimates import COLUMNS
from tidemark.registry.serving import ActiveModel
from tidemark.runtime.processor import Partition
from tidemark.selection.scoring import Ranker, Scores, score
from tidemark.stream.coins import coins_of
from tidemark.stream.steps.predict import Opinions

_DRAW: Final = "/draw"
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Scored:
    """An event with its features (1, features), and what the model that predicted makes of them.

    scores: of the event; without a model, or where it is gone, they tell nothing.
    """

    table: Floats
    version: str
    model: ActiveModel | None
    scores: Scores

    @property
    def comparable(self) -> bool:
        """Whether the model's part could be derived: there was none, or it is still there."""
        return self.version == NO_MODEL or self.model is not None

    @property
    def probabilities(self) -> list[float] | None:
        """The probabilities as records have them."""
        return _first(self.scores.of_classes)

    @property
    def estimate(self) -> list[float] | None:
        """The number and the ends of its interval, where the label is one."""
        return _first(self.scores.estimates)


def _first(table: Floats | None) -> list[float] | None:
    return None if table is None else [float(each) for each in table[0]]


class Judge:
    """Judges events of one pipeline by its file as it is now."""

    def __init__(self, pipeline: Pipeline, finder: Finder, models: Models) -> None:
        self._pipeline = pipeline
        self._finder = finder
        self._models = models
        self._ranker = Ranker(pipeline)
        self._opinions, self._nothing = Opinions(pipeline), score(pipeline.selection, NO_MODEL, None, 1)
        self._definitions = feature_ids(pipeline)
        version = pipeline.selection.version
        self._coin, self._draw = hash64(version.encode()), hash64((version + _DRAW).encode())

    def judged(self, trail: Trail, lineage: Lineage, predicted_at: int) -> Lineage:
        """A lineage with what the model made of the event, and all that differs.

        Args:
            trail: of an event that has passed all stages.
            lineage: what is known so far.
            predicted_at: Kafka's timestamp of the prediction, ms.

        Returns:
            The lineage.

        """
        comparison, prediction = Comparison(), lineage.prediction
        scored = self._scored(trail, prediction)
        self._compare_prediction(trail, lineage, scored, comparison)
        self._compare_hops(trail, comparison)
        place = self._place(trail)
        if self._pipeline.features_topic and prediction is not None:
            recorded = self._finder.features(trail.event_id, place[0].index, predicted_at)
            comparison.named("feature", self._pipeline.topics.features, trail.features, recorded or {})
        ranked = self._ranked(trail, scored, place, comparison)
        if lineage.candidate is not None:
            self._compare_candidate(trail, lineage.candidate, scored, comparison)
        moved = None if scored.model is None else self._models.contributions(scored.version, scored.table)
        return msgspec.structs.replace(
            lineage,
            late=bool(trail.last.rows.late[0]),
            watermark=trail.last.watermark if trail.last.watermark != NO_WATERMARK else None,
            derived_probabilities=scored.probabilities,
            derived_estimate=scored.estimate,
            of_class=self._pipeline.label.positive,
            base=0.0 if moved is None else moved[0],
            contributions=[] if moved is None else moved[1],
            score=ranked,
            compared=comparison.compared,
            differences=comparison.differences,
        )

    def _scored(self, trail: Trail, prediction: Prediction | None) -> _Scored:
        values = [trail.features[name] for name in self._pipeline.feature_names]
        table = np.array([[np.nan if value is None else value for value in values]], np.float64)
        version = NO_MODEL if prediction is None else prediction.model
        if version == NO_MODEL:
            return _Scored(table, version, None, self._nothing)
        try:
            model = self._models.named(version)
        except (ModelError, TopicError) as error:
            trail.notes.append(f"what the model {version} makes of it can't be derived: {error}")
            return _Scored(table, version, None, self._nothing)
        return _Scored(table, version, model, self._opinions(model, table, model))

    def _compare_prediction(self, trail: Trail, lineage: Lineage, scored: _Scored, comparison: Comparison) -> None:
        where, prediction = self._pipeline.topics.predictions, lineage.prediction
        if prediction is None:
            trail.notes.append(f"{where} holds no prediction of it (any more, or yet)")
            return
        comparison.one("event time", where, trail.time, prediction.time)
        comparison.one("key", where, trail.key, prediction.key)
        comparison.one("business id", where, lineage.business_id, prediction.business_id)
        comparison.one("late", where, bool(trail.last.rows.late[0]), prediction.late)
        if scored.comparable:
            self._compare_said(where, scored, prediction, comparison)

    def _compare_said(self, where: str, scored: _Scored, said: Prediction | Candidate, comparison: Comparison) -> None:
        comparison.each("probability", where, self._pipeline.label.classes, scored.probabilities, said.probabilities)
        numbers = [each for each in (said.value, said.low, said.high) if each is not None]
        comparison.each("number", where, COLUMNS, scored.estimate, numbers or None)

    def _compare_hops(self, trail: Trail, comparison: Comparison) -> None:
        for at, message in zip(trail.stages[:-1], trail.hops, strict=True):
            own = at.rows.features
            derived = {name: known(own[name][0]) for name in own.columns}
            comparison.named("feature", message.topic() or "", derived, self._finder.handed_on(message, trail.event))

    def _compare_candidate(self, trail: Trail, candidate: Candidate, scored: _Scored, comparison: Comparison) -> None:
        where, own, then = self._pipeline.topics.candidates, self._definitions, candidate.definitions or {}
        values = candidate.features
        same = {name: value for name, value in values.items() if then.get(name, own.get(name)) == own.get(name)}
        if changed := sorted(set(values) - set(same)):
            trail.notes.append(f"defined otherwise by now, so not compared: {', '.join(changed)}")
        comparison.named("feature", where, trail.features, same)
        if scored.comparable and candidate.model == scored.version:
            self._compare_said(where, scored, candidate, comparison)

    def _place(self, trail: Trail) -> tuple[Partition, int]:
        """Where the event's record of the last stage stands."""
        at = trail.last
        if not trail.hops:
            return trail.event.partition, trail.event.offset
        key = str(at.rows.keys[at.stage.key][0])
        return self._finder.partition_of_hop(at.stage, key), offset_of(trail.hops[-1])

    def _ranked(self, trail: Trail, scored: _Scored, place: tuple[Partition, int], comparison: Comparison) -> ScorePart:
        rows, selection = trail.last.rows, self._pipeline.selection
        coins, draws = coins_of(rows, self._coin), coins_of(rows, self._draw)
        if selection.focused:
            coins = stretched(coins, scored.scores.of_classes)
        frame = pl.DataFrame(scored.table, schema=self._pipeline.feature_names)
        value = known(float(self._ranker(scored.scores, frame, draws).value[0])) if scored.comparable else None
        tile = int(np.maximum(trail.last.watermark, rows.bounded)[0] // selection.tile)
        offset, proposed = self._finder.proposed(trail.event_id, place[0].topic, place[0].index, place[1])
        if proposed is not None:
            where, own = self._pipeline.topics.proposals, proposed.row(0, named=True)
            if scored.comparable and own["model"] == scored.version:
                comparison.one("score", where, value, known(own["score"]))
            comparison.one("coin", where, str(coins[0]), str(own["coin"]))
            comparison.one("tile", where, tile, own["tile"])
            recorded = {name[2:]: known(own[name]) for name in own if name.startswith("f_")}
            comparison.named("feature", where, trail.features, recorded)
        return ScorePart(
            score=value,
            coin=str(coins[0]),
            tile=tile,
            offset=offset,
            proposed=proposed is not None,
            explore=proposed is not None and bool(proposed["explore"][0]),
            active=proposed is not None and bool(proposed["active"][0]),
        )

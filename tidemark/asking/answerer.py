"""What the windows and the model say of events, each as if it came now: a look, after which all is as before.

The events go the way of raw records, through the stream's own steps, as far as the windows; there they look. What
comes of it is what the stream would predict if the event were the next record that it reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.asking.kept import KeptWindows, Places
from tidemark.errors import TidemarkError
from tidemark.features.duplicates import duplicate_keys
from tidemark.features.raw_records import Records
from tidemark.features.rows import DerivedFeatures
from tidemark.features.windows import NO_WATERMARK, key_hashes, partitions_of
from tidemark.kafka.partitioning import partition_of
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL
from tidemark.records.raw_record import RawRecord
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import RoundContext
from tidemark.stream.models import ActiveModel, ModelSource, Shadows
from tidemark.stream.rows import Rows
from tidemark.stream.stages import Stage, cleaned_schema, stages
from tidemark.stream.steps import DecodeStep, RowFeaturesStep
from tidemark.stream.steps.predict import Opinions
from tidemark.stream.steps.window_features import Looks

_NOBODY: Final = Partition("", 0, "")


class Why(Enum):
    """Kinds of refusals."""

    EVENT = "the event can't be processed"
    NOT_NOW = "the windows or the model are not there now"
    ELSEWHERE = "the key's records are not where their key says"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not answered, in a sentence for its caller."""

    why: Why
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """An event that a call is about: JSON of the pipeline's columns, and the raw topic that it belongs to."""

    topic: str
    event: bytes


@dataclass(frozen=True, slots=True)
class Stood:
    """Windows that were looked at: the partition of their key, and the offset after the last record in them."""

    partition: Partition
    follows: int | None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a model says: its version, probabilities of the classes in their order, uncertainty.

    estimate: where the label is a number, it and the ends of its interval; `probabilities` is then None.
    """

    model: str
    probabilities: Sequence[float] | None
    uncertainty: float
    estimate: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the stream would predict if the event were the next that it reads.

    record: as it belongs into the raw topic.  place: raw partition of its key.
    probabilities: of the classes, in their order; None before the first model.  uncertainty: by the strategy's measure.
    estimate: where the label is a number, it and the ends of its interval, and no probabilities.
    shadow: what another model says of the same features, where one is asked.
    features: by name, NaN where missing.  late: it lies so far back that a window may have lost rows.
    known: a record with the same `[deduplicate]` key was there before; the stream would drop this one.
    windows: those that were looked at.  lag: seconds by which they are behind, as known.
    """

    record: RawRecord
    place: Partition
    business_id: str | None
    key: str
    time: int
    model: str
    probabilities: Sequence[float] | None
    uncertainty: float | None
    shadow: Opinion | None
    features: dict[str, float]
    late: bool
    known: bool
    windows: Sequence[Stood]
    lag: float
    estimate: Sequence[float] | None = None


class Answerer:
    """Answers calls, those that wait together at once. Used by one thread.

    kept: the windows of this process.  models: where the model in force comes from.
    """

    def __init__(self, pipeline: Pipeline, models: ModelSource, kept: KeptWindows, *, max_lag: float) -> None:
        """Prepare. max_lag: seconds by which windows may be behind."""
        cleaned = cleaned_schema(pipeline)
        self._pipeline, self._models, self._kept, self._max_lag = pipeline, models, kept, max_lag
        self._records = {topic: Records(pipeline, topic) for topic in pipeline.raw_topics}
        self._decode, self._row_features = DecodeStep(pipeline), RowFeaturesStep(pipeline)
        self._stages = [stage for stage in stages(pipeline, cleaned) if stage.windows.names or stage.drops_duplicates]
        self._derived, self._scores = DerivedFeatures(pipeline), Opinions(pipeline)
        self._computed = pipeline.feature_names[: len(pipeline.features) + len(pipeline.windows)]

    def answer(self, asked: Sequence[Asked]) -> list[Answer | Refusal]:
        """An answer to each call, or why there is none."""
        places = Places.of(self._kept)
        refusal = places.refusal(self._max_lag)
        if refusal is not None:
            return [Refusal(Why.NOT_NOW, refusal)] * len(asked)
        try:
            model = self._models.current()
        except TidemarkError as error:
            return [Refusal(Why.NOT_NOW, f"the model in force is not known: {error}")] * len(asked)
        look = _Look(len(asked), places)
        for topic in dict.fromkeys(each.topic for each in asked):
            own = [number for number, each in enumerate(asked) if each.topic == topic]
            records = self._records[topic].records([asked[number].event for number in own])
            rows = self._rows(topic, own, records, look)
            if rows is not None:
                self._answer_rows(rows, dict(zip(own, records, strict=True)), model, look)
        return look.answers()

    def warm(self, event: bytes) -> None:
        """Load what answers need, so that the first caller need not wait for it. event: one that can be processed."""
        topic = self._pipeline.raw_topics[0]
        look = _Look(1, Places({}, {}, 0.0, 0))
        rows = self._rows(topic, [0], self._records[topic].records([event]), look)
        if rows is None:
            return
        for stage in self._stages:
            state, looks = stage.windows.state(NO_WATERMARK), self._looks(rows, stage)
            if state is not None:
                state.peek(looks.hashes, looks.times, looks.values)
        self._derived(pl.DataFrame({name: [math.nan] for name in self._computed}))

    def _rows(self, topic: str, own: Sequence[int], records: Sequence[RawRecord], look: _Look) -> Rows | None:
        """The events as rows, whose offsets are their numbers among the calls; None if none of them can be one."""
        n, now = len(own), wall_clock()
        batch = Batch(
            Partition(topic, 0, ""),
            np.array(own, np.int64),
            np.full(n, now // 1_000, np.int64),
            [record.key for record in records],
            [record.value for record in records],
            [None] * n,
        )
        context = RoundContext(now, [batch.partition])
        decoded = self._decode.process(Received([batch], [now]), context)
        outcome = self._row_features.process(decoded.oks, context)
        for refused in (*decoded.errs, *outcome.errs):
            look.refuse(own[refused.row], Why.EVENT, f"{refused.step}: {refused.reason}")
        return outcome.oks[0].rows if outcome.oks else None

    def _answer_rows(self, rows: Rows, records: dict[int, RawRecord], model: ActiveModel | None, look: _Look) -> None:
        late, known = rows.late.copy(), np.zeros(len(rows), np.bool_)
        stood: list[list[Stood]] = [[] for _ in range(len(rows))]
        topic = rows.origins[0].topic
        keys = [records[number].key for number in rows.offsets.tolist()]
        raw = np.array([partition_of(key or b"", look.places.counts.get(topic, 1)) for key in keys], np.int64)
        given = {name: rows.features[name].to_numpy() for name in rows.features.columns}
        for stage in self._stages:
            numbers = raw if stage.arriving is None else partitions_of(rows.keys[stage.key], self._pipeline.partitions)
            name = topic if stage.arriving is None else stage.arriving.topic
            looks = self._looks(rows, stage)
            if stage.arriving is None:
                _refuse_elsewhere(look, topic, rows, looks, raw)
            added = np.full((len(rows), len(stage.windows.names)), np.nan)
            for number in np.unique(numbers).tolist():
                found = added, late, known, stood
                _look_at(look, (name, number), rows, looks, numbers == number, stage, found)
            given |= dict(zip(stage.windows.names, added.T, strict=True))
        features = self._derived(pl.DataFrame([pl.Series(name, given[name]) for name in self._computed]))
        table = features.to_numpy(order="c")
        said, beside = self._opinions(model, table), self._opinions(self._shadow(), table)
        business = self._pipeline.label.business_id
        ids = [None] * len(rows) if business is None else rows.columns[business].cast(pl.String).to_list()
        names = features.columns
        for i, number in enumerate(rows.offsets.tolist()):
            look.give(
                number,
                Answer(
                    record=records[number],
                    place=look.partition(topic, int(raw[i])),
                    business_id=ids[i],
                    key=rows.keys[0][i],
                    time=int(rows.times[i]),
                    model=NO_MODEL if said is None else said[i].model,
                    probabilities=None if said is None else said[i].probabilities,
                    uncertainty=None if said is None else said[i].uncertainty,
                    shadow=None if beside is None else beside[i],
                    features=dict(zip(names, table[i].tolist(), strict=True)),
                    late=bool(late[i]),
                    known=bool(known[i]),
                    windows=stood[i],
                    lag=look.places.lag if math.isfinite(look.places.lag) else 0.0,
                    estimate=None if said is None else said[i].estimate,
                ),
            )

    def _shadow(self) -> ActiveModel | None:
        return self._models.shadow() if isinstance(self._models, Shadows) else None

    def _opinions(self, model: ActiveModel | None, table: NDArray[np.float64]) -> list[Opinion] | None:
        """What a model says of each row; None without one."""
        if model is None:
            return None
        scores = self._scores(model, table)
        classes, numbers = scores.of_classes, scores.estimates
        return [
            Opinion(
                model.version,
                None if classes is None else classes[i].tolist(),
                unsure,
                None if numbers is None else numbers[i].tolist(),
            )
            for i, unsure in enumerate(scores.uncertainty.tolist())
        ]

    def _looks(self, rows: Rows, stage: Stage) -> Looks:
        ids = np.zeros(len(rows), np.uint64)
        if stage.drops_duplicates:
            ids = duplicate_keys(self._pipeline, rows.columns, rows.keys[stage.key])
        values = stage.windows.values(rows.features, rows.columns)
        return Looks(key_hashes(rows.keys[stage.key]), rows.times, values, ids)


class _Look:
    """What calls that are answered together come to."""

    def __init__(self, n: int, places: Places) -> None:
        self.places = places
        self._given: list[Answer | Refusal | None] = [None] * n

    def refuse(self, number: int, why: Why, reason: str) -> None:
        """Refuse a call, unless it is refused already."""
        if self._given[number] is None:
            self._given[number] = Refusal(why, reason)

    def give(self, number: int, answer: Answer) -> None:
        """Answer a call, unless it is refused."""
        if self._given[number] is None:
            self._given[number] = answer

    def partition(self, topic: str, number: int) -> Partition:
        """The partition that a record belongs to."""
        _, partition = self.places.held.get((topic, number), (None, _NOBODY))
        return partition

    def answers(self) -> list[Answer | Refusal]:
        """All of them."""
        return [each or Refusal(Why.EVENT, "the event gives no row") for each in self._given]


_Found = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], list[list[Stood]]]


def _refuse_elsewhere(look: _Look, topic: str, rows: Rows, looks: Looks, raw: NDArray[np.int64]) -> None:
    """Refuse rows whose key has records in another raw partition than its own: part of the windows is no answer.

    raw: (n,) partition of each row's key, by the hash of Kafka's Java clients.
    """
    for number in range(look.places.counts.get(topic, 0)):
        step, partition = look.places.held.get((topic, number), (None, _NOBODY))
        if step is None:
            continue
        for i in np.flatnonzero(step.holds(partition, looks) & (raw != number)).tolist():
            reason = (
                f"records of this key lie in partition {number} of {topic}, and in {raw[i]} by the hash of Kafka's "
                "Java clients, by which events that are asked about are recorded. Let the topic's producers set "
                'partitioner = murmur2_random, or write key = "other" at [[raw]]; of a topic that has just got more '
                "partitions, wait until windows have forgotten"
            )
            look.refuse(int(rows.offsets[i]), Why.ELSEWHERE, reason)


def _look_at(
    look: _Look,
    place: tuple[str, int],
    rows: Rows,
    looks: Looks,
    mask: NDArray[np.bool_],
    stage: Stage,
    found: _Found,
) -> None:
    """Let rows of one partition look at its windows. found: what they see, written where `mask` is."""
    added, late, known, stood = found
    step, partition = look.places.held.get(place, (None, _NOBODY))
    seen = None if step is None else step.look(partition, looks.only(mask))
    own = np.flatnonzero(mask).tolist()
    if seen is None:
        reason = f"the windows of {place[0]}[{place[1]}] were just given up; ask again"
        for i in own:
            look.refuse(int(rows.offsets[i]), Why.NOT_NOW, reason)
        return
    added[mask] = seen.added
    known[mask] |= seen.known
    if seen.watermark != NO_WATERMARK:
        late[mask] |= rows.times[mask] + stage.windows.lateness < seen.watermark
    for i in own:
        stood[i].append(Stood(partition, seen.follows))

"""What topics have recorded of replayed events, against what comes out now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.errors import RecordError
from tidemark.formats.arrow import from_ipc
from tidemark.parity.event_table import EventTable
from tidemark.parity.scoring import Scoring
from tidemark.parity.tally import SEEN, Tally
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL, Candidate, Prediction, SampledEvent, decode
from tidemark.records.background import DEFINITIONS, definitions_of
from tidemark.records.event_id import parse_event_id
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Batch

_GONE: Final = "retention has removed rows that the features are made of"
_LONGEST: Final = 300
Floats = NDArray[np.float64]


class RecordedPredictions:
    """Compares predictions.

    only: the version that all events are scored by; None: each by the one that its prediction names.
    unexpected: predictions of records that are no events.
    """

    def __init__(
        self, pipeline: Pipeline, table: EventTable, tally: Tally, scoring: Scoring, stages: int, only: str | None
    ) -> None:
        self._where = pipeline.topics.predictions
        self._classes = pipeline.label.classes
        self._table, self._tally, self._scoring = table, tally, scoring
        self._stages, self._only = stages, only
        self._late: list[tuple[int, bool]] = []
        self.unexpected: set[int] = set()

    def take(self, batch: Batch) -> None:
        """Compare the records of a batch. A record that is no prediction is passed over: whoever reads it says so."""
        of_model: dict[str, list[tuple[int, Prediction]]] = {}
        for value in batch.values:
            found = self._of_replay(value)
            if found is None:
                continue
            row, prediction = found
            self._tally.state[row] |= SEEN
            if self._table.passed[row] < self._stages:
                self._no_event(row)
                continue
            for what, derived, recorded in (
                ("event time", int(self._table.times[row]), prediction.time),
                ("key", self._table.keys[row], prediction.key),
                ("business id", self._table.business_ids[row], prediction.business_id),
            ):
                self._tally.texts(what, self._where, row, derived, recorded)
            of_model.setdefault(prediction.model, []).append((row, prediction))
        for version, told in of_model.items():
            self._scored(version, told)

    def finish(self, *, changed: bool) -> None:
        """Compare which events of no model were late. changed: definitions have, so this may have as well."""
        for row, late in self._late:
            if not changed:
                self._tally.texts("late", self._where, row, bool(self._table.late[row]), late)

    def _of_replay(self, value: bytes | None) -> tuple[int, Prediction] | None:
        try:
            prediction = decode(Prediction, value)
            row = self._table.row(parse_event_id(prediction.event_id))
        except RecordError:
            return None
        return (row, prediction) if row >= 0 else None

    def _no_event(self, row: int) -> None:
        if self._table.passed[row]:
            self._tally.incomparable("the record that handed it on is gone", np.array([row]))
            return
        self.unexpected.add(row)
        why = self._table.refused.get(row, "it comes after one of the same key, or there is no such record")
        self._tally.differ("no event", self._where, row, why, "a prediction")

    def _scored(self, version: str, told: list[tuple[int, Prediction]]) -> None:
        rows = np.array([row for row, _ in told], np.int64)
        recorded = [prediction.probabilities for _, prediction in told]
        whole_windows: list[bool] = np.all(self._table.whole[rows], axis=1).tolist()
        if self._only is None:
            self._scoring.score(version, rows)
        elif version != self._only:
            self._tally.incomparable(f"it was scored by another model than {self._only}", rows)
            return
        if version == NO_MODEL:
            for row, given in zip(rows.tolist(), recorded, strict=True):
                self._tally.texts("probabilities", self._where, row, None, None if given is None else "some")
            late = [(row, each.late) for (row, each), whole in zip(told, whole_windows, strict=True) if whole]
            self._late += late
            return
        model = self._scoring.named(version)
        if isinstance(model, str):
            self._tally.incomparable(f"model {version}: {model}"[:_LONGEST], rows)
            return
        whole = self._scoring.whole(version, rows)
        self._tally.incomparable(_GONE, rows[~whole])
        for (row, prediction), is_whole in zip(told, whole_windows, strict=True):
            if is_whole:
                self._tally.texts("late", self._where, row, bool(self._table.late[row]), prediction.late)
        self._probabilities(rows[whole], [given for given, is_whole in zip(recorded, whole, strict=True) if is_whole])

    def _probabilities(self, rows: NDArray[np.int64], recorded: list[list[float] | None]) -> None:
        count = len(self._classes)
        fits = np.array([given is not None and len(given) == count for given in recorded], np.bool_)
        for at in np.flatnonzero(~fits).tolist():
            given = recorded[at]
            told = "none" if given is None else f"{len(given)} of them"
            self._tally.differ("probabilities", self._where, int(rows[at]), f"{count} of them", told)
        kept = [given for given, fit in zip(recorded, fits, strict=True) if fit and given is not None]
        if not kept:
            return
        table, own = np.array(kept, np.float64), rows[fits]
        for at, name in enumerate(self._classes):
            self._tally.numbers(
                f"probability of {name}", self._where, own, self._scoring.probabilities[own, at], table[:, at]
            )


class RecordedFeatures:
    """Compares features, each with the one of the same definition.

    changed: features of which some were recorded by another definition.
    """

    def __init__(self, pipeline: Pipeline, table: EventTable, tally: Tally, stages: int) -> None:
        topics = pipeline.topics
        self._schema = ModelSchema.of(pipeline)
        self._table, self._tally, self._stages = table, tally, stages
        self._readers: dict[str, Callable[[Batch], Iterator[_Recorded]]] = {
            topics.features: _of_batches,
            topics.sample: _of_sample,
            topics.candidates: _of_candidates,
        }
        self.changed: set[str] = set()

    @property
    def topics(self) -> list[str]:
        """Topics that record features."""
        return list(self._readers)

    def take(self, batch: Batch) -> None:
        """Compare the records of a batch. What is none of ours is passed over: whoever reads it says so."""
        where = batch.partition.topic
        for ids, features, known in self._readers[where](batch):
            rows = np.array([self._row(event) for event in ids], np.int64)
            own = rows >= 0
            own[own] = self._table.passed[rows[own]] >= self._stages
            if own.any():
                self._compare(where, rows[own], {name: values[own] for name, values in features.items()}, known)

    def _row(self, event: str) -> int:
        try:
            return self._table.row(parse_event_id(event))
        except RecordError:
            return -1

    def _compare(
        self, where: str, rows: NDArray[np.int64], features: Mapping[str, Floats], known: Mapping[str, str] | None
    ) -> None:
        if known is None:
            self._tally.incomparable(f"{where} does not tell definitions: an earlier version wrote it", rows)
            return
        for column, (name, source) in enumerate(zip(self._schema.features, self._schema.sources(known), strict=True)):
            recorded = None if source is None else features.get(source)
            if recorded is None:
                self.changed.add(name)
                self._tally.incomparable(f"{name} was defined otherwise"[:_LONGEST], rows)
                continue
            whole = self._table.whole[rows, column]
            self._tally.incomparable(f"{name}: {_GONE}"[:_LONGEST], rows[~whole])
            derived = self._table.features[rows, column]
            self._tally.numbers(f"feature {name}", where, rows[whole], derived[whole], recorded[whole])


_Recorded = tuple[list[str], dict[str, Floats], Mapping[str, str] | None]


def _of_batches(batch: Batch) -> Iterator[_Recorded]:
    """Of `P.features`: Arrow, a record a micro-batch."""
    for at, value in enumerate(batch.values):
        try:
            frame = from_ipc(value, "features")
            known = definitions_of(batch.headers[at]) if _told(batch, at) else None
        except RecordError:
            continue
        if frame.schema.get("event_id") != pl.String or frame["event_id"].null_count():
            continue
        numbers = [name for name, dtype in frame.schema.items() if dtype == pl.Float64]
        yield (
            frame["event_id"].to_list(),
            {name: frame[name].fill_null(float("nan")).to_numpy() for name in numbers},
            known,
        )


def _of_sample(batch: Batch) -> Iterator[_Recorded]:
    """Of `P.sample`."""
    together = _Together()
    for at, value in enumerate(batch.values):
        key = batch.keys[at]
        if key is None or not key.isdigit():
            continue  # what the watch over the sample has saved
        try:
            event = decode(SampledEvent, value)
            together.add(event.event_id, event.features, definitions_of(batch.headers[at]))
        except RecordError:
            continue
    return together.groups()


def _of_candidates(batch: Batch) -> Iterator[_Recorded]:
    """Of `P.candidates`."""
    together = _Together()
    for value in batch.values:
        try:
            candidate = decode(Candidate, value)
        except RecordError:
            continue
        together.add(candidate.event_id, candidate.features, candidate.definitions)
    return together.groups()


class _Together:
    """Events one by one, put together by their definitions: columns cost the same for one as for many."""

    def __init__(self) -> None:
        self._groups: dict[tuple[tuple[str, str], ...] | None, tuple[list[str], list[Mapping[str, float | None]]]] = {}

    def add(self, event: str, features: Mapping[str, float | None], known: Mapping[str, str] | None) -> None:
        ids, rows = self._groups.setdefault(None if known is None else tuple(known.items()), ([], []))
        ids.append(event)
        rows.append(features)

    def groups(self) -> Iterator[_Recorded]:
        for known, (ids, rows) in self._groups.items():
            names = [name for name, _ in known or ()]
            columns = {name: np.array([_number(row.get(name)) for row in rows]) for name in names}
            yield ids, columns, None if known is None else dict(known)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _told(batch: Batch, at: int) -> bool:
    return any(name == DEFINITIONS for name, _ in batch.headers[at] or [])

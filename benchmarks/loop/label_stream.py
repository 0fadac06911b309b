"""What the labeling service, the retrain flow and the monitor flow are fed with, without the flows before them.

Simulated payments whose features were computed offline: a prediction of each, a candidate of each, the truth of those
whose delay has passed, and records that must become dead letters, in the order of event time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate, Outcome, Prediction, encode
from tidemark.records.event_id import event_id
from tidemark.simulators import fraud
from tidemark.simulators.simulation import Annotator

_EVENTS_PER_CASE: Final = 4
_SKIPPED: Final = 29
_BROKEN: Final = 150
_NOBODY: Final = 100
_INCARNATION: Final = "00c0ffee"
_MODELS: Final = ("made-up-1", "made-up-2")
_ERRORS: Final = {"fraud": 0.1, "legitimate": 0.01}

Record = tuple[str, bytes, bytes]
"""Topic, key and value."""


@dataclass(frozen=True, slots=True)
class LabelStream:
    """records: in the order in which they come.  answers: what is to be said of each event; None: it is skipped."""

    records: list[Record]
    answers: dict[str, str | None]


def label_stream(pipeline: Pipeline, seed: int, cases: int) -> LabelStream:
    """`cases` events of the fraud pipeline, all the frauds of four times as many among them.

    One case in 29 is skipped. One candidate in 150 more is cut off, one outcome in 100 more names no event.
    """
    rows = _rows(pipeline, seed, cases)
    annotator = Annotator("analyst", pipeline.label.classes, _ERRORS)
    timed: list[tuple[int, Record]] = []
    answers: dict[str, str | None] = {}
    for number, row in enumerate(rows.iter_rows(named=True)):
        answer = annotator.answer(row["transaction_id"], row["_label"])
        answers[row["_event"]] = None if number % _SKIPPED == _SKIPPED // 2 else answer
        timed += _asked(pipeline, number, row)
        timed += _truth(pipeline, number, row, last=rows["_time"][-1])
    timed.sort(key=lambda each: each[0])  # stable: an event's prediction stays before its candidate
    return LabelStream([record for _, record in timed], answers)


def _asked(pipeline: Pipeline, number: int, row: dict[str, Any]) -> Iterator[tuple[int, Record]]:
    """Prediction and candidate of an event, and now and then a candidate that can't be read; each with its time."""
    prediction = Prediction(
        event_id=row["_event"],
        business_id=row["transaction_id"],
        key=row["customer_id"],
        time=row["_time"],
        probabilities=[1 - row["_score"], row["_score"]],
        uncertainty=1 - abs(2 * row["_score"] - 1),
        model=row["_model"],
    )
    candidate = Candidate(
        event_id=prediction.event_id,
        business_id=prediction.business_id,
        key=prediction.key,
        time=prediction.time,
        tile=row["_tile"],
        tile_count=row["_tile_count"],
        reason="explore" if row["_chance"] is not None else "uncertain",
        priority=prediction.uncertainty or 0.0,
        inclusion_probability=row["_chance"],
        policy="margin-1",
        features={name: row[name] for name in pipeline.feature_names},
        context={"amount": row["amount"]},
        probabilities=prediction.probabilities,
        uncertainty=prediction.uncertainty,
        model=prediction.model,
    )
    topics, event = pipeline.topics, row["_event"].encode()
    yield row["_time"], (topics.predictions, row["customer_id"].encode(), encode(prediction))
    yield row["_time"], (topics.candidates, event, encode(candidate))
    if number % _BROKEN == _BROKEN // 2:
        yield row["_time"], (topics.candidates, event, encode(candidate)[:-9])


def _truth(pipeline: Pipeline, number: int, row: dict[str, Any], *, last: int) -> Iterator[tuple[int, Record]]:
    """Outcome of an event that is known by the time of the last, and now and then one of no event."""
    topic, key = pipeline.topics.outcomes, row["transaction_id"].encode()
    if row["_known_at"] <= last:
        outcome = Outcome(
            label=row["_label"],
            known_at=row["_known_at"],
            event_id=row["_event"] if number % 2 else None,
            business_id=None if number % 2 else row["transaction_id"],
        )
        yield row["_known_at"], (topic, key, encode(outcome))
    if number % _NOBODY == _NOBODY // 2:
        nobody = Outcome(label=row["_label"], known_at=row["_time"], business_id=f"nobody-{number}")
        yield row["_time"], (topic, key, encode(nobody))


def _rows(pipeline: Pipeline, seed: int, cases: int) -> pl.DataFrame:
    """A row a case in time order: its features, and what their names begin with an underscore of."""
    simulation = fraud.simulate(seed, cases * _EVENTS_PER_CASE)
    truth = simulation.truth
    positive = (truth["label"] == pipeline.label.positive).to_numpy()
    rng = np.random.default_rng([seed, 0x1ABE1])
    others = rng.choice(np.flatnonzero(~positive), cases - int(positive.sum()), replace=False)
    chosen = np.sort(np.concatenate([np.flatnonzero(positive), others]))
    score = np.clip(rng.beta(1, 12, len(positive)) + 0.5 * positive * rng.random(len(positive)), 0.001, 0.999)
    rows = (
        simulation.events.select("transaction_id", "customer_id")
        .hstack(backfill(pipeline, simulation.events))
        .with_columns(truth["label"].alias("_label"), truth["known_at"].alias("_known_at"), pl.Series("_score", score))
    )[chosen]
    topic, partitions, explore = pipeline.raw_topics[0], pipeline.partitions, pipeline.selection.explore
    tile = pl.col("_tile")
    return rows.with_columns(
        (pl.col("_time") // pipeline.selection.tile).alias("_tile"),
        pl.Series("_event", [event_id(topic, i % partitions, i // partitions, _INCARNATION) for i in range(cases)]),
        pl.Series("_model", [_MODELS[i * len(_MODELS) // cases] for i in range(cases)]),
    ).with_columns(
        pl.len().over(tile).cast(pl.Int64).alias("_tile_count"),
        pl.when(pl.int_range(pl.len()).over(tile) < explore)
        .then(pl.min_horizontal(1.0, explore / pl.len().over(tile)))
        .alias("_chance"),
    )

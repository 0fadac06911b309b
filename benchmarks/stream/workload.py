"""The events of `make bench-stream`, the model that predicts them, and what the predictions must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from confluent_kafka import Producer

from benchmarks.stream.oracle import Floats, expected
from tidemark.kafka import producer_config
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings
from tidemark.simulators.fraud import simulate
from tidemark.training.first import from_history, publish_first

SEED: Final = 1
_HISTORY_SEED: Final = 1_001
_HISTORY: Final = 20_000
_FOREST: Final = {"num_iterations": 100, "num_leaves": 31, "min_data_in_leaf": 20, "learning_rate": 0.05}
_CHUNK: Final = 5_000
_QUEUE: Final = 300_000
_SAME: Final = 1e-9
_BUSINESS_ID: Final = f"T{SEED}-"


def publish_forest(settings: Settings, pipeline: Pipeline, file: Path) -> str:
    """Train 100 trees of 31 leaves on a history of another seed; publish them as champion and write them to a file.

    Args:
        settings: where Kafka is.
        pipeline: whose champion it becomes.
        file: to which LightGBM's text is written.

    Returns:
        The model's version.

    """
    simulation = simulate(_HISTORY_SEED, _HISTORY)
    truth = simulation.truth.select("business_id", pl.col("label").alias("_label"))
    history = simulation.events.join(truth, left_on="transaction_id", right_on="business_id", how="inner")
    labeled = pipeline.model_copy(
        update={
            "label": pipeline.label.model_copy(update={"column": "_label"}),
            "training": pipeline.training.model_copy(update={"params": _FOREST}),
        }
    )
    model = from_history(labeled, history, f"simulation {_HISTORY_SEED}", all_known=True)
    file.write_text(model.text, encoding="utf-8")
    return publish_first(settings, pipeline, model, replace=True).version


class Prediction(msgspec.Struct):
    """What is read of a prediction, whichever engine made it."""

    business_id: str
    probabilities: list[float]

    @property
    def number(self) -> int:
        """Number of the event, from 0."""
        return int(self.business_id.removeprefix(_BUSINESS_ID))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Predictions beside what the oracle says.

    events: that were to be predicted.  missing, doubled: of them.
    different: of those that were predicted; largest: of their differences.
    """

    events: int
    missing: int
    doubled: int
    different: int
    largest: float

    @property
    def is_whole(self) -> bool:
        """Whether each event has one prediction."""
        return self.missing == 0 and self.doubled == 0

    @property
    def is_right(self) -> bool:
        """Whether each has one, and it is that of the computation in event order."""
        return self.is_whole and self.different == 0

    def told(self) -> dict[str, Any]:
        """For the record."""
        return {
            "events_checked": self.events,
            "missing": self.missing,
            "doubled": self.doubled,
            "different_from_event_order": self.different,
            "largest_difference": self.largest,
        }


class Workload:
    """The first `count` events of the simulator. model_file: LightGBM's text."""

    def __init__(self, count: int, model_file: Path) -> None:
        self.events = simulate(SEED, count).events
        self._model_file = model_file

    @cached_property
    def probabilities(self) -> Floats:
        """What the oracle says of each event."""
        return expected(self.events, self._model_file)

    def records(self, begin: int, end: int) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of events as they come in."""
        for start in range(begin, end, _QUEUE):
            part = self.events[start : min(start + _QUEUE, end)]
            keys = (key.encode() for key in part["customer_id"].to_list())
            yield from zip(keys, part.write_ndjson().encode().splitlines(), strict=True)

    def compare(self, values: Iterator[bytes], count: int) -> Agreement:
        """Predictions of the first `count` events beside the oracle's.

        Args:
            values: of the records, in any order.
            count: events that were sent.

        Returns:
            How far they agree.

        """
        decoder = msgspec.json.Decoder(Prediction)
        given = np.full(count, np.nan)
        times = np.zeros(count, np.int32)
        for value in values:
            prediction = decoder.decode(value)
            given[prediction.number] = prediction.probabilities[1]
            times[prediction.number] += 1
        there = times > 0
        off = np.abs(given[there] - self.probabilities[:count][there])
        return Agreement(
            events=count,
            missing=int(count - there.sum()),
            doubled=int((times > 1).sum()),
            different=int((~(off < _SAME)).sum()),
            largest=float(off.max(initial=0.0)),
        )


def send(
    settings: Settings, topic: str, records: Iterator[tuple[bytes, bytes]], producer: Producer | None = None
) -> None:
    """Produce records; returns when they are in Kafka.

    Args:
        settings: where Kafka is.
        topic: that gets them.
        records: key and value of each.
        producer: with an open transaction; None: they are visible at once.

    """
    producer = Producer(producer_config(settings)) if producer is None else producer
    batch: list[dict[str, Any]] = []
    for key, value in records:
        batch.append({"key": key, "value": value})
        if len(batch) == _CHUNK:
            _produce(producer, topic, batch)
            batch = []
    _produce(producer, topic, batch)
    if left := producer.flush(120):
        raise RuntimeError(f"{left} records were not acknowledged")


def _produce(producer: Producer, topic: str, batch: list[dict[str, Any]]) -> None:
    while len(producer) > _QUEUE:
        producer.poll(0.05)
    if producer.produce_batch(topic, batch) != len(batch):
        raise RuntimeError("the producer's queue is full")

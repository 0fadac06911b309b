"""What came of every event, candidate and label, counted from the topics after the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl
from confluent_kafka import Message

from tidemark.demo.result import Accounting, Latency
from tidemark.kafka import read_all
from tidemark.pipeline import Pipeline
from tidemark.records import ENDING, Candidate, Label, decode
from tidemark.runtime.settings import Settings

_SCHEMA = {"event_id": pl.String, "business_id": pl.String}


@dataclass(frozen=True, slots=True)
class Account:
    """Accounting and latency of a run; its labels with their offsets, and its candidates by event id."""

    accounting: Accounting
    latency: Latency
    labels: list[tuple[int, Label]]
    candidates: dict[str, Candidate]


def account(pipeline: Pipeline, settings: Settings, *, budget: int) -> Account:
    """Count what is in a pipeline's topics after a run. budget: labels that could be spent."""
    topics = pipeline.topics
    raw = read_all(settings, pipeline.raw_topics[0], settled=True)
    predicted = read_all(settings, topics.predictions, settled=True)
    rows = pl.read_ndjson(b"\n".join(message.value() or b"" for message in predicted), schema=_SCHEMA)
    times = pl.Series("predicted_at", [message.timestamp()[1] for message in predicted])
    first = rows.with_columns(times).group_by("event_id").agg(pl.col("predicted_at").min(), pl.len())
    candidates = [decode(Candidate, message.value()) for message in read_all(settings, topics.candidates, settled=True)]
    said = [
        (message.offset() or 0, decode(Label, message.value()))
        for message in read_all(settings, topics.labels, settled=True)
    ]
    labels = [(offset, label) for offset, label in said if label.status in ENDING]
    per_event = Counter(label.event_id for _, label in labels)
    accounting = Accounting(
        events=len(raw),
        predicted=len(first),
        dead_letters=len(read_all(settings, topics.deadletter, settled=True)),
        doubled=int((first["len"] > 1).sum()),
        candidates=len(candidates),
        labels=len(labels),
        answered=sum(label.status == "answered" for _, label in labels),
        labels_doubled=sum(count > 1 for count in per_event.values()),
        budget=budget,
    )
    by_id = {candidate.event_id: candidate for candidate in candidates}
    return Account(accounting, _latency(raw, first), labels, by_id)


def _latency(raw: list[Message], predicted: pl.DataFrame) -> Latency:
    """Percentiles of the time between an event's record and its prediction's, by their Kafka timestamps."""
    places = [f"{message.topic()}-{message.partition()}-{message.offset()}-" for message in raw]
    arrived = pl.DataFrame({"place": places, "arrived_at": [message.timestamp()[1] for message in raw]})
    both = predicted.with_columns(pl.col("event_id").str.replace("[^-]*$", "").alias("place")).join(arrived, on="place")
    waits = (both["predicted_at"] - both["arrived_at"]).to_numpy()
    if len(waits) == 0:
        return Latency(p50=float("nan"), p95=float("nan"), p99=float("nan"))
    p50, p95, p99 = np.percentile(waits, [50, 95, 99])
    return Latency(p50=float(p50), p95=float(p95), p99=float(p99))

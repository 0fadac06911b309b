"""Row I3: the use cases fed through a source instead of a topic give the same records, and so the same features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from confluent_kafka import Message
from streaming import MemoryEngine, Models

from benchmarks.sources.feeds import Feed
from tidemark import kafka as clients
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline, load
from tidemark.pipeline.model import SourceSpec
from tidemark.records.topics import TopicSpec
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings
from tidemark.simulators import UseCase, simulate

USE_CASES: Final[tuple[UseCase, ...]] = ("maintenance", "fraud", "customer", "healthcare")
_PIPELINES: Final = Path(__file__).parents[2] / "pipelines"


@dataclass(frozen=True, slots=True)
class Case:
    """A use case: its pipeline over two raw topics of its own, its rows, and their keys."""

    theirs: Pipeline
    ours: Pipeline
    rows: list[bytes]
    keys: list[bytes]


def case_of(use_case: UseCase, feed: Feed, name: str, events: int) -> Case:
    """A use case whose rows a producer writes to one topic, and a source to the other.

    Args:
        use_case: which.
        feed: what the source is fed by.
        name: of the pipeline, which no other test has.
        events: rows.

    """
    shipped = load(_PIPELINES / f"{use_case}.toml")
    frame = simulate(use_case, 3, events).events
    spec = SourceSpec(name="s", kind=feed.kind, options=feed.options())  # type: ignore[arg-type]  # texts and lists

    def over(topic: str) -> Pipeline:
        raw = [shipped.raw[0].model_copy(update={"topic": topic})]
        changed = {"name": name, "raw": raw, "features_topic": True, "partitions": 2, "sources": [spec]}
        return shipped.model_copy(update=changed)

    keys = [str(key).encode() for key in frame[shipped.keys[0]].to_list()]
    rows = frame.write_ndjson().encode().splitlines()
    return Case(over(f"{name}.theirs"), over(f"{name}.ours"), rows, keys)


def produce(settings: Settings, case: Case) -> None:
    """Write the rows as a producer does."""
    topic = case.theirs.raw_topics[0]
    ensure_topics(settings, [TopicSpec(topic, 2, {}), TopicSpec(case.ours.raw_topics[0], 2, {})])
    producer = clients.producer(settings)
    for key, row in zip(case.keys, case.rows, strict=True):
        producer.produce(topic, row, key)
    if producer.flush(60):
        raise RuntimeError(f"{topic}: not all rows were acknowledged")


def features(pipeline: Pipeline, records: list[Message]) -> pl.DataFrame:
    """What the stream computes of the records of a topic, by the place of each.

    Args:
        pipeline: over that topic.
        records: of it.

    """
    topic = pipeline.raw_topics[0]
    engine = MemoryEngine(pipeline, Models(None), gap=0)
    for record in sorted(records, key=lambda each: (each.partition() or 0, each.offset() or 0)):
        place = Partition(topic, record.partition() or 0, "0000aaaa")
        engine.produce(place, record.value(), record.key())
    engine.drain()
    letters = list(engine.of_topic(pipeline.topics.deadletter))
    if letters:
        raise RuntimeError(f"{topic}: {len(letters)} dead letters, the first {letters[0][1].headers}")
    found = pl.concat(pl.read_ipc_stream(o.value or b"") for _, o in engine.of_topic(pipeline.topics.features))
    return found.sort("business_id", "key").select("business_id", *pipeline.feature_names)


def differing(case: Case, theirs: list[Message], ours: list[Message]) -> int:
    """Events whose features are not the same, bit for bit, and such as are there once only.

    Args:
        case: whose records these are.
        theirs: what the producer wrote.
        ours: what the source wrote.

    """
    wanted, found = features(case.theirs, theirs), features(case.ours, ours)
    if len(wanted) != len(found):
        return max(len(wanted), len(found))
    same = np.array([a.eq_missing(b).to_numpy() for a, b in zip(wanted, found, strict=True)])
    return int((~same.all(axis=0)).sum())

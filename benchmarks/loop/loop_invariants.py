"""What must hold of a pipeline's topics after any faults, counted from what a reader of committed records sees.

`gather` reads, `violations` judges: it works on what was read alone, so that tests can tamper with it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import lightgbm as lgb
import numpy as np
import polars as pl
from confluent_kafka import Consumer, Message, TopicPartition

from benchmarks.support.offline_features import HopRecord, RawRecord, offline
from tidemark.kafka import admin, consumer_config, read_all
from tidemark.kafka.passing import asked_until
from tidemark.kafka.topics import topic_incarnation
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL, Candidate, Prediction, decode
from tidemark.records.event_id import event_id
from tidemark.registry.reading import read_registry, record_of
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.settings import Settings
from tidemark.selection import SelectProcessor
from tidemark.stream.hops import decode_hop, event_ids

_COORDINATED_SECONDS: Final = 30.0

_RELATIVE: Final = 1e-7
_ABSOLUTE: Final = 1e-9
_PROBABILITY: Final = 1e-6
"""Sums in another order, and LightGBM's own arithmetic against our kernel's, differ in their last bits."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a group has come in a partition. last: offset of its last committed record, -1 if it has none."""

    group: str
    topic: str
    partition: int
    committed: int
    last: int

    @property
    def behind(self) -> bool:
        """Whether a record is not covered by the committed offset."""
        return self.committed <= self.last


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was read after a run.

    features: the features topic, a row an event.  proposals: its records as one batch.  models: text by version.
    positions: of the stream's and select's groups, a partition each.
    """

    raw: list[RawRecord]
    hops: dict[str, list[HopRecord]]
    features: pl.DataFrame
    predictions: list[Prediction]
    proposals: Batch
    candidates: list[Candidate]
    models: dict[str, str]
    dead_letters: int
    positions: list[Position]


def gather(settings: Settings, pipeline: Pipeline) -> Evidence:
    """Read every topic of the pipeline to its end. The pipeline must have a features topic."""
    topics = pipeline.topics
    client = admin(settings)
    raw = [
        RawRecord(Partition(topic, _index(m), incarnation), _offset(m), m.value() or b"")
        for topic in pipeline.raw_topics
        for incarnation in [topic_incarnation(client, topic)]
        for m in read_all(settings, topic, settled=True)
    ]
    hops = {
        key: [
            HopRecord(_index(m), _offset(m), m.value() or b"", _headers(m))
            for m in read_all(settings, hop, settled=True)
        ]
        for key, hop in zip(pipeline.keys[1:], pipeline.hop_topics, strict=True)
    }
    registry = read_registry(settings, topics.models, settled=True)
    proposals = read_all(settings, topics.proposals, settled=True)
    features = [pl.read_ipc_stream(m.value() or b"") for m in read_all(settings, topics.features, settled=True)]
    return Evidence(
        raw=raw,
        hops=hops,
        features=pl.concat(features),
        predictions=[decode(Prediction, m.value()) for m in read_all(settings, topics.predictions, settled=True)],
        proposals=batch_of(Partition(topics.proposals, 0, topic_incarnation(client, topics.proposals)), proposals),
        candidates=[decode(Candidate, m.value()) for m in read_all(settings, topics.candidates, settled=True)],
        models={version: registry.text(version) for version in registry.manifests},
        dead_letters=len(read_all(settings, topics.deadletter, settled=True)),
        positions=positions(settings, pipeline),
    )


def positions(settings: Settings, pipeline: Pipeline) -> list[Position]:
    """Of the stream's group in the raw topics and the hops, and of select's in the proposals."""
    stream = f"{pipeline.name}.stream"
    return [
        *(p for topic in pipeline.raw_topics for p in positions_of(settings, stream, topic, pipeline.partitions)),
        *(p for topic in pipeline.hop_topics for p in positions_of(settings, stream, topic, pipeline.partitions)),
        *positions_of(settings, f"{pipeline.name}.select", pipeline.topics.proposals, 1),
    ]


def committed(settings: Settings, group: str, topic: str, partitions: int) -> list[int]:
    """Committed offset of each partition, negative where there is none. Pending transactions are not waited for.

    A broker that was restarted a moment ago may say that it does not coordinate the group, or not yet: asked again.
    """
    consumer = Consumer(consumer_config(settings, group=group, isolation_level="read_uncommitted", log_level=2))
    asked = [TopicPartition(topic, i) for i in range(partitions)]
    try:
        deadline = time.monotonic() + _COORDINATED_SECONDS
        return asked_until(deadline, lambda: [tp.offset for tp in consumer.committed(asked, 10)])
    finally:
        consumer.close()


def violations(pipeline: Pipeline, evidence: Evidence) -> dict[str, int]:
    """Number of violations of each promise; all zero when nothing was lost, doubled or wrong."""
    features = evidence.features.unique("event_id", keep="first")
    predictions = evidence.predictions
    expected = {event_id(r.partition.topic, r.partition.index, r.offset, r.partition.incarnation) for r in evidence.raw}
    predicted = Counter(p.event_id for p in predictions)
    chosen = Counter(c.event_id for c in evidence.candidates)
    return {
        "events not predicted": len(expected - set(predicted)),
        "predictions too many": predicted.total() - len(predicted),
        "predictions of no event": len(set(predicted) - expected),
        "rows of features too many": len(evidence.features) - len(features),
        "features other than offline": _wrong_features(pipeline, evidence, features),
        "predictions other than the model's": _wrong_predictions(pipeline, evidence, features),
        "dead letters": evidence.dead_letters,
        "partitions not complete": sum(position.behind for position in evidence.positions),
        "candidates too many": chosen.total() - len(chosen),
        "candidates of no event": len(set(chosen) - expected),
        "candidates other than chosen again": _other_candidates(pipeline, evidence),
        "candidates above the budget": _above_budget(pipeline, evidence.candidates),
    }


def _wrong_features(pipeline: Pipeline, evidence: Evidence, features: pl.DataFrame) -> int:
    """Events with other features than the offline computation over the recorded hop order gives, or without any."""
    handed_on = [_events_of(records) for records in evidence.hops.values()]
    doubled = sum(ids.total() - len(ids) for ids in handed_on)
    if doubled:
        return doubled  # the recorded order is none
    known = [
        r for r in evidence.raw if all(_event_of(r) in ids for ids in handed_on)
    ]  # others are not predicted either
    wanted = offline(pipeline, known, evidence.hops)
    both = wanted.join(features, on="event_id", how="left", suffix=" streamed", maintain_order="left")
    wrong = (both["late"] != both["late streamed"]).fill_null(value=True).to_numpy()
    for name in pipeline.feature_names:
        ours = both[f"{name} streamed"].fill_null(np.nan).to_numpy()
        theirs = both[name].fill_null(np.nan).to_numpy()
        wrong |= ~np.isclose(ours, theirs, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
    return int(wrong.sum()) + len(features.join(wanted, on="event_id", how="anti"))


def _wrong_predictions(pipeline: Pipeline, evidence: Evidence, features: pl.DataFrame) -> int:
    """Predictions that LightGBM does not make of the event's features with the model that they name."""
    rows = pl.DataFrame(
        {
            "event_id": [p.event_id for p in evidence.predictions],
            "model": [p.model for p in evidence.predictions],
            "positive": [None if p.probabilities is None else p.probabilities[1] for p in evidence.predictions],
            "sum": [None if p.probabilities is None else sum(p.probabilities) for p in evidence.predictions],
        },
        schema={"event_id": pl.String, "model": pl.String, "positive": pl.Float64, "sum": pl.Float64},
    ).join(features, on="event_id", how="left", maintain_order="left")
    wrong = 0
    for (version,), part in rows.group_by("model"):
        if version == NO_MODEL:
            wrong += int(part["positive"].is_not_null().sum())
            continue
        text = evidence.models.get(str(version))
        if text is None:
            wrong += len(part)
            continue
        booster = lgb.Booster(model_str=text)
        wanted = np.asarray(booster.predict(part.select(pipeline.feature_names).to_numpy(), num_threads=1))
        good = np.isclose(part["positive"].fill_null(np.nan).to_numpy(), wanted, rtol=0, atol=_PROBABILITY)
        good &= np.isclose(part["sum"].fill_null(np.nan).to_numpy(), 1.0, rtol=0, atol=_PROBABILITY)
        wrong += int((~good).sum())
    return wrong


def _other_candidates(pipeline: Pipeline, evidence: Evidence) -> int:
    """Candidates that a selection over the same proposals, in one go and without a fault, lacks or has besides."""
    again = SelectProcessor(pipeline)
    again.open(evidence.proposals.partition, "")
    topic = pipeline.topics.candidates
    outputs = again.process(evidence.proposals)
    wanted = Counter(repr(decode(Candidate, o.value)) for o in outputs if o.topic == topic)
    found = Counter(map(repr, evidence.candidates))
    return (wanted - found).total() + (found - wanted).total()


def _above_budget(pipeline: Pipeline, candidates: Iterable[Candidate]) -> int:
    """By how many candidates a tile, or the whole, exceeds its budget."""
    selection = pipeline.selection
    tiles = Counter(candidate.tile for candidate in candidates)
    above = sum(max(count - selection.budget, 0) for count in tiles.values())
    return above + (0 if selection.total is None else max(tiles.total() - selection.total, 0))


def _event_of(record: RawRecord) -> str:
    at = record.partition
    return event_id(at.topic, at.index, record.offset, at.incarnation)


def _events_of(records: Iterable[HopRecord]) -> Counter[str]:
    """How often each event was handed on."""
    ids: Counter[str] = Counter()
    for record in records:
        hop = decode_hop(record.value, record.headers)
        ids.update(event_ids(hop.origins, hop.rows["_origin"].to_numpy(), hop.rows["_offset"].to_numpy()))
    return ids


def positions_of(settings: Settings, group: str, topic: str, partitions: int) -> list[Position]:
    """Of a group in each partition of a topic."""
    last = dict.fromkeys(range(partitions), -1)
    last.update((_index(message), _offset(message)) for message in read_all(settings, topic, settled=True))
    offsets = committed(settings, group, topic, partitions)
    return [Position(group, topic, index, offsets[index], last[index]) for index in range(partitions)]


def batch_of(partition: Partition, messages: Sequence[Message]) -> Batch:
    """Records of one partition as a processor is given them."""
    return Batch(
        partition,
        np.array([_offset(message) for message in messages], np.int64),
        np.array([message.timestamp()[1] for message in messages], np.int64),
        [record_of(message)[0] for message in messages],
        [message.value() for message in messages],
        [_headers(message) for message in messages],
        replay=False,
    )


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    return [(name, content or b"") for name, content in record_of(message)[2] or ()]


def _index(message: Message) -> int:
    index = message.partition()
    return -1 if index is None else index


def _offset(message: Message) -> int:
    offset = message.offset()
    return -1 if offset is None else offset

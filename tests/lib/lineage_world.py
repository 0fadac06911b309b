"""A pipeline that has run on a real Kafka, without its processes: `from lineage_world import run_shop`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Message
from feeding import feeder
from offsets import read_settled
from streaming import purchases, shop

from tidemark.kafka import ensure_topics, headers_of_each, topic_incarnation
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate, Label, LabelRange, decode, encode
from tidemark.records.topics import TopicSpec
from tidemark.registry.codec import publish
from tidemark.registry.operations import registry_of
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel, active
from tidemark.registry.writing import write_models
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.runtime.settings import Settings
from tidemark.selection import SelectProcessor
from tidemark.stream import StreamProcessor
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict
from tidemark.training.manifest import describe
from tidemark.training.trainer import TrainedModel, train

_BATCH = 8
_LONG_AFTER = 1e6


@dataclass
class LineageWorld:
    """What has run, and what it wrote."""

    settings: Settings
    pipeline: Pipeline
    model: ActiveModel | None = None
    refused: int = 0
    candidates: list[Candidate] = field(default_factory=list)

    def produce(self, outputs: Iterable[Output], came: Sequence[int] | None = None) -> None:
        """Write records. came: Kafka's timestamp of each, ms."""
        producer = feeder(self.settings)
        for number, output in enumerate(outputs):
            # The client would take a missing partition for number 0.
            place: dict[str, Any] = {} if output.partition is None else {"partition": output.partition}
            if came is not None:
                place["timestamp"] = came[number]
            producer.produce(output.topic, output.value, output.key, headers=list(output.headers), **place)
        assert producer.flush(60) == 0

    def batches(self, topic: str) -> list[Batch]:
        """The records of a topic, in small batches, each of one partition."""
        incarnation = topic_incarnation(self.settings, topic)
        by_partition: dict[int, list[Message]] = {}
        for message in read_settled(self.settings, topic):
            by_partition.setdefault(message.partition() or 0, []).append(message)
        return [
            _batch(Partition(topic, index, incarnation), messages[begin : begin + _BATCH])
            for index, messages in sorted(by_partition.items())
            for begin in range(0, len(messages), _BATCH)
        ]

    def values(self, topic: str) -> list[bytes]:
        """The values of a topic."""
        return [message.value() or b"" for message in read_settled(self.settings, topic)]

    def label(self, candidate: Candidate, **changes: object) -> Label:
        """An answer to a candidate."""
        fields: dict[str, object] = {
            "status": "answered",
            "label": "2.5" if self.pipeline.label.is_number else self.pipeline.label.classes[0],
            "annotator": "ada",
            "known_at": candidate.time + 1,
            "answered_at": candidate.time + 2,
            "annotation_id": "a1",
        }
        shared = [name for name in Label.__struct_fields__ if name in Candidate.__struct_fields__]
        fields |= {name: getattr(candidate, name) for name in shared}
        return Label(**fields | changes)  # type: ignore[arg-type]  # as the record has them

    def learn(self, *labels: Label, version: str = "v000002-0000000b") -> None:
        """Write labels, and a model that has learnt from all that the topic holds."""
        topic = self.pipeline.topics.labels
        self.produce(Output(topic, encode(label), label.event_id.encode()) for label in labels)
        held = LabelRange(
            topic=topic, partition=0, start=0, end=len(labels), incarnation=topic_incarnation(self.settings, topic)
        )
        publish_model(self, version, [held], known_until=max(label.known_at for label in labels))


def run_shop(
    settings: Settings,
    name: str,
    rows: int = 300,
    *,
    bad: int = 3,
    lost: int | None = None,
    stamped: bool = False,
    number: bool = False,
) -> LineageWorld:
    """The shop of `streaming`, over two keys: raw records, hops, predictions, features, proposals, candidates.

    The first third of the rows comes before the first model. bad: raw records that are none.  lost: as `run` has it.
    stamped: records come when their events happen.  number: the label is one.
    name: begins the pipeline's name, which no other run has.
    """
    name = f"{name}-{uuid.uuid4().hex[:8]}"
    text = shop(features_topic=True, number=number).model_dump(mode="python")
    pipeline = Pipeline.model_validate(text | {"name": name, "raw": [{"topic": f"{name}.raw"}]})
    purchased = purchases(7, rows)
    records = [
        (str(row["who"]).encode(), json.dumps(row).encode() if number % (rows // bad) else b'{"at": "never"}')
        for number, row in enumerate(purchased)
    ]
    came = [int(str(row["at"])) // 1_000 for row in purchased] if stamped else None
    return run(settings, pipeline, records, bad=bad, lost=lost, came=came)


def run(
    settings: Settings,
    pipeline: Pipeline,
    records: Iterable[tuple[bytes | None, bytes]],
    *,
    bad: int = 0,
    lost: int | None = None,
    came: Sequence[int] | None = None,
) -> LineageWorld:
    """A pipeline that has read records: keys and values.

    lost: number of a prediction that is never written.  came: Kafka's timestamp of each record, ms; None: now.
    """
    its = LineageWorld(settings, pipeline, refused=bad)
    topics, (raw, *_) = pipeline.topics, pipeline.raw_topics
    specs = topics.specs(
        raw=pipeline.raw_topics, hops=pipeline.hops, partitions=pipeline.partitions, retention_ms=10**12
    )
    ensure_topics(settings, [TopicSpec(spec.name, spec.partitions, spec.config) for spec in specs])
    its.produce((Output(raw, value, key) for key, value in records), came)
    processor = StreamProcessor(pipeline, its_models := _Models())
    predicted = 0
    for topic in [raw, *pipeline.hop_topics]:
        incarnation = topic_incarnation(settings, topic)
        for index in range(pipeline.partitions):
            processor.open(Partition(topic, index, incarnation), "")
        batches, last = its.batches(topic), topic == [raw, *pipeline.hop_topics][-1]
        for number, batch in enumerate(batches):
            if last and number == len(batches) // 3:
                publish_model(its, "v000001-0000000a", [])
                its_models.model = its.model
            outputs = []
            for output in processor.process(batch):
                is_prediction = output.topic == topics.predictions
                if not (is_prediction and predicted == lost):
                    outputs.append(output)
                predicted += is_prediction
            its.produce(outputs)
    for now in (1.0, _LONG_AFTER):
        its.produce(processor.tick(now))
    select = SelectProcessor(pipeline)
    select.open(Partition(topics.proposals, 0, topic_incarnation(settings, topics.proposals)), "")
    for batch in its.batches(topics.proposals):
        its.produce(select.process(batch))
    its.candidates = [decoded for value in its.values(topics.candidates) for decoded in [_candidate(value)]]
    return its


@dataclass
class _Models:
    model: ActiveModel | None = None

    def current(self) -> ActiveModel | None:
        return self.model


def publish_model(its: LineageWorld, version: str, trained_on: list[LabelRange], known_until: int = 0) -> TrainedModel:
    """Train a small model on noise and put it in force."""
    schema, rng = ModelSchema.of(its.pipeline), np.random.default_rng(3)
    features = rng.normal(20, 30, size=(200, len(schema.features)))
    sums = features.sum(axis=1)
    cuts = np.quantile(sums, np.linspace(0, 1, max(len(schema.classes), 1) + 1)[1:-1])
    target = np.searchsorted(cuts, sums, side="left").astype(np.int64)
    numbers = np.clip((sums - sums.mean()) / sums.std() * 4, -10, 10) if schema.is_number else None
    ids = tuple(f"{its.pipeline.name}.raw-0-{number}-0a1b2c3d" for number in range(200))
    data = Dataset(features, target, ids, np.arange(200), known_until, numbers=numbers)
    model = train(data, schema, {"num_iterations": 8})
    verdict = Verdict(passed=True, reason="a test's", metric="log_loss")
    manifest = describe(
        model, data, schema=schema, version=version, parent=None, created_at=known_until, trained_on=trained_on,
        verdict=verdict,
    )  # fmt: skip
    outputs = publish(manifest, model.text, topic=its.pipeline.topics.models)
    write_models(its.settings, its.pipeline, lambda _: (outputs, None))
    its.model = active(registry_of(its.settings, its.pipeline), version, schema)
    return model


def _batch(partition: Partition, messages: list[Message]) -> Batch:
    return Batch(
        partition,
        np.array([message.offset() for message in messages], np.int64),
        np.array([message.timestamp()[1] for message in messages], np.int64),
        [message.key() for message in messages],
        [message.value() for message in messages],
        headers_of_each(messages),
    )


def _candidate(value: bytes) -> Candidate:

    return decode(Candidate, value)

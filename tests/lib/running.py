"""Every part of a pipeline, built and run on a handful of rows: what `check` accepts must get through."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.engine.warmup import rehearse
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.security.masks import masks
from tidemark.monitoring import MonitorProcessor
from tidemark.monitoring.retention import predictions_retention
from tidemark.pipeline import Pipeline
from tidemark.registry.codec import Registry
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.selection import SelectProcessor
from tidemark.selection.retention import proposals_retention
from tidemark.stream import StreamProcessor
from tidemark.stream.retention import events_retention
from tidemark.training import RetrainProcessor
from tidemark.training.dataset import Dataset
from tidemark.training.trainer import train

INCARNATION = "00000000"
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_MOST_METADATA = 4_000
_NOW = 1_735_689_600.0


@dataclass(frozen=True, slots=True)
class Even:
    """A model to which all classes are nearly alike."""

    classes: int
    version: str = "v000001-00000000"

    def probabilities(self, rows: NDArray[np.float64], /) -> NDArray[np.float64]:
        weights = np.linspace(1, 2, self.classes)
        return np.tile(weights / weights.sum(), (len(rows), 1))


@dataclass(frozen=True, slots=True)
class Constant:
    """A source of one model."""

    model: Even

    def current(self) -> Even:
        return self.model


class Kept(StreamProcessor):
    """A stream processor that keeps what it gave."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.given: dict[str, list[Output]] = defaultdict(list)
        super().__init__(pipeline, Constant(Even(len(pipeline.label.classes))), clock=lambda: int(_NOW * 2e6))

    def process(self, batch: Batch) -> list[Output]:
        outputs = super().process(batch)
        for output in outputs:
            self.given[output.topic].append(output)
        assert len(self.metadata(batch.partition)) <= _MOST_METADATA
        return outputs


def batch(partition: Partition, outputs: list[Output]) -> Batch:
    """Outputs as they are read back."""
    n = len(outputs)
    return Batch(
        partition,
        np.arange(n, dtype=np.int64),
        np.full(n, int(_NOW * 1_000), np.int64),
        [output.key for output in outputs],
        [output.value for output in outputs],
        [list(output.headers) or None for output in outputs],
    )


def run_everything(pipeline: Pipeline, *, trains: bool) -> dict[str, list[Output]]:
    """Build all parts and run them, one on what another gave; what the stream gave by topic."""
    check_topics(pipeline)
    stream = Kept(pipeline)
    rehearse(stream, pipeline)
    topics = pipeline.topics
    predictions = stream.given[topics.predictions]
    selected = run_select(pipeline, stream.given[topics.proposals])
    assert predictions or stream.given[topics.deadletter], "rows are neither predicted nor refused"
    run_monitor(pipeline, predictions[:5])
    run_labeling(pipeline)
    run_retrain(pipeline, trains=trains)
    assert all(output.value is not None for output in selected)
    return stream.given


def check_topics(pipeline: Pipeline) -> None:
    """By Kafka's rules: names, counts, and numbers of 64 bits."""
    specs = pipeline.topics.specs(
        raw=pipeline.raw_topics,
        hops=pipeline.hops,
        partitions=pipeline.partitions,
        retention_ms=events_retention(pipeline) // 1_000,
        short_retention_ms=proposals_retention(pipeline) // 1_000,
        predictions_retention_ms=predictions_retention(pipeline) // 1_000,
    )
    names = [spec.name for spec in specs]
    assert len(set(names)) == len(names)
    assert len({name.replace(".", "_") for name in names}) == len(names)
    for spec in specs:
        assert _NAME.fullmatch(spec.name)
        assert spec.name not in {".", ".."}
        assert spec.partitions >= 1
        kept = int(spec.config.get("retention.ms", "-1"))
        assert kept == -1 or 0 < kept < 2**63


def run_select(pipeline: Pipeline, proposals: list[Output]) -> list[Output]:
    """Candidates of proposals."""
    select = SelectProcessor(pipeline)
    partition = Partition(pipeline.topics.proposals, 0, INCARNATION)
    select.open(partition, "")
    outputs = select.process(batch(partition, proposals)) if proposals else []
    outputs += select.tick(_NOW + 10**6)
    assert len(select.metadata(partition)) <= _MOST_METADATA
    select.close(partition)
    return outputs


def run_monitor(pipeline: Pipeline, predictions: list[Output]) -> None:
    """Join predictions and outcomes."""
    monitor = MonitorProcessor(pipeline)
    for topic in monitor.topics:
        monitor.open(Partition(topic, 0, INCARNATION), "")
    if predictions:
        monitor.process(batch(Partition(pipeline.topics.predictions, 0, INCARNATION), predictions))
    monitor.tick(_NOW)
    monitor.tick(_NOW + 10**6)
    assert len(monitor.metadata(Partition(pipeline.topics.predictions, 0, INCARNATION))) <= _MOST_METADATA


def run_labeling(pipeline: Pipeline) -> None:
    """What the labeling service takes from the file."""
    rules = QueueRules.of(pipeline)
    assert rules.most_answers >= 1
    assert isinstance(masks(pipeline), dict)


def run_retrain(pipeline: Pipeline, *, trains: bool) -> None:
    """The trainer on tiny data."""
    schema = ModelSchema.of(pipeline)
    retrain = RetrainProcessor(pipeline, read_registry=lambda: Registry(None))
    retrain.open(Partition(pipeline.topics.labels, 0, INCARNATION), "")
    if not trains:
        return
    generator = np.random.default_rng(0)
    features = generator.normal(size=(24, len(schema.features)))
    ids = tuple(f"x-0-{i}-{INCARNATION}" for i in range(24))
    target = (np.arange(24) % len(schema.classes)).astype(np.int64)
    data = Dataset(features, target, ids, np.arange(24), 0)
    model = train(data, schema, pipeline.training.params)
    assert np.isfinite(model.probabilities(features)).all()

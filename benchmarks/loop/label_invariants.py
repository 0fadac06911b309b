"""What must hold of labels, models and metrics after any faults, counted from what a reader of committed records sees.

`gather` reads, `violations` judges: it works on what was read alone, so that tests can tamper with it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from confluent_kafka import Message

from benchmarks.loop.annotators import Answer
from benchmarks.loop.loop_invariants import Position, batch_of, positions_of
from tidemark.errors import ModelError, RecordError
from tidemark.kafka import admin, read_all
from tidemark.kafka.topics import topic_incarnation
from tidemark.monitoring import MonitorProcessor
from tidemark.pipeline import Pipeline
from tidemark.records import (
    Candidate,
    Label,
    LabelRange,
    Metric,
    ModelManifest,
    Outcome,
    Prediction,
    Record,
    decode,
)
from tidemark.registry.codec import Registry
from tidemark.registry.reading import read_registry, record_of
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.scaling import Scaling
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.settings import Settings
from tidemark.training import RetrainProcessor
from tidemark.training.champion import KEPT_MODELS
from tidemark.training.manifest import labels_of
from tidemark.training.trainer import train

_RELATIVE: Final = 1e-6
"""Rows of several partitions are summed in the order in which they came, which differs from run to run."""

Source = tuple[str, int, int]
"""Topic, partition and offset."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was read after a run.

    answers: what was to be said of each event, None where it was to be skipped.  acknowledged: by annotation id.
    labels, predictions, outcomes, candidates: records, a batch a partition.  manifests: by version.
    texts: of the models whose text is still in the topic.  dead_letters: their sources.
    metrics: values as they are in the topic.  positions: of retrain's and monitor's groups, a partition each.
    """

    answers: Mapping[str, str | None]
    acknowledged: Mapping[str, Answer]
    labels: Batch
    predictions: Sequence[Batch]
    outcomes: Sequence[Batch]
    candidates: Batch
    manifests: Mapping[str, ModelManifest]
    texts: Mapping[str, str]
    champion: str | None
    metrics: Sequence[bytes]
    dead_letters: Sequence[Source]
    positions: Sequence[Position]


def gather(
    settings: Settings, pipeline: Pipeline, answers: Mapping[str, str | None], acknowledged: Mapping[str, Answer]
) -> Evidence:
    """Read every topic to its end."""
    topics = pipeline.topics
    registry = read_registry(settings, topics.models, settled=True)
    return Evidence(
        answers=answers,
        acknowledged=acknowledged,
        labels=_batches(settings, topics.labels)[0],
        predictions=_batches(settings, topics.predictions),
        outcomes=_batches(settings, topics.outcomes),
        candidates=_batches(settings, topics.candidates)[0],
        manifests=registry.manifests,
        texts=dict(_texts(registry)),
        champion=registry.champion.version if registry.champion else None,
        metrics=[message.value() or b"" for message in read_all(settings, topics.metrics, settled=True)],
        dead_letters=[_source(message) for message in read_all(settings, topics.deadletter, settled=True)],
        positions=positions(settings, pipeline),
    )


def positions(settings: Settings, pipeline: Pipeline) -> list[Position]:
    """Of retrain's group in the labels, and of monitor's in all that it reads."""
    topics, partitions = pipeline.topics, pipeline.partitions
    return [
        *positions_of(settings, f"{pipeline.name}.retrain", topics.labels, 1),
        *positions_of(settings, f"{pipeline.name}.monitor", topics.labels, 1),
        *positions_of(settings, f"{pipeline.name}.monitor", topics.predictions, partitions),
        *positions_of(settings, f"{pipeline.name}.monitor", topics.outcomes, partitions),
    ]


def violations(pipeline: Pipeline, evidence: Evidence) -> dict[str, int]:
    """Number of violations of each promise; all zero when nothing was lost, doubled or wrong."""
    return {
        **of_labels(pipeline, evidence),
        **of_records(pipeline, evidence),
        **of_models(pipeline, evidence),
        **of_metrics(pipeline, evidence),
    }


def named_labels(manifest: ModelManifest, labels: Batch) -> list[str]:
    """Event ids of the labels that a manifest names, read from the log by it alone.

    Every event of these streams has one annotation, so that no verdict has to be made of several.
    """
    found = []
    for offset, value in zip(labels.offsets.tolist(), labels.values, strict=True):
        label = decode(Label, value)
        inside = any(_within(each, labels.partition, offset) for each in manifest.trained_on)
        if inside and label.known_at <= manifest.known_until and label.status == "answered":
            found.append(label.event_id)
    return found


# ---- labels ----------------------------------------------------------------------------------------------------------


def of_labels(pipeline: Pipeline, evidence: Evidence) -> dict[str, int]:  # noqa: ARG001 as its siblings
    """Each acknowledged label is published once and says what was answered; each case is labeled once."""
    labels = [decode(Label, value) for value in evidence.labels.values]
    of_event = Counter(label.event_id for label in labels)
    of_annotation = Counter(label.annotation_id for label in labels)
    said = {label.annotation_id: Answer(label.event_id, label.label) for label in labels}
    return {
        "acknowledged labels not published": len(set(evidence.acknowledged) - set(of_annotation)),
        "acknowledged labels published otherwise": sum(
            said.get(annotation, answer) != answer for annotation, answer in evidence.acknowledged.items()
        ),
        "labels published again": of_annotation.total() - len(of_annotation),
        "cases labeled again": of_event.total() - len(of_event),
        "cases without a label": len(set(evidence.answers) - set(of_event)),
        "labels of no case": len(set(of_event) - set(evidence.answers)),
        "labels other than answered": sum(
            evidence.answers.get(label.event_id, label.label) != label.label for label in labels
        ),
    }


def of_records(pipeline: Pipeline, evidence: Evidence) -> dict[str, int]:
    """Every record was processed; candidates that can't be read, and outcomes of no event, are dead letters, once each.

    An outcome is given up when its time is over in every partition of the predictions, and in those that have been
    silent for long: between the first and the last of them to end it may be either way.
    """
    predicted = [[decode(Prediction, value) for value in batch.values] for batch in evidence.predictions]
    ends = [max(prediction.time for prediction in part) for part in predicted]
    known = {name for part in predicted for each in part for name in (each.event_id, each.business_id)}
    bad = {_place(evidence.candidates, row) for row in _unreadable(evidence.candidates)}
    unsure: set[Source] = set()
    for batch in evidence.outcomes:
        for row, value in enumerate(batch.values):
            outcome = decode(Outcome, value)
            until = outcome.known_at + pipeline.label.grace
            if not {outcome.event_id, outcome.business_id} & known and until <= max(ends):
                (bad if until <= min(ends) else unsure).add(_place(batch, row))
    found = Counter(evidence.dead_letters)
    return {
        "partitions not complete": sum(position.behind for position in evidence.positions),
        "dead letters missing": len(bad - set(found)),
        "dead letters again": found.total() - len(found),
        "dead letters of what was good": len(set(found) - bad - unsure),
    }


def _unreadable(batch: Batch) -> Iterable[int]:
    return (row for row, value in enumerate(batch.values) if not _readable(Candidate, value))


def _readable(kind: type[Record], value: bytes | None) -> bool:
    try:
        decode(kind, value)
    except RecordError:
        return False
    return True


# ---- models ----------------------------------------------------------------------------------------------------------


def of_models(pipeline: Pipeline, evidence: Evidence) -> dict[str, int]:
    """Models name their labels, are made of them, and are those of a retrain flow that is never killed."""
    schema = ModelSchema.of(pipeline)
    partition = evidence.labels.partition
    labels = [
        (offset, decode(Label, value))
        for offset, value in zip(evidence.labels.offsets.tolist(), evidence.labels.values, strict=True)
    ]
    newest = sorted(evidence.manifests.values(), key=lambda each: (each.created_at, each.version))[-KEPT_MODELS:]
    unnamed = other = 0
    for manifest in evidence.manifests.values():
        named = named_labels(manifest, evidence.labels)
        digest = hashlib.sha256("".join(f"{event}\n" for event in sorted(named)).encode()).hexdigest()
        unnamed += (len(named), digest) != (manifest.used, manifest.event_ids_sha256)
        rows = labels_of(manifest, labels, schema, partition.topic, partition.incarnation)
        options: Any = {"learner": pipeline.learner, "scaling": Scaling.of_manifest(manifest)}
        again = train(rows, schema, pipeline.training.params, **options).text if len(rows) else ""
        other += hashlib.sha256(again.encode()).hexdigest() != manifest.sha256
    registry, verdicts = _trained_again(pipeline, evidence.labels)
    champion = registry.champion.version if registry.champion else None
    manifests = registry.manifests
    found = Counter(value for value in evidence.metrics if _is_verdict(value))
    return {
        "models whose labels are not those they name": unnamed,
        "models other than made of the labels they name": other,
        "models without their text": sum(each.version not in evidence.texts for each in newest),
        "champions other than without a fault": int(evidence.champion != champion),
        "models other than without a fault": len(
            {each.version for each in evidence.manifests.values() if manifests.get(each.version) != each}
            | (set(manifests) - set(evidence.manifests))
        ),
        "verdicts other than without a fault": (found - verdicts).total() + (verdicts - found).total(),
    }


def _trained_again(pipeline: Pipeline, labels: Batch) -> tuple[Registry, Counter[bytes]]:
    """Models and metrics of a retrain flow that reads the same labels and is never killed."""
    registry = Registry()
    found: Counter[bytes] = Counter()
    with Sandbox() as sandbox:
        processor = RetrainProcessor(pipeline, read_registry=lambda: registry, sandbox=sandbox)
        processor.open(labels.partition, "")
        for output in processor.process(labels):
            value = output.value or b""
            if output.topic == pipeline.topics.metrics and _is_verdict(value):  # which model is in force is told anew
                found[value] += 1
    return registry, found


def _is_verdict(value: bytes) -> bool:
    name = decode(Metric, value).name
    return name.startswith("gate_") or name in {"training_labels", "quality"}


# ---- metrics ---------------------------------------------------------------------------------------------------------

Figures = dict[tuple[str, str, str], Metric]
"""By name, model and source."""


def of_metrics(pipeline: Pipeline, evidence: Evidence) -> dict[str, int]:
    """No measurement is there again; the last says what a monitor flow says that is never killed."""
    measured = [decode(Metric, value) for value in evidence.metrics if not _is_verdict(value)]
    times: defaultdict[tuple[bool, int], list[Metric]] = defaultdict(list)
    for metric in measured:
        if metric.source != "stream":
            times[metric.name in _LEVELS, metric.at].append(metric)
    ends = {levels: max(at for each, at in times if each == levels) for levels, _ in times}
    last = _figures(metric for told in ends.items() for metric in times[told])
    wanted = _measured_again(pipeline, evidence)
    counted = sum(metric.n for metric in measured if metric.name == "prediction_rate")
    return {
        "metrics again": len(evidence.metrics) - len(set(evidence.metrics)),
        "figures of one time again": sum(len(each) - len(_figures(each)) for each in times.values()),
        "predictions counted again": max(counted - sum(len(batch) for batch in evidence.predictions), 0),
        "last figures other than without a fault": sum(
            key not in last or key not in wanted or not _alike(last[key], wanted[key]) for key in {*last, *wanted}
        ),
    }


_LEVELS: Final = frozenset({"labels_drift", "quality_drift"})
"""Told by a step of its own, at times of its own."""


def _measured_again(pipeline: Pipeline, evidence: Evidence) -> Figures:
    """What a monitor flow measures at last that reads the same records and is never killed."""
    processor = MonitorProcessor(pipeline)
    batches = [*evidence.predictions, *evidence.outcomes, evidence.labels]
    for batch in batches:
        processor.open(batch.partition, "")
    for batch in batches:
        if len(batch):
            processor.process(batch)
    processor.tick(0.0)
    outputs = processor.tick(1_000.0)
    found = [decode(Metric, output.value) for output in outputs if output.topic == pipeline.topics.metrics]
    return _figures(metric for metric in found if metric.source != "stream")


def _figures(metrics: Iterable[Metric]) -> Figures:
    return {(metric.name, metric.model, metric.source): metric for metric in metrics}


def _alike(one: Metric, other: Metric) -> bool:
    """Whether two measurements say the same; when they were made does not count."""
    numbers = ((one.value, other.value), (one.low, other.low), (one.high, other.high))
    near = all(
        a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=1e-12))
        for a, b in numbers
    )
    return near and msgspec.structs.replace(one, value=None, low=None, high=None, at=0) == msgspec.structs.replace(
        other, value=None, low=None, high=None, at=0
    )


# ---- reading ---------------------------------------------------------------------------------------------------------


def _batches(settings: Settings, topic: str) -> list[Batch]:
    """All records of a topic, a batch for each partition that has some; for an empty topic one without rows."""
    incarnation = topic_incarnation(admin(settings), topic)
    parts: defaultdict[int, list[Message]] = defaultdict(list)
    for message in read_all(settings, topic, settled=True):
        parts[message.partition() or 0].append(message)
    return [batch_of(Partition(topic, index, incarnation), parts[index]) for index in sorted(parts) or [0]]


def _texts(registry: Registry) -> Iterator[tuple[str, str]]:
    """Version and text of each model whose text is there and is what its manifest says."""
    for version in registry.manifests:
        try:
            yield version, registry.text(version)
        except ModelError:
            continue


def _source(message: Message) -> Source:
    headers = {name: content or b"" for name, content in record_of(message)[2] or ()}
    return (
        headers["source_topic"].decode(),
        int(headers["source_partition"]),
        int(headers["source_offset"]),
    )


def _place(batch: Batch, row: int) -> Source:
    return batch.partition.topic, batch.partition.index, int(batch.offsets[row])


def _within(named: LabelRange, partition: Partition, offset: int) -> bool:
    where = (named.topic, named.partition, named.incarnation)
    return where == (partition.topic, partition.index, partition.incarnation) and named.start <= offset < named.end

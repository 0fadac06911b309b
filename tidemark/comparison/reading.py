"""Labels of a pipeline as two models are compared by them: each told whether a model has learnt from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tidemark.errors import RecordError, TopicError
from tidemark.kafka import each_record, topic_incarnation
from tidemark.pipeline import Pipeline
from tidemark.records import ENDING, Label, ModelManifest
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.settings import Settings
from tidemark.training.dataset import check

LAST: Final = 100_000
"""Records of the labels topic that are read, the newest."""
_MOST_UNSEEN: Final = 20_000
"""Annotations that no model has learnt from and that are held with their features, the newest."""


@dataclass(slots=True)
class LabelsRead:
    """What the labels topic holds.

    learnt: of each model, the annotations it may have learnt from, with their offsets, without features.
    unseen: annotations of events that none of them has learnt from, with their offsets.
    complete: whether that is all that the topic holds.  incarnation: of the topic, "" where there is none.
    """

    incarnation: str = ""
    learnt: list[list[tuple[int, Label]]] = field(default_factory=list)
    unseen: list[tuple[int, Label]] = field(default_factory=list)
    complete: bool = True


def read_labels(settings: Settings, pipeline: Pipeline, manifests: Sequence[ModelManifest]) -> LabelsRead:
    """Read the labels that there are.

    Args:
        settings: that name the Kafka.
        pipeline: whose labels they are.
        manifests: of the models.

    Returns:
        The labels, none where there is no such topic yet.

    Raises:
        BrokerError: Kafka does not answer.

    """
    topic = pipeline.topics.labels
    try:
        incarnation = topic_incarnation(settings, topic)
        records = each_record(settings, topic, last=LAST)
        found = LabelsRead(incarnation, [[] for _ in manifests])
        schema = ModelSchema.of(pipeline)
        former = frozenset(name for each in manifests for name in each.classes) - set(schema.classes)
        unseen: deque[tuple[int, Label]] = deque(maxlen=_MOST_UNSEEN)
        first: int | None = None
        for record in records:
            offset = record.offset() or 0
            first = offset if first is None else first
            try:
                label = check(record.value(), schema, pipeline.raw_topics, former)
            except RecordError:
                continue  # the retrain flow makes it a dead letter and learns nothing from it
            if label.status in ENDING:
                found.complete = found.complete and len(unseen) < _MOST_UNSEEN
                _take(found, unseen, manifests, offset, label, topic)
    except TopicError:
        return LabelsRead(learnt=[[] for _ in manifests])
    found.complete = found.complete and not first
    events = {label.event_id for each in found.learnt for _, label in each}
    found.unseen = [(offset, label) for offset, label in unseen if label.event_id not in events]
    return found


def _take(
    found: LabelsRead,
    unseen: deque[tuple[int, Label]],
    manifests: Sequence[ModelManifest],
    offset: int,
    label: Label,
    topic: str,
) -> None:
    learnt = [may_know(manifest, offset, label, topic, found.incarnation) for manifest in manifests]
    if not any(learnt):
        unseen.append((offset, label))
        return
    bare = msgspec.structs.replace(label, features={}, definitions=None)
    for place, known in enumerate(learnt):
        if known:
            found.learnt[place].append((offset, bare))


def may_know(manifest: ModelManifest, offset: int, label: Label, topic: str, incarnation: str) -> bool:
    """Whether a model may have learnt from an annotation.

    Args:
        manifest: of the model.
        offset: of the annotation in the labels topic.
        label: the annotation.
        topic: the labels topic's name.
        incarnation: of that topic.

    Returns:
        Of a model of this topic's labels, whether it is one of those it was trained on. Of any other model nobody can
        tell which events it knows: then whether the label was known when the model was made.

    """
    ranges = manifest.trained_on
    if ranges and all(each.topic == topic and each.incarnation in {"", incarnation} for each in ranges):
        inside = any(each.start <= offset < each.end for each in ranges)
        return inside and label.known_at <= manifest.known_until
    return label.known_at <= (manifest.known_until if ranges else max(manifest.known_until, manifest.created_at))

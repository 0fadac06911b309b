"""Two models measured side by side, by the measures and intervals that the headline has."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.comparison.exams import exam_of, unmeasured
from tidemark.comparison.reading import LabelsRead, read_labels
from tidemark.comparison.story import Compared, MadeOf
from tidemark.errors import ModelError
from tidemark.evaluation.draw import answered_weights
from tidemark.evaluation.labels import drawn_labels
from tidemark.evaluation.metrics import Floats
from tidemark.pipeline import Pipeline
from tidemark.records import Label, ModelManifest
from tidemark.registry.codec import Registry
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import active
from tidemark.runtime.settings import Settings
from tidemark.training.dataset import Dataset, dataset
from tidemark.training.headline import MOST
from tidemark.training.manifest import labels_of

FEWEST: Final = 10
"""Answers below which nothing is said: every interval would be nearly all of [0, 1]."""
_NAMED: Final = 5


def compared(
    settings: Settings, pipeline: Pipeline, registry: Registry, first: ModelManifest, second: ModelManifest
) -> Compared:
    """Two models on labels that neither has learnt from.

    Args:
        settings: that name the Kafka.
        pipeline: whose models they are.
        registry: what its models topic holds.
        first: manifest of a model.
        second: of another.

    Returns:
        The figures, or why there are none, and the labels that made each.

    Raises:
        BrokerError: Kafka does not answer.

    """
    read = read_labels(settings, pipeline, [first, second])
    return on_labels(pipeline, registry, first, second, read)


def on_labels(
    pipeline: Pipeline, registry: Registry, first: ModelManifest, second: ModelManifest, read: LabelsRead
) -> Compared:
    """As `compared`, of labels that were read."""
    schema = ModelSchema.of(pipeline)
    sources = pipeline.label.order
    rows = dataset(read.unseen, schema, sources=sources)
    weights = answered_weights(drawn_labels((label for _, label in read.unseen), sources))
    tested = np.argsort(rows.known, kind="stable")
    drawn = any(rows.event_ids[place] in weights for place in tested.tolist())
    if drawn:
        tested = np.array([place for place in tested.tolist() if rows.event_ids[place] in weights], np.int64)
    tested = tested[-MOST:]
    tables, why = _answers(registry, schema, rows, tested, (first, second))
    if not why and len(tested) < FEWEST:
        which = "randomly drawn labels" if drawn else "labels"
        some = (
            f"{len(tested)} {which} are" if len(tested) > 1 else f"one of the {which} is" if len(tested) else "none is"
        )
        why = f"too few to tell: {some} new to both models, and {FEWEST} are needed"
    exam = exam_of(pipeline, rows, tested, weights)
    difference = None if why else exam.difference(tables[0], tables[1])
    made = [_made_of(manifest, pipeline, read, place) for place, manifest in enumerate((first, second))]
    sides = [
        unmeasured(manifest.version, of) if why else exam.side(manifest.version, of, tables[place])
        for place, (manifest, of) in enumerate(zip((first, second), made, strict=True))
    ]
    events = [{label.event_id for _, label in each} for each in read.learnt]
    return Compared(
        about=pipeline.label.positive,
        n=len(tested),
        positives=exam.positives,
        drawn=drawn,
        unseen=len(rows),
        shared=len(events[0] & events[1]),
        complete=read.complete,
        why=why,
        difference=difference,
        first=sides[0],
        second=sides[1],
    )


def _answers(
    registry: Registry,
    schema: ModelSchema,
    rows: Dataset,
    tested: NDArray[np.int64],
    manifests: tuple[ModelManifest, ModelManifest],
) -> tuple[list[Floats], str]:
    """What each says of the rows; or why one can't."""
    tables: list[Floats] = []
    for manifest in manifests:
        try:
            tables.append(active(registry, manifest.version, schema).says(rows.features[tested]))
        except ModelError as error:
            return [], f"{manifest.version} can't answer the labels that there are: {error}"
    return tables, ""


def _made_of(manifest: ModelManifest, pipeline: Pipeline, read: LabelsRead, place: int) -> MadeOf:
    schema, topic = ModelSchema.of(pipeline), pipeline.topics.labels
    annotations = read.learnt[place]
    ranges = manifest.trained_on
    rows = labels_of(manifest, annotations, schema, topic, read.incarnation)
    said: dict[str, Label] = {label.event_id: label for _, label in annotations}
    reasons = Counter(said[event].reason for event in rows.event_ids)
    elsewhere = ("outcomes" if word == "outcome" else "several, or from elsewhere" for word in rows.words or ())
    people = Counter(source or other for source, other in zip(rows.sources or (), elsewhere, strict=True))
    return MadeOf(
        labels=manifest.used,
        classes=dict(zip(manifest.classes, manifest.class_counts, strict=False)),
        drawn=dict(zip(manifest.classes, manifest.drawn_counts, strict=False)),
        known_until=manifest.known_until,
        source=", ".join(sorted({each.topic for each in ranges if each.topic != topic})),
        found=len(rows),
        exact=bool(len(rows)) and rows.event_ids_sha256 == manifest.event_ids_sha256,
        annotators=dict(people.most_common(_NAMED)),
        reasons=dict(reasons.most_common(_NAMED)),
    )

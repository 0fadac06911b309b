"""What is written of a model when it is published: which labels made it, how it was judged, how to know it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tidemark.records import SOURCES, Label, LabelRange, ModelManifest
from tidemark.registry.schema import ModelSchema
from tidemark.registry.values import Ids, Values
from tidemark.training.dataset import Dataset, Recomputed, dataset
from tidemark.training.gate import Verdict
from tidemark.training.trainer import TrainedModel


def describe(
    model: TrainedModel,
    rows: Dataset,
    *,
    schema: ModelSchema,
    version: str,
    parent: str | None,
    created_at: int,
    trained_on: list[LabelRange],
    verdict: Verdict,
) -> ModelManifest:
    """Manifest of a trained model; `codec.publish` adds what concerns the text. created_at: µs."""
    golden = [[None if np.isnan(value) else float(value) for value in row] for row in model.golden]
    return ModelManifest(
        version=version,
        parent=parent,
        created_at=created_at,
        schema_hash=schema.hash,
        features=list(schema.features),
        classes=list(schema.classes),
        chunks=0,
        size=0,
        sha256="",
        trained_on=trained_on,
        used=len(rows),
        event_ids_sha256=rows.event_ids_sha256,
        known_until=rows.known_until,
        metrics=verdict.figures(),
        decision=verdict.reason,
        golden=golden,
        golden_raw=model.golden_raw.tolist(),
        structure_sha256=model.structure_sha256,
        definitions=schema.ids,
        scales=dict(model.scaling.scales),
        class_counts=_by_class(rows.target, schema),
        drawn_counts=[] if rows.inclusion is None else _by_class(rows.target[_drawn(rows)], schema),
        source_counts={} if rows.words is None else dict(sorted(Counter(rows.words).items())),
        conflicts=rows.conflicts,
        sources=list(rows.order),
    )


def _drawn(rows: Dataset) -> NDArray[np.bool_]:
    """Which rows are of cases that were drawn at random; an outcome is no case."""
    known = np.zeros(len(rows), np.bool_) if rows.inclusion is None else ~np.isnan(rows.inclusion)
    return known if rows.words is None else known & np.array([word != "outcome" for word in rows.words], np.bool_)


def _by_class(target: NDArray[np.int64], schema: ModelSchema) -> list[int]:
    """How many rows are of each class; of a number there are none."""
    if schema.is_number:
        return []
    counts: list[int] = np.bincount(target.astype(np.int64), minlength=len(schema.classes)).tolist()
    return counts


def labels_of(
    manifest: ModelManifest,
    labels: Iterable[tuple[int, Label]],
    schema: ModelSchema,
    topic: str,
    incarnation: str,
    recomputed: Recomputed | None = None,
    assumed: Sequence[Ids] = (),
) -> Dataset:
    """The very rows that a model was trained on; the caller compares their number and digest with the manifest's.

    Args:
        manifest: of the model.
        labels: annotations of `topic` that `dataset.check` accepted, with their offsets, in order.
        schema: of the pipeline; it counts where the manifest does not say what its features mean.
        topic: name of `P.labels`.
        incarnation: of that topic.
        recomputed: features that the annotations lack.
        assumed: definitions of annotations that do not tell theirs (`tidemark.registry.values`).

    Returns:
        The rows in the model's own features, none if the model was trained on other topics than this incarnation.

    """
    if manifest.definitions:
        schema = ModelSchema.of_manifest(manifest)
    ranges = [each for each in manifest.trained_on if each.topic == topic and each.incarnation == incarnation]
    inside = (
        (offset, label)
        for offset, label in labels
        if label.known_at <= manifest.known_until and any(each.start <= offset < each.end for each in ranges)
    )
    sources = manifest.sources or SOURCES
    return dataset(inside, schema, recomputed or {}, Values(schema, assumed), sources)

"""Small pipelines, labels and models: `from models import ...`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tidemark.pipeline import Pipeline, parse
from tidemark.records import Label, LabelStatus, ModelManifest, encode
from tidemark.registry.codec import Registry, publish
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict
from tidemark.training.manifest import describe
from tidemark.training.trainer import TrainedModel, train

INCARNATION = "0a1b2c3d"
START = 1_750_000_000_000


def pipeline_text(name: str = "p", *, classes: Sequence[str] = ("no", "yes"), extra: str = "", label: str = "") -> str:
    """A pipeline file of three float features; `extra` is more TOML (tables only), `label` more keys of the label."""
    text = f"""
        name = "{name}"
        partitions = 2
        keys = ["key"]
        features = [{{ name = "a" }}, {{ name = "b" }}, {{ name = "c" }}]
        [[raw]]
        topic = "{name}.raw"
        [time]
        column = "time"
        [columns]
        key = {{ type = "string" }}
        time = {{ type = "string" }}
        a = {{ type = "float" }}
        b = {{ type = "float" }}
        c = {{ type = "float" }}
        [label]
        classes = {list(classes)}
        positive = "{classes[-1]}"
        delay = "1d"
        {label}
        [selection]
        tile = "1h"
        budget = 10
        explore = 2
        {extra}
    """
    return "\n".join(line.strip() for line in text.splitlines())


def small_pipeline(
    name: str = "p", classes: Sequence[str] = ("no", "yes"), extra: str = "", label: str = ""
) -> Pipeline:
    """That pipeline, read."""
    return parse(pipeline_text(name, classes=classes, extra=extra, label=label), f"{name}.toml")


NUMBER = 'type = "number"\nunit = "h"\nmin = -10\nmax = 10\ncolumn = "truth"'


def number_text(name: str = "p", extra: str = "", label: str = "") -> str:
    """That pipeline file, whose label is a number from -10 to 10 h. label: more keys of the label."""
    text = pipeline_text(name, extra=extra, label=label)
    classes = "classes = ['no', 'yes']\npositive = \"yes\""
    assert classes in text
    return text.replace(classes, NUMBER)


def number_pipeline(name: str = "p", extra: str = "", label: str = "") -> Pipeline:
    """That file, read."""
    return parse(number_text(name, extra, label), f"{name}.toml")


def numbers(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features (count, 3), and numbers that follow from the first two."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3))
    truth = 2 * features[:, 0] + np.abs(features[:, 1]) + 0.3 * rng.normal(size=count)
    return features, np.clip(truth, -10, 10)


def rows(count: int, seed: int = 0, classes: int = 2) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Features (count, 3) and classes that follow from the first two, with some values missing."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3))
    target = np.digitize(features[:, 0] + 0.5 * features[:, 1], np.linspace(-0.6, 0.6, classes + 1)[1:-1])
    features[rng.random((count, 3)) < 0.05] = np.nan
    return features, target.astype(np.int64)


def dataset_of(features: NDArray[np.float64], target: NDArray[np.int64]) -> Dataset:
    """A training set with made-up event ids."""
    ids = tuple(f"p.raw-0-{index}-{INCARNATION}" for index in range(len(target)))
    return Dataset(features, target, ids, np.arange(len(target)), START * 1_000)


def small_model(
    schema: ModelSchema,
    *,
    count: int = 120,
    seed: int = 0,
    trees: int = 10,
    version: str = "v000001-00000000",
    wrong: bool = False,
) -> tuple[TrainedModel, ModelManifest]:
    """A trained model and its manifest, to be published; `wrong`: it has learnt the opposite."""
    data = (
        _numbered(schema, count, seed, wrong=wrong) if schema.is_number else _classed(schema, count, seed, wrong=wrong)
    )
    model = train(data, schema, {"num_iterations": trees})
    manifest = describe(
        model,
        data,
        schema=schema,
        version=version,
        parent=None,
        created_at=START * 1_000,
        trained_on=[],
        verdict=Verdict(passed=True, reason="first champion", metric="log_loss"),
    )
    return model, manifest


def _classed(schema: ModelSchema, count: int, seed: int, *, wrong: bool) -> Dataset:
    features, target = rows(count, seed, len(schema.classes))
    return dataset_of(_widened(features, schema), len(schema.classes) - 1 - target if wrong else target)


def _widened(features: NDArray[np.float64], schema: ModelSchema) -> NDArray[np.float64]:
    return np.tile(features, -(-len(schema.features) // features.shape[1]))[:, : len(schema.features)]


def _numbered(schema: ModelSchema, count: int, seed: int, *, wrong: bool) -> Dataset:
    features, truth = numbers(count, seed)
    data = dataset_of(_widened(features, schema), np.zeros(count, np.int64))
    return replace(data, numbers=-truth if wrong else truth)


def published(schema: ModelSchema, topic: str = "p.models", **how: int | str) -> list[Output]:
    """Outputs that publish a small model as champion."""
    model, manifest = small_model(schema, **how)  # type: ignore[arg-type]  # the same keywords
    return publish(manifest, model.text, topic=topic)


def registry_of(outputs: Iterable[Output]) -> Registry:
    """Registry after these records."""
    registry = Registry()
    registry.feed_outputs(outputs)
    return registry


def label_of(
    index: int,
    features: Sequence[float],
    label: str | None,
    *,
    topic: str = "p.raw",
    status: LabelStatus = "answered",
    known_at: int | None = None,
    annotator: str = "ann",
    supersedes: str | None = None,
    annotation_id: str | None = None,
) -> Label:
    """An annotation of event `index`."""
    at = START * 1_000 + index * 1_000_000
    return Label(
        event_id=f"{topic}-0-{index}-{INCARNATION}",
        business_id=None,
        key=None,
        time=at,
        status=status,
        label=label,
        annotator=annotator,
        known_at=at if known_at is None else known_at,
        answered_at=at,
        reason="uncertain",
        inclusion_probability=None,
        tile=0,
        tile_count=10,
        policy="margin@1",
        features={name: None if np.isnan(value) else float(value) for name, value in zip("abc", features, strict=True)},
        probabilities=None,
        uncertainty=None,
        model="none",
        annotation_id=annotation_id,
        supersedes=supersedes,
    )


def batch_of(values: Sequence[bytes | None], *, first: int = 0, topic: str = "p.labels", replay: bool = False) -> Batch:
    """Records at offsets `first` and on, a second of Kafka's time apart."""
    offsets = np.arange(first, first + len(values), dtype=np.int64)
    return Batch(
        partition=Partition(topic, 0, INCARNATION),
        offsets=offsets,
        timestamps=START + offsets * 1_000,
        keys=[None] * len(values),
        values=list(values),
        headers=[None] * len(values),
        replay=replay,
    )


def label_values(
    count: int, *, seed: int = 0, classes: Sequence[str] = ("no", "yes"), topic: str = "p.raw"
) -> list[bytes]:
    """Encoded annotations of `count` events."""
    features, target = rows(count, seed, len(classes))
    return [
        encode(label_of(index, features[index].tolist(), classes[int(target[index])], topic=topic))
        for index in range(count)
    ]


def number_values(count: int, *, seed: int = 0, topic: str = "p.raw") -> list[bytes]:
    """Encoded annotations of `count` events, each a number."""
    features, truth = numbers(count, seed)
    return [
        encode(label_of(index, features[index].tolist(), repr(float(truth[index])), topic=topic))
        for index in range(count)
    ]

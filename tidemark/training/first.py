"""The first champion, before there are labels in Kafka: from a history that has them, or from a LightGBM model file."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels.forest.forest import Forest
from tidemark.errors import ConfigError, ModelError
from tidemark.evaluation.measures import Sample, average_precision
from tidemark.evaluation.metrics import log_loss
from tidemark.evaluation.numbers import NumberSample, coverage, mae, r_squared, rmse
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline
from tidemark.pipeline.classes import NO_CLASS, ClassReader
from tidemark.pipeline.numbers import NumberReader
from tidemark.records import LabelRange, ModelManifest
from tidemark.registry.codec import Registry, publish
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.scaling import FEWEST, Scaling
from tidemark.registry.schema import ModelSchema
from tidemark.registry.validate import parse, structure_sha256
from tidemark.registry.versions import next_version
from tidemark.registry.writing import checked, write_models
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings
from tidemark.training.categories import in_order_of
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict
from tidemark.training.golden import choose, made_up
from tidemark.training.leakage import leaking
from tidemark.training.manifest import describe
from tidemark.training.trainer import TrainedModel, train

_HELD_OUT: Final = 0.2


@dataclass(frozen=True, slots=True)
class FirstModel:
    """A model to publish.

    manifest: its version and parent are set when it is published.  counts: labels of each class, in their order.
    leaking: features that tell the labels by themselves (`tidemark.training.leakage`).
    """

    manifest: ModelManifest
    text: str
    content_sha256: str
    counts: tuple[int, ...] = ()
    leaking: tuple[str, ...] = ()


def from_history(
    pipeline: Pipeline,
    history: pl.DataFrame,
    source: str,
    *,
    all_known: bool = False,
    num_threads: int = 1,
) -> FirstModel:
    """Model of a history with labels, whose features are computed as the stream would have.

    history: the pipeline's columns and `label.column`; classes as `tidemark.pipeline.classes` reads them.
    source: its name.
    all_known: use the rows of the last `label.delay` too, whose truth may not have arrived when the file was written.
    The manifest's metrics are of a model of the labels that were known when the last fifth (by time) began, on that
    fifth: what became known later, no model could have learnt from.

    Raises:
        ConfigError: the history lacks a column, or holds a class that is not the pipeline's.
        ModelError: its labels are too few or all alike.

    """
    schema = ModelSchema.of(pipeline)
    features = backfill(pipeline, history)
    rows, times = _labeled(pipeline, history, features, source, all_known=all_known)
    table = features.select(pipeline.feature_names).to_numpy().astype(np.float64) if pipeline.scales else None
    scaling = _scaling(pipeline, schema, table)
    counts = _counts(rows, schema, source)
    begun = int(times[_first_held_out(rows)])
    before = None if table is None else table[features["_time"].to_numpy() < begun]
    figures = _backtest(rows, times, schema, pipeline, num_threads, _scaling(pipeline, schema, before))
    model = _trained(rows, schema, pipeline, num_threads, scaling)
    if model.splits == 0:
        raise ModelError(f"{source}: {len(rows)} labels are too few or too alike to learn from")
    manifest = describe(
        model,
        rows,
        schema=schema,
        version="",
        parent=None,
        created_at=time.time_ns() // 1_000,
        trained_on=[LabelRange(topic=f"file:{source}", partition=0, start=0, end=len(history))],
        verdict=Verdict(passed=True, reason=f"first champion, from {source}", metric=pipeline.gate_metric),
    )
    manifest = msgspec.structs.replace(manifest, metrics=figures)
    telling = leaking(rows.features, pipeline.feature_names, rows.target if rows.numbers is None else rows.numbers)
    return FirstModel(manifest, model.text, rows.content_sha256, counts, telling)


def from_model_file(pipeline: Pipeline, text: str, source: str) -> FirstModel:
    """Model from the text of a LightGBM model file (`Booster.save_model`); it is not loaded before it was parsed.

    Its categories become the pipeline's (`tidemark.training.categories`).

    Raises:
        ModelError: it is not what LightGBM writes, or not of the pipeline's features, categories and classes.

    """
    schema = ModelSchema.of(pipeline)
    text = in_order_of(pipeline, text, parse(text, schema))
    forest = Forest(parse(text, schema))
    golden = choose(forest, made_up(forest.model))
    with Sandbox() as sandbox:
        raw = sandbox.raw_scores(text, golden)
    manifest = ModelManifest(
        version="",
        parent=None,
        created_at=time.time_ns() // 1_000,
        schema_hash=schema.hash,
        features=list(schema.features),
        classes=list(schema.classes),
        chunks=0,
        size=0,
        sha256="",
        trained_on=[],
        used=0,
        event_ids_sha256=hashlib.sha256(b"").hexdigest(),
        known_until=0,
        metrics={},
        decision=f"first champion, imported from {source}; the labels it was trained on are not known",
        golden=[[None if np.isnan(value) else float(value) for value in row] for row in golden],
        golden_raw=raw.tolist(),
        structure_sha256=structure_sha256(forest.model),
        definitions=schema.ids,
    )
    return FirstModel(manifest, text, hashlib.sha256(text.encode()).hexdigest())


def publish_first(
    settings: Settings, pipeline: Pipeline, model: FirstModel, *, replace: bool = False, secret: bytes | None = None
) -> ModelManifest:
    """Publish a model as champion, in one transaction, after the checks that its readers make. Returns the manifest.

    Raises:
        ModelError: a check refuses it; or there is a champion, and `replace` is not asked for.
        BrokerError: Kafka does not take it.

    """
    topic = pipeline.topics.models

    def compose(registry: Registry) -> tuple[list[Output], ModelManifest]:
        parent = registry.champion.version if registry.champion else None
        if parent is not None and not replace:
            raise ModelError(
                f"{topic} has a champion, {parent}, which the retrain flow replaces when labels say so; "
                "to put this model in its place all the same, add --replace"
            )
        version = next_version(registry.versions, model.content_sha256)
        manifest = msgspec.structs.replace(model.manifest, version=version, parent=parent)
        outputs = publish(manifest, model.text, topic=topic, secret=secret)
        return outputs, checked(pipeline, outputs, version, secret)

    return write_models(settings, pipeline, compose, secret=secret)


def _scaling(pipeline: Pipeline, schema: ModelSchema, table: NDArray[np.float64] | None) -> Scaling:
    """The scaling that rows of a history tell, with a label or without; of the newest, as many as the sample holds."""
    if table is None:
        return Scaling()
    return Scaling.learnt(pipeline.scales, schema.features, table[-max(pipeline.sample.size, FEWEST) :])


def _counts(rows: Dataset, schema: ModelSchema, source: str) -> tuple[int, ...]:
    """Labels of each class; of a number there are none.

    Raises:
        ModelError: all are of one class, or the same number.

    """
    if schema.is_number:
        if len(np.unique(rows.of_numbers)) < 2:
            raise ModelError(f"{source}: {len(rows)} usable labels, all of one number; a model needs two")
        return ()
    counts = np.bincount(rows.target, minlength=len(schema.classes))
    if np.count_nonzero(counts) < 2:
        raise ModelError(f"{source}: {len(rows)} usable labels, all of one class; a model needs two")
    return tuple(counts.tolist())


def _first_held_out(rows: Dataset) -> int:
    return int(len(rows) * (1 - _HELD_OUT))


def _labeled(
    pipeline: Pipeline, history: pl.DataFrame, computed: pl.DataFrame, source: str, *, all_known: bool
) -> tuple[Dataset, NDArray[np.int64]]:
    """The rows with a label that may be used, in the order of their event times; and these times, µs."""
    column, what = pipeline.label.column, "number" if pipeline.label.is_number else "class"
    if column is None:
        raise ConfigError(
            f"the pipeline's file has no label.column, so no row of {source} has a {what}; set it to the column of "
            f"{source} that tells the {what}"
        )
    if column not in history.columns:
        raise ConfigError(
            f"{source} has no column {column!r}, which label.column names as that of the {what}; write the name of "
            "the column that tells it"
        )
    label = pipeline.label
    numbers = None
    try:
        if label.is_number:
            numbers = NumberReader(label).column(history[column])
            classes = np.where(np.isnan(numbers), NO_CLASS, 0)
        else:
            classes = ClassReader(label.classes, label.positive).column(history[column])
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error
    labeled = np.flatnonzero(classes != NO_CLASS)
    features = computed[labeled]
    times = features["_time"].to_numpy()
    known = times + pipeline.label.delay
    usable = np.ones(len(times), np.bool_) if all_known else known <= times.max(initial=0)
    if not usable.any():
        raise ModelError(f"{source}: no label is older than label.delay; if all are known by now, add --all-known")
    order = np.flatnonzero(usable)[np.argsort(times[usable], kind="stable")]
    number = pipeline.label.business_id
    ids = history[number][labeled].cast(pl.String).to_list() if number in history.columns else range(len(labeled))
    rows = Dataset(
        features=features.select(pipeline.feature_names).to_numpy()[order].astype(np.float64),
        target=classes[labeled][order],
        event_ids=tuple(f"file:{source}#{ids[row]}" for row in order.tolist()),
        first_seen=np.arange(len(order)),
        known_until=int(known[order].max()),
        known_at=known[order],
        numbers=None if numbers is None else numbers[labeled][order],
    )
    return rows, times[order]


def _trained(
    rows: Dataset, schema: ModelSchema, pipeline: Pipeline, num_threads: int, scaling: Scaling
) -> TrainedModel:
    return train(
        rows,
        schema,
        pipeline.training.params,
        learner=pipeline.learner,
        num_threads=num_threads,
        forget=pipeline.training.forget == "auto",
        scaling=scaling,
    )


def _backtest(
    rows: Dataset,
    times: NDArray[np.int64],
    schema: ModelSchema,
    pipeline: Pipeline,
    num_threads: int,
    scaling: Scaling,
) -> dict[str, float | None]:
    """Figures, on the last rows, of a model of the labels that were known when the first of them happened.

    times: (n,) event times of the rows, µs, ascending.  scaling: of the rows before them.
    """
    first = _first_held_out(rows)
    earlier = rows.rows(rows.known_before(int(times[first])))
    sizes: dict[str, float | None] = {
        "holdout_rows": float(len(rows) - first),
        "holdout_learnt_from": float(len(earlier)),
    }
    if schema.is_number:
        if len(np.unique(earlier.of_numbers)) < 2:
            return sizes
        model = _trained(earlier, schema, pipeline, num_threads, scaling)
        return sizes | _of_numbers(rows.of_numbers[first:], model.estimates(rows.features[first:]))
    positive = schema.classes.index(pipeline.label.positive)
    truth = rows.target[first:] == positive
    sizes |= {"holdout_positives": float(truth.sum())}
    if len(np.unique(earlier.target)) < 2 or not 0 < int(truth.sum()) < len(truth):
        return sizes
    model = _trained(earlier, schema, pipeline, num_threads, scaling)
    given = model.probabilities(rows.features[first:])
    precision = average_precision(Sample(rows.target[first:], given, np.ones(len(truth))), positive)
    return sizes | {
        "holdout_average_precision": precision.value,
        "holdout_average_precision_low": precision.low,
        "holdout_average_precision_high": precision.high,
        "holdout_log_loss": log_loss(rows.target[first:], given),
    }


def _of_numbers(truth: NDArray[np.float64], given: NDArray[np.float64]) -> dict[str, float | None]:
    """Figures of estimates (n, 3) of numbers (n,)."""
    sample = NumberSample(truth, given, np.ones(len(truth)))
    error = rmse(sample)
    return {
        "holdout_rmse": error.value,
        "holdout_rmse_low": error.low,
        "holdout_rmse_high": error.high,
        "holdout_mae": mae(sample).value,
        "holdout_r_squared": r_squared(sample).value,
        "holdout_interval_coverage": coverage(sample).value,
    }

"""Scales: learnt of events without labels, kept in the manifest, the same wherever a model is used."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from models import batch_of, dataset_of, label_values, pipeline_text, registry_of, rows
from numpy.typing import NDArray
from streaming import MemoryEngine, Models

from tidemark.errors import ConfigError, ModelError
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline, parse, schema_hash
from tidemark.pipeline.definitions import feature_ids
from tidemark.records import Metric, ModelManifest, Prediction, decode, encode
from tidemark.records.messages import Scale
from tidemark.registry.codec import publish
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.scaling import FEWEST, Scaling, problem
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel, active
from tidemark.registry.validate import Validator
from tidemark.runtime.processor import Output, Partition
from tidemark.training import RetrainProcessor
from tidemark.training.first import from_history
from tidemark.training.gate import Verdict
from tidemark.training.manifest import describe
from tidemark.training.trainer import stand_in, train

SCALED = """features = [{ name = "a", scale = "standard" }, { name = "b", scale = "minmax" }, { name = "c" }]
windows = [{ name = "a_mean", key = "key", aggregate = "mean", column = "a", size = "6h", scale = "robust" }]
derived = [{ name = "a_off", sql = "a - a_mean" }]"""
PLAIN = 'features = [{ name = "a" }, { name = "b" }, { name = "c" }]'
KINDS = ("standard", "robust", "minmax")


def pipeline_of(scaled: str = SCALED, **parts: str) -> Pipeline:
    return parse(pipeline_text(label='column = "truth"', **parts).replace(PLAIN, scaled), "p.toml")


def history(first: int, last: int) -> pl.DataFrame:
    """An event each 20 minutes, of seven keys."""
    features, target = rows(last, seed=3)
    at = [f"2025-01-{1 + n // 72:02d}T{n % 72 // 3:02d}:{n % 3 * 20:02d}:00Z" for n in range(last)]
    names = {name: np.nan_to_num(features[:, i]) * 10**i + i for i, name in enumerate("abc")}
    truth = ["yes" if each else "no" for each in target]
    frame = pl.DataFrame({"key": [f"k{n % 7}" for n in range(last)], "time": at, **names, "truth": truth})
    return frame[first:]


def of(kind: str, values: Sequence[float]) -> Scale | None:
    table = np.array(values, np.float64)[:, None]
    return Scaling.learnt({"x": kind}, ["x"], table).scales.get("x")


MANY = st.lists(st.floats(-1e6, 1e6), min_size=FEWEST, max_size=60)


@given(MANY, st.randoms())
def test_scales_are_what_statistics_says_whatever_the_order_and_what_is_missing(values: list[float], draw) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - of hypothesis
    mixed = [*values, math.nan, math.inf]
    draw.shuffle(mixed)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    wanted = {
        "standard": (statistics.fmean(values), statistics.pstdev(values)),
        "robust": (middle, high - low),
        "minmax": (min(values), max(values) - min(values)),
    }
    for kind, (center, spread) in wanted.items():
        scale = of(kind, mixed)
        assert scale is not None
        assert scale == of(kind, values), "neither the order nor what is missing counts"
        assert scale.n == len(values)
        assert scale.center == pytest.approx(center, rel=1e-9, abs=1e-9)
        if scale.spread != 1.0:
            assert scale.spread == pytest.approx(spread, rel=1e-6, abs=1e-6)
        else:
            assert spread == pytest.approx(0, abs=1e-6) or spread == pytest.approx(1)


def test_nothing_is_learnt_of_few_values_nor_of_those_whose_squares_are_no_numbers() -> None:
    assert of("standard", [1.0] * (FEWEST - 1)) is None
    assert of("standard", [1e308, -1e308] * FEWEST) is None, "their squares are no numbers"


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(FEWEST, 5_000), st.sampled_from(KINDS))
@example(0.1, FEWEST, "standard")
@example(1e9 + 0.1, 4_096, "standard")
def test_what_is_constant_is_only_moved(value: float, n: int, kind: str) -> None:
    scale = of(kind, [value] * n)
    assert scale is not None
    assert (scale.center, scale.spread) == (value, 1.0)


VALUES = st.floats() | st.sampled_from([5e-324, 1.7976931348623157e308, -0.0])


@given(st.lists(st.tuples(VALUES, VALUES), max_size=8), st.sampled_from(KINDS), MANY)
def test_what_is_missing_stays_so_what_is_finite_too_and_other_columns_are_as_they_were(
    given_rows: list[tuple[float, float]], kind: str, seen: list[float]
) -> None:
    table = np.array(given_rows, np.float64).reshape(-1, 2)
    scaling = Scaling.learnt({"y": kind}, ["x", "y"], np.column_stack([seen, seen]))
    before = table.copy()
    scaled = scaling(table)
    assert np.array_equal(table, before, equal_nan=True)
    assert np.array_equal(scaled[:, 0], table[:, 0], equal_nan=True)
    assert np.array_equal(np.isnan(scaled[:, 1]), np.isnan(table[:, 1]))
    assert np.isfinite(scaled[np.isfinite(table[:, 1]), 1]).all()
    again = {name: decode(Scale, encode(scale)) for name, scale in scaling.scales.items()}
    assert np.array_equal(Scaling.of(again, ["x", "y"])(table), scaled, equal_nan=True), "to the last bit"


def test_a_scale_changes_neither_what_a_feature_means_nor_the_hash_of_the_schema() -> None:
    scaled, plain = pipeline_of(), pipeline_of(SCALED.replace(', scale = "standard"', ""))
    assert feature_ids(scaled) == feature_ids(plain)
    assert schema_hash(scaled) == schema_hash(plain)
    assert scaled.scales == {"a": "standard", "b": "minmax", "a_mean": "robust"}


def test_categories_have_no_scale_and_a_scale_needs_a_sample() -> None:
    named = PLAIN.replace('{ name = "a" }', '{ name = "key", categories = ["k"], scale = "robust" }')
    with pytest.raises(ConfigError, match="categories have no scale"):
        pipeline_of(named)
    with pytest.raises(ConfigError, match="'a' is scaled by what the sample tells"):
        pipeline_of(extra="[sample]\nsize = 0")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as shared:
        yield shared


@pytest.fixture(scope="module")
def first() -> tuple[Pipeline, ActiveModel]:
    """A pipeline with scales, and its model of a history."""
    pipeline = pipeline_of()
    made = from_history(pipeline, history(0, 600), "history.parquet", all_known=True)
    manifest = msgspec.structs.replace(made.manifest, version="v000001-00000000")
    registry = registry_of(publish(manifest, made.text, topic="p.models"))
    return pipeline, active(registry, manifest.version, ModelSchema.of(pipeline))


def test_a_history_teaches_its_scales_of_all_rows_with_a_label_or_without(
    first: tuple[Pipeline, ActiveModel],
) -> None:
    pipeline, model = first
    table = backfill(pipeline, history(0, 600)).select(pipeline.feature_names).to_numpy()
    assert model.manifest.scales == Scaling.learnt(pipeline.scales, pipeline.feature_names, table).scales
    assert set(model.manifest.scales) == {"a", "b", "a_mean"}
    few = history(0, 600).with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then("truth").alias("truth"))
    made = from_history(pipeline, few, "history.parquet", all_known=True)
    assert made.manifest.scales == model.manifest.scales
    assert made.manifest.used == 300


def test_the_stream_scales_as_a_backfill_does_to_the_last_bit_and_windows_have_values_as_they_are(
    first: tuple[Pipeline, ActiveModel],
) -> None:
    pipeline, model = first
    told = pipeline.model_copy(update={"features_topic": True})
    frame = history(600, 900)
    engine = MemoryEngine(told, Models(model))  # type: ignore[arg-type]  # a real model
    partition = Partition("p.raw", 0, "0000aaaa")
    for row in frame.drop("truth").to_dicts():
        engine.produce(partition, json.dumps(row).encode())
    engine.step(partition, 100)
    engine.step(partition, 40, crash=True)
    engine.processor.tick(1_000.0)
    number = 0
    while engine.step(partition, 1 + number % 5):
        number += 1
    features = backfill(pipeline, frame).select(pipeline.feature_names)
    table = features.to_numpy()
    wanted = model.probabilities(table)
    predictions = [decode(Prediction, output.value) for _, output in engine.of_topic(pipeline.topics.predictions)]
    assert len(predictions) == len(frame)
    assert [each.probabilities for each in predictions] == wanted.tolist()
    own = [pl.read_ipc_stream(output.value or b"") for _, output in engine.of_topic(pipeline.topics.features)]
    assert pl.concat(own).select(pipeline.feature_names).equals(features), "what is stored is never scaled"
    assert not np.array_equal(model.scaling(table), table, equal_nan=True)
    (metric,) = [
        decode(Metric, output.value) for output in engine.processor.tick(1_020.0) if output.key == b"scaled_share"
    ]
    assert metric.n == len(frame) - 100, "since the process began"
    counts = {"a.standard": metric.n, "b.minmax": metric.n, "a_mean.robust": metric.n}
    assert metric.detail == counts | {"a_mean.robust": int(np.isfinite(table[100:, 3]).sum())}


@pytest.mark.parametrize("learner", ["boosted", "linear"])
def test_what_trained_it_what_stands_in_and_what_serves_it_say_the_same_of_rows_as_they_are(
    learner: str, sandbox: Sandbox
) -> None:
    pipeline = pipeline_of(PLAIN.replace('"a" }', '"a", scale = "standard" }'))
    schema = ModelSchema.of(pipeline)
    features, target = rows(200, 1)
    features[:, 0] = features[:, 0] * 1e3 + 5e5
    scaling = Scaling.learnt(pipeline.scales, schema.features, features)
    data = dataset_of(features, target)
    model = train(data, schema, learner=learner, scaling=scaling)  # type: ignore[arg-type]  # a learner
    assert model.text != train(data, schema, learner=learner).text  # type: ignore[arg-type]  # a learner
    asked = features + 0.25
    given = model.probabilities(asked)
    other = stand_in(data, schema, learner=learner, scaling=scaling)(asked)  # type: ignore[arg-type]  # a learner
    assert other == pytest.approx(given, rel=1e-6)
    manifest = _manifest(model, data, schema)
    registry = registry_of(publish(manifest, model.text, topic="p.models"))
    served = ActiveModel(Validator(schema, sandbox).check(registry, manifest.version))
    assert served.probabilities(asked) == pytest.approx(given, rel=1e-9)
    assert served.own(asked)[0, 0] == asked[0, 0], "what people are shown is as it is"
    assert served.scaled(asked) == {"a.standard": int(np.count_nonzero(~np.isnan(asked[:, 0])))}


def _manifest(model: object, data: object, schema: ModelSchema) -> ModelManifest:
    return describe(
        model,  # type: ignore[arg-type]  # of `train`
        data,  # type: ignore[arg-type]  # of `dataset_of`
        schema=schema,
        version="v000001-00000000",
        parent=None,
        created_at=1,
        trained_on=[],
        verdict=Verdict(passed=True, reason="first", metric="log_loss"),
    )


@pytest.mark.parametrize(
    ("scale", "reason"),
    [
        ({"z": Scale(kind="standard", center=0, spread=1, n=9)}, "it scales 'z', which is none of its features"),
        ({"a": Scale(kind="standard", center=0, spread=0, n=9)}, "it scales 'a' by 0"),
        ({"a": Scale(kind="standard", center=0, spread=-1, n=9)}, "it scales 'a' by -1"),
        ({"a": Scale(kind="standard", center=math.inf, spread=1, n=9)}, "it scales 'a' by 1 about inf"),
    ],
)
def test_a_manifest_with_a_wrong_scale_is_refused(scale: dict[str, Scale], reason: str, sandbox: Sandbox) -> None:
    pipeline = pipeline_of(PLAIN)
    schema = ModelSchema.of(pipeline)
    data = dataset_of(*rows(80))
    model = train(data, schema, {"num_iterations": 3}, learner="boosted")
    wrong = msgspec.structs.replace(_manifest(model, data, schema), scales=scale)
    assert (problem(wrong) or "").startswith(reason)
    if math.isfinite(next(iter(scale.values())).center):  # JSON, in which manifests are, has no infinity
        registry = registry_of(publish(wrong, model.text, topic="p.models"))
        with pytest.raises(ModelError, match=reason):
            Validator(schema, sandbox).check(registry, wrong.version)


def test_each_model_brings_the_scales_of_its_own_time_and_those_before_keep_theirs(sandbox: Sandbox) -> None:
    extra = (
        "[training]\nlearner = 'boosted'\nevery = 40\nmin_labels = 20\nparams = { num_iterations = 5 }\n"
        "[gates]\nmin_holdout = 20"
    )
    pipeline = parse(
        pipeline_text(extra=extra).replace(PLAIN, PLAIN.replace('"a" }', '"a", scale = "standard" }')), "p.toml"
    )
    moments: list[NDArray[np.float64]] = []

    def unlabeled() -> NDArray[np.float64]:
        table = np.random.default_rng(len(moments)).normal(len(moments), 1 + len(moments), (100, 3))
        moments.append(table)
        return table

    outputs: list[Output] = []
    processor = RetrainProcessor(
        pipeline, read_registry=lambda: registry_of(outputs), sandbox=sandbox, unlabeled=unlabeled
    )
    processor.open(Partition("p.labels", 0, "0a1b2c3d"), "")
    for begin in range(0, 150, 10):
        values = label_values(150)[begin : begin + 10]
        outputs += [each for each in processor.process(batch_of(values, first=begin)) if each.topic == "p.models"]
    manifests = list(registry_of(outputs).manifests.values())
    assert len(manifests) > 1
    learnt = [Scaling.learnt(pipeline.scales, pipeline.feature_names, table).scales for table in moments]
    assert [each.scales for each in manifests] == [learnt[learnt.index(each.scales)] for each in manifests]
    assert manifests[0].scales != manifests[-1].scales
    registry = registry_of(outputs)
    asked = rows(20, 9)[0]
    for manifest in manifests:
        model = active(registry, manifest.version, ModelSchema.of(pipeline))
        again = model.forest.probability(Scaling.of(manifest.scales, pipeline.feature_names)(asked))
        assert model.probabilities(asked)[:, 1].tolist() == again.tolist()

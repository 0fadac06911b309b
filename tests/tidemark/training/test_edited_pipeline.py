"""Labels, candidates and models after the pipeline file was edited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

import msgspec
import numpy as np
import pytest
from models import INCARNATION, batch_of, label_of, pipeline_text, published, registry_of, rows, small_model

from tidemark.errors import ModelError
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Label, LabelFeatures, LabelRange, Metric, ModelManifest, decode, encode
from tidemark.registry.codec import Registry, publish
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import Validator
from tidemark.registry.values import Values
from tidemark.runtime.processor import Output, Partition
from tidemark.training import RetrainProcessor
from tidemark.training.dataset import LabelLog, check, dataset
from tidemark.training.manifest import labels_of
from tidemark.training.recomputing import with_derived

TRAINING = (
    "[training]\nlearner = 'boosted'\n"
    "every = 40\nmin_labels = 20\nparams = { num_iterations = 5 }\n[gates]\nmin_holdout = 20"
)
TEXT = pipeline_text(extra=TRAINING)
FEATURES = '{ name = "a" }, { name = "b" }, { name = "c" }'
PARTITION = Partition("p.labels", 0, INCARNATION)


def edited(features: str = FEATURES, classes: Sequence[str] = ("no", "yes"), *, b: str = "") -> Pipeline:
    """The file with other features or classes. b: more keys of the column b, which change what the feature b is."""
    text = TEXT.replace(FEATURES, features).replace('b = { type = "float" }', f'b = {{ type = "float"{b} }}')
    text = text.replace("classes = ['no', 'yes']", f"classes = {list(classes)}")
    return parse(text, "p.toml")


OLD = edited()
SCHEMA = ModelSchema.of(OLD)
WIDER = '{ name = "sum", sql = "a + b" }, { name = "c" }, { name = "b" }, { name = "a" }'
CHANGED = ", missing = [99]"


def given(count: int, *, first: int = 0, schema: ModelSchema | None = SCHEMA) -> list[Label]:
    """Labels whose candidates were scored under a pipeline file; None: by a version that did not tell which."""
    features, target = rows(200)
    ids = None if schema is None else schema.ids
    return [
        msgspec.structs.replace(
            label_of(index, features[index].tolist(), ("no", "yes")[int(target[index])]), definitions=ids
        )
        for index in range(first, first + count)
    ]


def started(pipeline: Pipeline, registry: Registry, sandbox: Sandbox, metadata: str = "") -> RetrainProcessor:
    processor = RetrainProcessor(pipeline, read_registry=lambda: registry, sandbox=sandbox)
    processor.open(PARTITION, metadata)
    return processor


def manifests(outputs: Iterable[Output]) -> list[ModelManifest]:
    keys = [(each.key or b"", each.value) for each in outputs if each.topic == "p.models"]
    return [decode(ModelManifest, value) for key, value in keys if key.startswith(b"v") and b"/" not in key]


@pytest.fixture(scope="module")
def sandbox() -> Iterable[Sandbox]:
    with Sandbox() as shared:
        yield shared


def test_labels_of_an_earlier_file_keep_what_is_still_computed_as_it_was_and_lack_the_rest() -> None:
    label = given(1)[0]
    now = ModelSchema.of(edited(f"{FEATURES}, {{ name = 'sum', sql = 'a + c' }}", b=CHANGED))
    made = dataset([(0, check(encode(label), now, OLD.raw_topics))], now)
    np.testing.assert_array_equal(made.features, [[label.features["a"], np.nan, label.features["c"], np.nan]])


def test_what_was_recomputed_fills_what_a_label_lacks_and_nothing_else() -> None:
    label = given(1)[0]
    now = ModelSchema.of(edited(b=CHANGED))
    again = {label.event_id: dict(zip(now.definitions, (7.0, 8.0, 9.0), strict=True))}
    np.testing.assert_array_equal(
        dataset([(0, label)], now, again).features, [[label.features["a"], 8.0, label.features["c"]]]
    )


def test_a_renamed_feature_keeps_its_values() -> None:
    label = given(1)[0]
    now = ModelSchema.of(edited('{ name = "first", sql = "a" }, { name = "c" }'))
    np.testing.assert_array_equal(dataset([(0, label)], now).features, [[label.features["a"], label.features["c"]]])


def test_a_name_that_another_feature_has_taken_does_not_bring_the_old_values_along() -> None:
    label = given(1)[0]
    a, b, c = SCHEMA.definitions
    swapped = replace(SCHEMA, definitions=(b, a, c))
    expected = [label.features["b"], label.features["a"], label.features["c"]]
    np.testing.assert_array_equal(dataset([(0, label)], swapped).features, [expected])


def test_labels_that_do_not_tell_their_definitions_are_those_of_the_oldest_manifest_of_their_features() -> None:
    label = given(1, schema=None)[0]
    now = ModelSchema.of(edited(b=CHANGED))
    values = Values(now, [SCHEMA.ids])
    made = dataset([(0, label)], now, values=values).features
    np.testing.assert_array_equal(made, [[label.features["a"], np.nan, label.features["c"]]])


def test_labels_of_a_version_that_knew_no_definitions_are_believed_by_name_and_lack_what_they_do_not_name() -> None:
    label = given(1, schema=None)[0]
    now = ModelSchema.of(edited(WIDER))
    again = {label.event_id: dict.fromkeys(now.definitions, 7.0)}
    expected = [7.0, *(label.features[name] for name in "cba")]
    np.testing.assert_array_equal(dataset([(0, label)], now, again).features, [expected])


def test_an_answer_of_a_class_that_is_gone_is_no_dead_letter_and_no_label(sandbox: Sandbox) -> None:
    three = ModelSchema.of(edited(classes=("no", "yes", "maybe")))
    registry = registry_of(published(three))
    answer = encode(msgspec.structs.replace(given(1)[0], label="maybe"))
    unknown = encode(msgspec.structs.replace(given(1)[0], label="other"))
    outputs = started(OLD, registry, sandbox).process(batch_of([answer, unknown]))
    assert [each.value for each in outputs if each.topic == "p.deadletter"] == [unknown]


def test_a_champion_goes_on_under_an_edited_file_that_still_computes_its_features(sandbox: Sandbox) -> None:
    registry = registry_of(published(SCHEMA))
    version = registry.champion.version if registry.champion else ""
    before = ActiveModel(Validator(SCHEMA, sandbox).check(registry, version))
    after = ActiveModel(Validator(ModelSchema.of(edited(WIDER)), sandbox).check(registry, version))
    data = rows(50, seed=3)[0]
    wider = np.column_stack([data[:, 0] + data[:, 1], data[:, 2], data[:, 1], data[:, 0]])
    np.testing.assert_array_equal(after.probabilities(wider), before.probabilities(data))
    np.testing.assert_array_equal(after.own(wider), data)


def test_a_class_that_a_champion_has_never_seen_has_the_probability_nought(sandbox: Sandbox) -> None:
    registry = registry_of(published(SCHEMA))
    version = registry.champion.version if registry.champion else ""
    before = ActiveModel(Validator(SCHEMA, sandbox).check(registry, version))
    schema = ModelSchema.of(edited(classes=("no", "maybe", "yes")))
    after = ActiveModel(Validator(schema, sandbox).check(registry, version))
    data = rows(20, seed=3)[0]
    assert after.classes == ("no", "maybe", "yes")
    np.testing.assert_array_equal(after.probabilities(data)[:, [0, 2]], before.probabilities(data))
    np.testing.assert_array_equal(after.probabilities(data)[:, 1], np.zeros(20))


@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        (edited(b=CHANGED), "b is computed by another definition"),
        (edited('{ name = "a" }, { name = "c" }'), "b is computed no more"),
        (edited('{ name = "c" }'), "a, b are computed no more"),
    ],
)
def test_a_champion_whose_features_are_no_longer_computed_is_refused_by_name(
    sandbox: Sandbox, pipeline: Pipeline, why: str
) -> None:
    registry = registry_of(published(SCHEMA))
    version = registry.champion.version if registry.champion else ""
    with pytest.raises(ModelError, match=f"{why}; a new champion is trained of the labels there are"):
        Validator(ModelSchema.of(pipeline), sandbox).check(registry, version)


def test_the_next_champion_learns_from_all_labels_and_at_once_where_the_old_one_is_out_of_force(
    sandbox: Sandbox,
) -> None:
    values = [encode(label) for label in given(60)]
    before = started(OLD, Registry(), sandbox)
    topic = [each for each in before.process(batch_of(values)) if each.topic == "p.models"]
    metadata = before.metadata(PARTITION)
    registry = registry_of(topic)
    assert [manifest.used for manifest in manifests(topic)] == [20, 50]

    after = started(edited(b=CHANGED), registry, sandbox, metadata)
    assert after.process(batch_of(values, replay=True)) == []
    outputs = after.tick(1.0)
    (made,) = manifests(outputs)
    assert (made.used, made.decision, made.version[:7]) == (60, "first champion of the changed pipeline", "v000003")
    assert manifests(after.tick(2.0)) == []
    assert not [each for each in outputs if each.topic == "p.deadletter"]

    again = started(edited(b=CHANGED), registry_of([*topic, *(o for o in outputs if o.topic == "p.models")]), sandbox)
    assert manifests(again.process(batch_of(values))) == []


def test_people_are_told_once_of_a_champion_that_retrain_refuses_and_of_the_next_one(sandbox: Sandbox) -> None:
    values = [encode(label) for label in given(60)]
    before = started(OLD, Registry(), sandbox)
    topic = [each for each in before.process(batch_of(values)) if each.topic == "p.models"]
    registry = registry_of(topic)
    after = started(edited(b=CHANGED), registry, sandbox, before.metadata(PARTITION))
    after.process(batch_of(values, replay=True))
    outputs = [*after.tick(1.0), *after.tick(2.0), *after.tick(3.0)]
    metrics = [decode(Metric, each.value) for each in outputs if each.topic == "p.metrics"]
    told = [(each.model, each.detail.get("refused")) for each in metrics if each.name.startswith("model_")]
    old = [manifest.version for manifest in manifests(topic)]
    (new,) = manifests(outputs)
    assert told == [("none", old[1]), ("none", old[0]), (new.version, None)]


def test_the_next_challenger_beats_the_old_champion_on_the_new_labels_and_learns_from_all(sandbox: Sandbox) -> None:
    old = [encode(label) for label in given(60)]
    before = started(OLD, Registry(), sandbox)
    topic = [each for each in before.process(batch_of(old)) if each.topic == "p.models"]
    registry = registry_of(topic)
    after = started(edited(WIDER), registry, sandbox, before.metadata(PARTITION))
    after.process(batch_of(old, replay=True))
    assert manifests(after.tick(1.0)) == []
    waiting = [encode(label) for label in given(40, first=60)]  # asked before the edit, answered after it
    outputs = after.process(batch_of(waiting, first=60))
    made = manifests(outputs)
    assert [manifest.used for manifest in made] == [80]
    assert made[0].features == ["sum", "c", "b", "a"]
    assert made[0].parent == manifests(topic)[-1].version
    assert made[0].decision.startswith("replaces: ")
    assert not [each for each in outputs if each.topic == "p.deadletter"]


def test_a_manifest_names_its_labels_whatever_the_file_says_since() -> None:
    labels = list(enumerate(given(30)))
    model, manifest = small_model(SCHEMA)
    made = dataset(labels, SCHEMA)
    manifest = msgspec.structs.replace(
        manifest,
        used=len(made),
        known_until=made.known_until,
        event_ids_sha256=made.event_ids_sha256,
        trained_on=[LabelRange(topic="p.labels", partition=0, start=0, end=30, incarnation=INCARNATION)],
    )
    assert publish(manifest, model.text, topic="p.models")
    found = labels_of(manifest, labels, ModelSchema.of(edited(b=CHANGED)), "p.labels", INCARNATION)
    assert (len(found), found.event_ids_sha256) == (manifest.used, manifest.event_ids_sha256)
    np.testing.assert_array_equal(found.features, made.features)


class Again:
    """Recomputes b as twice what was recorded, and keeps count."""

    def __init__(self) -> None:
        self.kept: dict[str, LabelFeatures] = {}
        self.asked: list[int] = []

    def stored(self) -> dict[str, LabelFeatures]:
        return dict(self.kept)

    def features(
        self, known: Mapping[str, Mapping[str, float | None]], labels: Sequence[Label]
    ) -> dict[str, dict[str, float | None]]:
        self.asked.append(len(labels))
        return {each.event_id: {**known[each.event_id], "b": 2 * (each.features["b"] or 0)} for each in labels}

    def keep(self, outputs: Iterable[Output]) -> None:
        """What a transaction that is committed does."""
        records = [decode(LabelFeatures, each.value) for each in outputs if each.topic == "p.label-features"]
        self.kept |= {record.event_id: record for record in records}


def test_what_labels_lack_is_recomputed_once_and_kept_with_the_model_that_learnt_from_it(sandbox: Sandbox) -> None:
    values = [encode(label) for label in given(60)]
    before = started(OLD, Registry(), sandbox)
    topic = [each for each in before.process(batch_of(values)) if each.topic == "p.models"]
    again, now = Again(), edited(b=CHANGED)

    def begun(topic: Sequence[Output], metadata: str) -> RetrainProcessor:
        processor = RetrainProcessor(now, read_registry=lambda: registry_of(topic), sandbox=sandbox, recomputing=again)
        processor.open(PARTITION, metadata)
        processor.process(batch_of(values, replay=True))
        return processor

    lost = begun(topic, before.metadata(PARTITION)).tick(1.0)  # never committed
    after = begun(topic, before.metadata(PARTITION))
    outputs = after.tick(1.0)
    assert [each.value for each in outputs if each.topic == "p.models"] == [
        each.value for each in lost if each.topic == "p.models"
    ]
    (made,) = manifests(outputs)
    assert (made.used, again.asked) == (60, [60, 60])
    again.keep(outputs)
    assert len(again.kept) == 60
    topic += [each for each in outputs if each.topic == "p.models"]

    waiting = [encode(label) for label in given(40, first=60)]
    later = begun(topic, after.metadata(PARTITION)).process(batch_of(waiting, first=60))
    assert again.asked == [60, 60, 30]  # the second training is of 90 labels, 60 of them recomputed before
    (second,) = manifests(later)
    golden = [row[1] for row in second.golden if row[1] is not None]
    everything = {2 * (label.features["b"] or 0) for label in given(100)}
    assert golden
    assert set(golden) <= everything


def test_a_derived_feature_is_recomputed_only_of_features_that_are_known() -> None:
    pipeline = parse(
        TEXT.replace("[label]", '[[derived]]\nname = "ratio"\nsql = "COALESCE(a, 0) + b"\n[label]'), "p.toml"
    )
    found = with_derived(pipeline, {"x": {"a": None, "b": 2.0, "c": 1.0}, "y": {"b": 2.0, "c": 1.0}})
    assert found["x"]["ratio"] == 2.0
    assert "ratio" not in found["y"]


class NoScan(dict[str, int]):
    """Fails whoever looks at all events."""

    def values(self) -> NoReturn:
        raise AssertionError("all events were counted again")

    __iter__ = values
    items = values
    keys = values


def test_the_counts_before_the_first_champion_cost_the_same_however_many_events_there_are() -> None:
    log = LabelLog(SCHEMA)
    log._target = NoScan()
    for offset, label in enumerate(given(200)):
        log.add(offset, label)
        log.advance(label.known_at)
        assert sum(log.counts) == offset + 1

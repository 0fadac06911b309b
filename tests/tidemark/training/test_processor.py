from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import START, batch_of, label_of, label_values, registry_of, rows, small_model, small_pipeline

from tidemark.errors import ConfigError, ModelError, TopicError
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import LearnerName, Start
from tidemark.records import Label, Metric, ModelManifest, Reason, decode, encode
from tidemark.registry.alarm import Alarm
from tidemark.registry.codec import Registry, publish
from tidemark.registry.label_counts import KEY, LabelCounts
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import Validator
from tidemark.runtime.processor import Output, Partition
from tidemark.selection.start import looks_for_positives
from tidemark.training import RetrainProcessor
from tidemark.training.dataset import LabelLog, Origin, check
from tidemark.training.gate import needed
from tidemark.training.manifest import labels_of
from tidemark.training.schedule import pause

PIPELINE = small_pipeline(
    extra=(
        "[training]\nlearner = 'boosted'\n"
        "every = 40\nmin_labels = 20\nparams = { num_iterations = 5 }\n[gates]\nmin_holdout = 20"
    )
)
SCHEMA = ModelSchema.of(PIPELINE)
PARTITION = Partition("p.labels", 0, "0a1b2c3d")
VALUES = label_values(150)


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> Iterator[None]:
    with Sandbox() as shared:
        Engine.sandbox = shared
        yield


class Engine:
    """What the engine does around a processor: a committed log of outputs, metadata, restarts with a replay."""

    sandbox: Sandbox

    def __init__(
        self, topic: Iterable[Output] = (), secret: bytes | None = None, pipeline: Pipeline = PIPELINE
    ) -> None:
        self.pipeline = pipeline
        self.topic: list[Output] = list(topic)
        self.outputs: list[Output] = []
        self.committed: tuple[int, str] | None = None
        self.secret = secret
        self.processor = self._new()

    def _new(self) -> RetrainProcessor:
        processor = RetrainProcessor(
            self.pipeline, read_registry=self.registry, secret=self.secret, sandbox=self.sandbox
        )
        assert processor.open(PARTITION, self.committed[1] if self.committed else "") == 0
        return processor

    def registry(self) -> Registry:
        registry = Registry(self.secret)
        registry.feed_outputs(self.topic)
        return registry

    def commit(self, outputs: list[Output], position: int) -> None:
        self.outputs += outputs
        self.topic += [each for each in outputs if each.topic == "p.models"]
        self.committed = (position, self.processor.metadata(PARTITION))
        assert len(self.committed[1]) < 4_000

    def run(self, values: list[bytes], splits: list[int], *, crash: bool = False) -> None:
        """Process from the committed offset on; with `crash`, each batch is first tried and lost."""
        position = self.committed[0] if self.committed else 0
        for end in [*[each for each in splits if each > position], len(values)]:
            if crash:
                self.processor.process(batch_of(values[position:end], first=position))
                self.restart(values)
            outputs = self.processor.process(batch_of(values[position:end], first=position))
            self.commit(outputs, end)
            position = end

    def restart(self, values: list[bytes]) -> None:
        self.processor = self._new()
        if self.committed is not None:
            again = batch_of(values[: self.committed[0]], replay=True)
            assert self.processor.process(again) == []

    @property
    def versions(self) -> list[str]:
        return [each.version for each in self.manifests]

    @property
    def manifests(self) -> list[ModelManifest]:
        found = [
            each for each in self.outputs if each.key is not None and each.key.startswith(b"v") and b"/" not in each.key
        ]
        return [decode(ModelManifest, each.value) for each in found]

    def records(self, topic: str) -> list[Output]:
        return [each for each in self.outputs if each.topic == topic]


@pytest.fixture(scope="module")
def plain() -> Engine:
    engine = Engine()
    engine.run(VALUES, [])
    return engine


def test_models_are_trained_on_the_way_and_the_last_one_is_champion(plain: Engine) -> None:
    assert [version[:8] for version in plain.versions] == [f"v00000{number}-" for number in range(1, 6)]
    assert [manifest.used for manifest in plain.manifests] == [20, 50, 80, 110, 140]
    assert [manifest.parent for manifest in plain.manifests] == [None, *plain.versions[:-1]]
    champion = plain.registry().champion
    assert champion is not None
    assert champion.version == plain.versions[-1]
    assert plain.manifests[0].decision == "first champion"
    assert plain.manifests[1].decision.startswith("replaces: ")


def test_outcomes_that_contradict_answers_bring_a_model_that_has_learnt_what_they_say() -> None:
    engine = Engine()
    values = VALUES[:60]
    engine.run(values, [])
    taught = [decode(Label, value) for value in values]
    said = Counter(label.label for label in taught)
    told = [
        msgspec.structs.replace(
            label,
            label="no" if label.label == "yes" else "yes",
            annotator="outcome",
            reason="outcome",
            source="outcome",
            features={},
            definitions={},
            known_at=label.known_at + 1,
            annotation_id=f"{label.event_id}/outcome",
        )
        for label in taught[:20]
    ]
    engine.run([*values, *map(encode, told)], [])
    last = engine.manifests[-1]
    assert [manifest.used for manifest in engine.manifests[:2]] == [20, 50]
    assert (last.used, last.source_counts, last.conflicts) == (60, {"outcome": 20, "person": 40}, 20)
    assert last.sources == ["outcome", "review", "person", "program", "import"]
    assert last.decision.startswith("replaces: ")
    assert dict(zip(last.classes, last.class_counts, strict=True)) != said
    labels = [(at, decode(Label, value)) for at, value in enumerate([*values, *map(encode, told)])]
    made = labels_of(last, labels, SCHEMA, "p.labels", "0a1b2c3d")
    assert (len(made), made.event_ids_sha256) == (last.used, last.event_ids_sha256)
    assert not np.isnan(made.features).all(axis=1).any()  # the answers' features are those of the outcomes


def test_every_published_model_passes_the_checks_of_its_readers(plain: Engine) -> None:
    with Sandbox() as sandbox:
        for version in plain.versions:
            Validator(SCHEMA, sandbox).check(plain.registry(), version)


def test_a_manifest_names_the_very_labels_of_its_model(plain: Engine) -> None:
    accepted = [(at, check(value, SCHEMA, PIPELINE.raw_topics)) for at, value in enumerate(VALUES)]
    for manifest in plain.manifests:
        made = labels_of(manifest, accepted, SCHEMA, "p.labels", "0a1b2c3d")
        assert len(made) == manifest.used
        assert made.event_ids_sha256 == manifest.event_ids_sha256
        assert manifest.version.endswith(made.content_sha256[:8])
        assert (manifest.trained_on[0].start, manifest.trained_on[0].end) == (0, manifest.used)
        assert manifest.created_at >= manifest.known_until
    assert len(labels_of(plain.manifests[0], accepted, SCHEMA, "p.labels", "another0")) == 0


def test_each_training_is_measured(plain: Engine) -> None:
    metrics = [decode(Metric, each.value) for each in plain.records("p.metrics")]
    sizes = [metric for metric in metrics if metric.name == "training_labels"]
    gates = [metric for metric in metrics if metric.name == "gate_log_loss_difference"]
    assert [metric.n for metric in sizes] == [20, 50, 80, 110, 140]
    assert [metric.model for metric in sizes] == plain.versions
    assert sum(sizes[0].detail[name] for name in ("no", "yes")) == 20  # type: ignore[misc]
    assert [metric.n for metric in gates] == [0, 20, 20, 20, 20]
    assert gates[1].low is not None


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 149), max_size=6, unique=True).map(sorted), st.booleans())
def test_the_same_log_gives_the_same_models_whatever_the_batches_and_crashes(
    plain: Engine, splits: list[int], crash: bool
) -> None:
    engine = Engine()
    engine.run(VALUES, splits, crash=crash)
    assert engine.manifests == plain.manifests
    assert [each.value for each in engine.topic] == [each.value for each in plain.topic]


@pytest.mark.parametrize("learner", [name for name in get_args(LearnerName) if name != "boosted"])
def test_after_a_crash_every_learner_publishes_the_same_bytes_from_labels_asked_for_and_drawn(
    learner: LearnerName,
) -> None:
    few = "" if learner == "linear" else "params = { num_iterations = 8 }"
    pipeline = small_pipeline(
        extra=f'[training]\nlearner = "{learner}"\nmin_labels = 20\n{few}\n[gates]\nmin_holdout = 20'
    )
    values = []
    for at, value in enumerate(VALUES[:90]):
        label = decode(Label, value)
        drawn = 0.25 if at % 3 == 0 else None
        values.append(encode(msgspec.structs.replace(label, inclusion_probability=drawn)))
    whole, broken = Engine(pipeline=pipeline), Engine(pipeline=pipeline)
    whole.run(values, [])
    broken.run(values, [19, 50, 51], crash=True)
    assert len(whole.manifests) == 3
    assert [each.value for each in broken.topic] == [each.value for each in whole.topic]


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 149), st.integers(1, 149))
def test_a_restart_with_a_replay_trains_nothing_again(plain: Engine, first: int, second: int) -> None:
    engine = Engine()
    for end in sorted({first, second, 150}):
        engine.run(VALUES[:end], [])
        engine.restart(VALUES)
    assert engine.manifests == plain.manifests


def test_a_group_that_lost_its_commits_does_not_retrain_history(plain: Engine) -> None:
    engine = Engine(plain.topic)
    engine.run(VALUES, [70])
    assert engine.manifests == []
    engine.run([*VALUES, *label_values(170, seed=1)[150:]], [])
    assert [manifest.used for manifest in engine.manifests] == [170]


def test_labels_of_a_recreated_topic_are_new_labels(plain: Engine) -> None:
    processor = RetrainProcessor(PIPELINE, read_registry=plain.registry, sandbox=Engine.sandbox)
    recreated = Partition("p.labels", 0, "ffffffff")
    processor.open(recreated, "")
    batch = batch_of(label_values(40, seed=2))
    batch.partition = recreated
    models = [each for each in processor.process(batch) if each.topic == "p.models" and each.key == b"champion"]
    assert len(models) == 1


def test_a_worse_challenger_is_not_published() -> None:
    features, _ = rows(150)
    rng = np.random.default_rng(0)
    by_coin = [encode(label_of(i, features[i].tolist(), ("no", "yes")[int(rng.integers(2))])) for i in range(150)]
    model, manifest = small_model(SCHEMA, count=1_999, trees=40)
    engine = Engine(publish(manifest, model.text, topic="p.models"))
    engine.run([*VALUES[:60], *by_coin[60:]], [])
    metrics = [decode(Metric, each.value) for each in engine.records("p.metrics")]
    kept = [metric for metric in metrics if metric.detail.get("passed") == 0]
    assert kept
    assert all(str(metric.detail["decision"]).startswith("kept: the challenger is worse") for metric in kept)
    assert all(metric.model == metrics[0].model for metric in kept[:1])


def test_bad_labels_become_dead_letters_and_the_models_are_those_of_the_good_ones(plain: Engine) -> None:
    bad = [b"{", b"", encode(label_of(1, [1, 2, 3], "maybe")), encode(label_of(1, [1, 2, 3], "yes", topic="x.raw"))]
    engine = Engine()
    engine.run([*bad, *VALUES], [3])
    letters = engine.records("p.deadletter")
    assert [each.value for each in letters] == bad
    reasons = [dict(each.headers)["reason"].decode() for each in letters]
    assert "unknown class 'maybe'" in reasons[2]
    assert [m.event_ids_sha256 for m in engine.manifests] == [m.event_ids_sha256 for m in plain.manifests]
    engine.restart([*bad, *VALUES])


def test_an_imported_champion_is_compared_with_from_its_next_labels_on() -> None:
    model, manifest = small_model(SCHEMA, version="v000007-00000000", wrong=True)
    engine = Engine(publish(manifest, model.text, topic="p.models"))
    engine.run(VALUES[:40], [])
    assert [manifest.version[:7] for manifest in engine.manifests] == ["v000008"]
    assert engine.manifests[0].parent == "v000007-00000000"
    assert engine.manifests[0].metrics["compared_on"] > 0  # type: ignore[operator]


def test_a_champion_published_by_someone_else_meanwhile_is_the_one_to_beat() -> None:
    engine = Engine()
    engine.run(VALUES[:20], [])
    model, manifest = small_model(SCHEMA, version="v000005-00000000", wrong=True)
    engine.topic += publish(manifest, model.text, topic="p.models")
    engine.run(VALUES[:70], [])
    assert engine.manifests[-1].parent == "v000005-00000000"
    assert engine.manifests[-1].version.startswith("v000006-")


def test_two_models_in_one_transaction_know_of_each_other(plain: Engine) -> None:
    engine = Engine()
    outputs = engine.processor.process(batch_of(VALUES[:60]))
    engine.commit(outputs, 60)
    assert engine.versions == plain.versions[:2]


def test_a_corrupt_champion_is_passed_over_and_replaced(plain: Engine) -> None:
    broken = list(plain.topic)
    index = next(number for number, each in enumerate(broken) if each.key == f"{plain.versions[-1]}/0000".encode())
    broken[index] = Output("p.models", b"rubbish", broken[index].key)
    engine = Engine(broken)
    engine.committed = (150, plain.committed[1] if plain.committed else "")
    engine.restart(VALUES)
    more = label_values(190, seed=3)[150:]
    engine.run([*VALUES, *more], [])
    assert engine.manifests
    assert engine.manifests[0].parent == plain.versions[-2]


def test_time_alone_trains_when_the_interval_has_passed() -> None:
    patient = small_pipeline(
        extra=(
            '[training]\nlearner = "boosted"\nevery = 1000\nmin_labels = 20\nmin_positive = 2\n'
            'max_interval = "1h"\n[gates]\nmin_holdout = 20'
        )
    )
    topic: list[Output] = []

    def registry() -> Registry:
        made = Registry()
        made.feed_outputs(topic)
        return made

    processor = RetrainProcessor(patient, read_registry=registry, sandbox=Engine.sandbox)
    processor.open(PARTITION, "")
    assert processor.tick(START / 1_000) == []
    topic += [each for each in processor.process(batch_of(VALUES[:20])) if each.topic == "p.models"]
    assert len(topic) == 3
    now = START / 1_000 + 20
    assert [each.key for each in processor.process(batch_of(VALUES[20:44], first=20))] == [b"quality"]
    assert processor.tick(now + 60) == []
    kept = processor.tick(now + 3_700)
    assert [decode(Metric, each.value).detail["passed"] for each in kept] == [0]
    assert processor.tick(now + 3_701) == []
    processor.process(batch_of(VALUES[44:60], first=44))
    assert any(each.key == b"champion" for each in processor.tick(now + 7_400))
    assert [each.key for each in processor.tick(now + 7_401)] == [b"quality"]
    assert processor.tick(now + 11_200) == []


def test_an_alarm_trains_once_and_for_a_time_sooner_and_says_so() -> None:
    follows = small_pipeline(
        extra=(
            '[training]\nlearner = "boosted"\nevery = 40\nmin_labels = 20\nmin_positive = 2\n'
            '[gates]\nmin_holdout = 4\n[drift.reaction]\nlasts = "1h"'
        )
    )
    alarms: list[Alarm] = []
    engine = Engine(pipeline=follows)
    engine.processor = RetrainProcessor(
        follows,
        read_registry=engine.registry,
        sandbox=engine.sandbox,
        alarmed=lambda: alarms[-1] if alarms else None,
    )
    engine.processor.open(PARTITION, "")
    engine.run(VALUES[:20], [])
    assert len(engine.versions) == 1
    now = START / 1_000 + 20
    engine.run(VALUES[:27], [])
    trained = [each for each in engine.processor.tick(now) if each.key != b"quality"]
    assert trained == []
    alarms.append(Alarm(name="quality_fell", at=int((now + 1) * 1e6)))
    assert engine.processor.tick(now) == []  # of a time to come
    engine.commit(outputs := engine.processor.tick(now + 2), 27)
    (gate,) = [decode(Metric, each.value) for each in outputs if each.key == b"gate_log_loss_difference"]
    assert "trained at once after quality_fell" in str(gate.detail["decision"])
    assert [each for each in engine.processor.tick(now + 3) if each.key != b"quality"] == []
    assert '"alarm":' in engine.processor.metadata(PARTITION)


def test_whose_labels_are_surely_wrong_counts_nothing_and_a_crash_changes_nothing() -> None:
    features, target = rows(220, 3)
    told = []
    for index, (row, right) in enumerate(zip(features.tolist(), target.tolist(), strict=True)):
        by = "mallory" if index % 5 == 0 else f"ann{index % 5}"
        said = 1 - right if by == "mallory" else right
        told.append(encode(label_of(index, row, ("no", "yes")[said], annotator=by)))
    engines = []
    for crash in (False, True):
        engine = Engine()
        engine.run(told, [30, 140], crash=crash)
        engines.append(engine)
    whole, crashed = engines
    assert [each.sha256 for each in crashed.manifests] == [each.sha256 for each in whole.manifests]
    metrics = [decode(Metric, each.value) for each in whole.records("p.metrics")]
    last = [each for each in metrics if each.name == "distrusted_sources"][-1]
    assert (last.value, last.detail["source_1"]) == (1.0, "mallory")
    assert last.detail["weight_1"] == 0.0
    assert whole.manifests[-1].used > 150  # it says which labels were there; what each counted, the metric
    everybody = PIPELINE.training.model_copy(update={"trust": "all"})
    alike = Engine(pipeline=PIPELINE.model_copy(update={"training": everybody}))
    alike.run(told, [30, 140])
    assert not [each for each in alike.records("p.metrics") if each.key == b"distrusted_sources"]
    assert alike.manifests[-1].sha256 != whole.manifests[-1].sha256


def test_after_an_alarm_a_quarter_of_the_labels_is_waited_for() -> None:
    pipe = small_pipeline(extra="[training]\nevery = 100\n[gates]\nmin_holdout = 10")
    assert pause(pipe, 4_000) == 100
    assert pause(pipe, 4_000, alarmed=True) == 25
    assert pause(pipe, 10, alarmed=True) == pause(pipe, 10) == needed(pipe.gates)


def test_time_does_not_train_while_the_labels_are_read_again() -> None:
    patient = small_pipeline(
        extra='[training]\nlearner = "boosted"\nevery = 1000\nmin_labels = 20\nmin_positive = 2\nmax_interval = "1h"'
    )
    processor = RetrainProcessor(patient, read_registry=lambda: registry_of(published_once()), sandbox=Engine.sandbox)
    processor.open(PARTITION, '{"next":100,"ever":20,"at":0}')
    processor.process(batch_of(VALUES[:90], replay=True))
    assert processor.tick(START / 1_000 + 10_000) == []
    processor.process(batch_of(VALUES[90:100], first=90, replay=True))
    trained = processor.tick(START / 1_000 + 10_000)
    assert b"gate_log_loss_difference" in {each.key for each in trained}


def published_once() -> list[Output]:
    model, manifest = small_model(SCHEMA)
    return publish(manifest, model.text, topic="p.models")


def test_models_are_signed_when_there_is_a_key() -> None:
    engine = Engine(secret=b"sixteen bytes or more")
    engine.run(VALUES[:50], [])
    assert len(engine.versions) == 2
    assert dict(engine.topic[-1].headers)["digest"].startswith(b"hmac-sha256:")
    with pytest.raises(ModelError, match="signed"):
        Registry().feed_outputs(engine.topic)


def test_labels_in_more_than_one_partition_are_an_error_that_says_what_to_do() -> None:
    processor = RetrainProcessor(PIPELINE, read_registry=Registry, sandbox=Engine.sandbox)
    with pytest.raises(TopicError, match=r"more than one partition.*re-create"):
        processor.open(Partition("p.labels", 1, "0a1b2c3d"), "")


def test_a_closed_partition_takes_no_rows() -> None:
    processor = RetrainProcessor(PIPELINE, read_registry=Registry, sandbox=Engine.sandbox)
    processor.open(PARTITION, "")
    processor.close(PARTITION)
    with pytest.raises(TopicError, match="is not open here"):
        processor.process(batch_of(VALUES[:1]))
    assert processor.topics == ["p.labels"]
    assert processor.event_time(batch_of(VALUES[:1])) is None


def test_a_parameter_that_is_not_to_be_set_is_refused_at_the_start() -> None:
    training = PIPELINE.training.model_copy(update={"params": {"objective": "poisson"}})
    wrong = PIPELINE.model_copy(update={"training": training})
    with pytest.raises(ConfigError, match="objective"):
        RetrainProcessor(wrong, read_registry=Registry, sandbox=Engine.sandbox)


def test_labels_too_alike_to_learn_from_give_no_champion() -> None:
    alike = [encode(label_of(i, [1, 2, 3], ("no", "yes")[i % 2])) for i in range(60)]
    engine = Engine()
    engine.run(alike, [])
    assert engine.manifests == []
    reasons = [decode(Metric, each.value).detail["decision"] for each in engine.records("p.metrics")]
    assert len(reasons) == 11
    assert "too few or too alike" in str(reasons[0])


def _without_a_model(values: list[bytes]) -> list[bytes]:
    """Labels of cases that were drawn, every third, or chosen without a model."""
    found = []
    for index, value in enumerate(values):
        drawn = index % 3 == 0
        label = msgspec.structs.replace(
            decode(Label, value), reason="explore" if drawn else "cold", inclusion_probability=0.1 if drawn else None
        )
        found.append(encode(label))
    return found


STARTING = _without_a_model(VALUES[:60])


@pytest.fixture(scope="module")
def started() -> Engine:
    engine = Engine()
    engine.run(STARTING, [])
    return engine


def _told(engine: Engine) -> list[LabelCounts]:
    records = [each for each in engine.records("p.models") if each.key == KEY]
    return [decode(LabelCounts, each.value) for each in records]


def test_what_labels_have_told_is_published_label_by_label_until_there_is_a_model(started: Engine) -> None:
    told = _told(started)
    assert [sum(each.drawn) + sum(each.chosen) for each in told] == list(range(1, 20))
    assert [sum(each.drawn) for each in told] == [-(-n // 3) for n in range(1, 20)]
    first = next(i for i, each in enumerate(started.outputs) if each.key is not None and each.key.startswith(b"v"))
    assert not [each for each in started.outputs[first:] if each.key == KEY]


@pytest.mark.parametrize("crash", [False, True])
def test_what_labels_have_told_is_the_same_whatever_the_batches_and_crashes(started: Engine, *, crash: bool) -> None:
    engine = Engine()
    engine.run(STARTING, [3, 4, 11, 19, 40], crash=crash)
    assert _told(engine) == _told(started)


def test_labels_count_by_why_their_cases_were_asked_about() -> None:
    features, target = rows(6)
    told: list[tuple[Reason, str, float | None]] = [
        ("explore", "none", 0.1),
        ("explore", "m1", 0.1),
        ("cold", "none", None),
        ("cold", "m1", None),
        ("uncertain", "m1", None),
        ("imported", "none", None),
    ]
    log = LabelLog(SCHEMA)
    for index, (reason, model, inclusion) in enumerate(told):
        label = label_of(index, features[index].tolist(), SCHEMA.classes[target[index]])
        changed = msgspec.structs.replace(label, reason=reason, model=model, inclusion_probability=inclusion)
        log.add(index, changed)
    log.advance(2**61)
    expected: dict[Origin, list[int]] = {"drawn": [0, 1], "chosen": [2], "other": [3, 4, 5]}
    for origin, which in expected.items():
        assert log.counts_of(origin) == np.bincount(target[which], minlength=2).tolist()


def test_a_manifest_says_how_many_labels_of_each_class_were_learnt_from_and_how_many_were_drawn(
    started: Engine,
) -> None:
    for manifest in started.manifests:
        assert sum(manifest.class_counts) == manifest.used
        assert sum(manifest.drawn_counts) == -(-manifest.used // 3)


def test_a_manifest_of_before_class_counts_is_read_and_its_model_says_nothing_of_them() -> None:
    model, manifest = small_model(SCHEMA)
    older = msgspec.structs.replace(manifest, class_counts=[], drawn_counts=[])
    value = {
        name: each
        for name, each in msgspec.json.decode(encode(older)).items()
        if name not in {"class_counts", "drawn_counts"}
    }
    assert decode(ModelManifest, msgspec.json.encode(value)) == older
    registry = registry_of(publish(older, model.text, topic="p.models"))
    checked = Validator(SCHEMA, Engine.sandbox).check(registry, manifest.version)
    assert ActiveModel(checked).class_counts == ActiveModel(checked).drawn_counts == []


def test_labels_that_were_imported_count_in_the_start() -> None:
    """They bring the first model as others do, and its manifest says how many positives there are."""
    values = [encode(msgspec.structs.replace(decode(Label, value), reason="imported")) for value in VALUES[:25]]
    engine = Engine()
    engine.run(values, [])
    (manifest,) = engine.manifests
    assert sum(manifest.class_counts) == 20
    assert (manifest.drawn_counts, _told(engine)) == ([0, 0], [])
    positives = manifest.class_counts[1]
    start = Start(positives=positives)
    assert looks_for_positives(start, manifest.class_counts, manifest.drawn_counts, 1) is None

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from confluent_kafka import Producer
from models import rows, small_model, small_pipeline

from support import wait_until
from tidemark.broker import EmbeddedKafka
from tidemark.errors import BrokerError, ConfigError
from tidemark.kafka import admin, ensure_topics, producer_config, read_all, wait_settled
from tidemark.pipeline import Pipeline
from tidemark.records import Metric, decode
from tidemark.records.topics import TopicSpec
from tidemark.registry.codec import publish
from tidemark.registry.follower import ModelWatcher
from tidemark.registry.reading import read_registry
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings

SECRET = b"sixteen bytes or more"


def specs(pipeline: Pipeline) -> list[TopicSpec]:
    topics = pipeline.topics
    return [TopicSpec(topics.models, 1, {"cleanup.policy": "compact"}), TopicSpec(topics.metrics, 1, {})]


@pytest.fixture
def pipeline(kafka: Settings, unique: str) -> Pipeline:
    made = small_pipeline(unique)
    ensure_topics(kafka, specs(made))
    return made


@pytest.fixture
def watcher(kafka: Settings, pipeline: Pipeline) -> Iterator[ModelWatcher]:
    with ModelWatcher(kafka, pipeline) as watcher:
        yield watcher


def model(pipeline: Pipeline, number: int, *, parent: int | None = None, secret: bytes | None = None) -> list[Output]:
    trained, manifest = small_model(ModelSchema.of(pipeline), seed=number, version=version(number))
    up = None if parent is None else version(parent)
    described = msgspec.structs.replace(manifest, parent=up, created_at=number)
    return publish(described, trained.text, topic=pipeline.topics.models, secret=secret)


def version(number: int) -> str:
    return f"v{number:06d}-00000000"


@pytest.fixture(scope="module")
def producer(kafka: Settings) -> Producer:
    return ready(kafka)


def ready(kafka: Settings) -> Producer:
    producer = Producer(producer_config(kafka, transactional_id=f"models-{uuid.uuid4().hex[:8]}"))
    producer.init_transactions(60)
    return producer


def produce(settings: Settings, producer: Producer, outputs: Sequence[Output], *, commit: bool = True) -> None:
    producer.begin_transaction()
    for output in outputs:
        producer.produce(output.topic, output.value, output.key, headers=list(output.headers))
    if commit:
        producer.commit_transaction(60)
        for topic in {output.topic for output in outputs}:
            wait_settled(settings, topic)
    else:
        producer.flush(20)


def in_force(watcher: ModelWatcher) -> str | None:
    current = watcher.current()
    return None if current is None else current.version


def spoiled(outputs: list[Output]) -> list[Output]:
    return [outputs[0]._replace(value=(outputs[0].value or b"")[:-20]), *outputs[1:]]


def test_a_watcher_that_is_closed_leaves_no_client_that_looks_for_kafka_later(
    kafka: Settings, pipeline: Pipeline, producer: Producer
) -> None:
    produce(kafka, producer, model(pipeline, 1))
    with ModelWatcher(kafka, pipeline) as watcher:
        watcher.wait_ready()
        asks, tells = watcher._admin, watcher._producer
        assert asks is not None
        assert tells is not None
        wait_until(lambda: read_all(kafka, pipeline.topics.metrics), "nobody was told which model is in force")
    assert (watcher._admin, watcher._producer) == (None, None)
    with pytest.raises(RuntimeError):
        tells.poll(0)


def test_there_is_no_model_before_the_first_champion(watcher: ModelWatcher) -> None:
    assert watcher.wait_ready() is None
    assert watcher.current() is None


def test_a_champion_is_swapped_in_a_corrupt_one_is_not_and_the_next_good_one_is(
    kafka: Settings, pipeline: Pipeline, watcher: ModelWatcher, producer: Producer
) -> None:
    watcher.wait_ready()
    produce(kafka, producer, model(pipeline, 1))
    wait_until(lambda: in_force(watcher) == version(1), "the first champion is not in force")
    first = watcher.current()
    assert first is not None
    data = rows(20, seed=9)[0]
    before = first.probabilities(data)

    produce(kafka, producer, spoiled(model(pipeline, 2, parent=1)))
    wait_until(lambda: version(2) in watcher.refused, "the corrupt champion was not refused")
    assert watcher.current() is first
    np.testing.assert_array_equal(first.probabilities(data), before)
    assert "decompress" in watcher.refused[version(2)]

    produce(kafka, producer, model(pipeline, 3, parent=1))
    wait_until(lambda: in_force(watcher) == version(3), "the good champion is not in force")

    def told() -> list[tuple[str, str, object, object]]:
        metrics = [decode(Metric, message.value()) for message in read_all(kafka, pipeline.topics.metrics)]
        return [(each.name, each.model, each.detail["flow"], each.detail.get("refused")) for each in metrics]

    expected = [
        ("model_in_force", version(1), "stream", None),
        ("model_refused", version(1), "stream", version(2)),
        ("model_in_force", version(3), "stream", None),
    ]
    wait_until(lambda: told() == expected, lambda: f"{told()}")


def test_champions_in_quick_succession_are_checked_by_one_helper_which_ends_when_none_comes(
    kafka: Settings, pipeline: Pipeline, watcher: ModelWatcher, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    helpers = []
    for number in (1, 2):
        produce(kafka, producer, model(pipeline, number, parent=number - 1 or None))
        wanted = version(number)
        wait_until(lambda: in_force(watcher) == wanted, f"{wanted} is not in force")  # noqa: B023 - called at once
        helpers.append(watcher._sandbox._process)
    assert helpers[0] is not None
    assert helpers[0] is helpers[1]
    monkeypatch.setattr("tidemark.registry.follower._HELPER_KEPT", 0.0)
    wait_until(lambda: watcher._sandbox._process is None, "the helper was kept")
    ended = helpers[0]
    wait_until(lambda: ended.poll() is not None, "the helper goes on")


def test_a_process_that_starts_finds_its_champion_before_it_predicts(
    kafka: Settings, pipeline: Pipeline, producer: Producer
) -> None:
    produce(kafka, producer, [*model(pipeline, 1), *model(pipeline, 2, parent=1)])
    with ModelWatcher(kafka, pipeline) as watcher:
        found = watcher.wait_ready()
    assert found is not None
    assert found.version == version(2)
    assert found.probabilities(rows(3)[0]).shape == (3, 2)


def test_a_process_that_starts_on_a_corrupt_champion_takes_the_one_before(
    kafka: Settings, pipeline: Pipeline, producer: Producer
) -> None:
    produce(kafka, producer, [*model(pipeline, 1), *spoiled(model(pipeline, 2, parent=1))])
    with ModelWatcher(kafka, pipeline) as watcher:
        found = watcher.wait_ready()
        assert found is not None
        assert found.version == version(1)
        assert list(watcher.refused) == [version(2)]


def test_a_model_that_is_not_committed_is_not_seen(
    kafka: Settings, pipeline: Pipeline, watcher: ModelWatcher, producer: Producer
) -> None:
    produce(kafka, producer, model(pipeline, 1))
    wait_until(lambda: in_force(watcher) == version(1), "the first champion is not in force")
    produce(kafka, producer, model(pipeline, 2, parent=1), commit=False)
    with ModelWatcher(kafka, pipeline) as another:
        found = another.wait_ready()
    assert found is not None
    assert found.version == version(1)
    producer.abort_transaction(20)
    produce(kafka, producer, model(pipeline, 3, parent=1))
    wait_until(lambda: in_force(watcher) == version(3), "the champion after the aborted one is not in force")
    assert watcher.refused == {}


def test_a_rubbish_record_is_reported_and_passed_over(
    kafka: Settings, pipeline: Pipeline, watcher: ModelWatcher, producer: Producer
) -> None:
    topic = pipeline.topics.models
    produce(
        kafka,
        producer,
        [Output(topic, b"rubbish", b"champion"), Output(topic, b"\xff", b"\xff"), Output(topic, b"x", b"no version!")],
    )
    produce(kafka, producer, model(pipeline, 1))
    wait_until(lambda: in_force(watcher) == version(1), "the champion is not in force")
    assert len(watcher.refused) == 3


def test_with_a_key_only_signed_models_are_served(kafka: Settings, pipeline: Pipeline, producer: Producer) -> None:
    with ModelWatcher(kafka, pipeline, secret=SECRET) as watcher:
        watcher.wait_ready()
        produce(kafka, producer, model(pipeline, 1, secret=SECRET))
        wait_until(lambda: in_force(watcher) == version(1), "the signed champion is not in force")
        produce(kafka, producer, model(pipeline, 2, parent=1))
        wait_until(lambda: len(watcher.refused) == 2, "the unsigned manifest and champion were not refused")
        assert in_force(watcher) == version(1)


def test_an_old_signed_record_and_unsigned_tombstones_move_no_reader_back(
    kafka: Settings, pipeline: Pipeline, producer: Producer
) -> None:
    topic, old = pipeline.topics.models, model(pipeline, 1, secret=SECRET)
    new = model(pipeline, 2, parent=1, secret=SECRET)
    with ModelWatcher(kafka, pipeline, secret=SECRET) as watcher:
        watcher.wait_ready()
        produce(kafka, producer, [*old, *new])
        wait_until(lambda: in_force(watcher) == version(2), "the second champion is not in force")
        produce(kafka, producer, [old[-1], *(Output(topic, None, output.key) for output in new)])
        wait_until(lambda: len(watcher.refused) == 4, lambda: f"not refused: {watcher.refused}")
        assert in_force(watcher) == version(2)
        with ModelWatcher(kafka, pipeline, secret=SECRET) as later:
            found = later.wait_ready()
        assert found is not None
        assert found.version == version(2)


def test_a_topic_that_is_created_later_or_again_is_followed(kafka: Settings, unique: str, producer: Producer) -> None:
    pipeline = small_pipeline(unique)
    with ModelWatcher(kafka, pipeline) as watcher:
        with pytest.raises(BrokerError, match=r"not read to its end within 0.3 s"):
            watcher.wait_ready(0.3)
        ensure_topics(kafka, specs(pipeline))
        assert watcher.wait_ready() is None
        produce(kafka, producer, model(pipeline, 1))
        wait_until(lambda: in_force(watcher) == version(1), "the champion of the new topic is not in force")

        client = admin(kafka)
        client.delete_topics([pipeline.topics.models])[pipeline.topics.models].result(60)
        wait_until(
            lambda: pipeline.topics.models not in client.list_topics(timeout=10).topics,
            "the topic is still there",
        )
        assert in_force(watcher) == version(1)
        ensure_topics(kafka, specs(pipeline))
        produce(kafka, producer, model(pipeline, 7))
        wait_until(lambda: in_force(watcher) == version(7), "the champion of the re-created topic is not in force")


def test_the_registry_read_from_the_topic_is_what_was_published(
    kafka: Settings, pipeline: Pipeline, producer: Producer
) -> None:
    produce(kafka, producer, [Output(pipeline.topics.models, b"rubbish", b"no version!"), *model(pipeline, 1)])
    registry = read_registry(kafka, pipeline.topics.models)
    assert registry.candidates() == [version(1)]
    assert registry.text(version(1)) == small_model(ModelSchema.of(pipeline), seed=1)[0].text


def test_a_closed_watcher_keeps_its_model(kafka: Settings, pipeline: Pipeline, producer: Producer) -> None:
    produce(kafka, producer, model(pipeline, 1))
    with ModelWatcher(kafka, pipeline) as watcher:
        watcher.wait_ready()
    assert in_force(watcher) == version(1)


def test_a_restarted_broker_changes_nothing(unique: str, tmp_path: Path) -> None:
    pipeline = small_pipeline(unique)
    with EmbeddedKafka(tmp_path, settings=Settings()) as first:
        settings = Settings().at(first.bootstrap_servers)
        ensure_topics(settings, specs(pipeline))
        produce(settings, ready(settings), model(pipeline, 1))
        watcher = ModelWatcher(settings, pipeline).start()
        found = watcher.wait_ready()
        assert found is not None
    try:
        with EmbeddedKafka(tmp_path, settings=Settings()) as second:
            assert second.bootstrap_servers == settings.bootstrap_servers
            assert watcher.current() is found
            produce(settings, ready(settings), model(pipeline, 2, parent=1))
            wait_until(
                lambda: in_force(watcher) == version(2),
                lambda: f"the champion after the restart is not in force; refused: {watcher.refused}",
                timeout=60,
            )
    finally:
        watcher.close()


def test_a_thread_that_ended_by_a_bug_is_an_error_for_whoever_predicts(
    kafka: Settings, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda given: raised.append(given.exc_value))
    watcher = ModelWatcher(kafka, pipeline)
    monkeypatch.setattr(watcher, "_follow_incarnation", lambda: 1 / 0)
    with watcher:
        with pytest.raises(BrokerError, match="a bug ended the thread"):
            watcher.wait_ready()
        wait_until(lambda: raised, "the bug was not raised")


def test_kafka_that_refuses_us_is_an_error_for_whoever_predicts(kafka: Settings, pipeline: Pipeline) -> None:
    wrong = kafka.model_copy(update={"kafka": {"no.such.property": "1"}})
    with ModelWatcher(wrong, pipeline) as watcher, pytest.raises(ConfigError, match=r"no\.such\.property"):
        watcher.wait_ready()

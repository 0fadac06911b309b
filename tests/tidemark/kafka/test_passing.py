"""A question is asked again while brokers change their roles, and no longer than it was given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from feeding import feeder
from models import small_pipeline

from dataflows.engine.offset_reset import Group
from dataflows.engine.response_size import DEFAULT, response_size
from tidemark.cli.sampling import sample
from tidemark.kafka import admin, consumer_config, ensure_topics, read_all, topic_incarnation
from tidemark.kafka.existing import existing_topics
from tidemark.kafka.passing import PASSING, SLOW, asked_until, topic_metadata
from tidemark.observe import Observer
from tidemark.pipeline import Pipeline
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings
from tidemark.training.recomputing import Recomputer


def failing(codes: Iterator[int]) -> str:
    """Fails with each code once, then answers."""
    code = next(codes, None)
    if code is not None:
        raise KafkaException(KafkaError(code))
    return "answer"


def test_what_passes_is_asked_again_until_it_is_answered() -> None:
    codes = iter(PASSING)
    assert asked_until(time.monotonic() + 60, lambda: failing(codes)) == "answer"


def test_what_does_not_pass_is_raised_at_once() -> None:
    codes = iter([KafkaError.GROUP_AUTHORIZATION_FAILED])
    with pytest.raises(KafkaException, match="authori"):
        asked_until(time.monotonic() + 60, lambda: failing(codes))
    assert next(codes, None) is None


def test_what_has_not_passed_at_the_deadline_is_raised() -> None:
    codes = iter([KafkaError.NOT_COORDINATOR] * 2)
    with pytest.raises(KafkaException):
        asked_until(time.monotonic() - 1, lambda: failing(codes))
    assert next(codes) == KafkaError.NOT_COORDINATOR


ASKED = ["list_offsets", "describe_topics", "describe_configs", "create_topics", "describe_consumer_groups"]


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Brokers that change their roles: the first answer to each kind of question is an error that passes."""
    first: list[str] = []

    def failed(name: str, answer: Callable[..., dict[Any, Future[Any]]]) -> Callable[..., dict[Any, Future[Any]]]:
        def ask(self: AdminClient, *arguments: Any, **named: Any) -> dict[Any, Future[Any]]:  # noqa: ANN401 as the client has them
            if name in first:
                return answer(self, *arguments, **named)
            first.append(name)
            futures: dict[Any, Future[Any]] = {}
            for asked in arguments[0].topic_names if name == "describe_topics" else arguments[0]:
                future: Future[Any] = Future()
                future.set_exception(KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)))
                futures[asked.topic if name == "create_topics" else asked] = future
            return futures

        return ask

    for name in ASKED:
        monkeypatch.setattr(AdminClient, name, failed(name, getattr(AdminClient, name)))
    return first


@pytest.mark.parametrize("code", sorted(SLOW))
def test_a_broker_that_is_slow_is_asked_again_by_those_who_have_time_alone(code: int) -> None:
    codes = iter([code, code])
    assert asked_until(time.monotonic() + 60, lambda: failing(codes), PASSING | SLOW) == "answer"
    codes = iter([code])
    with pytest.raises(KafkaException):
        asked_until(time.monotonic() + 60, lambda: failing(codes))


def with_rows(kafka: Settings, topic: str) -> Pipeline:
    pipeline = small_pipeline(topic)
    ensure_topics(kafka, [TopicSpec(topic, 1, {}), TopicSpec(pipeline.topics.label_features, 1, {})])
    producer = feeder(kafka)
    producer.produce(topic, b"{}")
    assert producer.flush(60) == 0
    return pipeline


def test_whatever_is_asked_is_asked_again_while_brokers_change_their_roles(
    kafka: Settings, unique: str, changing: list[str]
) -> None:
    pipeline = with_rows(kafka, unique)
    assert "create_topics" in changing

    def asks(*names: str) -> None:
        assert set(names) <= set(changing), "the question was another one"
        changing.clear()

    changing.clear()
    assert len(read_all(kafka, unique)) == 1
    asks("list_offsets")
    assert len(topic_incarnation(kafka, unique)) == 8
    asks("describe_topics")
    assert set(existing_topics(kafka, [unique])) == {unique}
    asks("describe_configs")
    ensure_topics(kafka, [TopicSpec(f"{unique}.large", 1, {"max.message.bytes": "300000000"})])
    asks("create_topics")
    assert response_size(admin(kafka), [f"{unique}.large"], kafka) > DEFAULT
    asks("describe_configs")
    assert [place.end for place in Group(kafka, unique).places([unique])] == [1]
    asks("list_offsets", "describe_topics")
    assert Recomputer(pipeline, kafka).stored() == {}
    asks("list_offsets")


def test_a_flow_that_runs_is_not_told_to_stand_while_its_coordinator_changes(
    kafka: Settings, unique: str, changing: list[str]
) -> None:
    pipeline = with_rows(kafka, unique)
    observer = Observer(pipeline, kafka)
    group = f"{pipeline.name}.select"
    member = Consumer(consumer_config(kafka, group=group, auto_offset_reset="earliest"))
    try:
        member.subscribe([unique])
        assert member.poll(30) is not None
        changing.clear()
        flows = {flow.name: flow.members for flow in observer.look().flows}
        assert "describe_consumer_groups" in changing
    finally:
        member.close()
        observer.close()
    assert flows["select"] == 1


def test_a_topic_whose_leader_is_being_chosen_is_there() -> None:
    class Described:
        def __init__(self, code: int | None) -> None:
            self.error = None if code is None else KafkaError(code)

    codes: list[int | None] = [KafkaError.LEADER_NOT_AVAILABLE, None]

    class Choosing:
        def list_topics(self, topic: str, *, timeout: float) -> Any:  # noqa: ANN401 as little of the client's as is read
            assert timeout > 0
            return type("Listed", (), {"topics": {topic: Described(codes.pop(0))}})

    assert topic_metadata(Choosing(), "t", 30).error is None  # type: ignore[arg-type]


def test_a_topic_is_sampled_while_its_leader_changes(
    kafka: Settings, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rows(kafka, unique)
    codes = [KafkaError.NOT_LEADER_FOR_PARTITION]

    class Changing(AdminClient):
        def list_offsets(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 as the client has them
            if codes:
                raise KafkaException(KafkaError(codes.pop()))
            return super().list_offsets(*arguments, **named)

    monkeypatch.setattr("tidemark.kafka.clients.AdminClient", Changing)
    found, partitions = sample(kafka, unique, 10)
    assert (len(found), partitions, codes) == (1, 1, [])

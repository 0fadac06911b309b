"""The use cases, each fed through another source than a topic: features are those of the topic, bit for bit."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from mqtt_brokers import MOSQUITTO, mqtt_broker
from sourcing import raw, running

from benchmarks.sources.feeds import Feed, FileFeed, HttpFeed, MqttFeed
from benchmarks.sources.use_cases import USE_CASES, case_of, differing, produce
from support import wait_until
from tidemark.runtime.settings import Settings
from tidemark.simulators import UseCase


@pytest.fixture
def feed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Feed]:
    with ExitStack() as stack:
        if request.param == "http":
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            made: Feed = HttpFeed(port)
        elif request.param == "mqtt":
            kind = "rumqttd" if MOSQUITTO is None else "mosquitto"
            made = MqttFeed(stack.enter_context(mqtt_broker(kind, tmp_path)))
        else:
            made = FileFeed(request.param, tmp_path / "in")
        stack.callback(made.close)
        yield made


@pytest.mark.parametrize(
    ("use_case", "feed"), list(zip(USE_CASES, ("mqtt", "http", "log", "folder"), strict=True)), indirect=["feed"]
)
def test_a_use_case_fed_through_a_source_has_the_features_that_it_has_through_a_topic(
    kafka: Settings, unique: str, tmp_path: Path, use_case: UseCase, feed: Feed
) -> None:
    case = case_of(use_case, feed, unique, 300)
    produce(kafka, case)
    with running(kafka, case.ours, tmp_path) as task:
        wait_until(
            lambda: task.error or getattr(task.source, "ready", task.task._incarnation), "the source does not open", 60
        )
        for begin in range(0, 300, 50):
            assert feed.send(case.rows[begin : begin + 50])
            feed.rotate()
        wait_until(lambda: task.task.counts.records >= 300, lambda: f"{task.task.counts} {task.error}", 60)
    theirs, ours = raw(kafka, case.theirs), raw(kafka, case.ours)
    assert sorted((m.partition(), m.key(), m.value()) for m in ours) == sorted(
        (m.partition(), m.key(), m.value()) for m in theirs
    )
    assert differing(case, theirs, ours) == 0

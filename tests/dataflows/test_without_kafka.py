"""Flows that find no Kafka say so once each, and leave the waiting to the supervisor."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Uuid
from confluent_kafka.admin import AdminClient

from dataflows.engine.topic_monitor import TopicWatch
from tidemark.errors import BrokerError
from tidemark.flows import FLOWS

FILE = Path(__file__).parents[2] / "pipelines" / "fraud.toml"


def test_each_flow_says_in_one_line_that_kafka_does_not_answer(tmp_path: Path) -> None:
    own = {"TIDEMARK_HOME": str(tmp_path), "TIDEMARK_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-P", "-m", "dataflows.run", name, str(FILE)],
            env=os.environ | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in FLOWS.own
    }
    try:
        for name, process in processes.items():
            lines = process.communicate(timeout=120)[0].splitlines()
            assert process.returncode == 1, lines
            assert len(lines) == 1, (name, lines)
            assert "Kafka at 127.0.0.1:1 does not answer" in lines[0]
            assert "tidemark broker up" in lines[0]
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


class Silent:
    """A client whose Kafka never answers."""

    def describe_topics(self, _topics: object, **_: object) -> dict[str, Silent]:
        return dict.fromkeys(("p.labels", "p.outcomes"), self)

    def result(self) -> object:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


class Answering:
    """An administration client whose Kafka answers until it is cut off."""

    def __init__(self) -> None:
        self.is_cut_off = False

    def describe_topics(self, topics: object, request_timeout: float) -> dict[str, Future[object]]:  # noqa: ARG002
        told: Future[object] = Future()
        if self.is_cut_off:
            told.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        else:
            told.set_result(SimpleNamespace(topic_id=Uuid(1, 2), partitions=[None]))
        return {"p.raw": told}


def test_a_kafka_that_is_silent_is_told_by_how_long_it_has_been_so() -> None:
    now, kafka = [0.0], Answering()
    watch = TopicWatch(
        cast("AdminClient", kafka), ("p.raw",), fixed={}, interval=5.0, patience=60.0, clock=lambda: now[0]
    )
    assert watch.unheard(0.0) == math.inf
    watch.start()
    for _ in range(200):
        now[0] += 0.5
        watch.look()
        assert watch.unheard(now[0]) == 0.0
    kafka.is_cut_off, told = True, []
    for _ in range(100):
        now[0] += 0.5
        watch.look()
        told.append(watch.unheard(now[0]))
    assert 45 < told[-1] <= 60
    assert sum(each == 0.0 for each in told) <= 40
    kafka.is_cut_off = False
    for _ in range(20):
        now[0] += 0.5
        watch.look()
    assert watch.unheard(now[0]) == 0.0


@pytest.fixture
def clock() -> Callable[[], float]:
    """A second later each time that it is looked at."""
    seconds = iter(range(10_000))
    return lambda: float(next(seconds))


def test_topics_that_can_not_be_looked_at_are_told_once_however_long_it_takes(
    clock: Callable[[], float], caplog: pytest.LogCaptureFixture
) -> None:
    silent = cast("AdminClient", Silent())
    watch = TopicWatch(silent, ("p.labels", "p.outcomes"), fixed={}, interval=1.0, patience=60.0, clock=clock)
    with caplog.at_level("INFO"), pytest.raises(BrokerError, match="has not described topic"):
        watch.start()
    assert [record.getMessage() for record in caplog.records] == [
        "topic p.labels can't be looked at yet: Local: Timed out; asking again"
    ]

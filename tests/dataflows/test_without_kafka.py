"""Flows that find no Kafka say so once each, and leave the waiting to the supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException
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

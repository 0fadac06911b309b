"""`tidemark broker` as a person runs it: each command in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import wait_until
from tidemark.broker import broker_status
from tidemark.kafka import connect
from tidemark.runtime.settings import Settings

COMMAND = [sys.executable, "-c", "from tidemark.cli import main; main()", "broker"]


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings.from_environment({"TIDEMARK_HOME": str(tmp_path)})


def environment(home: Settings, **more: str) -> dict[str, str]:
    return {**os.environ, "TIDEMARK_HOME": str(home.state_dir), "COLUMNS": "200", **more}


def broker(home: Settings, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(home, **more), capture_output=True, text=True, check=False, timeout=90
    )


def test_up_leaves_a_broker_that_status_shows_and_down_stops(home: Settings) -> None:
    up = broker(home, "up")
    try:
        assert up.returncode == 0, up.stderr
        found = re.search(r"TIDEMARK_BOOTSTRAP_SERVERS=(\S+)", up.stdout)
        assert found is not None, up.stdout
        connect(home.at(found[1]))
        shown = broker(home, "status")
        assert shown.returncode == 0
        assert f"TIDEMARK_BOOTSTRAP_SERVERS={found[1]}" in shown.stdout
        second = broker(home, "up")
        assert second.returncode == 1
        assert "is running detached" in second.stderr
        assert "tidemark broker down" in second.stderr
    finally:
        down = broker(home, "down")

    assert "stopped (1 node(s))" in down.stdout
    assert not broker_status(home).running
    assert broker(home, "down").stdout.strip() == "no embedded Kafka is running"
    assert broker(home, "status").returncode == 3


def test_in_the_foreground_it_stops_on_sigterm_and_down_says_whose_it_is(home: Settings) -> None:
    with subprocess.Popen([*COMMAND, "up", "--foreground"], env=environment(home), stdout=subprocess.PIPE) as process:
        try:
            wait_until(
                lambda: broker_status(home).running and home_answers(home),
                lambda: f"the broker did not come up: status {process.poll()}, {broker_status(home)}",
                timeout=60,
            )
            down = broker(home, "down")
            assert down.returncode == 1
            assert f"is run by process {process.pid}" in down.stderr
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()

    assert not broker_status(home).running


def home_answers(home: Settings) -> bool:
    connect(home.at(broker_status(home).bootstrap_servers), timeout=60)
    return True


def test_two_nodes_are_refused(home: Settings) -> None:
    done = broker(home, "up", "--nodes", "2")

    assert done.returncode == 2
    assert "a cluster has 1 node or 3" in done.stderr


def test_where_another_kafka_is_named_nothing_is_started(home: Settings) -> None:
    up = broker(home, "up", TIDEMARK_BOOTSTRAP_SERVERS="kafka.example:9092")

    assert up.returncode == 0
    assert "kafka.example:9092): nothing is started" in up.stdout
    assert not (home.state_dir / "kafka").exists()

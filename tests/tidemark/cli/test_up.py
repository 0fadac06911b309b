"""`tidemark up` runs a whole pipeline, and `tidemark status` tells how it does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer

from labeling_grpc.client import LabelingClient
from support import wait_until
from tidemark.broker import resolve_bootstrap
from tidemark.cli.up import processes
from tidemark.errors import TidemarkError
from tidemark.kafka import producer_config, read_all
from tidemark.pipeline import load
from tidemark.records import Label, decode
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings
from tidemark.simulators import simulate

FILE = Path(__file__).parents[3] / "pipelines" / "fraud.toml"
PROGRAM = "from tidemark.cli import main; main()"
TOPICS = Topics("fraud")


class Up:
    """`tidemark up` with its own Kafka, in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.log, self.file = home, home / "up.log", home / "fraud.toml"
        self.file.write_bytes(FILE.read_bytes())
        self.environment = {**os.environ, "TIDEMARK_HOME": str(home), "COLUMNS": "200"}
        self.environment.pop("TIDEMARK_BOOTSTRAP_SERVERS", None)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "up", str(self.file)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        """What it has printed."""
        return self.log.read_text()

    def settings(self) -> Settings:
        """Settings that name its Kafka."""
        settings = Settings.from_environment({"TIDEMARK_HOME": str(self.home)})
        return settings.at(resolve_bootstrap(settings))

    def run(self, command: str) -> tuple[int, str]:
        """Exit status of a command on its file, and what that prints."""
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, command, str(self.file)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def status(self) -> str:
        """What `tidemark status` prints."""
        return self.run("status")[1]

    def pid_of(self, name: str) -> int:
        """The process that was started last under a name."""
        return int(re.findall(rf"{name} started, process (\d+)", self.printed)[-1])

    def family(self) -> list[psutil.Process]:
        """Its process and all that come of it."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """`tidemark up` that has just been started."""
    started = Up(tmp_path)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            for process in reversed(started.family()):
                process.kill()
        started.process.wait(60)


def _feed(settings: Settings, rows: int) -> None:
    events = simulate("fraud", 1, rows).events
    producer = Producer(producer_config(settings))
    pipeline = load(FILE)
    for key, value in zip(events[pipeline.keys[0]], events.write_ndjson().encode().splitlines(), strict=True):
        producer.produce(pipeline.raw_topics[0], value, str(key).encode())
    assert producer.flush(60) == 0


def _flows(shown: str) -> dict[str, int]:
    """Processes of each flow, as shown."""
    return {
        name: int(count) for name, count in re.findall(r"^(stream|select|retrain|monitor) +(\d+)", shown, re.MULTILINE)
    }


@pytest.mark.timeout(300)
def test_a_pipeline_that_is_up_asks_and_learns_of_answers_restarts_what_dies_and_stops_cleanly(up: Up) -> None:
    """One command and a producer are all it takes."""
    running = {"stream": 1, "select": 1, "retrain": 1, "monitor": 1}
    wait_until(lambda: "Ctrl-C stops it" in up.printed, lambda: up.printed, 60)
    settings = up.settings()
    wait_until(lambda: _flows(up.status()) == running, lambda: f"{up.status()}\n{up.printed}", 90, 0.5)
    assert "there is no model yet" in up.status()
    _feed(settings, 6_000)

    wait_until(lambda: read_all(settings, TOPICS.candidates), lambda: f"{up.status()}\n{up.printed}", 60, 0.5)
    with LabelingClient.of("fraud", "ada", settings) as client:
        tasks = client.lease(3, wait=20)
        assert tasks
        for task in tasks:
            client.submit(task, "legitimate", known_at=task.time)
    wait_until(lambda: len(read_all(settings, TOPICS.labels)) == len(tasks), "the labels are not in Kafka", 30, 0.2)
    labels = [decode(Label, message.value()) for message in read_all(settings, TOPICS.labels)]
    assert {label.event_id for label in labels} == {task.event_id for task in tasks}

    def budget_is_shown() -> bool:
        return re.search(r"^budget\S* +[\d,.]+", up.status(), re.MULTILINE) is not None

    wait_until(budget_is_shown, lambda: f"{up.status()}\n{up.printed}", 40, 0.5)

    killed = up.pid_of("stream")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: "stream ended with" in up.printed, lambda: up.printed)
    wait_until(lambda: up.pid_of("stream") != killed, lambda: up.printed)
    predicted = len(read_all(settings, TOPICS.predictions))
    _feed(settings, 100)
    wait_until(lambda: len(read_all(settings, TOPICS.predictions)) >= predicted + 100, up.status, 60, 0.5)

    text = up.file.read_text()
    before = up.pid_of("stream")
    assert up.run("reload") == (0, "fraud runs by this file already\n")
    up.file.write_text(text.replace("[selection]", "[selections]"))
    code, shown = up.run("reload")
    assert (code, up.pid_of("stream")) == (1, before)
    assert "selections" in shown
    up.file.write_text(f'{text}\n[[derived]]\nname = "of_an_edit"\nsql = "terminal_count_1d + 1"\n')
    wait_until(lambda: "tidemark reload" in up.printed, lambda: up.printed)
    code, shown = up.run("reload")
    assert code == 0, shown + up.printed
    assert "of_an_edit" in shown, "it does not say what the edit costs"
    assert shown.endswith("as it is now\n")
    wait_until(lambda: up.pid_of("stream") != before, lambda: up.printed)
    predicted = len(read_all(settings, TOPICS.predictions))
    _feed(settings, 100)
    wait_until(lambda: len(read_all(settings, TOPICS.predictions)) >= predicted + 100, up.status, 60, 0.5)

    family = up.family()
    os.killpg(up.process.pid, signal.SIGINT)
    assert up.process.wait(30) == 0, up.printed
    assert [process for process in family if process.is_running()] == []
    with pytest.raises(TidemarkError):
        up.settings()
    assert "Traceback" not in up.printed


def test_each_source_of_a_pipeline_has_a_process_of_its_own(tmp_path: Path) -> None:
    settings = Settings.from_environment({"TIDEMARK_HOME": str(tmp_path)}).at("kafka:9092")
    specs = {spec.name: spec for spec in processes(FILE, settings, sources=["web", "sensors"])}
    assert specs["source-web"].module == "dataflows.sources"
    assert specs["source-web"].arguments == (str(FILE), "web")
    assert "source-sensors" in specs


def test_the_bridge_to_label_studio_is_a_process_of_its_own_where_the_file_declares_it() -> None:
    settings = Settings().at("127.0.0.1:9092")
    with_one = {spec.name: spec for spec in processes(FILE, settings, label_studio=True)}
    assert with_one["label-studio"].module == "labeling_grpc.label_studio"
    assert with_one["label-studio"].arguments == (str(FILE),)
    assert "label-studio" not in {spec.name for spec in processes(FILE, settings)}

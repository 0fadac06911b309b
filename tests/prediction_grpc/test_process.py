"""A `stream` process answers by its own windows, on a real Kafka: as it then predicts, and after it was killed."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from feeding import feeder
from models import published
from streaming import CLASSES, MINUTES, PIPELINE, SECOND_KEY, purchases

from prediction_grpc.client import NotAnsweredError, Predicted, PredictionClient
from support import wait_until
from tidemark.cli.up import prepare
from tidemark.kafka import read_all
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Answered, Prediction, decode
from tidemark.records.event_id import parse_event_id
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.settings import Settings

pytestmark = pytest.mark.timeout(420)  # several starts of a process, each with its waits
ROOT: Final = Path(__file__).parents[2]
ROWS: Final = purchases(5, 120)
ASK: Final = """
[ask]
address = "127.0.0.1:0"

[deduplicate]
key = "id"
within = "1h"
"""


class Process:
    """A `stream` process, and what it says."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += iter(self.process.stderr.readline, "")

    @property
    def told(self) -> str:
        return "".join(self.lines)

    @property
    def address(self) -> str | None:
        found = re.search(r"answers Predict and Features at (\S+)", self.told)
        return None if found is None else found[1]

    def client(self) -> PredictionClient:
        wait_until(
            lambda: self.address is not None or self.process.poll() is not None, lambda: f"no address: {self.told}", 120
        )
        assert self.address is not None, self.told
        return PredictionClient(self.address, timeout=20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


class World:
    """A pipeline with a model on a real Kafka, and processes of its stream flow."""

    def __init__(self, kafka: Settings, name: str, folder: Path, *, number: bool = False) -> None:
        text = PIPELINE.format(keys=json.dumps(["who", "place"]), second=SECOND_KEY)
        text = text.replace('name = "shop"', f'name = "{name}"\nfeatures_topic = true', 1).replace(
            "shop.raw", f"{name}.raw"
        )
        if number:
            assert CLASSES in text
            text = text.replace(CLASSES, MINUTES)
        self.file = folder / "shop.toml"
        self.file.write_text(text + ASK)
        self.pipeline: Pipeline = parse(text + ASK, str(self.file))
        self.kafka, self.folder = kafka, folder
        self.processes: list[Process] = []
        prepare(self.pipeline, kafka)
        for output in published(ModelSchema.of(self.pipeline), self.pipeline.topics.models):
            feeder(kafka).produce(output.topic, output.value, output.key, headers=list(output.headers))
        assert feeder(kafka).flush(60) == 0

    def send(self, rows: list[dict[str, object]]) -> None:
        for row in rows:
            feeder(self.kafka).produce(f"{self.pipeline.name}.raw", json.dumps(row).encode(), str(row["who"]).encode())
        assert feeder(self.kafka).flush(60) == 0

    def start(self, *command: str) -> Process:
        environment = {
            "TIDEMARK_HOME": str(self.folder / f"home{len(self.processes)}"),
            "TIDEMARK_BOOTSTRAP_SERVERS": str(self.kafka.bootstrap_servers),
            "TIDEMARK_PIPELINE": str(self.file),
        }
        run = command or ("-m", "dataflows.run", "stream", str(self.file))
        self.processes.append(Process([sys.executable, "-P", *run], environment))
        return self.processes[-1]

    def features(self) -> dict[str, dict[str, float]]:
        """Features that are not missing of each event, as the stream scored it."""
        found: dict[str, dict[str, float]] = {}
        for message in read_all(self.kafka, self.pipeline.topics.features, settled=True):
            for row in pl.read_ipc_stream(message.value() or b"").to_dicts():
                assert row["event_id"] not in found, "an event is scored twice"
                names = self.pipeline.feature_names
                found[row["event_id"]] = {name: row[name] for name in names if not math.isnan(row[name])}
        return found

    def predictions(self) -> dict[str, Prediction]:
        messages = read_all(self.kafka, self.pipeline.topics.predictions, settled=True)
        found = [decode(Prediction, message.value()) for message in messages]
        assert len({each.event_id for each in found}) == len(found), "an event is predicted twice"
        return {each.event_id: each for each in found}

    def answered(self) -> dict[str, Answered]:
        messages = read_all(self.kafka, self.pipeline.topics.answered)
        return {each.event_id: each for each in (decode(Answered, message.value()) for message in messages)}


@pytest.fixture
def world(kafka: Settings, unique: str, tmp_path: Path) -> Iterator[World]:
    made = World(kafka, unique, tmp_path)
    yield made
    for process in made.processes:
        process.kill()


@pytest.fixture
def of_numbers(kafka: Settings, unique: str, tmp_path: Path) -> Iterator[World]:
    made = World(kafka, unique, tmp_path, number=True)
    yield made
    for process in made.processes:
        process.kill()


def not_now(error: NotAnsweredError) -> bool:
    """Nothing is there yet; another refusal is an error."""
    if error.code != "UNAVAILABLE":
        raise error
    return False


def told(client: PredictionClient, row: dict[str, object]) -> Predicted:
    """A prediction, once the windows are there."""
    answers: list[Predicted] = []

    def answers_now() -> bool:
        try:
            answers.append(client.predict(row, with_features=True))
        except NotAnsweredError as error:
            return not_now(error)
        return True

    wait_until(answers_now, "nobody is answered", 120)
    return answers[0]


def probabilities_of(world: World, answer: Predicted) -> list[float]:
    """In the order of the classes."""
    return [answer.probabilities[name] for name in world.pipeline.label.classes]


def caught_up(world: World, n: int) -> Callable[[], bool]:
    return lambda: len(world.predictions()) == n


TWO_WORKERS: Final = """
import runpy, sys
from tidemark.runtime.logs import log_to_stderr

log_to_stderr()
sys.argv = ["bytewax.run", "-w", "2", "dataflows.stream:flow"]
runpy.run_module("bytewax.run", run_name="__main__")
"""
"""Bytewax's own command tells no address, for it shows no log."""


@pytest.mark.parametrize("command", [(), ("-c", TWO_WORKERS)], ids=["one worker", "two workers"])
def test_an_answer_is_what_the_stream_then_predicts_of_the_event(command: tuple[str, ...], world: World) -> None:
    world.send(ROWS[:90])
    with world.start(*command).client() as client:
        wait_until(caught_up(world, 90), lambda: f"the stream does not go on: {world.processes[0].told}", 120)
        answers = []
        for number, row in enumerate(ROWS[90:98]):
            answers.append(told(client, row))
            wait_until(caught_up(world, 91 + number), "the event is not predicted", 60)
        again = client.predict(ROWS[95])
    assert (again.known, again.event_id) == (True, "")
    features, predictions = world.features(), world.predictions()
    for answer in answers:
        assert answer.features == features[answer.event_id]
        prediction = predictions[answer.event_id]
        assert probabilities_of(world, answer) == prediction.probabilities
        assert (answer.model, answer.uncertainty, answer.late) == (
            prediction.model,
            prediction.uncertainty,
            prediction.late,
        )
    wait_until(lambda: len(world.answered()) == len(answers), "what was answered is not told")
    for answer in answers:
        record = world.answered()[answer.event_id]
        assert record.probabilities == probabilities_of(world, answer)
        assert record.at >= predictions[answer.event_id].time
        assert {topic for topic, _, _ in record.windows} == {
            f"{world.pipeline.name}.raw",
            world.pipeline.topics.hop("place"),
        }


def test_a_number_is_told_with_its_interval_as_the_stream_then_predicts_it(of_numbers: World) -> None:
    of_numbers.send(ROWS[:40])
    with of_numbers.start().client() as client:
        told(client, ROWS[40])
        wait_until(caught_up(of_numbers, 41), lambda: of_numbers.processes[0].told, 120)
        answers = []
        for number, row in enumerate(ROWS[41:45]):
            answers.append(told(client, row))
            wait_until(caught_up(of_numbers, 42 + number), "the event is not predicted", 60)
    predictions = of_numbers.predictions()
    wait_until(lambda: len(of_numbers.answered()) == 5, "what was answered is not told")
    records = of_numbers.answered()
    for answer in answers:
        estimate, prediction, record = answer.estimate, predictions[answer.event_id], records[answer.event_id]
        assert estimate is not None
        assert (answer.probabilities, record.probabilities, estimate.unit) == ({}, None, "min")
        numbers = (estimate.value, estimate.low, estimate.high)
        assert numbers == (prediction.value, prediction.low, prediction.high) == (record.value, record.low, record.high)
        assert -10 <= estimate.low < estimate.high <= 10
        assert answer.model == prediction.model
        assert answer.uncertainty == prediction.uncertainty


def test_what_was_answered_is_recorded_and_predicted_once_though_the_process_is_killed_while_it_is_asked(
    world: World,
) -> None:
    world.send(ROWS[:60])
    first = world.start()
    answered: list[str] = []
    with first.client() as client:
        wait_until(caught_up(world, 60), "the stream does not go on", 120)

        def ask() -> None:
            for row in ROWS[60:110]:
                try:
                    answered.append(client.predict(row).event_id)
                except NotAnsweredError:
                    return

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: len(answered) >= 10, "nobody is answered", 60)
        first.kill()
        asking.join()
    sent = read_all(world.kafka, f"{world.pipeline.name}.raw")
    second = world.start()
    with second.client() as client:
        last = told(client, ROWS[110])
        n = len(sent) + 1
        wait_until(caught_up(world, n), lambda: f"{len(world.predictions())} of {n} predicted: {second.told}", 120)
    predictions = world.predictions()
    assert [event for event in [*answered, last.event_id] if event not in predictions] == []
    positions = {(message.partition(), message.offset()) for message in sent}
    for event in answered:
        place = parse_event_id(event)
        assert (place.partition, place.offset) in positions
    assert set(world.answered()) <= set(predictions)


def test_a_process_that_has_not_all_partitions_answers_nobody(world: World) -> None:
    world.send(ROWS[:30])
    with world.start().client() as client:
        told(client, ROWS[30])
        other = world.start()
        with other.client() as second:

            def divided() -> bool:
                refused = []
                for each in (client, second):
                    try:
                        each.features(ROWS[31])
                    except NotAnsweredError as error:
                        not_now(error)
                        refused.append(str(error))
                return len(refused) == 2 and all("another stream process keeps them" in each for each in refused)

            wait_until(divided, "the partitions are not divided", 120)
            other.kill()
            told(client, ROWS[32])

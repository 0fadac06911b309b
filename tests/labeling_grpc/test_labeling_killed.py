from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer
from labeling import PIPELINE, candidate

from labeling_grpc.client import Annotation, LabelingClient, Submitted, UnreachableError
from labeling_grpc.options import find
from support import wait_until
from tidemark.errors import LabelingError
from tidemark.kafka import ensure_topics, producer_config, read_all
from tidemark.records import Label, decode, encode
from tidemark.settings import Settings
from tidemark.topics import Topics, TopicSpec

NUMBER = 600
KILLS = 4
SEED = 20


class Service:
    """The real process, as `tidemark up` runs it."""

    def __init__(self, file: Path, settings: Settings, log: Path) -> None:
        self.name = file.stem
        self.settings = settings
        self.command = [sys.executable, "-m", "labeling_grpc", str(file)]
        self.log = log.open("ab")
        self.process = self.started()

    def started(self) -> subprocess.Popen[bytes]:
        environment = os.environ | self.settings.environment()
        return subprocess.Popen(self.command, env=environment, stdout=self.log, stderr=self.log)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.process = self.started()

    def serving(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        try:
            find(self.settings, self.name)
        except LabelingError:
            return False
        return True

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.log.close()


class Annotators:
    """Threads that answer, remember what was acknowledged, and try again what was not."""

    def __init__(self, name: str, settings: Settings, number: int) -> None:
        self.acknowledged: Counter[str] = Counter()
        self.answers: dict[str, str] = {}
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.failures: list[BaseException] = []
        self.threads = [
            threading.Thread(target=self.work, args=(name, f"annotator-{i}", settings, SEED + i)) for i in range(number)
        ]
        for thread in self.threads:
            thread.start()

    def count(self) -> int:
        with self.lock:
            return len(self.acknowledged)

    def wait_for(self, number: int) -> None:
        wait_until(lambda: self.count() >= number, lambda: f"{self.count()} answers, not {number}", 60, 0.002)

    def work(self, name: str, annotator: str, settings: Settings, seed: int) -> None:
        choices = random.Random(seed)
        try:
            with LabelingClient.of(name, annotator, settings, patience=60) as client:
                while not self.done.is_set():
                    tasks = client.lease(choices.choice([1, 3, 8]), wait=0.5, lease=5.0)
                    answers = [Annotation(task, choices.choice(task.classes)) for task in tasks]
                    self.submit(client, answers)
        except BaseException as error:
            self.failures.append(error)
            raise

    def submit(self, client: LabelingClient, answers: list[Annotation]) -> None:
        if not answers:
            return
        for answer, outcome in zip(answers, client.submit_many(answers), strict=True):
            if isinstance(outcome, Submitted):
                with self.lock:
                    self.acknowledged[outcome.annotation_id] += 1
                    self.answers[outcome.annotation_id] = f"{answer.task.event_id} {answer.label}"

    def stop(self) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join(70)


@pytest.mark.timeout(150)
def test_each_acknowledged_label_is_published_once_though_the_service_is_killed(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    settings = kafka.model_copy(update={"state_dir": tmp_path / "state"})
    topics = Topics(unique)
    ensure_topics(kafka, [TopicSpec(name, 1, {}) for name in (topics.candidates, topics.labels, topics.deadletter)])
    file = tmp_path / f"{unique}.toml"
    file.write_text(PIPELINE.replace("NAME", unique))
    producer = Producer(producer_config(settings))
    for number in range(NUMBER):
        producer.produce(topics.candidates, encode(candidate(number, explore=number % 5 == 0, priority=number / 7)))
    assert producer.flush(10) == 0

    service = Service(file, settings, tmp_path / "service.log")
    annotators = None
    moments = sorted(random.Random(SEED).sample(range(20, NUMBER - 50), KILLS))
    try:
        wait_until(service.serving, "the service does not start", 60)
        annotators = Annotators(unique, settings, 4)
        for moment in moments:
            annotators.wait_for(moment)
            service.kill()
        with LabelingClient.of(unique, "watcher", settings, patience=60) as client:
            wait_until(
                lambda: (stats := client.stats()).answered == NUMBER and stats.unpublished == 0,
                lambda: f"not all answered and published: {client.stats()}",
                60,
                0.2,
            )
        annotators.stop()
        assert annotators.failures == []
    finally:
        if annotators is not None:
            annotators.stop()
        status = service.stop()
    assert status == 0, (tmp_path / "service.log").read_text()

    messages = read_all(settings, topics.labels)
    labels = [decode(Label, message.value()) for message in messages]
    published = Counter(label.annotation_id for label in labels)
    assert set(annotators.acknowledged) <= set(published)
    twice = [
        (message.offset(), message.headers())
        for message, label in zip(messages, labels, strict=True)
        if published[label.annotation_id] > 1
    ]
    assert not twice, f"{len(messages)} records, twice: {twice}; {(tmp_path / 'service.log').read_text()}"
    assert Counter(label.event_id for label in labels) == Counter(candidate(i).event_id for i in range(NUMBER))
    texts = {label.annotation_id: f"{label.event_id} {label.label}" for label in labels}
    assert {key: texts[key] for key in annotators.answers} == annotators.answers


def test_a_wrong_pipeline_file_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    done = subprocess.run(
        [sys.executable, "-m", "labeling_grpc", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"labeling: {file}: there is no such file")
    assert "Traceback" not in done.stderr


def test_a_client_whose_service_is_gone_gives_up_after_its_patience(tmp_path: Path) -> None:
    folder = tmp_path / "pipelines" / "p"
    folder.mkdir(parents=True)
    (folder / "labeling.json").write_text('{"address": "127.0.0.1:9"}')
    with (
        LabelingClient.of("p", "ada", Settings(state_dir=tmp_path), patience=0.3) as client,
        pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9 does not answer"),
    ):
        client.stats()

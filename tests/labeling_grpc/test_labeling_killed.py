from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from feeding import feeder
from labeling import PIPELINE, candidate
from offsets import read_settled

from benchmarks.loop.annotators import Annotators, Answer
from benchmarks.support.flow_process import FlowProcess
from benchmarks.support.postgres import PostgresServer
from labeling_grpc.client import LabelingClient, UnreachableError
from labeling_grpc.options import find
from support import wait_until
from tidemark.errors import LabelingError
from tidemark.kafka import ensure_topics
from tidemark.records import Label, decode, encode
from tidemark.records.topics import Topics, TopicSpec
from tidemark.runtime.settings import Settings

NUMBER = 600
KILLS = 4
SEED = 20


def serving(service: FlowProcess, settings: Settings, name: str) -> bool:
    assert service.runs, service.output
    try:
        find(settings, name)
    except LabelingError:
        return False
    return True


def elected(service: FlowProcess) -> bool:
    return "this replica speaks with Kafka" in service.output


def wait_for(annotators: Annotators, number: int) -> None:
    count = annotators.count
    wait_until(lambda: count() >= number, lambda: f"{count()} answers, not {number}", 60, 0.002)


@pytest.fixture
def asked(kafka: Settings, unique: str, tmp_path: Path) -> Path:
    """A pipeline's file, whose topics hold `NUMBER` candidates."""
    topics = Topics(unique)
    ensure_topics(kafka, [TopicSpec(name, 1, {}) for name in (topics.candidates, topics.labels, topics.deadletter)])
    producer = feeder(kafka)
    for number in range(NUMBER):
        producer.produce(topics.candidates, encode(candidate(number, explore=number % 5 == 0, priority=number / 7)))
    assert producer.flush(60) == 0
    file = tmp_path / f"{unique}.toml"
    file.write_text(PIPELINE.replace("NAME", unique))
    return file


def all_published(pipeline: str, settings: Settings) -> None:
    with LabelingClient.of(pipeline, "watcher", settings, patience=60) as client:
        wait_until(
            lambda: (stats := client.stats()).answered == NUMBER and stats.unpublished == 0,
            lambda: f"not all answered and published: {client.stats()}",
            60,
            0.2,
        )


def each_is_there_once(settings: Settings, topics: Topics, acknowledged: dict[str, Answer], output: str) -> None:
    messages = read_settled(settings, topics.labels)
    labels = [decode(Label, message.value()) for message in messages]
    published = Counter(label.annotation_id for label in labels)
    assert set(acknowledged) <= set(published)
    twice = [
        (message.offset(), message.headers())
        for message, label in zip(messages, labels, strict=True)
        if published[label.annotation_id] > 1
    ]
    assert not twice, f"{len(messages)} records, twice: {twice}; {output}"
    assert Counter(label.event_id for label in labels) == Counter(candidate(i).event_id for i in range(NUMBER))
    said = {label.annotation_id: Answer(label.event_id, label.label) for label in labels}
    assert {key: said[key] for key in acknowledged} == acknowledged


@pytest.mark.timeout(150)
def test_each_acknowledged_label_is_published_once_though_the_service_is_killed(
    kafka: Settings, unique: str, tmp_path: Path, asked: Path
) -> None:
    settings = kafka.model_copy(update={"state_dir": tmp_path / "state"})
    service = FlowProcess(settings, "service", "labeling_grpc", str(asked), log=tmp_path / "service.log")
    annotators = None
    moments = sorted(random.Random(SEED).sample(range(20, NUMBER - 50), KILLS))
    with service:
        try:
            wait_until(lambda: serving(service, settings, unique), "the service does not start", 60)
            annotators = Annotators(unique, settings, 4, lambda task, rng: rng.choice(task.classes), seed=SEED)
            for moment in moments:
                wait_for(annotators, moment)
                service.kill()
                service.start()
            all_published(unique, settings)
        finally:
            if annotators is not None:
                annotators.stop()
        assert annotators.failures == []
        assert service.terminate() == 0, service.output
    each_is_there_once(settings, Topics(unique), annotators.acknowledged, service.output)


@pytest.mark.timeout(150)
def test_replicas_publish_each_acknowledged_label_once_though_one_after_the_other_is_killed(
    kafka: Settings, unique: str, tmp_path: Path, asked: Path, postgres: PostgresServer
) -> None:
    settings = [kafka.model_copy(update={"state_dir": tmp_path / f"state{index}"}) for index in range(2)]
    services = [
        FlowProcess(
            own,
            f"replica{index}",
            "labeling_grpc",
            str(asked),
            log=tmp_path / f"replica{index}.log",
            TIDEMARK_LABELING_DATABASE=postgres.url,
        )
        for index, own in enumerate(settings)
    ]
    crowds: list[Annotators] = []
    moments = sorted(random.Random(SEED).sample(range(20, NUMBER - 150), 2))
    with services[0], services[1]:
        try:
            for service, own in zip(services, settings, strict=True):
                wait_until(partial(serving, service, own, unique), "a replica does not start", 60)
            crowds = [
                Annotators(unique, own, 2, lambda task, rng: rng.choice(task.classes), seed=SEED + 10 * index)
                for index, own in enumerate(settings)
            ]
            for number, moment in enumerate(moments):
                wait_until(lambda: sum(crowd.count() for crowd in crowds) >= moment, "no answers", 60, 0.002)  # noqa: B023
                killed, other = services[number % 2], services[1 - number % 2]
                killed.kill()
                wait_until(partial(elected, other), "nobody is elected in the place of the one that was killed")
                killed.start()
            all_published(unique, settings[0])
        finally:
            for crowd in crowds:
                crowd.stop()
        assert [crowd.failures for crowd in crowds] == [[], []]
        output = "\n".join(service.output for service in services)
        assert [service.terminate() for service in services] == [0, 0], output
    assert all(elected(service) for service in services)
    acknowledged = crowds[0].acknowledged | crowds[1].acknowledged
    each_is_there_once(settings[0], Topics(unique), acknowledged, output)


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

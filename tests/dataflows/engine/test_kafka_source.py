"""A topic of another Kafka as a source. It is the same node here, which the source does not know."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from models import pipeline_text
from sourcing import Running, headers, pipeline_of, raw, running, toml

from support import wait_until
from tidemark import kafka as clients
from tidemark.errors import ConfigError
from tidemark.kafka import admin, ensure_topics
from tidemark.pipeline import Pipeline
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings


def _produce(settings: Settings, topic: str, values: list[bytes], **more: Any) -> None:  # noqa: ANN401
    producer = clients.producer(settings)
    for number, value in enumerate(values):
        producer.produce(topic, value, b"k%d" % (number % 7), **more)
    assert producer.flush(60) == 0


def _pipeline(settings: Settings, unique: str, partitions: int = 3, **spec: Any) -> Pipeline:  # noqa: ANN401
    ensure_topics(settings, [TopicSpec(f"{unique}.theirs", partitions, {})])
    options = {"bootstrap": settings.bootstrap_servers or "", "topics": [f"{unique}.theirs"], **spec.pop("options", {})}
    return pipeline_of("kafka", options, unique, **spec)


def _rows(begin: int, end: int) -> list[bytes]:
    return [json.dumps({"key": f"k{n % 7}", "n": n}).encode() for n in range(begin, end)]


def _numbers(settings: Settings, pipeline: Pipeline) -> list[int]:
    return sorted(int(json.loads(message.value() or b"")["n"]) for message in raw(settings, pipeline))


def _came(settings: Settings, pipeline: Pipeline, task: Running, count: int) -> None:
    def enough() -> bool:
        assert task.error is None, task.error
        return len(raw(settings, pipeline)) >= count

    wait_until(enough, "records are missing", 60, poll=0.3)


def test_records_come_once_in_the_order_of_their_keys_whatever_is_started_anew(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    pipeline = _pipeline(kafka, unique)
    _produce(kafka, f"{unique}.theirs", _rows(0, 500))
    with running(kafka, pipeline, tmp_path) as task:
        _came(kafka, pipeline, task, 500)
    _produce(kafka, f"{unique}.theirs", _rows(500, 700))
    with running(kafka, pipeline, tmp_path) as task:
        _came(kafka, pipeline, task, 700)
    assert _numbers(kafka, pipeline) == list(range(700))
    by_key: dict[bytes, list[int]] = {}
    for message in raw(kafka, pipeline):
        by_key.setdefault(message.key() or b"", []).append(json.loads(message.value() or b"")["n"])
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert (headers(raw(kafka, pipeline)[0])["tidemark-position"] or b"").startswith(f"{unique}.theirs[".encode())


def test_key_headers_and_timestamp_may_be_columns(kafka: Settings, unique: str, tmp_path: Path) -> None:
    columns = {"key": "key", "a": "header.level", "time": "timestamp"}
    pipeline = _pipeline(kafka, unique, 1, columns=columns)
    sent = {"headers": [("level", b"1.5"), ("other", b"\xff")], "timestamp": 1_750_000_000_123}
    _produce(kafka, f"{unique}.theirs", [b'{"b": 1}', b"{broken", b""], **sent)
    with running(kafka, pipeline, tmp_path) as task:
        _came(kafka, pipeline, task, 3)
    values = {message.value() for message in raw(kafka, pipeline)}
    assert values == {
        b'{"key":"k0","a":1.5,"time":"2025-06-15T15:06:40.123+00:00","b": 1}',
        b"{broken",
        b"",
    }


def test_a_partition_that_comes_later_and_a_topic_that_is_made_anew_are_read(
    kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from confluent_kafka.admin import NewPartitions  # noqa: PLC0415 only here

    monkeypatch.setattr("tidemark.sources.kinds.kafka._LOOK_SECONDS", 0.5)
    pipeline = _pipeline(kafka, unique, 1, options={"start": "latest"})
    theirs = f"{unique}.theirs"
    client = admin(kafka)
    with running(kafka, pipeline, tmp_path) as task:
        wait_until(lambda: task.error or task.source._consumer, "it does not start", 60)
        wait_until(lambda: _sent(kafka, theirs, task), "nothing comes", 60, poll=0.3)
        client.create_partitions([NewPartitions(theirs, 2)])[theirs].result(60)
        wait_until(lambda: (theirs, 1) in task.source._next, "the partition is not noticed")
        before = len(raw(kafka, pipeline))
        _produce(kafka, theirs, [b'{"n": 1}'], partition=1)
        _came(kafka, pipeline, task, before + 1)
    client.delete_topics([theirs])[theirs].result(60)
    wait_until(lambda: theirs not in client.list_topics(timeout=10).topics, "it is not deleted")
    ensure_topics(kafka, [TopicSpec(theirs, 1, {})])
    _produce(kafka, theirs, [b'{"n": 2}'])
    with running(kafka, pipeline, tmp_path) as task:
        _came(kafka, pipeline, task, before + 2)


def _sent(settings: Settings, topic: str, task: Running) -> bool:
    assert task.error is None
    _produce(settings, topic, [b'{"n": 0}'])
    return task.task.counts.records > 0


def test_records_that_are_gone_stop_the_source_unless_a_gap_is_accepted(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    from confluent_kafka import TopicPartition  # noqa: PLC0415 only here

    pipeline = _pipeline(kafka, unique, 1)
    theirs = f"{unique}.theirs"
    _produce(kafka, theirs, _rows(0, 10))
    with running(kafka, pipeline, tmp_path) as task:
        _came(kafka, pipeline, task, 10)
    _produce(kafka, theirs, _rows(10, 20))
    place = TopicPartition(theirs, 0, 15)
    client = admin(kafka)
    client.delete_records([place])[place].result(60)
    stopped = Running(kafka, pipeline, tmp_path)
    wait_until(lambda: stopped.error, "it goes on", 60)
    with pytest.raises(ConfigError, match=r'no longer has the records from offset 10 on.*gap = "skip"'):
        stopped.stop()
    accepting = _pipeline(kafka, unique, 1, options={"gap": "skip"})
    with running(kafka, accepting, tmp_path) as task:
        _came(kafka, pipeline, task, 15)
    assert _numbers(kafka, pipeline) == [*range(10), *range(15, 20)]


def test_a_topic_that_is_not_there_is_told_in_a_sentence(kafka: Settings, unique: str, tmp_path: Path) -> None:
    options = {"bootstrap": kafka.bootstrap_servers or "", "topics": [f"{unique}.none"]}
    task = Running(kafka, pipeline_of("kafka", options, unique), tmp_path)
    wait_until(lambda: task.error, "it goes on", 60)
    with pytest.raises(ConfigError, match=rf"source 's': .*{unique}.none"):
        task.stop()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"settings": {"sasl.password": "x"}}, "sasl.password is a secret; name a file in secret_files"),
        ({"settings": {"ssl.key.pem": "x"}}, "is a secret"),
        ({"settings": {"isolation.level": "read_uncommitted"}}, "is Tidemark's own"),
        ({"secret_files": {"sasl.password": "a"}, "secret_envs": {"sasl.password": "b"}}, "is given twice"),
    ],
)
def test_options_that_are_wrong_are_told_by_check(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        pipeline_of("kafka", {"bootstrap": "b:9092", "topics": ["t"], **options})


@pytest.mark.timeout(170)
def test_no_record_is_lost_or_doubled_when_the_process_is_killed(kafka: Settings, unique: str, tmp_path: Path) -> None:
    """Killed at seeded moments while it reads."""
    pipeline = _pipeline(kafka, unique)
    ensure_topics(kafka, [TopicSpec(pipeline.raw_topics[0], 2, {}), TopicSpec(pipeline.topics.deadletter, 1, {})])
    source = pipeline.sources[0]
    extra = f'[[sources]]\nname = "s"\nkind = "kafka"\noptions = {toml(source.options)}\n'
    file = tmp_path / "p.toml"
    file.write_text(pipeline_text(unique, extra=extra))
    environment = {**os.environ, **kafka.model_copy(update={"state_dir": tmp_path / "home"}).environment()}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "dataflows.sources", str(file), "s"], env=environment)

    chance = random.Random(3)
    process = start()
    total = 0
    try:
        for _ in range(2):
            _produce(kafka, f"{unique}.theirs", _rows(total, total + 8_000))
            total += 8_000
            _begins(kafka, pipeline, total - 8_000)
            time.sleep(chance.uniform(0, 0.2))  # the moment is what is tried
            process.send_signal(signal.SIGKILL)
            process.wait(60)
            process = start()
        wait_until(lambda: len(raw(kafka, pipeline)) >= total, "records are missing", 60, poll=0.5)
    finally:
        process.terminate()
        process.wait(60)
    assert _numbers(kafka, pipeline) == list(range(total))


def _begins(settings: Settings, pipeline: Pipeline, before: int) -> None:
    wait_until(lambda: len(raw(settings, pipeline)) > before, "it does not read", 60, poll=0.05)


def test_where_the_latest_is_stays_the_same_if_the_source_ends_before_it_has_read(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    pipeline = _pipeline(kafka, unique, 2, options={"start": "latest"})
    _produce(kafka, f"{unique}.theirs", _rows(0, 20))
    with running(kafka, pipeline, tmp_path) as task:
        wait_until(lambda: task.error or task.source._known, "the end is not committed", 60)
    _produce(kafka, f"{unique}.theirs", _rows(20, 40))
    with running(kafka, pipeline, tmp_path) as task:
        _came(kafka, pipeline, task, 20)
    assert _numbers(kafka, pipeline) == list(range(20, 40))

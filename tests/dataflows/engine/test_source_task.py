from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from models import pipeline_text
from sourcing import Running, headers, pipeline_of, raw, running, values

from dataflows.engine import source_task
from dataflows.engine.transactional_producer import TransactionFailed, Transactions
from support import wait_until
from tidemark.errors import BrokerError, ConfigError
from tidemark.kafka import ensure_topics, read_all
from tidemark.observe.sources import Sources
from tidemark.observe.status_record import SourceStatus
from tidemark.pipeline.declared import declared
from tidemark.records import Metric, decode
from tidemark.records.source_telling import Telling
from tidemark.records.topics import TopicSpec
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings
from tidemark.sources.kinds.log import LogSource
from tidemark.sources.source import SourceRecord

ROW = {"key": "k", "time": "2025-01-01T00:00:00Z", "a": 1, "b": 2, "c": 3}


def post(port: int, rows: list[dict[str, object]] | bytes) -> int:
    body = rows if isinstance(rows, bytes) else b"\n".join(json.dumps(row).encode() for row in rows)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/events", body, {"Content-Type": "application/x-ndjson"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def _port(task: Running) -> int:
    wait_until(lambda: task.error or task.source.port, "the source does not listen", 60)
    port: int = task.source.port
    return port


def test_what_is_answered_202_is_in_the_topic_with_its_key_and_its_origin(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    pipeline = pipeline_of("http", {"address": "127.0.0.1:0"}, unique)
    with running(kafka, pipeline, tmp_path) as task:
        assert post(_port(task), [{**ROW, "key": f"k{i}"} for i in range(50)]) == 202
        found = raw(kafka, pipeline)
    assert [message.key() for message in sorted(found, key=lambda m: int((m.key() or b"k")[1:]))] == [
        f"k{i}".encode() for i in range(50)
    ]
    assert {message.key(): json.loads(message.value() or b"")["key"].encode() for message in found} == {
        message.key(): message.key() for message in found
    }
    assert {headers(message)["tidemark-source"] for message in found} == {b"s"}
    assert sorted(int((headers(m)["tidemark-position"] or b"").split(b"/")[1]) for m in found) == list(range(50))


def test_a_source_tells_how_much_it_brought_and_that_it_ends_and_status_knows(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    pipeline = pipeline_of("http", {"address": "127.0.0.1:0"}, unique)

    def told() -> list[Metric]:
        found = read_all(kafka, pipeline.topics.metrics, settled=True)
        return [decode(Metric, message.value()) for message in found]

    def known() -> SourceStatus:
        sources = Sources({"s": "http"})
        for metric in told():
            sources.take(metric)
        return sources.found(time.time())[0]

    with running(kafka, pipeline, tmp_path) as task:
        port = _port(task)
        wait_until(told, "a source that nothing sends to does not tell that it runs")
        assert (known().processes, known().records) == (1, 0)
        assert post(port, [ROW] * 50) == 202
    last = told()[-1]
    assert (last.n, last.detail["refused"], last.detail["runs"]) == (50, 0, 0)
    assert (known().processes, known().at) == (0, last.at / 1e6)


def test_a_row_that_is_broken_is_in_the_topic_too_and_one_too_large_is_a_dead_letter(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    """The stream flow puts the first among the dead letters, as it does with a producer's."""
    pipeline = pipeline_of("http", {"address": "127.0.0.1:0"}, unique)
    with running(kafka, pipeline, tmp_path) as task:
        large = json.dumps({**ROW, "more": "x" * 1_200_000}).encode()
        assert post(_port(task), b"{broken\n" + json.dumps(ROW).encode() + b"\n" + large) == 202
        assert sorted(message.value() or b"" for message in raw(kafka, pipeline)) == [
            json.dumps(ROW).encode(),
            b"{broken",
        ]
        (letter,) = read_all(kafka, pipeline.topics.deadletter, settled=True)
        assert headers(letter)["step"] == b"source s"
        assert b"more than the 900,000" in (headers(letter)["reason"] or b"")
        assert headers(letter)["record.tidemark-source"] == b"s"
        assert task.task.counts.refused == 1


def test_columns_that_the_source_tells_are_in_the_record_and_numbers_are_numbers(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    columns = {"key": "subject", "a": "extension.level", "time": "time"}
    pipeline = pipeline_of("http", {"address": "127.0.0.1:0"}, unique, columns=columns)
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "x",
        "type": "t",
        "subject": 'm"7',
        "level": "1.50",
        "time": "2025-01-01T00:00:00Z",
        "data": {"b": 2},
    }
    with running(kafka, pipeline, tmp_path) as task:
        connection = http.client.HTTPConnection("127.0.0.1", _port(task), timeout=30)
        connection.request(
            "POST", "/events", json.dumps(event).encode(), {"Content-Type": "application/cloudevents+json"}
        )
        assert connection.getresponse().status == 202
        connection.close()
        (message,) = raw(kafka, pipeline)
    assert message.value() == b'{"key":"m\\"7","a":1.50,"time":"2025-01-01T00:00:00Z","b": 2}'
    assert message.key() == b'm"7'


def test_a_second_process_of_the_source_takes_a_slot_of_its_own(kafka: Settings, unique: str, tmp_path: Path) -> None:
    """Two behind a balancer are as good as one."""
    pipeline = pipeline_of("http", {"address": "127.0.0.1:0"}, unique)
    with running(kafka, pipeline, tmp_path) as one, running(kafka, pipeline, tmp_path) as other:
        assert post(_port(one), [ROW]) == post(_port(other), [ROW]) == 202
        assert len(raw(kafka, pipeline)) == 2


def test_a_row_that_the_topic_is_too_small_for_is_a_dead_letter_and_its_neighbours_are_not(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    pipeline = pipeline_of("http", {"address": "127.0.0.1:0"}, unique)
    ensure_topics(kafka, [TopicSpec(pipeline.raw_topics[0], 2, {"max.message.bytes": "20000"})])
    with running(kafka, pipeline, tmp_path) as task:
        noise = random.Random(1).randbytes(40_000).hex()  # which does not get smaller when it is compressed
        body = json.dumps({**ROW, "more": noise}).encode()
        assert post(_port(task), json.dumps(ROW).encode() + b"\n" + body) == 202
        assert [message.value() for message in raw(kafka, pipeline)] == [json.dumps(ROW).encode()]
        assert len(read_all(kafka, pipeline.topics.deadletter, settled=True)) == 1
        assert post(_port(task), [ROW]) == 202


@pytest.mark.timeout(170)
def test_nothing_that_was_acknowledged_is_lost_when_the_process_is_killed(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    """Killed at seeded moments; who posts sends again what was not acknowledged."""

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pipeline = pipeline_of("http", {"address": f"127.0.0.1:{port}"}, unique)
    ensure_topics(kafka, [TopicSpec(pipeline.raw_topics[0], 2, {})])
    file = tmp_path / "p.toml"
    file.write_text(_text(unique, port))
    environment = {**os.environ, **kafka.model_copy(update={"state_dir": tmp_path / "home"}).environment()}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "dataflows.sources", str(file), "s"], env=environment)

    acknowledged: set[int] = set()
    ended = threading.Event()

    def sender(first: int) -> None:
        number = first
        while not ended.is_set():
            try:
                if post(port, [{**ROW, "key": str(n)} for n in range(number, number + 20)]) == 202:
                    acknowledged.update(range(number, number + 20))
                    number += 20
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)

    process = start()
    senders = [threading.Thread(target=sender, args=(i * 1_000_000,)) for i in range(3)]
    for thread in senders:
        thread.start()
    chance = random.Random(20)
    try:
        for _ in range(2):
            _grows(acknowledged)
            time.sleep(chance.uniform(0, 0.4))  # the moment is what is tried
            process.send_signal(signal.SIGKILL)
            process.wait(60)
            process = start()
        _grows(acknowledged)
    finally:
        ended.set()
        for thread in senders:
            thread.join(40)
        process.terminate()
        process.wait(60)
    assert process.returncode == 0
    found = [int(str(row["key"])) for row in values(raw(kafka, pipeline)) if isinstance(row, dict)]
    assert acknowledged - set(found) == set()


def _grows(acknowledged: set[int]) -> None:
    before = len(acknowledged)
    wait_until(lambda: len(acknowledged) > before + 100, "nothing is acknowledged", 60)


def _text(name: str, port: int) -> str:
    extra = f'[[sources]]\nname = "s"\nkind = "http"\noptions = {{ address = "127.0.0.1:{port}" }}\n'
    return pipeline_text(name, extra=extra)


def test_a_source_whose_records_can_never_be_committed_ends_with_the_reason_though_it_can_begin(
    kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.ndjson"
    file.write_text(json.dumps(ROW) + "\n")
    pipeline = pipeline_of("log", {"paths": [str(file)]}, unique)

    class Refusing(Transactions):
        def send(self, outputs: Sequence[Output]) -> None:
            if any(each.topic == pipeline.raw_topics[0] for each in outputs):
                raise TransactionFailed("the topic takes nothing")
            super().send(outputs)

    read, empty = LogSource.read, [True]

    def read_now_and_then(source: LogSource, most: int, wait: float) -> Sequence[SourceRecord]:
        empty.append(not empty[-1])
        return [] if empty[-1] else read(source, most, wait)

    monkeypatch.setattr(source_task, "Transactions", Refusing)
    monkeypatch.setattr(LogSource, "read", read_now_and_then)
    monkeypatch.setattr(Telling, "due", lambda *_: True)  # so that a transaction without records comes in between
    with (
        pytest.raises(BrokerError, match="4 transactions in a row failed, the last because the topic takes nothing"),
        running(kafka, pipeline, tmp_path, most_failures=3) as task,
    ):
        wait_until(lambda: task.error, lambda: f"it goes on after {task.task.counts.failures} failures", 60)


def test_a_source_that_is_not_declared_is_told_with_the_names_that_are() -> None:
    pipeline = pipeline_of("http", {"address": "127.0.0.1:0"})
    with pytest.raises(ConfigError, match="has no source 'web'; known are s"):
        declared(pipeline, "source", pipeline.sources, "web")

"""One embedded node: its life, its lock, its ports, and what happens when someone dies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from run_kafka import RunKafka

from support import wait_until
from tidemark.broker import EmbeddedKafka, broker_dir, broker_status, kafka_for, resolve_bootstrap
from tidemark.broker.layout import HOST, settle_cluster, write_node_files
from tidemark.errors import BrokerError
from tidemark.kafka import connect, ensure_topics, producer_config, read_all
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

OWNER = """
import sys, time
from pathlib import Path
from tidemark.broker import EmbeddedKafka
kafka = EmbeddedKafka(Path(sys.argv[1]), heap_mb=256)
kafka.start()
print(kafka.bootstrap_servers, kafka.pids[1], flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings.from_environment({"TIDEMARK_HOME": str(tmp_path_factory.mktemp("home"))})


@contextlib.contextmanager
def owner_process(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Another Python that runs a node in `data_dir`: the process, the bootstrap servers, the JVM's process id."""
    with subprocess.Popen([sys.executable, "-c", OWNER, str(data_dir)], stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            servers, pid = owner.stdout.readline().split()
            yield owner, servers, int(pid)
        finally:
            owner.kill()


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def produce(settings: Settings, topic: str, value: bytes) -> None:
    errors: list[object] = []
    producer = Producer(producer_config(settings))
    producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(60) == 0
    assert errors == [None]


def values(settings: Settings, topic: str) -> list[bytes | None]:
    return [message.value() for message in read_all(settings, topic)]


def test_an_owner_that_is_killed_takes_its_node_along_and_its_stale_lock_is_explained_and_cleaned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with owner_process(tmp_path) as (owner, servers, jvm):
        before = Settings.from_environment({}).at(servers)
        ensure_topics(before, [TopicSpec("kept", 1, {})])
        produce(before, "kept", b"written before")
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        wait_until(lambda: not runs(jvm), "the node outlived its owner")

    with EmbeddedKafka(tmp_path, heap_mb=256) as kafka:
        assert f"stale: process {owner.pid}, which ran it, ended without stopping it" in caplog.text
        assert kafka.bootstrap_servers == servers
        assert values(Settings.from_environment({}).at(servers), "kept") == [b"written before"]
        kafka.kill()
        assert not kafka.running()
        with pytest.raises(BrokerError, match="node 1 is not running"):
            kafka.kill()
        kafka.start_node()
        with pytest.raises(BrokerError, match="node 1 runs already"):
            kafka.start_node()
        assert values(Settings.from_environment({}).at(servers), "kept") == [b"written before"]
        jvm = kafka.pids[1]
        assert any(area.path.endswith(".jsa") for area in psutil.Process(jvm).memory_maps()), "it has read all classes"
        os.kill(psutil.Process(jvm).ppid(), signal.SIGKILL)
        wait_until(lambda: not kafka.running(), "the node outlived its launcher, which nothing would stop any more")
        with pytest.raises(BrokerError, match=f"process {jvm}.* ended by itself; the end of .*server.log"):
            kafka.check()

    assert not (tmp_path / "running.json").exists()
    assert not runs(jvm)


def test_a_second_owner_is_refused_and_told_who_has_it(run_kafka: RunKafka, kafka: Settings) -> None:
    with pytest.raises(BrokerError, match=f"is run by process {run_kafka.owner} .*; stop that, or use another folder"):
        EmbeddedKafka(run_kafka.folder).start()

    assert connect(kafka).list_topics(timeout=30).brokers


def test_a_port_that_someone_else_took_is_explained(tmp_path: Path) -> None:
    port = settle_cluster(tmp_path, 1, "4.1.2").nodes[0].port
    with (
        socket.create_server((HOST, port)),
        pytest.raises(BrokerError, match=f"port {port}.* is in use by process {os.getpid()}.*--new-ports"),
    ):
        EmbeddedKafka(tmp_path).start()

    assert not (tmp_path / "running.json").exists()


def test_a_node_that_cannot_start_tells_what_its_log_says(tmp_path: Path) -> None:
    cluster = settle_cluster(tmp_path, 1, "4.1.2")
    log = write_node_files(tmp_path, cluster, cluster.nodes[0]) / "log"
    (log / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n", encoding="ascii")

    with pytest.raises(BrokerError, match=r"(?s)node 1 ended while starting; the end of .*server\.log.*node.id"):
        EmbeddedKafka(tmp_path).start()

    assert not (tmp_path / "running.json").exists()


def test_before_it_is_started_it_has_no_address(tmp_path: Path) -> None:
    kafka = EmbeddedKafka(tmp_path)

    with pytest.raises(BrokerError, match="has not been started"):
        _ = kafka.bootstrap_servers
    kafka.stop()


def test_where_settings_name_a_kafka_nothing_is_started(tmp_path: Path) -> None:
    settings = Settings.from_environment({"TIDEMARK_HOME": str(tmp_path)}).at("kafka.example:9092")

    with kafka_for(settings) as found:
        assert found == settings
    assert resolve_bootstrap(settings) == "kafka.example:9092"
    assert list(tmp_path.iterdir()) == []


def test_where_none_is_named_and_none_runs_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="no Kafka is running: start the embedded one"):
        resolve_bootstrap(Settings.from_environment({"TIDEMARK_HOME": str(tmp_path)}))


def test_one_is_started_where_none_runs_and_shared_where_one_does(settings: Settings) -> None:
    with kafka_for(settings) as first:
        (node,) = broker_status(settings).nodes
        assert broker_status(settings).owner == os.getpid()
        with kafka_for(settings) as second:
            assert second == first
        assert node.pid is not None
        assert runs(node.pid), "the inner block stopped what it did not start"
        assert first.bootstrap_servers == f"127.0.0.1:{node.port}"

    assert not runs(node.pid)
    assert not broker_status(settings).running
    assert (broker_dir(settings) / "cluster.json").exists()

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tidemark.broker.layout import (
    HOST,
    Cluster,
    Node,
    is_free,
    read_cluster,
    settle_cluster,
    write_node_files,
)
from tidemark.errors import BrokerError


def properties(folder: Path) -> dict[str, str]:
    lines = (folder / "server.properties").read_text(encoding="ascii").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_a_cluster_is_founded_once_and_keeps_its_identity_and_ports(tmp_path: Path) -> None:
    first = settle_cluster(tmp_path, None, "4.1.2")

    assert settle_cluster(tmp_path, None, "4.1.2") == first
    assert read_cluster(tmp_path) == first
    assert len(first.nodes) == 1


def test_new_ports_keep_the_identity(tmp_path: Path) -> None:
    first = settle_cluster(tmp_path, 3, "4.1.2")

    second = settle_cluster(tmp_path, None, "4.1.2", new_ports=True)

    assert second.cluster_id == first.cluster_id
    assert len(second.nodes) == 3
    assert second.nodes != first.nodes


def test_all_ports_differ_and_lie_below_those_of_outgoing_connections(tmp_path: Path) -> None:
    nodes = settle_cluster(tmp_path, 3, "4.1.2").nodes

    ports = [port for node in nodes for port in (node.port, node.controller_port)]
    assert len(set(ports)) == 6
    assert all(20_000 <= port < 32_000 for port in ports)


def test_a_folder_of_one_node_does_not_become_one_of_three(tmp_path: Path) -> None:
    settle_cluster(tmp_path, 1, "4.1.2")

    with pytest.raises(BrokerError, match=r"holds a cluster of 1 node\(s\), not 3; use another folder"):
        settle_cluster(tmp_path, 3, "4.1.2")


def test_a_folder_of_a_newer_kafka_is_refused_and_one_of_an_older_is_taken(tmp_path: Path) -> None:
    first = settle_cluster(tmp_path, 1, "4.3.1")
    with pytest.raises(BrokerError, match=r"Kafka 4\.3\.1 made, and Kafka 4\.1\.2 can't read it"):
        settle_cluster(tmp_path, 1, "4.1.2")
    assert settle_cluster(tmp_path, 1, "4.10.0") == first


def test_a_damaged_cluster_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"cluster_id": 1}', encoding="utf-8")

    with pytest.raises(BrokerError, match=r"cluster\.json is damaged"):
        read_cluster(tmp_path)


def test_a_node_that_is_not_there_is_refused() -> None:
    with pytest.raises(BrokerError, match=r"no node 2; this cluster has \[1\]"):
        Cluster("id", "4.1.2", (Node(1, 20_000, 20_001),)).node(2)


@pytest.mark.parametrize(("count", "replicas", "in_sync"), [(1, "1", "1"), (3, "3", "2")])
def test_every_topic_is_replicated_as_the_number_of_nodes_allows(
    tmp_path: Path, count: int, replicas: str, in_sync: str
) -> None:
    cluster = settle_cluster(tmp_path, 3 if count == 3 else 1, "4.1.2")

    found = properties(write_node_files(tmp_path, cluster, cluster.nodes[0]))

    assert {found[key] for key in found if key.endswith("replication.factor")} == {replicas}
    assert {found[key] for key in found if key.endswith(("min.isr", "min.insync.replicas"))} == {in_sync}
    assert found["controller.quorum.voters"].count("@") == count


def test_a_node_listens_on_the_loopback_address_alone(tmp_path: Path) -> None:
    cluster = settle_cluster(tmp_path, 1, "4.1.2")

    found = properties(write_node_files(tmp_path, cluster, cluster.nodes[0]))

    assert all(listener.split("://")[1].startswith("127.0.0.1:") for listener in found["listeners"].split(","))


def test_a_port_in_use_is_not_free() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)

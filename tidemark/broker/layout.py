"""What a cluster's data folder holds: identity, nodes and ports, and each node's Kafka configuration.

cluster.json          identity, nodes and ports; written once
running.json          who runs it now (see `running`)
node-N/log/           Kafka's own data
node-N/server.properties, server.log, jvm.out
"""

from __future__ import annotations

import base64
import os
import random
import socket
import uuid
from pathlib import Path
from typing import Final, Literal

import msgspec

from tidemark.errors import BrokerError
from tidemark.runtime.private_files import private_file, private_folder

NodeCount = Literal[1, 3]
HOST: Final = "127.0.0.1"

# Below the range from which systems take the local ports of outgoing connections (32768 on Linux), so that a
# remembered port is not lost to one of those between two starts.
_PORTS: Final = range(20_000, 32_000)


class Node(msgspec.Struct, frozen=True):
    """One Kafka process: broker and controller in one. Ports are on the loopback address."""

    id: int
    port: int
    controller_port: int


class Cluster(msgspec.Struct, frozen=True):
    """Identity of the cluster whose data is in a folder."""

    cluster_id: str
    kafka: str
    nodes: tuple[Node, ...]

    @property
    def bootstrap_servers(self) -> str:
        """Addresses for clients."""
        return ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def node(self, node_id: int) -> Node:
        """The node with this id.

        Raises:
            BrokerError: there is none.

        """
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise BrokerError(f"there is no node {node_id}; this cluster has {[node.id for node in self.nodes]}")


def read_cluster(data_dir: Path) -> Cluster | None:
    """The cluster whose data is in `data_dir`, None if there is none yet.

    Raises:
        BrokerError: `cluster.json` is damaged.

    """
    path = data_dir / "cluster.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Cluster)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise BrokerError(f"{path} is damaged ({error}); restore it, or remove {data_dir} with its data") from error


def settle_cluster(data_dir: Path, nodes: NodeCount | None, kafka: str, *, new_ports: bool = False) -> Cluster:
    """The cluster of `data_dir`, founded if there is none; with other ports if `new_ports`.

    nodes: None means as many as there are, or one.

    Raises:
        BrokerError: the folder's cluster has another number of nodes, or was made by a newer Kafka.

    """
    found = read_cluster(data_dir)
    if found is None:
        found = Cluster(_new_cluster_id(), kafka, _new_nodes(nodes or 1))
    elif _release(found.kafka) > _release(kafka):
        raise BrokerError(
            f"{data_dir} holds a cluster that Kafka {found.kafka} made, and Kafka {kafka} can't read it; use another "
            "folder (TIDEMARK_HOME), or remove this one with its data"
        )
    elif nodes is not None and nodes != len(found.nodes):
        raise BrokerError(
            f"{data_dir} holds a cluster of {len(found.nodes)} node(s), not {nodes}; use another folder "
            "(TIDEMARK_HOME), or remove this one with its data"
        )
    elif new_ports:
        found = msgspec.structs.replace(found, nodes=_new_nodes(len(found.nodes)))
    write_atomically(data_dir / "cluster.json", msgspec.json.format(msgspec.json.encode(found)))
    return found


def write_node_files(data_dir: Path, cluster: Cluster, node: Node) -> Path:
    """Write the node's configuration; returns its folder."""
    folder = node_dir(data_dir, node)
    private_folder(folder)
    private_folder(folder / "log")
    (folder / "server.properties").write_text(_properties(cluster, node), encoding="ascii")
    return folder


def node_dir(data_dir: Path, node: Node) -> Path:
    """Folder of a node."""
    return data_dir / f"node-{node.id}"


def is_formatted(folder: Path) -> bool:
    """Whether the node's storage has been formatted; Kafka writes this file last."""
    return (folder / "log" / "meta.properties").exists()


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path` at once: a reader sees the old content or the new."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    private_file(part).write_bytes(content)
    part.replace(path)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka does: TIME_WAIT is no clash
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    """Major and minor number: what is on disk changes with these alone."""
    return tuple(int(part) for part in version.split(".")[:2])


def _new_cluster_id() -> str:
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass  # Kafka refuses ids that look like an option
    return text


def _new_nodes(count: int) -> tuple[Node, ...]:
    candidates = random.SystemRandom().sample(_PORTS, len(_PORTS))
    free = (port for port in candidates if is_free(port))
    return tuple(Node(index + 1, next(free), next(free)) for index in range(count))


def _properties(cluster: Cluster, node: Node) -> str:
    replicas = len(cluster.nodes)
    in_sync = 2 if replicas > 1 else 1
    voters = ",".join(f"{n.id}@{HOST}:{n.controller_port}" for n in cluster.nodes)
    properties: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        # Relative to the node's folder, where its JVM runs: no path to escape, and the folder can be moved.
        "log.dirs": "log",
        # A misspelt topic is an error.
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        # The internal topics: as many partitions as one machine has use for, replicated as the others.
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # A flow's first member waits for nobody; dead members and transactions are noticed soon.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
        # A dead node's partitions move after 4 s, not 9.
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 4_000,
        # One machine: few threads, a small cleaner buffer (the default takes 128 MB at once).
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    return "".join(f"{key}={value}\n" for key, value in properties.items())

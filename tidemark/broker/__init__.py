"""The embedded Apache Kafka, and the choice between it and another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lazy_loader

from tidemark.broker.jars import kafka_version
from tidemark.broker.layout import NodeCount, read_cluster
from tidemark.broker.running import read_running, release_detached
from tidemark.errors import BrokerError
from tidemark.runtime.settings import Settings

if TYPE_CHECKING:
    from tidemark.broker.embedded import EmbeddedKafka as EmbeddedKafka

__all__ = [
    "BrokerStatus",
    "EmbeddedKafka",
    "NodeCount",
    "NodeStatus",
    "broker_dir",
    "broker_status",
    "kafka_for",
    "resolve_bootstrap",
    "stop_detached",
]

__getattr__, _, _ = lazy_loader.attach(__name__, submod_attrs={"embedded": ("EmbeddedKafka",)})
"""It brings a JVM and a Kafka client, which commands that only ask who runs need not wait for."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node of the embedded Kafka; `pid` is None while it doesn't run."""

    id: int
    port: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """The embedded Kafka of these settings. `owner`: the process it ends with, None if it is detached."""

    data_dir: Path
    kafka: str
    nodes: tuple[NodeStatus, ...]
    owner: int | None
    bootstrap_servers: str

    @property
    def running(self) -> bool:
        """Whether any node runs."""
        return any(node.pid is not None for node in self.nodes)


def broker_dir(settings: Settings) -> Path:
    """Data folder of the embedded Kafka."""
    return settings.state_dir / "kafka"


def broker_status(settings: Settings) -> BrokerStatus:
    """What is known of the embedded Kafka without asking it: from its folder and the processes that run."""
    folder = broker_dir(settings)
    cluster, held = read_cluster(folder), read_running(folder)
    alive = held.alive() if held is not None else {}
    owner = held.owner.pid if held is not None and held.owner is not None and held.owner.runs() else None
    if cluster is None:
        return BrokerStatus(folder, kafka_version(), (), owner, "")
    nodes = tuple(
        NodeStatus(node.id, node.port, alive[node.id].pid if node.id in alive else None) for node in cluster.nodes
    )
    return BrokerStatus(folder, cluster.kafka, nodes, owner, cluster.bootstrap_servers)


def stop_detached(settings: Settings) -> list[int]:
    """Stop the embedded Kafka that was started detached; returns the process ids of the nodes that were stopped.

    Raises:
        BrokerError: it belongs to a live process, which must stop it itself.

    """
    folder = broker_dir(settings)
    return release_detached(folder) if folder.exists() else []


def resolve_bootstrap(settings: Settings) -> str:
    """Addresses of the Kafka to use: the one that the settings name, else the embedded one that runs now.

    Starts nothing.

    Raises:
        BrokerError: none is named and none runs.

    """
    if settings.bootstrap_servers is not None:
        return settings.bootstrap_servers
    found = broker_status(settings)
    if not found.running:
        raise BrokerError(
            "no Kafka is running: start the embedded one with `tidemark broker up`, or name yours in "
            "TIDEMARK_BOOTSTRAP_SERVERS"
        )
    return found.bootstrap_servers


@contextmanager
def kafka_for(settings: Settings) -> Iterator[Settings]:
    """Settings that name a Kafka which runs: the named one, or the embedded one, started here if it doesn't run.

    What was started here is stopped at the end; what ran before is left running.

    Raises:
        BrokerError: the embedded Kafka can't be started.

    """
    try:
        found = resolve_bootstrap(settings)
    except BrokerError:
        from tidemark.broker.embedded import EmbeddedKafka as Embedded  # noqa: PLC0415 - a JVM's, and a Kafka client

        with Embedded(broker_dir(settings), settings=settings) as kafka:
            yield settings.at(kafka.bootstrap_servers)
    else:
        yield settings.at(found)

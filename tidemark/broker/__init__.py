"""The embedded Apache Kafka, and the choice between it and another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemark.broker.embedded import EmbeddedKafka
from tidemark.broker.layout import NodeCount, read_cluster
from tidemark.broker.running import read_running
from tidemark.errors import BrokerError
from tidemark.settings import Settings

__all__ = ["EmbeddedKafka", "NodeCount", "broker_dir", "kafka_for", "resolve_bootstrap"]


def broker_dir(settings: Settings) -> Path:
    """Data folder of the embedded Kafka."""
    return settings.state_dir / "kafka"


def resolve_bootstrap(settings: Settings) -> str:
    """Addresses of the Kafka to use: the one that the settings name, else the embedded one that runs now.

    Starts nothing.

    Raises:
        BrokerError: none is named and none runs.

    """
    if settings.bootstrap_servers is not None:
        return settings.bootstrap_servers
    folder = broker_dir(settings)
    cluster, running = read_cluster(folder), read_running(folder)
    if cluster is None or running is None or not running.alive():
        raise BrokerError(
            "no Kafka is running: start the embedded one with `tidemark broker up`, or name yours in "
            "TIDEMARK_BOOTSTRAP_SERVERS"
        )
    return cluster.bootstrap_servers


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
        with EmbeddedKafka(broker_dir(settings), settings=settings) as kafka:
            yield settings.at(kafka.bootstrap_servers)
    else:
        yield settings.at(found)

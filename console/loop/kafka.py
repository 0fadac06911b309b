"""The Kafka of a site: the one that its settings name, or the embedded one that runs by now."""

from __future__ import annotations

from tidemark.broker import resolve_bootstrap
from tidemark.runtime.settings import Settings


def kafka_settings(settings: Settings) -> Settings:
    """Settings that name a Kafka.

    Args:
        settings: of the installation.

    Returns:
        They, or with the embedded Kafka where they name none.

    Raises:
        BrokerError: none is named, and the embedded one does not run.

    """
    return settings if settings.bootstrap_servers is not None else settings.at(resolve_bootstrap(settings))

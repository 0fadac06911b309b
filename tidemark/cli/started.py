"""Commands that look at what a pipeline has written: refused with what to do where it has not run yet."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException

from tidemark.cli.console import connected
from tidemark.errors import BrokerError, TopicError
from tidemark.kafka import connect
from tidemark.kafka.clients import DOWN, unreachable
from tidemark.pipeline import Pipeline
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

_ASK: Final = 10.0


def started(pipeline: Pipeline, file: Path, topic: str) -> Settings:
    """Settings that name the Kafka on which a pipeline has its topics.

    Args:
        pipeline: whose topic is looked for.
        file: its file, for the error.
        topic: of the pipeline's own.

    Returns:
        The settings.

    Raises:
        TopicError: it is not there: the pipeline was not started yet.
        BrokerError: no Kafka runs, or it does not answer.

    """
    try:
        settings = connected()
    except BrokerError as error:  # none is named, and the embedded one does not run: so nothing of the pipeline does
        raise BrokerError(
            f"pipeline '{pipeline.name}' is not started yet, and no Kafka is running: `tidemark up {safe(str(file))}` "
            "starts both, or name your Kafka in TIDEMARK_BOOTSTRAP_SERVERS"
        ) from error
    client = connect(settings, timeout=_ASK, down=DOWN)
    try:
        listed = client.list_topics(timeout=_ASK).topics
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error
    if topic not in listed:
        raise TopicError(
            f"pipeline '{pipeline.name}' has not started yet on Kafka at {settings.bootstrap_servers} "
            f"(there is no topic '{topic}'): `tidemark up {safe(str(file))}` starts it"
        )
    return settings

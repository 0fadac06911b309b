"""Topics that versions after a pipeline's first `tidemark up` have added."""

from __future__ import annotations

from tidemark.kafka import ensure_topics
from tidemark.monitoring.retention import predictions_retention
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings


def ensure_added(pipeline: Pipeline, settings: Settings, topic: str) -> None:
    """Make a topic that a pipeline which was set up by an earlier version lacks.

    Args:
        pipeline: whose topic it is.
        settings: that name the Kafka.
        topic: its name.

    Raises:
        TopicError: Kafka refuses to create it.
        BrokerError: Kafka does not answer.

    """
    specs = pipeline.topics.specs(
        raw=[],
        hops=[],
        partitions=pipeline.partitions,
        retention_ms=pipeline.retention.events // 1_000,
        predictions_retention_ms=predictions_retention(pipeline) // 1_000,
        decisions=bool(pipeline.decisions),
        asked=pipeline.ask is not None,
    )
    ensure_topics(settings, [spec for spec in specs if spec.name == topic])

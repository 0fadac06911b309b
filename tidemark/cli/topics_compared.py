"""A pipeline's topics as `tidemark up` makes them, and what those that exist already lack."""

from __future__ import annotations

from typing import Final

from tidemark.kafka.existing import existing_topics, shortcomings
from tidemark.monitoring.retention import predictions_retention
from tidemark.pipeline import Pipeline
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings
from tidemark.selection.retention import proposals_retention
from tidemark.stream.retention import events_retention, needed_retention

_LARGEST_RECORD: Final = 1_000_000
"""Bytes: dead letters and models are cut into pieces of 900 kB, keys and headers come on top."""


def made(pipeline: Pipeline) -> list[TopicSpec]:
    """Every topic as it is made where it is missing."""
    retention = events_retention(pipeline)
    own = _specs(pipeline, retention)
    partitions = {spec.name: spec.partitions for spec in own}
    time = {"retention.ms": str(retention // 1_000)}
    read = [(output.topic, getattr(pipeline.topics, output.of)) for output in pipeline.outputs]
    return own + [TopicSpec(topic, partitions[of], dict(time)) for topic, of in read]


def needed(pipeline: Pipeline) -> list[TopicSpec]:
    """What every topic must at least be like; what no flow reads again may be kept for as long as its owner likes."""
    topics = pipeline.topics
    kept_at_will = {topics.features, topics.metrics, topics.deadletter}
    specs = []
    for spec in _specs(pipeline, needed_retention(pipeline)):
        config = {"cleanup.policy": "delete", "retention.bytes": "-1"} | spec.config
        config.pop("min.cleanable.dirty.ratio", None)
        if spec.name in kept_at_will or config["cleanup.policy"] == "compact":
            config = {"cleanup.policy": config["cleanup.policy"]}
        if spec.name not in pipeline.raw_topics:
            config["max.message.bytes"] = str(_LARGEST_RECORD)
        specs.append(TopicSpec(spec.name, spec.partitions, config))
    return specs


def topics_lack(pipeline: Pipeline, settings: Settings, *, timeout: float = 10.0) -> list[str]:
    """What topics that exist lack of what the pipeline needs, a sentence each.

    Args:
        pipeline: whose topics they are; its raw ones among them.
        settings: that name the Kafka.
        timeout: seconds for each question.

    Returns:
        The sentences, each with the command that mends it.

    Raises:
        BrokerError: Kafka does not answer, or does not let us read the settings of topics.

    """
    specs = needed(pipeline)
    existing = existing_topics(settings, [spec.name for spec in specs], timeout=timeout)
    return list(shortcomings(specs, existing))


def _specs(pipeline: Pipeline, retention: int) -> list[TopicSpec]:
    webhooks = [pipeline.topics.webhooks_spec] if pipeline.webhooks else []
    return webhooks + pipeline.topics.specs(
        raw=pipeline.raw_topics,
        hops=pipeline.hops,
        partitions=pipeline.partitions,
        retention_ms=retention // 1_000,
        short_retention_ms=proposals_retention(pipeline) // 1_000,
        predictions_retention_ms=predictions_retention(pipeline) // 1_000,
        decisions=bool(pipeline.decisions),
        asked=pipeline.ask is not None,
    )

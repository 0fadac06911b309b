"""What a newcomer must know of a pipeline's raw topics: made just now, empty, perhaps misspelt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from confluent_kafka import KafkaException

from tidemark.kafka import connect
from tidemark.kafka.clients import DOWN, unreachable
from tidemark.kafka.ends import ends
from tidemark.pipeline import Pipeline
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.runtime.suggestions import near

_ASK = 10.0


def empty_topics(pipeline: Pipeline, settings: Settings, made: Iterable[str] = ()) -> Iterator[str]:
    """A sentence for each raw topic that has no record, and for each that is not there.

    Args:
        pipeline: whose raw topics they are.
        settings: that name the Kafka.
        made: topics that were made just now.

    Yields:
        What it lacks, which topic may have been meant, and how to produce into it.

    Raises:
        BrokerError: Kafka does not answer.

    """
    client = connect(settings, timeout=_ASK, down=DOWN)
    own = {spec.name for spec in pipeline.topics.specs(raw=[], hops=pipeline.hops, partitions=1, retention_ms=1)}
    try:
        listed = client.list_topics(timeout=_ASK).topics
        for i, topic in enumerate(pipeline.raw_topics):
            found = listed.get(topic)
            if found is not None and found.error is None:
                if any(ends(client, {topic: sorted(found.partitions)}, timeout=_ASK)[topic]):
                    continue
                state = "is empty, made now" if topic in set(made) else "is empty"
            else:
                state = "does not exist yet"
            others = sorted(
                set(listed) - own - set(pipeline.raw_topics) - {"__consumer_offsets", "__transaction_state"}
            )
            meant = near(topic, others)
            remedy = (
                f"did you mean '{safe(meant)}'? Then correct raw[{i}].topic"
                if meant
                else f"produce into it, with `tidemark topic produce {topic} FILE` say"
            )
            yield f"topic '{topic}' {state}: {remedy}"
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error

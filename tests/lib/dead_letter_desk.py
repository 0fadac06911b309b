"""Dead letters of a pipeline that has seen nothing else, for the console's page."""

from __future__ import annotations

import re

import numpy as np
from feeding import feeder

from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline
from tidemark.records.dead_letter import dead_letter
from tidemark.records.topics import TopicSpec
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.settings import Settings

HOSTILE = '<script>alert(1)</script>\u202e\u200b"'


def write_letters(
    settings: Settings,
    pipeline: Pipeline,
    values: list[bytes],
    reason: str,
    first: int = 7,
    key: bytes = HOSTILE.encode(),
) -> None:
    topic, count = pipeline.raw_topics[0], len(values)
    ensure_topics(settings, [TopicSpec(name, 1, {}) for name in (topic, pipeline.topics.deadletter)])
    batch = Batch(
        partition=Partition(topic, 0, "0a1b2c3d"),
        offsets=np.arange(first, first + count),
        timestamps=np.zeros(count, dtype="int64"),
        keys=[key] * count,
        values=list(values),
    )
    producer = feeder(settings)
    for row in range(count):
        output = dead_letter(pipeline.topics.deadletter, batch, row, "decode", f"row {row}: {reason}")
        producer.produce(output.topic, output.value, output.key, headers=list(output.headers))
    assert producer.flush(60) == 0


def kind_on(page: str) -> str:
    found = re.search(r'name="kind" value="([0-9a-f]{16})"', page)
    assert found is not None
    return found[1]

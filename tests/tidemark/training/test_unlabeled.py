"""Scales are learnt of the background sample as it is in Kafka."""

from __future__ import annotations

import msgspec
import numpy as np
from feeding import feeder
from models import small_pipeline

from tidemark.kafka import ensure_topics
from tidemark.pipeline.definitions import feature_ids
from tidemark.records import SampledEvent, encode
from tidemark.records.background import DEFINITIONS
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings
from tidemark.training.unlabeled import unlabeled


def test_the_newest_event_of_each_place_counts_and_what_is_none_does_not(kafka: Settings, unique: str) -> None:
    pipeline = small_pipeline(unique)
    ensure_topics(kafka, [TopicSpec(pipeline.topics.sample, 1, {"cleanup.policy": "compact"})])
    assert unlabeled(kafka, pipeline).shape == (0, 3)
    ids = feature_ids(pipeline)
    others = {**ids, "b": "00000000"}
    producer = feeder(kafka)

    def drawn(place: bytes, a: float | None, told: dict[str, str] = ids) -> None:
        event = SampledEvent(
            event_id=f"{unique}.raw-0-7-0a1b2c3d",
            time=1_735_689_600_000_000,
            inclusion_probability=0.5,
            model="none",
            probabilities=None,
            features={"a": a, "b": 2.0, "c": 3.0},
        )
        headers: list[tuple[str, str | bytes | None]] = [(DEFINITIONS, msgspec.json.encode(told))]
        producer.produce(pipeline.topics.sample, encode(event), place, headers=headers)

    for place, a in ((b"9", 1.0), (b"3", 5.0), (b"9", 4.0), (b"4", None)):
        drawn(place, a)
    drawn(b"5", 8.0, others)  # of another definition
    drawn(b"99999", 8.0)  # beyond the sample
    producer.produce(pipeline.topics.sample, b"{broken", b"6")
    producer.produce(pipeline.topics.sample, b"what monitor keeps", b"state")
    assert producer.flush(60) == 0
    expected = [[5.0, 2.0, 3.0], [np.nan, 2.0, 3.0], [4.0, 2.0, 3.0]]
    assert np.array_equal(unlabeled(kafka, pipeline), expected, equal_nan=True), "places 3, 4 and 9"

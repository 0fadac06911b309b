"""The corpus of broken records through the stream flow on a real Kafka, and back once they are repaired."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest
from broken_corpus import batch_of, corpus, good, pipeline_of
from confluent_kafka import Producer
from offsets import read_settled
from sessions import pump
from streaming import Models

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from tidemark.cli.up import prepare
from tidemark.kafka import ensure_topics, producer_config, read_all
from tidemark.records.topics import TopicSpec
from tidemark.replay import Replay, letters, whole
from tidemark.replay.corrections import Correction, corrected
from tidemark.runtime.settings import Settings
from tidemark.stream import StreamProcessor


@pytest.mark.parametrize("form", ["avro-registry", "cloudevents"])
def test_broken_records_stop_no_flow_harm_no_neighbour_and_are_predicted_once_repaired(
    form: str, kafka: Settings, unique: str, tmp_path: Path
) -> None:
    made = pipeline_of(form, tmp_path)
    raw = f"{unique}.raw"
    pipeline = made.model_copy(
        update={"name": unique, "raw": [made.raw[0].model_copy(update={"topic": raw})], "partitions": 1}
    )
    ensure_topics(kafka, [TopicSpec(raw, 1, {"max.message.bytes": "6000000", "retention.ms": "-1"})])
    prepare(pipeline, kafka)
    broken = [each for each in corpus() if each.format == form]
    batch = batch_of(list(broken))
    producer = Producer(producer_config(kafka, message_max_bytes=6_000_000))
    stamp = int(batch.timestamps[0])
    for value, headers in zip(batch.values, batch.headers, strict=True):
        told = None if headers is None else list[tuple[str, str | bytes | None]](headers)
        producer.produce(raw, value, b"k", headers=told, timestamp=stamp)
        producer.produce(raw, good(form), b"k", timestamp=stamp)
    assert producer.flush(60) == 0

    settings = kafka.model_copy(update={"state_dir": tmp_path})
    config = EngineConfig(f"{unique}.stream", settings, align=1, deadletter=pipeline.topics.deadletter)

    def predicted() -> int:
        return len(read_all(kafka, pipeline.topics.predictions))

    session = Session(config, StreamProcessor(pipeline, Models()), Stop())
    session.start()
    try:
        pump(session, lambda: predicted() == len(broken), "the flow did not go on", timeout=90)
        found = [whole(settings, letter) for letter in letters(settings, pipeline.topics.deadletter)]
        assert [letter.source.offset for letter in found if letter.source] == list(range(0, 2 * len(broken), 2))
        for letter, each in zip(found, broken, strict=True):
            assert each.reason in letter.reason, each.name
            assert letter.value == each.bytes(), each.name
        line = base64.b64encode(good(form)).decode()
        repaired = [corrected(letter, Correction(offset=letter.offset, base64=line, headers={})) for letter in found]
        with Replay(settings, pipeline.topics, "a test", clock=time.time) as sending:
            assert len(sending.send(repaired, edited=True).sent) == len(broken)
        pump(session, lambda: predicted() == 2 * len(broken), "what was repaired is not predicted", timeout=90)
    finally:
        session.finish()
    assert len(read_settled(kafka, pipeline.topics.deadletter)) == len(broken), "none came back"

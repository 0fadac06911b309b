"""A schema registry that is away, and a schema that is unknown, in the stream flow on a real Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_corpus import AVRO, ROW, pipeline_of
from feeding import feeder
from schemas import NOW_MS, avro_record, registry_running
from sessions import pump
from streaming import Models

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from tidemark.cli.up import prepare
from tidemark.formats.schema_registry import Waiting
from tidemark.kafka import ensure_topics, read_all
from tidemark.records.topics import TopicSpec
from tidemark.replay import Replay, letters
from tidemark.runtime.settings import Settings
from tidemark.stream import StreamProcessor


def test_a_flow_waits_for_a_registry_that_is_away_and_a_record_of_an_unknown_schema_comes_back(
    kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = f"{unique}.raw"
    made = pipeline_of("avro-registry", tmp_path)
    ensure_topics(kafka, [TopicSpec(raw, 1, {"retention.ms": "-1"})])
    pauses: list[float] = []
    with registry_running() as registry:
        registry.add_avro(1, AVRO)
        registry.down = True

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            registry.down = len(pauses) < 3

        defaults = {**(Waiting.__init__.__kwdefaults__ or {}), "pause": pause, "again": 0.0}
        monkeypatch.setattr(Waiting.__init__, "__kwdefaults__", defaults)
        source = made.raw[0].model_copy(update={"topic": raw, "registry": registry.address})
        pipeline = made.model_copy(update={"name": unique, "raw": [source], "partitions": 1})
        prepare(pipeline, kafka)
        producer = feeder(kafka)
        for number in (1, 9, 1):
            producer.produce(raw, avro_record(AVRO, ROW, number), b"k", timestamp=NOW_MS)
        assert producer.flush(60) == 0

        settings = kafka.model_copy(update={"state_dir": tmp_path})
        config = EngineConfig(f"{unique}.stream", settings, align=1, deadletter=pipeline.topics.deadletter)

        def predicted() -> int:
            return len(read_all(kafka, pipeline.topics.predictions))

        session = Session(config, StreamProcessor(pipeline, Models()), Stop())
        session.start()
        try:
            pump(session, lambda: predicted() == 2, "the flow did not go on")
            assert len(pauses) == 3
            (letter,) = letters(settings, pipeline.topics.deadletter)
            assert "has schema 9, which the registry does not have; register it, and replay" in letter.reason
            registry.add_avro(9, AVRO)
            with Replay(settings, pipeline.topics, "a test") as sending:
                assert len(sending.send([letter]).sent) == 1
            pump(session, lambda: predicted() == 3, "the record did not come back")
        finally:
            session.finish()

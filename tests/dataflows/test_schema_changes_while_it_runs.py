"""A schema changes again and again while the stream flow runs, on a real Kafka with a schema registry over HTTP."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from feeding import feeder
from schema_changes import KINDS_OF_CHANGES, READ, pipeline_of
from schemas import NOW_MS, registry_running
from sessions import pump, step
from streaming import Models

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from support import wait_until
from tidemark.cli.up import prepare
from tidemark.kafka import ensure_topics, read_all
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Feature
from tidemark.records.event_id import parse_event_id
from tidemark.records.topics import TopicSpec
from tidemark.replay import letters
from tidemark.runtime.settings import Settings
from tidemark.stream import StreamProcessor

FEATURES: Final = ("a", "b", "c", "n")


def told(kafka: Settings, pipeline: Pipeline) -> dict[int, dict[str, float | None]]:
    """Features of each event as they were scored, by the offset of its record; each is there once."""
    found: dict[int, dict[str, float | None]] = {}
    for message in read_all(kafka, pipeline.topics.features, settled=True):
        for row in pl.read_ipc_stream(message.value() or b"").to_dicts():
            offset = parse_event_id(row["event_id"]).offset
            assert offset not in found, "an event is scored twice"
            found[offset] = {name: None if math.isnan(row[name]) else row[name] for name in FEATURES}
    return found


def wanted(read: Mapping[str, object]) -> dict[str, object]:
    return {name: (READ | dict(read))[name] for name in FEATURES}


@pytest.mark.parametrize("kind", KINDS_OF_CHANGES)
def test_more_than_twenty_changes_are_scored_right_or_are_dead_letters_that_say_which(
    kind: str, kafka: Settings, unique: str, tmp_path: Path
) -> None:
    changes, encode = KINDS_OF_CHANGES[kind]
    raw = f"{unique}.raw"
    ensure_topics(kafka, [TopicSpec(raw, 1, {"retention.ms": "-1"})])
    with registry_running() as registry:
        made = pipeline_of(tmp_path, kind, registry.address, unique)
        features = [*made.features, Feature(name="n")]
        pipeline = made.model_copy(update={"features": features, "features_topic": True, "partitions": 1})
        prepare(pipeline, kafka)
        settings = kafka.model_copy(update={"state_dir": tmp_path})
        config = EngineConfig(f"{unique}.stream", settings, align=1, deadletter=pipeline.topics.deadletter)

        def started() -> Session:
            session = Session(config, StreamProcessor(pipeline, Models()), Stop())
            session.start()
            return session

        producer = feeder(kafka)
        session = started()
        try:
            for number, change in enumerate(changes.values(), 1):
                value = encode(registry, number, change)  # now the registry has its schema, and not before
                for each in (value, encode(registry, 1, changes["as it was"])):
                    producer.produce(raw, each, b"k", timestamp=NOW_MS)
                assert producer.flush(60) == 0
                came: list[int] = []

                def both(came: list[int] = came, session: Session = session) -> bool:
                    came.append(step(session))
                    return sum(came) >= 2

                wait_until(both, f"the flow does not read change {number}", 60, poll=0.002)
                if number in {7, 15}:  # once as by a crash, which takes back what is not committed, and once in order
                    (session.abandon if number == 7 else session.finish)()
                    session = started()
            good = 2 * len(changes) - sum(isinstance(change.read, str) for change in changes.values())
            pump(session, lambda: len(told(kafka, pipeline)) == good, "rows are missing", 60)
        finally:
            session.finish()
    found = told(kafka, pipeline)
    refused = {each.source.offset: each.reason for each in letters(kafka, pipeline.topics.deadletter) if each.source}
    for place, (name, change) in enumerate(changes.items()):
        if isinstance(change.read, str):
            assert change.read in refused.pop(2 * place, "it was read"), name
        else:
            assert found[2 * place] == wanted(change.read), name
        assert found[2 * place + 1] == wanted({}), f"the neighbour of: {name}"
    assert not refused

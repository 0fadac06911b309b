"""Records that nobody should send, through the stream flow on a real Kafka."""

from __future__ import annotations

import json
import time
from pathlib import Path

from confluent_kafka import Producer
from offsets import read_settled
from raw_batch import batch_of, send_batch
from sessions import pump
from streaming import START, Models, shop

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from tidemark.cli.up import prepare
from tidemark.kafka import ensure_topics, producer_config, read_all
from tidemark.records import Prediction, decode
from tidemark.records.topics import TopicSpec
from tidemark.registry.reading import record_of
from tidemark.runtime.settings import Settings
from tidemark.stream import StreamProcessor

ROW: dict[str, object] = {"id": "P1", "at": START, "who": "w", "place": 3, "amount": 2.5, "kind": "a"}


def row(name: str, **fields: object) -> bytes:
    return json.dumps(ROW | {"id": name} | fields).encode()


def test_bad_records_are_dead_letters_with_their_reasons_and_the_flow_goes_on(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    shop_pipeline = shop(keys=1)
    raw = f"{unique}.raw"
    pipeline = shop_pipeline.model_copy(
        update={"name": unique, "raw": [shop_pipeline.raw[0].model_copy(update={"topic": raw})], "partitions": 1}
    )
    ensure_topics(kafka, [TopicSpec(raw, 1, {"max.message.bytes": "6000000"})])
    prepare(pipeline, kafka)
    bad: list[tuple[bytes | None, bytes | None, bytes]] = [
        (b"w", b"", b"empty value"),
        (b"w", None, b"tombstone"),
        (b"w", b'{"id": "P2",', b""),
        (b"w", row("P3", amount="x\n"), b"amount: expected a number"),
        (b"w", row("P4", extra="x" * 5_000_000), b"over the limit"),
        (None, row("P5"), b"key"),
    ]
    producer = Producer(producer_config(kafka, message_max_bytes=6_000_000))
    good = [row("first"), json.dumps(ROW | {"id": "over\nlines"}, indent=2).encode(), row("last")]
    producer.produce(raw, good[0], b"w")
    for key, value, _ in bad:
        producer.produce(raw, value, key)
    producer.produce(raw, good[1], b"w")
    assert producer.flush(60) == 0
    for value in (b"{", good[2]):
        send_batch(kafka.bootstrap_servers or "", raw, batch_of(b"w", value, [(b"\xff", b"v")], int(time.time() * 1e3)))
    bad.append((b"w", b"{", b""))

    settings = kafka.model_copy(update={"state_dir": tmp_path})
    config = EngineConfig(f"{unique}.stream", settings, align=1, deadletter=pipeline.topics.deadletter)
    session = Session(config, StreamProcessor(pipeline, Models()), Stop())
    session.start()
    try:
        pump(session, lambda: len(read_all(kafka, pipeline.topics.predictions)) == 3, "the flow did not go on")
    finally:
        session.finish()

    predicted = [decode(Prediction, m.value()).business_id for m in read_settled(kafka, pipeline.topics.predictions)]
    letters = [record_of(m) for m in read_settled(kafka, pipeline.topics.deadletter)]
    headers = [dict(h or ()) for _, _, h in letters]
    assert predicted == ["first", "over\nlines", "last"]
    assert [h["source_offset"] for h in headers] == [str(offset).encode() for offset in (*range(1, 7), 8)]
    for (key, value, reason), (their_key, their_value, _), told in zip(bad, letters, headers, strict=True):
        assert reason in (told["reason"] or b"")
        assert their_key == key
        if value is not None and len(value) > 1_000_000:
            assert value.startswith(their_value or b"?"), "a value that is too large for the topic is cut"
            assert told["size"] == str(len(value)).encode()
        else:
            assert their_value == value


def test_nothing_that_an_ordinary_producer_sends_stops_a_partition(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    shop_pipeline = shop(keys=2)
    raw = f"{unique}.raw"
    pipeline = shop_pipeline.model_copy(
        update={"name": unique, "raw": [shop_pipeline.raw[0].model_copy(update={"topic": raw})], "partitions": 1}
    )
    ensure_topics(kafka, [TopicSpec(raw, 1, {})])
    prepare(pipeline, kafka)
    base = producer_config(kafka, message_max_bytes=50_000_000, batch_size=10_000_000)
    plain, packed = (Producer(base | {"compression.type": codec, "linger.ms": 0}) for codec in ("none", "zstd"))

    def send(producer: Producer, value: bytes, key: bytes = b"w") -> None:
        producer.produce(raw, value, key)
        assert producer.flush(60) == 0

    send(plain, row("first"))
    send(plain, b"{", b"k" * 1_000_000)
    send(packed, row("second"), b"k" * 8_000_000)
    send(plain, row("x" * 600_000))
    for i in range(200):
        packed.produce(raw, row(f"{i}-" + "y" * 8_000), b"w")
    assert packed.flush(60) == 0
    send(plain, row("third"))
    send(packed, row("fourth", extra="z" * 40_000_000))
    send(plain, row("last"))

    settings = kafka.model_copy(update={"state_dir": tmp_path})
    config = EngineConfig(
        f"{unique}.stream",
        settings,
        align=1,
        deadletter=pipeline.topics.deadletter,
        unreadable_after=1.0,
        consumer={"receive_message_max_bytes": 20_000_000, "fetch_max_bytes": 10_000_000},
    )
    session = Session(config, StreamProcessor(pipeline, Models()), Stop())
    session.start()
    try:
        pump(session, lambda: len(read_all(kafka, pipeline.topics.predictions)) == 3, "a record stops it", timeout=90)
    finally:
        session.finish()
    predicted = [decode(Prediction, m.value()).business_id for m in read_settled(kafka, pipeline.topics.predictions)]
    assert predicted == ["first", "third", "last"]
    letters = [dict(m.headers() or ()) for m in read_settled(kafka, pipeline.topics.deadletter)]
    steps = [letter["step"] for letter in letters]
    assert steps == [b"decode", b"key", b"limits", *[b"limits"] * 200, b"fetch"]
    assert [int(letter["source_offset"] or b"") for letter in letters] == [1, 2, 3, *range(4, 204), 205]

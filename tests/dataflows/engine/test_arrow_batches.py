"""Kafka records of many rows each: every row is an event of its own, once, whatever is killed or broken."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from arrow_bodies import batch
from broken_corpus import batch_of
from broken_corpus import pipeline_of as pipeline_of_format
from models import pipeline_text
from offsets import read_settled
from sourcing import Running, headers, pipeline_of, raw, running, toml

from dataflows.engine.transactional_producer import TransactionFailed, Transactions
from support import wait_until
from tidemark import kafka as clients
from tidemark.cli.letter_choice import Place
from tidemark.errors import ConfigError
from tidemark.formats.decoder import Decoder
from tidemark.kafka import ensure_topics, read_all
from tidemark.pipeline import Pipeline, parse
from tidemark.records.topics import TopicSpec
from tidemark.replay import Letter, Replay, letters
from tidemark.replay.corrections import Correction, corrected
from tidemark.runtime.settings import Settings
from tidemark.sources.repaired import still_wrong
from tidemark.sources.resending import Resending

ROW: dict[str, Any] = {"time": "2025-01-01T00:00:00Z", "b": 2.0, "c": 3.0}


def rows(begin: int, end: int) -> list[dict[str, Any]]:
    return [{"key": f"k{n % 7}", **ROW, "a": float(n)} for n in range(begin, end)]


def made(settings: Settings, unique: str, *, body: str = "arrow", **spec: object) -> Pipeline:
    ensure_topics(settings, [TopicSpec(f"{unique}.theirs", 2, {})])
    options = {"bootstrap": settings.bootstrap_servers or "", "topics": [f"{unique}.theirs"]}
    more = "".join(f"{key} = {toml(value)}\n" for key, value in spec.items())
    extra = f'[[sources]]\nname = "s"\nkind = "kafka"\nbody = "{body}"\noptions = {toml(options)}\n{more}'
    return parse(pipeline_text(unique, extra=extra), "p.toml")


def produce(settings: Settings, unique: str, values: list[bytes], **more: Any) -> None:  # noqa: ANN401
    producer = clients.producer(settings)
    for value in values:
        producer.produce(f"{unique}.theirs", value, b"gateway 3", 0, **more)
    assert producer.flush(60) == 0


def came(task: Running, count: int, refused: int = 0) -> None:
    def enough() -> bool:
        assert task.error is None, task.error
        found = read_settled(task.settings, task.pipeline.topics.deadletter)
        return len(raw(task.settings, task.pipeline)) >= count and len(found) >= refused

    wait_until(enough, "rows are missing", 60, poll=0.3)


def numbers(settings: Settings, pipeline: Pipeline) -> list[float]:
    return sorted(float(json.loads(message.value() or b"")["a"]) for message in raw(settings, pipeline))


def test_each_row_of_a_batch_is_a_record_with_its_own_key_and_place(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    pipeline = made(kafka, unique)
    produce(kafka, unique, [batch(rows(0, 2_500)), batch(rows(2_500, 2_510))])
    with running(kafka, pipeline, tmp_path) as task:
        came(task, 2_510)
    found = raw(kafka, pipeline)
    assert numbers(kafka, pipeline) == list(range(2_510))
    assert all(message.key() == json.loads(message.value() or b"")["key"].encode() for message in found)
    by_partition = {message.key(): message.partition() for message in found}
    assert all(by_partition[message.key()] == message.partition() for message in found), "one partition a key"
    places = {headers(message)["tidemark-position"] for message in found}
    assert f"{unique}.theirs[0] 0 row 2500".encode() in places
    assert len(places) == 2_510


def test_a_batch_whose_transaction_fails_half_way_comes_once(
    kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = made(kafka, unique)
    produce(kafka, unique, [batch(rows(0, 3_000)), batch(rows(3_000, 3_500))])
    sent: list[int] = []
    send = Transactions.send

    def failing(self: Transactions, outputs: Any) -> None:  # noqa: ANN401
        send(self, outputs)
        sent.append(len(outputs))
        if len(sent) in {3, 6}:
            raise TransactionFailed("in the middle of a batch")

    monkeypatch.setattr(Transactions, "send", failing)
    with running(kafka, pipeline, tmp_path) as task:
        came(task, 3_500)
    assert len(sent) > 6
    assert numbers(kafka, pipeline) == list(range(3_500))


def test_a_bad_row_is_bad_alone_and_a_broken_batch_is_a_dead_letter_that_comes_back_whole(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    pipeline = made(kafka, unique, columns={"key": "header.machine"})
    without_key = [{name: value for name, value in row.items() if name != "key"} for row in rows(0, 6)]
    broken = batch(without_key)[:-20]
    wrong_row = [*without_key[:2], {**without_key[2], "time": "yesterday"}, *without_key[3:]]
    produce(kafka, unique, [batch(wrong_row), broken, b"", batch(without_key[:1])], headers=[("machine", b"m7")])
    with running(kafka, pipeline, tmp_path) as task:
        came(task, 7, refused=2)
        assert task.task.counts.refused == 2
    values = [message.value() for message in raw(kafka, pipeline)]
    decoder = Decoder(pipeline)
    decoded = decoder.decode(batch_of([value or b"" for value in values]))
    assert len(decoded.bad) == 1
    assert decoded.bad[0].reason.startswith("time:")
    assert decoded.frame["key"].unique().to_list() == ["m7"]

    first, second = letters(kafka, pipeline.topics.deadletter)
    assert first.value == broken
    assert first.reason.startswith("is no Arrow IPC stream that can be read: a body of")
    assert first.origin == f"s: {unique}.theirs[0] 1"
    whole = corrected(first, Correction(offset=first.offset, base64=base64.b64encode(batch(without_key)).decode()))
    place = Place(pipeline, kafka)
    assert still_wrong(pipeline, [whole, first]) == [(first, first.reason)]
    with Replay(kafka, pipeline.topics, "ada", again=place.again) as replay:
        report = replay.send([first, whole, second], edited=True)
        assert [letter.offset for letter, _ in report.refused] == [first.offset, second.offset]
        assert [letter.offset for letter in report.sent] == [whole.offset]
        assert [mark.edited for _, mark in replay.send([whole]).known] == [True], "and once only"
    repaired = raw(kafka, pipeline)[7:]
    assert sorted(json.loads(message.value() or b"")["a"] for message in repaired) == [0, 1, 2, 3, 4, 5]
    assert {message.key() for message in repaired} == {b"m7"}, "what the source told of the batch holds for its rows"
    assert {headers(message)["replayed_from"] for message in repaired} == {str(first.offset).encode()}


def test_a_refused_text_comes_back_as_the_row_that_it_is_repaired_to(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    pipeline = made(kafka, unique, body="text", columns={"key": "body"})
    produce(kafka, unique, [b"\xff", b"k1"])
    with running(kafka, pipeline, tmp_path) as task:
        came(task, 1, refused=1)
    (letter,) = letters(kafka, pipeline.topics.deadletter)
    repaired = _replaced(letter, json.dumps(rows(3, 4)[0]).encode())
    with Replay(kafka, pipeline.topics, "ada", again=Resending(pipeline)) as replay:
        assert len(replay.send([repaired]).sent) == 1
    assert {message.key() for message in raw(kafka, pipeline)} == {b"k1", b"k3"}


def _replaced(letter: Letter, value: bytes) -> Letter:
    return corrected(letter, Correction(offset=letter.offset, base64=base64.b64encode(value).decode()))


def test_rows_are_written_in_the_format_of_the_raw_topic(kafka: Settings, unique: str, tmp_path: Path) -> None:
    avro = pipeline_of_format("avro", tmp_path, unique)
    theirs = made(kafka, unique)
    pipeline = avro.model_copy(update={"sources": theirs.sources, "partitions": theirs.partitions})
    produce(kafka, unique, [batch(rows(0, 30))])
    with running(kafka, pipeline, tmp_path) as task:
        came(task, 30)
    found = raw(kafka, pipeline)
    decoded = Decoder(pipeline).decode(batch_of([message.value() or b"" for message in found]))
    assert not decoded.bad
    assert sorted(decoded.frame["a"].to_list()) == list(range(30))
    assert {message.key() for message in found} == {f"k{i}".encode() for i in range(7)}
    assert not read_all(kafka, pipeline.topics.deadletter)


def test_what_bodies_are_no_messages_can_not_be_arrow() -> None:
    with pytest.raises(ConfigError, match="a request says by its Content-Type that it is Arrow"):
        pipeline_of("http", {"address": "127.0.0.1:0"}, body="arrow")
    with pytest.raises(ConfigError, match="the bodies of log are no messages of their own"):
        pipeline_of("log", {"paths": ["/x"]}, body="arrow")


def test_an_arrow_stream_in_a_topic_of_json_is_told_what_to_do() -> None:
    pipeline = pipeline_of("http", {"address": "127.0.0.1:0"})
    (bad,) = Decoder(pipeline).decode(batch_of([batch(rows(0, 2))])).bad
    assert 'is an Arrow stream of many rows; have a source take it, with body = "arrow"' in bad.reason

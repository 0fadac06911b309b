"""Headers whose names are any bytes, as Kafka takes them from anyone."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest
from confluent_kafka import Message
from raw_batch import batch_of, send_batch

from dataflows.engine.partition_buffer import Lane
from tidemark.kafka import ensure_topics, headers_of, headers_of_each, read_all
from tidemark.kafka.headers import UNREADABLE
from tidemark.records.dead_letter import dead_letter
from tidemark.records.topics import TopicSpec
from tidemark.registry.reading import record_of
from tidemark.replay.letters import Letter
from tidemark.runtime.processor import Headers, Partition
from tidemark.runtime.settings import Settings

SENT: list[tuple[list[tuple[bytes, bytes | None]], Headers | None]] = [
    ([(b"\xff\xfe", b"v")], [UNREADABLE]),
    ([], None),
    ([(b"trace", b"\xff"), ("é".encode(), None)], [("trace", b"\xff"), ("é", None)]),
    ([(b"good", b"v"), (b"\xc3\x28", b"v")], [UNREADABLE]),
    ([(b"\xc3\x28", None), (b"good", None)], [UNREADABLE]),
    ([(b"\xed\xa0\x80", b"v"), (b"\x80", b"v")], [UNREADABLE]),
    ([(b"", b"")], [("", b"")]),
    ([(b"\xff", None)], [UNREADABLE]),
]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def topic(kafka: Settings) -> str:
    name = "headers-of-any-bytes"
    ensure_topics(kafka, [TopicSpec(name, 1, {})])
    for headers, _ in SENT:
        send_batch(kafka.bootstrap_servers or "", name, batch_of(b"k", b"v", headers, 1_735_689_600_000))
    return name


@pytest.fixture
def messages(kafka: Settings, topic: str) -> list[Message]:
    return read_all(kafka, topic)


def test_headers_are_read_whatever_bytes_their_names_are(messages: list[Message]) -> None:
    wanted = [headers for _, headers in SENT]
    assert headers_of_each(messages) == wanted
    gc.collect()
    assert headers_of_each(messages) == wanted, "at a second look too"
    assert [headers_of(message) for message in messages] == wanted


def test_headers_of_one_record_after_the_other_are_read_too(messages: list[Message]) -> None:
    assert [headers_of(message) for message in messages] == [headers for _, headers in SENT]


def test_what_reads_one_record_at_a_time_reads_them_too(messages: list[Message]) -> None:
    assert [record_of(message)[2] for message in messages] == [headers for _, headers in SENT]
    assert {Letter.of(message).step for message in messages} == {""}


def test_a_lane_takes_such_records_and_their_dead_letters_say_why_a_header_is_missing(
    messages: list[Message], topic: str
) -> None:
    lane = Lane(topic, 0)
    partition = Partition(topic, 0, "0000aaaa")
    lane.open(partition, generation=1, start=0, committed=0, now=0.0)
    lane.add(messages, 0.0)
    assert len(lane.at([0, 3])) == 2
    batch = lane.take(100, 1_000_000)
    assert batch.headers == [headers for _, headers in SENT]
    letter = dead_letter("p.deadletter", batch, 0, "decode", "why")
    assert dict(letter.headers)["record.unreadable-headers"] == UNREADABLE[1]


def test_no_module_reads_headers_in_another_way() -> None:
    modules = [path for room in ("tidemark", "dataflows", "labeling_grpc") for path in (ROOT / room).rglob("*.py")]
    call = re.compile(r"""\w\.headers\(\)(?!`)|["']headers["']\)""")
    reading = [path.name for path in modules if call.search(path.read_text())]
    assert reading == ["headers.py"]

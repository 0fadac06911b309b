"""Batches that Kafka's client can't read: a zstd batch that unpacks to more than it takes, as anyone can send."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from counting import CountingProcessor, expected
from feeding import feeder
from hypothesis import given
from hypothesis import strategies as st
from offsets import GroupOffsets, read_settled
from sessions import pump

from dataflows.engine.config import EngineConfig
from dataflows.engine.response_size import DEFAULT, response_size
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from dataflows.engine.unreadable import end_of_batch
from tidemark.errors import BrokerError
from tidemark.kafka import admin, ensure_topics, producer_config
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

SMALL_CLIENT = {"receive_message_max_bytes": 2_000_000, "fetch_max_bytes": 1_000_000}


@given(
    lengths=st.lists(st.tuples(st.integers(1, 2_000), st.booleans()), min_size=1, max_size=8),
    beyond=st.integers(0, 3),
    where=st.floats(0, 1),
)
def test_the_end_of_a_bad_batch_is_found_whatever_lies_behind_it(
    lengths: list[tuple[int, bool]], beyond: int, where: float
) -> None:
    begins = [sum(length for length, _ in lengths[:i]) for i in range(len(lengths) + 1)]
    readable = [good for _, good in lengths]
    readable[0] = False
    asked = 0

    def first_of_bad(offset: int) -> int | None:
        nonlocal asked
        asked += 1
        number = bisect_right(begins, offset) - 1
        return begins[number] if number < len(readable) and not readable[number] else None

    begin = min(int(where * lengths[0][0]), lengths[0][0] - 1)
    assert end_of_batch(first_of_bad, begin, begins[-1] + beyond) == begins[1]
    assert asked < 30


def test_what_can_be_read_again_is_not_stepped_over() -> None:
    assert end_of_batch(lambda _: None, 7, 100) == 7


class Log:
    """One partition with good rows and batches that a small client can't read."""

    def __init__(self, kafka: Settings, name: str) -> None:
        self.settings, self.source, self.target, self.dead = kafka, f"{name}.in", f"{name}.out", f"{name}.dead"
        self.good: list[tuple[int, int, bytes | None, int]] = []
        self.bad: list[int] = []
        self.end = 0
        ensure_topics(kafka, [TopicSpec(topic, 1, {}) for topic in (self.source, self.target, self.dead)])

    def rows(self, count: int) -> None:
        first = len(self.good)
        self._produce([b"%d" % (first + i) for i in range(count)], good=True)

    def bomb(self, records: int = 1) -> None:
        """A batch that is a few kB in the log, and over 2 MB for its reader."""
        self._produce([b"x" * (4_000_000 // records)] * records, good=False)

    def _produce(self, values: list[bytes], *, good: bool) -> None:
        config = producer_config(self.settings, message_max_bytes=10_000_000, batch_size=10_000_000)
        producer = Producer(config | {"compression.type": "zstd", "linger.ms": 200})
        for value in values:
            producer.produce(self.source, value, b"k", 0)
            if good:
                self.good.append((0, self.end, b"k", int(value)))
            else:
                self.bad.append(self.end)
            self.end += 1
        assert producer.flush(60) == 0

    def session(self, home: Path, **over: Any) -> Session:  # noqa: ANN401 any field of the configuration
        config = EngineConfig(
            group=f"{self.source}.group",
            settings=self.settings.model_copy(update={"state_dir": home}),
            commit_interval=0.02,
            deadletter=self.dead,
            consumer=SMALL_CLIENT,
            **over,
        )
        session = Session(config, CountingProcessor(self.source, self.target), Stop())
        session.start()
        return session

    def letters(self) -> list[dict[str, str | bytes | None]]:
        return [dict(message.headers() or ()) for message in read_settled(self.settings, self.dead)]


def _text(message: Message) -> str:
    return (message.value() or b"").decode()


def test_batches_that_cannot_be_read_are_dead_letters_by_position_and_all_others_are_processed_once(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    log = Log(kafka, unique)
    log.rows(30)
    log.bomb()
    log.bomb(records=5)
    log.rows(40)
    log.bomb(records=3)
    offsets = GroupOffsets(kafka, f"{log.source}.group", log.source, 1)
    session = log.session(tmp_path, unreadable_after=1.0)
    try:
        pump(session, lambda: offsets.handled() == log.end, "the partition stands at what can't be read", timeout=90)
        log.rows(20)
        pump(session, lambda: offsets.handled() == log.end, "the rows behind it were not processed", timeout=60)
    finally:
        session.finish()
    again = log.session(tmp_path, unreadable_after=1.0)
    try:
        log.rows(10)
        pump(again, lambda: offsets.handled() == log.end, "after a restart it stands still", timeout=60)
    finally:
        again.finish()
        offsets.close()

    assert [_text(message) for message in read_settled(kafka, log.target)] == expected(log.good)
    letters = log.letters()
    told: list[int] = []
    for letter in letters:
        assert letter["step"] == b"fetch"
        assert b"Invalid compressed data" in (letter["reason"] or b"")
        told += range(int(letter["source_offset"] or b""), int(letter["source_last_offset"] or b"") + 1)
    assert told == log.bad


def test_a_batch_that_is_larger_than_the_client_takes_ends_the_flow_with_what_to_set(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    log = Log(kafka, unique)
    config = ConfigResource(ConfigResource.Type.TOPIC, log.source)
    config.add_incremental_config(
        ConfigEntry("max.message.bytes", "6000000", incremental_operation=AlterConfigOpType.SET)
    )
    client = admin(kafka)
    client.incremental_alter_configs([config])[config].result(60)
    log.rows(3)
    large = Producer(producer_config(kafka, message_max_bytes=6_000_000) | {"compression.type": "none"})
    large.produce(log.source, b"x" * 4_000_000, b"k", 0)
    assert large.flush(60) == 0
    session = log.session(tmp_path, unreadable_after=1.0)
    try:
        with pytest.raises(BrokerError, match="set TIDEMARK_KAFKA_RECEIVE_MESSAGE_MAX_BYTES above the largest"):
            pump(session, lambda: False, "it stands still", timeout=60)
    finally:
        session.abandon()


def test_the_client_takes_whatever_batch_its_topics_take(kafka: Settings, unique: str) -> None:
    small, large = f"{unique}.small", f"{unique}.large"
    ensure_topics(kafka, [TopicSpec(small, 1, {}), TopicSpec(large, 1, {"max.message.bytes": "300000000"})])
    assert response_size(admin(kafka), [small, large], kafka) == 301_000_000
    assert response_size(admin(kafka), [small], kafka) == DEFAULT
    fetching = kafka.model_copy(update={"kafka": {"fetch.max.bytes": "400000000"}})
    assert response_size(admin(kafka), [large], fetching) == 401_000_000
    assert response_size(admin(kafka), [f"{unique}.absent"], kafka) == DEFAULT


def test_before_the_stated_time_nothing_is_stepped_over(
    kafka: Settings, unique: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(kafka, unique)
    log.bomb()
    log.rows(3)
    offsets = GroupOffsets(kafka, f"{log.source}.group", log.source, 1)
    session = log.session(tmp_path, unreadable_after=3_600.0)
    try:
        pump(session, lambda: session.lanes and session.lanes[log.source, 0].is_open, "the partition was not opened")
        pump(session, lambda: "can't be read" in caplog.text, "the batch gave no error", timeout=60)
        assert offsets.handled() <= 0
    finally:
        session.abandon()
        offsets.close()
    assert log.letters() == []


@pytest.mark.parametrize("takes", [1_000, 400])
def test_a_row_whose_output_no_topic_takes_is_a_dead_letter_and_its_neighbours_are_processed(
    kafka: Settings, unique: str, tmp_path: Path, takes: int
) -> None:
    log = Log(kafka, unique)
    ensure_topics(kafka, [TopicSpec(f"{log.target}.small", 1, {"max.message.bytes": "1000"})])
    small = TopicSpec(f"{log.dead}.small", 1, {"max.message.bytes": str(takes + 800)})
    ensure_topics(kafka, [small])
    log.rows(20)
    producer = feeder(kafka)
    producer.produce(log.source, b"abort", b"k" * 900, 0)
    assert producer.flush(60) == 0
    log.good.append((0, 20, b"k" * 900, 0))
    log.end += 1
    log.rows(20)

    class Always(CountingProcessor):
        def process(self, batch):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 as the base
            self.aborted.clear()
            return super().process(batch)

    config = EngineConfig(
        f"{log.source}.group", kafka.model_copy(update={"state_dir": tmp_path}), 0.02, deadletter=small.name
    )
    offsets = GroupOffsets(kafka, config.group, log.source, 1)
    session = Session(config, Always(log.source, log.target), Stop())
    session.start()
    try:
        pump(session, lambda: offsets.handled() == log.end, "one row stops the partition", timeout=90)
    finally:
        session.finish()
        offsets.close()
    assert [_text(message) for message in read_settled(kafka, log.target)] == expected(log.good)
    (letter,) = read_settled(kafka, small.name)
    headers = dict(letter.headers() or ())
    assert headers["source_offset"] == b"20"
    assert headers["step"] == b"produce"
    assert b"raise its max.message.bytes" in (headers["reason"] or b"")

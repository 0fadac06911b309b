"""Own records are handed over only where nothing of anybody else's can lie before them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Message, Producer
from counting import CountingProcessor, expected
from feeding import feeder
from hypothesis import given
from hypothesis import strategies as st
from offsets import read_settled
from sessions import pump

from dataflows.engine.commits import Commits
from dataflows.engine.config import EngineConfig
from dataflows.engine.handover import MOST_BYTES, Handover
from dataflows.engine.partition_buffer import Lane
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from tidemark.errors import BrokerError
from tidemark.kafka import ensure_topics, producer_config, read_all
from tidemark.records.topics import TopicSpec
from tidemark.runtime.processor import Batch, Headers, Output, TaskState
from tidemark.runtime.settings import Settings


@dataclass(frozen=True)
class Stored:
    """A record of a log, as far as a handover looks at it."""

    at: int
    size: int = 10

    def offset(self) -> int:
        return self.at

    def __len__(self) -> int:
        return self.size


def record(offset: int, size: int = 10) -> Message:
    return cast("Message", Stored(offset, size))


def offsets(messages: list[Message]) -> list[int | None]:
    return [message.offset() for message in messages]


def test_a_record_at_the_next_offset_is_handed_over() -> None:
    own = Handover()
    own.confirm(record(7), 1)
    assert offsets(own.following(7)) == [7]
    assert own.following(8) == []


def test_a_record_behind_the_marker_of_the_last_transaction_is_handed_over() -> None:
    own = Handover()
    own.confirm(record(7), 1)
    own.following(7)
    own.confirm(record(9), 2)
    assert offsets(own.following(8)) == [9]


def test_a_gap_within_a_transaction_is_no_marker_of_ours() -> None:
    own = Handover()
    own.confirm(record(7), 1)
    own.following(7)
    own.confirm(record(9), 1)
    assert own.following(8) == []


def test_a_record_behind_an_unknown_gap_waits_until_it_was_read_and_the_next_ones_follow_on_it() -> None:
    own = Handover()
    own.confirm(record(7), 1)
    own.confirm(record(9), 2)
    assert own.following(3) == []
    assert offsets(own.following(8)) == [9]


def test_what_was_confirmed_before_a_new_start_counts_no_more() -> None:
    own = Handover()
    own.confirm(record(7), 1)
    own.forget()
    own.confirm(record(9), 2)
    assert own.following(7) == own.following(8) == []


def test_records_that_wait_for_long_are_left_to_kafka_and_the_ones_behind_them_follow_once_it_gave_them() -> None:
    own = Handover()
    for offset in range(5, 13):
        own.confirm(record(offset, MOST_BYTES // 4 - 1_000), 1)
    assert own.following(5) == []
    assert offsets(own.following(9)) == [9, 10, 11, 12]


def test_small_records_that_wait_are_bounded_too() -> None:
    own = Handover()
    for offset in range(1, 40_000):
        own.confirm(record(offset, 0), 1)
    assert len(own._waiting) * 500 <= MOST_BYTES


class Log:
    """A partition that this worker and others write to. `own` tells of own records; `taken` is what the lane was given.

    What others write is committed at once; own records are seen by readers when their transaction is.
    """

    def __init__(self) -> None:
        self.own = Handover()
        self.kinds: list[str] = []
        self.taken: list[int] = []
        self.end = 0
        self.transaction = 1
        self.opened_at: int | None = None

    def write(self) -> None:
        self.opened_at = len(self.kinds) if self.opened_at is None else self.opened_at
        self.own.confirm(record(len(self.kinds)), self.transaction)
        self.kinds.append("record")

    def commit(self) -> None:
        if self.opened_at is not None:
            self.kinds.append("marker")
            self.transaction, self.opened_at = self.transaction + 1, None

    def read(self) -> None:
        visible = len(self.kinds) if self.opened_at is None else self.opened_at
        self.take([at for at in range(self.end, visible) if self.kinds[at] == "record"])

    def take(self, given: list[int]) -> None:
        self.taken += given
        self.end = max([self.end, *(at + 1 for at in given)])


@given(st.lists(st.sampled_from(["write", "commit", "record", "marker", "read"]), max_size=60))
def test_whoever_else_writes_the_lane_has_every_record_once_and_in_order(happenings: list[str]) -> None:
    log = Log()
    for happening in happenings:
        if happening in {"record", "marker"}:
            log.kinds.append(happening)
        else:
            getattr(log, happening)()
        log.take([message.offset() or 0 for message in log.own.following(log.end)])
    log.commit()
    log.read()
    assert log.taken == [at for at, kind in enumerate(log.kinds) if kind == "record"]


class HandingOn(CountingProcessor):
    """Hands rows on to another topic, from which it counts them."""

    def __init__(self, source: str, target: str) -> None:
        super().__init__(source, target)
        self.hop = f"{target}.hop"
        self.topics = (source, self.hop)
        self.plain: list[bytes] = []

    def process(self, batch: Batch) -> list[Output]:
        if batch.partition.topic == self.hop:
            return super().process(batch)
        assert batch.headers is not None
        rows = zip(batch.offsets.tolist(), batch.keys, batch.values, strict=True)
        told = (("from", str(batch.partition.index).encode()), ("nothing", None))
        handed = [Output(self.hop, value, key, offset % 2, told) for offset, key, value in rows]
        return [*handed, *(Output(f"{self.target}.small", value) for value in self.plain)]

    def counted(self) -> list[tuple[int, int, int, bytes | None, bytes | None, Headers | None]]:
        """The rows of the other topic, as they came."""
        return [
            (batch.partition.index, *row)
            for batch in self.batches
            for row in zip(
                batch.offsets.tolist(), batch.timestamps.tolist(), batch.keys, batch.values, batch.headers, strict=True
            )
        ]


class Topics:
    """A source of three partitions, and another topic of two that is read as well."""

    def __init__(self, kafka: Settings, name: str, home: Path) -> None:
        self.settings = kafka.model_copy(update={"state_dir": home})
        self.name = name
        self.sessions: list[Session] = []
        self.fed = 0
        small = {"max.message.bytes": "1000"}
        specs = [("in", 3, {}), ("out", 1, {}), ("out.hop", 2, {}), ("out.small", 1, small)]
        ensure_topics(self.settings, [TopicSpec(f"{name}.{topic}", count, over) for topic, count, over in specs])

    def session(self, **over: Any) -> tuple[Session, HandingOn]:  # noqa: ANN401 any field of the configuration
        processor = HandingOn(f"{self.name}.in", f"{self.name}.out")
        config = EngineConfig(
            group=f"{self.name}.group",
            settings=self.settings,
            handed_over=(processor.hop,),
            **{"commit_interval": 0.02, **over},
        )
        session = Session(config, processor, Stop())
        self.sessions.append(session)
        session.start()
        return session, processor

    def feed(self, count: int) -> None:
        producer = feeder(self.settings)
        for number in range(self.fed, self.fed + count):
            producer.produce(f"{self.name}.in", b"%d" % (number // 3), b"k%d" % (number % 7), number % 3)
        assert producer.flush(60) == 0
        self.fed += count

    def read(self, topic: str, *, settled: bool = False) -> list[Message]:
        return (
            read_settled(self.settings, f"{self.name}.{topic}")
            if settled
            else read_all(self.settings, f"{self.name}.{topic}")
        )

    def check_exact(self) -> None:
        hops = self.read("out.hop", settled=True)
        assert len(hops) == self.fed
        rows = [(m.partition() or 0, m.offset() or 0, m.key(), int(m.value() or b"")) for m in hops]
        told = [(m.value() or b"").decode() for m in self.read("out", settled=True)]
        assert sorted(told) == sorted(expected(rows))


@pytest.fixture
def topics(kafka: Settings, unique: str, tmp_path: Path) -> Iterator[Topics]:
    topics = Topics(kafka, unique, tmp_path)
    yield topics
    for session in topics.sessions:
        session.abandon()


def test_a_worker_processes_its_own_records_in_the_transaction_that_they_are_part_of(topics: Topics) -> None:
    topics.feed(300)
    session, processor = topics.session(commit_interval=3_600)
    pump(session, lambda: len(processor.counted()) == 300, "its own records were not handed over")
    assert topics.read("out.hop") == topics.read("out") == []
    session.finish()
    topics.check_exact()
    kept = [
        (m.partition() or 0, m.offset() or 0, m.timestamp()[1], m.key(), m.value(), m.headers())
        for m in topics.read("out.hop", settled=True)
    ]
    assert sorted(processor.counted(), key=itemgetter(0, 1)) == sorted(kept, key=itemgetter(0, 1))


def test_own_records_are_handed_over_behind_the_markers_of_earlier_transactions_too(topics: Topics) -> None:
    session, processor = topics.session(commit_interval=0.01)
    for part in range(1, 6):
        topics.feed(30)
        pump(session, lambda: topics.read("out") and len(topics.read("out")) == topics.fed, f"part {part} did not come")
    session._commits.config = replace(session._config, commit_interval=3_600)
    topics.feed(30)
    pump(session, lambda: len(processor.counted()) == topics.fed, "its own records were not handed over")
    assert len(topics.read("out")) == topics.fed - 30
    session.finish()
    topics.check_exact()


def test_while_few_rows_wait_all_that_they_give_is_seen_after_one_commit(topics: Topics) -> None:
    session, processor = topics.session(commit_interval=3_600, quiet_interval=1.0)
    topics.feed(3)
    pump(session, lambda: len(topics.read("out")) == topics.fed, "the rows were not committed")
    assert session._transactions._number == 1
    assert len(processor.counted()) == topics.fed
    topics.check_exact()


def test_workers_that_write_to_each_others_partitions_count_every_row_once_and_in_order(topics: Topics) -> None:
    topics.feed(300)
    first, _ = topics.session()
    pump(first, lambda: len(topics.read("out")) == topics.fed, "the rows did not come", timeout=60)
    second, _ = topics.session()
    pump([first, second], lambda: first.lanes and second.lanes, "the partitions were not shared", timeout=60)
    for _ in range(5):
        topics.feed(200)
        pump([first, second], lambda: len(topics.read("out")) == topics.fed, "the rows did not come", timeout=60)
    topics.feed(200)
    second.abandon()  # with what was open
    pump(first, lambda: len(topics.read("out")) == topics.fed, "the rows did not come", timeout=60)
    topics.check_exact()


def test_what_kafka_refuses_is_told_although_records_are_not_asked_for_reports(topics: Topics) -> None:
    topics.feed(1)
    session, processor = topics.session(batch_rows=1)
    processor.plain = [os.urandom(5_000)]
    with pytest.raises(BrokerError, match=r"single row.*max\.message\.bytes"):
        pump(session, lambda: False, "no error", timeout=60)
    assert topics.read("out") == []


def test_a_batch_of_its_own_that_the_client_cannot_read_holds_up_nobody_behind_it(topics: Topics) -> None:
    session, processor = topics.session(
        consumer={"receive_message_max_bytes": 2_000_000, "fetch_max_bytes": 1_000_000},
        producer={"message_max_bytes": 10_000_000, "compression_type": "zstd"},
        unreadable_after=1.0,
        commit_interval=1.0,
    )
    pump(session, lambda: session._membership.complete, "the partitions were not opened")
    number = b" " * 4_000_000 + b"5"
    config = producer_config(topics.settings, message_max_bytes=10_000_000, compression_type="zstd")
    hop = f"{topics.name}.out.hop"
    session._transactions.begin()
    session._transactions.send([Output(hop, number, b"k", 0, (("of", b"it"),))])
    pump(session, processor.counted, "its own record was not handed over")
    pump(session, lambda: not session._commits.pending, "nothing was committed")
    other = Producer(config)
    other.produce(hop, b"7", b"k", 0, headers=[("of", b"it")])
    assert other.flush(30) == 0
    pump(session, lambda: len(processor.counted()) == 2, "the other's record was not read", timeout=20)


@pytest.mark.parametrize(
    ("waiting", "handed", "untold", "due_at"),
    [
        pytest.param(0, 0, 0, 0.01, id="quiet"),
        pytest.param(99, 0, 0, 0.01, id="few rows"),
        pytest.param(100, 0, 0, 0.1, id="more rows"),
        pytest.param(800, 0, 0, 0.5, id="a backlog"),
        pytest.param(0, 1, 0, 0.04, id="own records wait"),
        pytest.param(0, 0, 1, 0.04, id="own records are on their way"),
    ],
)
def test_a_transaction_is_committed_the_sooner_the_fewer_rows_wait(
    waiting: int, handed: int, untold: int, due_at: float
) -> None:
    config = EngineConfig(
        "g", Settings(), batch_rows=800, quiet_interval=0.01, behind_interval=0.5, handed_over=("hop",)
    )
    lanes = {("raw", 0): Lane("raw", 0, rows=waiting), ("hop", 0): Lane("hop", 0, rows=handed)}
    transactions = SimpleNamespace(is_open=True, age=0.0, rows=1, untold=untold)
    told: Any = SimpleNamespace(lanes=lanes)
    commits = Commits(config, cast("TaskState", None), cast("Any", transactions), told, cast("Any", None), time.time)
    transactions.age = due_at - 0.001
    assert not commits.due
    transactions.age = due_at
    assert commits.due

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from counting import ABORT, CountingProcessor, expected
from feeding import feeder
from offsets import GroupOffsets, group_offsets, read_settled
from sessions import pump, step

from dataflows.engine import consumer_group
from dataflows.engine.config import EngineConfig
from dataflows.engine.error_codes import FATAL
from dataflows.engine.shutdown import Stop
from dataflows.engine.task import Session
from dataflows.engine.transactional_producer import TransactionFailed, Transactions
from dataflows.engine.watchdog import Watchdog
from dataflows.engine.work import Work
from support import wait_until
from tidemark.errors import BrokerError, ConfigError, TopicError
from tidemark.kafka import admin, consumer_config, ensure_topics, producer_config, read_all
from tidemark.records.topics import TopicSpec
from tidemark.runtime.processor import Batch, Output
from tidemark.runtime.settings import Settings

PARTITIONS = 3


@dataclass(frozen=True)
class _OutOfRange:
    """What Kafka's client hands out for a position that it can't read at."""

    at: int

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._AUTO_OFFSET_RESET)

    def offset(self) -> int:
        return self.at


class _Unassigned:
    """A consumer whose partitions are gone."""

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        """Nothing is left to do."""


class Bench:
    """Topics of one test, and sessions over them that are ended after it."""

    def __init__(self, kafka: Settings, name: str, home: Path) -> None:
        self.settings = kafka.model_copy(update={"state_dir": home})
        self.source, self.target, self.group = f"{name}.in", f"{name}.out", f"{name}.group"
        self.sessions: list[Session] = []
        self.admin: AdminClient = admin(self.settings)
        self.rows = 0
        self.offsets = GroupOffsets(self.settings, self.group, self.source, PARTITIONS)
        ensure_topics(
            self.settings,
            [
                TopicSpec(self.source, PARTITIONS, {}),
                TopicSpec(self.target, 1, {}),
                TopicSpec(f"{self.target}.small", 1, {"max.message.bytes": "1000"}),
                TopicSpec(f"{self.target}.dead", 1, {}),
            ],
        )

    def session(
        self,
        processor: CountingProcessor | None = None,
        **over: Any,  # noqa: ANN401 any field of the configuration
    ) -> tuple[Session, CountingProcessor]:
        processor = processor or CountingProcessor(self.source, self.target)
        config = EngineConfig(group=self.group, settings=self.settings, **{"commit_interval": 0.02, **over})
        session = Session(config, processor, Stop())
        self.sessions.append(session)
        session.start()
        return session, processor

    def feed(self, values: list[bytes], partitions: int = PARTITIONS) -> None:
        producer = feeder(self.settings)
        for value in values:
            producer.produce(self.source, value, b"k%d" % (self.rows % 7), self.rows % partitions)
            self.rows += 1
        assert producer.flush(60) == 0

    def times(self, count: int) -> None:
        """`count` rows whose time goes up by one every three rows."""
        self.feed([b"%d" % ((self.rows + i) // 3) for i in range(count)])

    def committed_outputs(self) -> list[str]:
        return [(m.value() or b"").decode() for m in read_all(self.settings, self.target)]

    def expected(self) -> list[str]:
        rows = [
            (m.partition() or 0, m.offset() or 0, m.key(), 0 if m.value() == ABORT else int(m.value() or b""))
            for m in read_all(self.settings, self.source)
        ]
        return expected(rows)

    def all_committed(self) -> Callable[[], object]:
        """Condition: the rows fed so far are."""
        return lambda: self.offsets.handled() == self.rows

    def settled_outputs(self) -> list[str]:
        return [(m.value() or b"").decode() for m in read_settled(self.settings, self.target)]

    def check_exact(self) -> None:
        assert sorted(self.settled_outputs()) == sorted(self.expected())


@pytest.fixture
def bench(kafka: Settings, unique: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, unique, tmp_path)
    yield bench
    for session in bench.sessions:
        session.abandon()
    bench.offsets.close()


def test_each_row_is_processed_once_and_its_offset_committed(bench: Bench) -> None:
    bench.times(3_000)
    session, processor = bench.session()
    pump(session, bench.all_committed(), "the rows were not committed")
    bench.check_exact()
    assert processor.replayed == 0


def test_an_open_transaction_is_not_seen_before_its_interval_and_is_committed_at_the_end(bench: Bench) -> None:
    bench.times(300)
    session, processor = bench.session(commit_interval=3_600)
    pump(session, lambda: sum(map(len, processor.batches)) == 300, "the rows were not processed")
    assert bench.committed_outputs() == []
    session.finish()
    bench.check_exact()


def test_a_full_transaction_is_committed_whatever_its_age(bench: Bench) -> None:
    session, _ = bench.session(commit_interval=3_600, commit_rows=90)
    bench.times(90)
    pump(session, bench.all_committed(), "the full transaction was not committed")


def _polled(session: Session) -> tuple[list[Work], float]:
    """What a poll that may wait gives, and the seconds that it took; what it gives is processed."""
    begun = time.monotonic()
    work = session.poll(wait=True)
    took = time.monotonic() - begun
    session.handle([session.process(each) for each in work])
    return work, took


def test_a_worker_that_has_nothing_to_do_waits_for_a_record_and_is_woken_by_it(bench: Bench) -> None:
    """It took a twentieth of a processor for polling, and flows of pipelines rest most of the time."""
    bench.times(30)
    session, _ = bench.session(idle_wait=0.3, tick_interval=3_600)
    pump(session, bench.all_committed(), "the rows were not committed")
    wait_until(lambda: _polled(session)[1] >= 0.3, "it never waits")
    patient, _ = bench.session(idle_wait=60, tick_interval=3_600)
    session.finish()
    pump(patient, lambda: len(patient.lanes) == PARTITIONS, "it was given no partitions")
    waiting = threading.Thread(target=bench.times, args=(1,))
    waiting.start()
    begun = time.monotonic()
    while not _polled(patient)[0]:
        pass
    assert time.monotonic() - begun < 30
    waiting.join()


def test_a_worker_that_stands_by_waits_for_its_turn(bench: Bench) -> None:
    """Of no tick that is due by its clock: it has none while another is the active one."""
    active, _ = bench.session(elect_by=bench.target)
    pump(active, lambda: len(active.lanes) == PARTITIONS, "nobody is active")
    standby, _ = bench.session(elect_by=bench.target, idle_wait=0.3)
    pump(active, lambda: _polled(standby)[1] >= 0.3, "it never waits")
    active.finish()
    pump(standby, lambda: len(standby.lanes) == PARTITIONS, "it does not take over")


def test_a_worker_waits_for_no_record_while_it_has_to_commit(bench: Bench) -> None:
    session, processor = bench.session(idle_wait=60, commit_interval=3_600, tick_interval=3_600)
    bench.times(30)
    pump(session, lambda: sum(map(len, processor.batches)) == 30, "the rows were not processed")
    assert [took for _, took in (_polled(session) for _ in range(5)) if took > 30] == []


def test_a_refused_record_aborts_the_transaction_and_all_is_done_again_from_what_is_committed(bench: Bench) -> None:
    bench.times(600)
    session, processor = bench.session()
    pump(session, bench.all_committed(), "the rows were not committed")
    bench.feed([b"%d" % (200 + i // 3) if i != 100 else ABORT for i in range(300)])
    pump(session, bench.all_committed(), "the rows were not committed after the refusal", timeout=60)
    assert processor.aborted
    assert len(processor.opened) == 2 * PARTITIONS
    assert processor.replayed > 0, "windows were rebuilt"
    bench.check_exact()
    assert read_settled(bench.settings, f"{bench.target}.small") == []


def test_a_later_session_replays_the_open_window_and_emits_nothing_for_it(bench: Bench) -> None:
    bench.times(400)
    first, _ = bench.session()
    pump(first, bench.all_committed(), "the first session did not commit")
    first.finish()
    before = bench.settled_outputs()
    second, processor = bench.session()
    bench.times(200)
    pump(second, bench.all_committed(), "the second session did not commit")
    replays = [batch for batch in processor.batches if batch.replay]
    committed = {index: 400 // PARTITIONS + (index < 400 % PARTITIONS) for index in range(PARTITIONS)}
    for batch in processor.batches:
        below = [offset < committed[batch.partition.index] for offset in batch.offsets.tolist()]
        assert all(flag == batch.replay for flag in below), "a batch is on one side of the committed offset"
    # Times 100 to 133 lie in the open window, of each time one row in each partition.
    assert sum(map(len, replays)) == 400 - 300
    assert bench.settled_outputs()[: len(before)] == before
    bench.check_exact()


def test_a_joining_session_takes_partitions_and_no_row_is_lost_or_doubled(bench: Bench) -> None:
    first, one = bench.session()
    bench.times(1_500)
    pump(first, bench.all_committed(), "the first session did not commit")
    second, two = bench.session()
    bench.times(1_500)
    pump([first, second], lambda: two.opened and bench.all_committed()(), "the second session got nothing", 60)
    bench.times(1_500)
    pump([first, second], bench.all_committed(), "the rows were not committed")
    assert len(one.closed) >= 1
    assert len(one.states) + len(two.states) == PARTITIONS
    assert two.replayed > 0
    bench.check_exact()


def test_one_of_two_elected_sessions_has_all_partitions_and_the_other_takes_over_when_it_ends(bench: Bench) -> None:
    first, one = bench.session(elect_by=bench.target)
    pump(first, lambda: len(one.opened) == PARTITIONS, "the first session was not elected")
    second, two = bench.session(elect_by=bench.target)
    bench.times(600)
    pump([first, second], bench.all_committed(), "the rows were not committed")
    assert (len(one.states), len(two.states)) == (PARTITIONS, 0)
    assert one.closed == []
    first.finish()
    bench.times(600)
    pump(second, bench.all_committed(), "the second session did not take over", 60)
    assert two.opened
    assert len(two.states) == PARTITIONS
    bench.check_exact()


def test_an_elected_session_works_only_while_it_has_every_partition(bench: Bench) -> None:
    foreign = Consumer(consumer_config(bench.settings, group=bench.group))  # such as a process of an earlier version
    foreign.subscribe([bench.source])
    wait_until(lambda: foreign.poll(0.05) is None and len(foreign.assignment()) == PARTITIONS, "nothing was assigned")
    session, processor = bench.session(elect_by=bench.target)
    bench.times(300)

    def shared() -> bool:
        foreign.poll(0)
        return 0 < len(foreign.assignment()) < PARTITIONS and len(processor.opened) > 0

    pump(session, shared, "the partitions were not shared", 60)
    pump(session, lambda: foreign.poll(0.05) is None, "the foreign consumer reads")
    assert processor.batches == []
    assert bench.committed_outputs() == []
    foreign.close()
    pump(session, bench.all_committed(), "the session does not go on with all partitions", 60)
    bench.check_exact()


def test_a_session_that_is_no_longer_elected_commits_and_leaves(bench: Bench) -> None:
    session, processor = bench.session(elect_by=bench.target, commit_interval=3_600)
    bench.times(300)
    pump(session, lambda: sum(map(len, processor.batches)) == 300, "the rows were not processed")
    assert session._election is not None
    session._election.leave()
    step(session)
    assert session._membership.consumer is None
    assert len(processor.closed) == PARTITIONS
    assert bench.all_committed()()
    session._election.join()
    bench.times(300)
    session._commits.config = EngineConfig(group=bench.group, settings=bench.settings, commit_interval=0.02)
    pump(session, bench.all_committed(), "the session was not elected again", 60)
    bench.check_exact()


def test_rows_of_a_revoked_partition_that_are_under_way_are_dropped(bench: Bench) -> None:
    bench.times(30)
    session, processor = bench.session(commit_interval=3_600)
    under_way: list[Work] = []

    def rows_are_under_way() -> bool:
        under_way[:] = session.poll()
        if any(work.items for work in under_way):
            return True
        session.handle([session.process(work) for work in under_way])
        return False

    wait_until(rows_are_under_way, "no rows came")
    done = [session.process(work) for work in under_way]
    session._membership._on_revoke(
        session._membership._joined, [TopicPartition(bench.source, i) for i in range(PARTITIONS)]
    )
    session.handle(done)
    session.finish()
    assert len(processor.closed) == PARTITIONS
    assert bench.committed_outputs() == []


def test_a_round_that_never_comes_to_the_sink_is_an_error_and_not_a_wait_for_ever(bench: Bench) -> None:
    bench.times(30)
    session, _ = bench.session(commit_interval=3_600)
    wait_until(session.poll, "no rows came")
    for _ in range(2_000):
        assert session.poll() == [], "slow is not lost"
    session._clock = lambda: time.monotonic() + 60
    with pytest.raises(ConfigError, match="has not come to `commit` on every branch"):
        session.poll()
    assert bench.committed_outputs() == []


def test_a_lost_partition_takes_its_transaction_with_it(bench: Bench) -> None:
    bench.times(300)
    session, processor = bench.session(commit_interval=3_600)
    pump(session, lambda: sum(map(len, processor.batches)) == 300, "the rows were not processed")
    # Kafka's client has not lost it: were it unassigned there, the client would wait at the end for it to be given up.
    session._membership._on_lost(cast("Consumer", _Unassigned()), [TopicPartition(bench.source, 0)])
    assert [partition.index for partition in processor.closed] == [0]
    session.finish()
    assert bench.committed_outputs() == []


def test_a_member_that_polled_too_late_loses_its_rows_and_does_them_again(bench: Bench) -> None:
    bench.times(300)
    session, processor = bench.session(
        max_poll_interval=2, commit_interval=3_600, consumer={"session_timeout_ms": 2_000, "heartbeat_interval_ms": 300}
    )
    pump(session, lambda: sum(map(len, processor.batches)) >= 300, "the rows were not processed")
    time.sleep(3)  # what is tested is that time passes without a poll
    session._commits.config = EngineConfig(group=bench.group, settings=bench.settings, commit_interval=0.02)
    pump(session, bench.all_committed(), "the rows were not committed after the return", timeout=60)
    assert len(processor.opened) == 2 * PARTITIONS
    bench.check_exact()


def test_a_slot_taken_over_fences_its_earlier_holder(bench: Bench) -> None:
    session, _ = bench.session()
    bench.times(300)
    pump(session, bench.all_committed(), "the rows were not committed")
    usurper = Producer(producer_config(bench.settings, transactional_id=session.slot.transactional_id))
    usurper.init_transactions(60)
    bench.times(300)
    pump(session, bench.all_committed(), "the fenced session did not recover", timeout=60)
    bench.check_exact()


def test_after_too_many_failures_in_a_row_the_session_ends_with_the_reason(bench: Bench) -> None:
    class Fenced(CountingProcessor):
        def process(self, batch: Batch) -> list[Output]:
            usurper = Producer(producer_config(bench.settings, transactional_id=session.slot.transactional_id))
            usurper.init_transactions(60)
            return super().process(batch)

    bench.times(3)
    session, _ = bench.session(Fenced(bench.source, bench.target), most_failures=1)
    with pytest.raises(BrokerError, match=r"2 transactions in a row failed.*fenced.*TIDEMARK_SLOT"):
        pump(session, lambda: False, "no error", timeout=60)
    assert bench.committed_outputs() == []


def test_a_producer_that_was_fenced_says_so_at_every_later_call(bench: Bench) -> None:
    name = f"{bench.group}.fenced"
    watchdog = Watchdog(name)
    config = producer_config(bench.settings, transactional_id=name)
    transactions = Transactions(config, watchdog, timeout=30, commit_timeout=30)
    transactions.renew(time.monotonic() + 60)
    transactions.begin()
    Producer(config).init_transactions(60)

    def reason() -> str:
        try:
            transactions.send([Output(bench.target, b"a row")])
        except TransactionFailed as failure:
            return str(failure)
        return ""

    wait_until(reason, "nothing was refused")
    producer = transactions._good()
    producer.purge()
    wait_until(lambda: producer.poll(0.1) == 0 and not len(producer), "the reports did not end")
    transactions._refused = None  # as where none has come: then the client says of a record only that all has failed
    assert "fenced by a newer" in str(transactions._unsendable(producer, bench.target, 5, KafkaError(FATAL)))
    transactions.discard()
    watchdog.close()


class OneRecordABatch(CountingProcessor):
    """Adds a record of 100 kB a row that does not compress; its topic takes a megabyte."""

    def process(self, batch: Batch) -> list[Output]:
        return [*super().process(batch), Output(f"{self.target}.dead", os.urandom(100_000 * len(batch)))]


def test_batches_get_smaller_until_what_is_made_of_them_fits_its_topic(bench: Bench) -> None:
    bench.times(60)
    session, processor = bench.session(OneRecordABatch(bench.source, bench.target), batch_rows=16)
    pump(session, bench.all_committed(), "the rows were not committed", timeout=60)
    assert max(map(len, processor.batches[-3:])) <= 8
    bench.check_exact()
    records = read_settled(bench.settings, f"{bench.target}.dead")
    assert sum(len(m.value() or b"") for m in records) == 6_000_000


def test_a_record_of_a_single_row_that_is_too_large_is_an_error_that_says_what_to_raise(bench: Bench) -> None:
    class Refused(CountingProcessor):
        def process(self, batch: Batch) -> list[Output]:
            self.aborted.clear()
            return super().process(batch)

    bench.feed([ABORT])
    session, _ = bench.session(Refused(bench.source, bench.target), batch_rows=1)
    with pytest.raises(BrokerError, match=r"single row.*max\.message\.bytes"):
        pump(session, lambda: False, "no error", timeout=60)
    assert bench.committed_outputs() == []


def test_a_missing_topic_is_named(bench: Bench, unique: str) -> None:
    with pytest.raises(TopicError, match=rf"no topic '{unique}\.missing'"):
        bench.session(CountingProcessor(f"{unique}.missing", bench.target))


def test_a_hop_with_other_partitions_than_configured_is_an_error_that_says_so(bench: Bench) -> None:
    with pytest.raises(TopicError, match=r"has 3 partitions where the pipeline says 4"):
        bench.session(fixed_partitions={bench.source: 4})


def test_a_grown_hop_is_an_error_that_says_so(bench: Bench) -> None:
    session, _ = bench.session(fixed_partitions={bench.source: PARTITIONS}, topic_check_interval=0.3)
    bench.admin.create_partitions([NewPartitions(bench.source, PARTITIONS + 1)])[bench.source].result(60)
    with pytest.raises(TopicError, match=r"has 4 partitions where the pipeline says 3"):
        pump(session, lambda: False, "no error")


def test_new_partitions_of_a_grown_topic_are_read(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    session, processor = bench.session(topic_check_interval=0.3)
    bench.times(300)
    pump(session, bench.all_committed(), "the rows were not committed")
    bench.admin.create_partitions([NewPartitions(bench.source, PARTITIONS + 1)])[bench.source].result(60)
    producer = Producer(producer_config(bench.settings))
    producer.produce(bench.source, b"7", b"k", PARTITIONS)
    assert producer.flush(60) == 0
    pump(session, lambda: sum(map(len, processor.batches)) == 301, "the new partition's row was not processed")
    pump(session, lambda: "has grown from 3 to 4 partitions" in caplog.text, "nobody was told")
    session.finish()
    assert PARTITIONS in {partition.index for partition, _ in processor.opened}
    bench.check_exact()


def test_a_recreated_topic_is_read_from_its_beginning_with_empty_windows(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    session, processor = bench.session(topic_check_interval=0.3)
    bench.times(300)
    pump(session, bench.all_committed(), "the rows were not committed")
    bench.admin.delete_topics([bench.source])[bench.source].result(60)
    before = len(bench.settled_outputs())
    pump(session, lambda: "was deleted" in caplog.text, "the deletion was not noticed")
    ensure_topics(bench.settings, [TopicSpec(bench.source, PARTITIONS, {})])
    bench.rows = 0
    bench.times(90)
    # How often they are processed is open: the consumer may have come to the new topic before the look finds it new.
    pump(session, lambda: len(bench.committed_outputs()) >= before + 90, "the new topic's rows were not committed", 60)
    session.finish()
    assert len({partition.incarnation for partition, _ in processor.opened}) == 2
    assert sorted(bench.settled_outputs()[before:]) == sorted(bench.expected())


def test_offsets_of_an_earlier_topic_of_the_name_are_not_applied(bench: Bench) -> None:
    bench.times(300)
    session, _ = bench.session()
    pump(session, bench.all_committed(), "the rows were not committed")
    metadata = bench.offsets.committed()[0].metadata or ""
    session.finish()
    other = metadata.replace(metadata.split(":")[1], "00000000", 1)
    moved = [TopicPartition(bench.source, i, 50, other) for i in range(PARTITIONS)]
    asked = [ConsumerGroupTopicPartitions(bench.group, moved)]
    bench.admin.alter_consumer_group_offsets(asked)[bench.group].result(60)
    again, processor = bench.session()
    pump(again, lambda: sum(map(len, processor.batches)) == 300, "the log was not read from its beginning")
    assert all(metadata == "" for _, metadata in processor.opened)
    assert not any(batch.replay for batch in processor.batches)


def _cut(bench: Bench, offset: int) -> None:
    cut = [TopicPartition(bench.source, i, offset) for i in range(PARTITIONS)]
    for future in bench.admin.delete_records(cut).values():
        future.result(10)


def test_retention_past_the_rewind_position_is_an_error_that_says_what_to_do(bench: Bench) -> None:
    bench.times(400)
    session, _ = bench.session()
    pump(session, bench.all_committed(), "the rows were not committed")
    session.finish()
    _cut(bench, 110)
    again, _ = bench.session()
    with pytest.raises(TopicError, match=r"has removed 10 records that are needed.*TIDEMARK_ACCEPT_GAP=1"):
        pump(again, lambda: False, "no error")


def test_an_accepted_gap_is_told_to_the_dead_letters(bench: Bench) -> None:
    bench.times(400)
    session, _ = bench.session()
    pump(session, bench.all_committed(), "the rows were not committed")
    session.finish()
    _cut(bench, 110)
    again, processor = bench.session(accept_gap=True, deadletter=f"{bench.target}.dead", tick_interval=0.05)
    bench.times(30)
    pump(again, bench.all_committed(), "the rows were not committed")
    pump(again, lambda: len(read_all(bench.settings, f"{bench.target}.dead")) == PARTITIONS, "no dead letters")
    assert min(int(batch.offsets[0]) for batch in processor.batches) == 110
    headers = dict(read_all(bench.settings, f"{bench.target}.dead")[0].headers() or [])
    assert headers["step"] == b"resume"
    assert "has removed 10 records" in str(headers["reason"])


def test_retention_that_overtakes_a_reading_session_is_an_error(bench: Bench) -> None:
    session, _ = bench.session(commit_interval=3_600, topic_check_interval=0.3)
    pump(session, lambda: len(session.lanes) == PARTITIONS, "no partitions")
    pump(session, lambda: all(lane.at_end for lane in session.lanes.values()), "the end was not reached")
    session._membership._joined.pause([TopicPartition(bench.source, i) for i in range(PARTITIONS)])
    bench.times(300)
    _cut(bench, 60)
    session._membership._joined.resume([TopicPartition(bench.source, i) for i in range(PARTITIONS)])
    with pytest.raises(TopicError, match=r"retention has removed records that were not processed"):
        pump(session, lambda: False, "no error")


def test_a_partition_whose_first_records_are_gone_is_read_without_an_alarm(bench: Bench) -> None:
    """It waits at offset 0 to be opened. What Kafka says of that place may come when it is read elsewhere."""
    bench.times(300)
    _cut(bench, 60)
    session, processor = bench.session(topic_check_interval=0.2)
    pump(session, bench.all_committed(), "the rows were not committed")
    for lane in session.lanes.values():
        session._membership._on_event(lane, cast("Message", _OutOfRange(0)))
    bench.times(300)
    pump(session, bench.all_committed(), "the rows were not committed")
    pump(session, lambda: session._suspicion is None, "a suspicion was not looked into")
    assert sum(len(batch) for batch in processor.batches) == 300 - PARTITIONS * 60 + 300


def test_a_bug_in_the_processor_leaves_the_group_and_no_open_transaction(bench: Bench) -> None:
    bench.times(300)
    session, processor = bench.session(commit_interval=3_600)
    pump(session, lambda: sum(map(len, processor.batches)) == 300, "the rows were not processed")
    producer = feeder(bench.settings)
    producer.produce(bench.source, b"no number", b"k", 0)
    assert producer.flush(60) == 0
    with pytest.raises(ValueError, match="no number"):
        pump(session, lambda: False, "no error")
    began = time.monotonic()
    with group_offsets(bench.settings, bench.group, bench.source, PARTITIONS, stable=True) as stable:
        assert stable.handled() == 0
    assert time.monotonic() - began < 5, "nothing was left pending"


def test_two_sessions_never_share_a_named_slot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_SLOT", "a")
    session, _ = bench.session()
    assert session.slot.transactional_id == f"{bench.group}.a"
    with pytest.raises(ConfigError, match="held by another living process"):
        bench.session()


def test_ticks_come_when_all_state_is_there_and_their_outputs_are_committed(bench: Bench) -> None:
    class Ticking(CountingProcessor):
        def tick(self, now: float) -> list[Output]:
            return [Output(self.target, f"tick {now:.0f}".encode())]

    session = Session(
        EngineConfig(group=bench.group, settings=bench.settings, tick_interval=0.05, commit_interval=0.02),
        Ticking(bench.source, bench.target),
        Stop(),
        wall=lambda: 5.0,
    )
    bench.sessions.append(session)
    session.start()
    assert step(session) == 0
    pump(session, lambda: len(bench.committed_outputs()) >= 2, "no ticks")
    assert set(bench.committed_outputs()) == {"tick 5"}


@pytest.fixture(autouse=True)
def _engine_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_partition_waits_for_its_opening_at_a_position_that_needs_no_question_of_kafka(bench: Bench) -> None:
    assigned: list[TopicPartition] = []

    class Recording:
        def incremental_assign(self, partitions: list[TopicPartition]) -> None:
            assigned.extend(partitions)

        def pause(self, partitions: list[TopicPartition]) -> None:
            pass

    session, _ = bench.session()
    session._membership._on_assign(cast("Consumer", Recording()), [TopicPartition(bench.source, 0)])
    # The late answer to "where is the end?" moved the position of a partition that was open: rows were skipped.
    assert [partition.offset for partition in assigned] == [0]


@pytest.mark.parametrize("how", ["finish", "abandon"])
def test_partitions_are_given_up_before_the_consumer_closes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    calls: list[str] = []

    class Told(Consumer):
        def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
            calls.append("unassign")
            super().incremental_unassign(partitions)

        def close(self) -> None:
            calls.append("close")
            super().close()
            calls.append("closed")

    def told(settings: Settings, **options: Any) -> Told:  # noqa: ANN401 as the client has them
        return Told(consumer_config(settings, **options))

    monkeypatch.setattr(consumer_group, "kafka", SimpleNamespace(consumer=told))
    session, processor = bench.session()
    bench.times(30)
    pump(session, bench.all_committed(), "the rows were not committed")
    calls.clear()
    getattr(session, how)()
    assert calls == ["unassign", "close", "closed"]
    assert len(processor.closed) == PARTITIONS

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from labeling import CLASSES, SOURCE, MovedClock, arrivals, candidate

from labeling_grpc.clock import SteadyClock
from labeling_grpc.commands.events import CaseEvent
from labeling_grpc.commands.labeling import (
    Answer,
    Applied,
    Command,
    Counts,
    LeaseCases,
    LeasedCase,
    LeaseRef,
    Message,
    RenewLeases,
    SubmitAnswers,
    Sweep,
    TakeIn,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import sqlite_store, sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.queue.engine import Queue
from labeling_grpc.security.roles import Role
from labeling_grpc.storage.base import StoreError, nothing
from labeling_grpc.storage.group_commit import FutureReply, Stopping, Writer
from labeling_grpc.storage.sqlite import SqliteStore
from support import wait_until
from tidemark.errors import ConfigError
from tidemark.records.topics import Topics

RULES = QueueRules(classes=CLASSES)


def unexpected(error: Exception) -> None:
    raise error


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES)
    yield opened
    opened.close()


@pytest.fixture
def writer(store: SqliteStore) -> Iterator[Writer]:
    running = Writer(store, unexpected)
    running.start()
    yield running
    running.stop()


def take_in(number: int) -> TakeIn:
    return TakeIn(SOURCE, None, number, arrivals([candidate(i) for i in range(number)]))


def leased(result: object) -> list[LeasedCase]:
    assert isinstance(result, list)
    return [case for case in result if isinstance(case, LeasedCase)]


class Slow(SqliteStore):
    """Holds the first group until it is let go, and notes the sizes of groups."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, partial(Queue, Topics("pay"), RULES))
        self.gate = threading.Event()
        self.groups: list[int] = []

    def transact(self, commands: Sequence[Command], meanwhile: Callable[[], None] = nothing) -> Applied:
        self.groups.append(len(commands))
        self.gate.wait(30)
        return super().transact(commands, meanwhile)


def test_commands_that_come_during_a_commit_share_the_next_one(tmp_path: Path) -> None:
    store = Slow(tmp_path / "q.db")
    writer = Writer(store, unexpected)
    writer.start()
    replies = [FutureReply() for _ in range(101)]
    writer.submit(take_in(100), replies[0])
    wait_until(lambda: store.groups == [1], "the first group is not begun")
    for reply in replies[1:]:
        writer.submit(LeaseCases("ada", 1, 10**9), reply)
    store.gate.set()
    results = [reply.future.result(60) for reply in replies[1:]]
    assert store.groups[:2] == [1, 100]
    assert len({case.event_id for result in results for case in leased(result)}) == 100
    writer.stop()
    store.close()


class Working(SqliteStore):
    """Stops where the database begins to work, until it is let go on. Fails before that for one annotator."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, partial(Queue, Topics("pay"), RULES))
        self.at_work = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def transact(self, commands: Sequence[Command], meanwhile: Callable[[], None] = nothing) -> Applied:
        def working() -> None:
            meanwhile()
            self.at_work.release()
            assert self.gate.acquire(timeout=60)

        if any(isinstance(command, LeaseCases) and command.annotator == "fail" for command in commands):
            raise StoreError("the disk is full")
        return super().transact(commands, working)


def test_callers_of_a_group_are_told_while_the_next_one_is_with_the_database(tmp_path: Path) -> None:
    store = Working(tmp_path / "q.db")
    writer = Writer(store, unexpected)
    first, second, failing, last = (FutureReply() for _ in range(4))
    writer.submit(take_in(5), FutureReply())
    writer.start()
    assert store.at_work.acquire(timeout=60)
    writer.submit(LeaseCases("ada", 1, 10**9), first)
    store.gate.release()
    assert store.at_work.acquire(timeout=60)
    writer.submit(LeaseCases("ben", 1, 10**9), second)
    store.gate.release()
    assert store.at_work.acquire(timeout=60)
    assert leased(first.future.result(60))
    assert not second.future.done()
    writer.submit(LeaseCases("fail", 1, 10**9), failing)
    store.gate.release()
    assert leased(second.future.result(60)), "told though the next group failed, or nobody follows"
    with pytest.raises(StoreError, match="the disk is full"):
        failing.future.result(60)
    writer.submit(LeaseCases("eve", 1, 10**9), last)
    store.gate.release()
    writer.stop()
    assert last.future.done(), "the end tells who was not told yet"
    store.close()


def test_a_full_disk_refuses_the_group_and_loses_nothing(store: SqliteStore, writer: Writer) -> None:
    writer.call(take_in(3))
    (case,) = leased(writer.call(LeaseCases("ada", 1, 10**12)))
    with store._writer.begin():
        pages = store._writer.exec_driver_sql("PRAGMA page_count").scalar_one()
        store._writer.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    answer = SubmitAnswers((Answer(case.event_id, case.token, "answered", "fraud", comment="x" * 100_000),))
    with pytest.raises(StoreError, match="check the disk's space"):
        writer.call(answer)
    assert (store.counts.leased, store.counts.answered) == (1, 0)
    assert writer.failing
    wait_until(lambda: not writer.failing, "a database that can be written again is not noticed while nobody calls")
    with store._writer.begin():
        store._writer.exec_driver_sql("PRAGMA max_page_count = 1000000")
    writer.call(answer)
    assert (store.counts.leased, store.counts.answered) == (0, 1)
    assert len(store.unpublished(0, 10)) == 1


class Buggy(SqliteStore):
    """Meets a bug at one annotator."""

    def transact(self, commands: Sequence[Command], meanwhile: Callable[[], None] = nothing) -> Applied:
        if any(isinstance(command, LeaseCases) and command.annotator == "bug" for command in commands):
            raise ZeroDivisionError
        return super().transact(commands, meanwhile)


def test_a_bug_at_one_command_does_not_take_the_others_of_its_group_with_it(tmp_path: Path) -> None:
    store = Buggy(tmp_path / "q.db", partial(Queue, Topics("pay"), RULES))
    writer = Writer(store, unexpected)
    replies = {name: FutureReply() for name in ("ada", "bug", "ben")}
    intake = FutureReply()
    writer.submit(take_in(5), intake)
    for name, reply in replies.items():
        writer.submit(LeaseCases(name, 1, 10**9), reply)
    writer.start()
    assert leased(replies["ada"].future.result(60))
    assert leased(replies["ben"].future.result(60))
    with pytest.raises(ZeroDivisionError):
        replies["bug"].future.result(60)
    writer.stop()
    store.close()


def test_long_polls_are_served_first_come_first_served(writer: Writer) -> None:
    replies = [FutureReply() for _ in range(4)]
    for number, reply in enumerate(replies):
        writer.submit(LeaseCases(f"a{number}", 1, 10**9), reply, wait=30)
    wait_until(lambda: writer.parked == 4, "they do not wait")
    writer.call(take_in(3))
    served = [leased(reply.future.result(60)) for reply in replies[:3]]
    assert [cases[0].event_id for cases in served] == [candidate(i).event_id for i in range(3)]
    assert writer.parked == 1
    writer.let_go()
    assert replies[3].future.result(60) == []


def test_a_long_poll_for_which_nothing_is_left_does_not_keep_the_writer_turning(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(store, unexpected)
    turns = 0
    gather = writer._gather

    def counted() -> object:
        nonlocal turns
        turns += 1
        return gather()

    monkeypatch.setattr(writer, "_gather", counted)
    replies = [FutureReply() for _ in range(3)]
    writer.submit(take_in(1), replies[0])
    writer.submit(LeaseCases("ada", 1, 10**12), replies[1])
    writer.submit(LeaseCases("ben", 1, 10**12), replies[2], wait=0.4)
    writer.start()
    assert leased(replies[1].future.result(60))
    assert replies[2].future.result(60) == []
    assert turns < 10
    writer.stop()


def test_listeners_hear_of_what_changed(writer: Writer) -> None:
    heard: list[tuple[str, int]] = []

    def listen(events: list[CaseEvent], counts: Counts) -> None:
        heard.extend((event.kind, counts.open) for event in events)

    writer.listen(listen)
    writer.call(take_in(1))
    (case,) = leased(writer.call(LeaseCases("ada", 1, 10**12)))
    writer.call(SubmitAnswers((Answer(case.event_id, case.token, "skipped"),)))
    wait_until(lambda: len(heard) == 3, lambda: str(heard))
    assert heard == [("added", 1), ("leased", 1), ("skipped", 0)]


def test_a_stopped_writer_takes_no_more(store: SqliteStore) -> None:
    writer = Writer(store, unexpected)
    writer.start()
    writer.stop()
    with pytest.raises(Stopping):
        writer.call(Sweep())


def test_leases_outlast_a_restart_and_time_never_runs_backwards(tmp_path: Path) -> None:
    clock = MovedClock(time=50_000_000)
    first = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES, clock)
    first.transact([take_in(1)])
    (case,) = leased(first.transact([LeaseCases("ada", 1, 10_000_000)]).results[0])
    clock.time += 2_000_000
    first.transact([Sweep()])
    first.close()
    ahead = 10**18
    with sqlite3.connect(tmp_path / "q.db") as raw:
        assert raw.execute("SELECT value FROM meta WHERE key = 'clock'").fetchone() == ("52000000",)
        raw.execute("UPDATE meta SET value = ? WHERE key = 'clock'", (str(ahead),))
    raw.close()
    second = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES)
    assert second.clock.now() >= ahead
    second.close()
    clock.time += 7_000_000
    third = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES, clock)
    ref = LeaseRef(case.event_id, case.token)
    assert third.transact([RenewLeases((ref,), 1_000_000)]).results == [[clock.time + 1_000_000]]
    third.close()


def test_the_steady_clock_follows_the_wall_clock_from_where_it_started() -> None:
    clock = SteadyClock()
    first = clock.now()
    assert abs(first - clock.wall()) < 1_000_000
    assert clock.now() >= first


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    sqlite_store(tmp_path / "q.db", Topics("pay"), RULES).close()
    with sqlite3.connect(tmp_path / "q.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '99'")
    raw.close()
    with pytest.raises(StoreError, match="has schema '99'"):
        sqlite_store(tmp_path / "q.db", Topics("pay"), RULES)


def test_a_bound_that_was_lowered_below_what_is_leased_holds_nothing_up(tmp_path: Path) -> None:
    first = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES)
    first.transact([take_in(5), LeaseCases("ada", 4, 10**12)])
    first.close()
    second = sqlite_store(tmp_path / "q.db", Topics("pay"), QueueRules(classes=CLASSES, max_open=2))
    second.transact([TakeIn(SOURCE, 5, 6, arrivals([candidate(9)], 5))])
    assert (second.counts.leased, second.counts.waiting, second.counts.expired) == (4, 0, 2)
    second.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreError, match="file is not a database"):
        sqlite_store(tmp_path / "q.db", Topics("pay"), RULES)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from labeling_grpc.database import sqlite_store;"
        "from labeling_grpc.commands.rules import QueueRules; from tidemark.records.topics import Topics;"
        f"sqlite_store(Path({str(tmp_path / 'q.db')!r}), Topics('pay'), QueueRules(classes=('a',)));"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, env=os.environ)
    assert done.returncode == -9
    sqlite_store(tmp_path / "q.db", Topics("pay"), RULES).close()


def test_commits_are_flushed_to_the_disk(store: SqliteStore) -> None:
    assert store._writer.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    assert store._writer.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_a_token_made_by_another_process_in_the_middle_of_a_group_fails_neither(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = sqlite_tokens(tmp_path / "q.db")
    other = threading.Thread(target=tokens.create, args=(Role.ANNOTATOR, "ada", 10**12))
    apply = store._queue.apply

    def interrupted(
        connection: sa.Connection, commands: Sequence[Command], now: int, wall: int, decided: Callable[[], None]
    ) -> Applied:
        connection.exec_driver_sql("SELECT count(*) FROM meta").all()  # the group has read, and is about to write
        other.start()
        other.join(0.3)
        return apply(connection, commands, now, wall, decided)

    monkeypatch.setattr(store._queue, "apply", interrupted)
    store.transact([take_in(3)])
    other.join(60)
    assert store.counts.waiting == 3
    assert [token.annotator for token in tokens.all()] == ["ada"]
    tokens.close()


def test_the_outbox_is_read_in_bounded_pieces(store: SqliteStore) -> None:
    letters = [Message("pay.deadletter", b"k", os.urandom(900_000), (("h", b"\xff\x00"),)) for _ in range(12)]
    bad = tuple(
        arrival.__class__(offset, None, b"", letter)
        for offset, (letter, arrival) in enumerate(zip(letters, arrivals([candidate(0)] * 12), strict=True))
    )
    store.transact([TakeIn(SOURCE, None, 12, bad)])
    first = store.unpublished(0, 100)
    assert 8_000_000 < sum(len(row.message.value or b"") for row in first) < 9_800_000
    rest = store.unpublished(first[-1].seq, 100)
    assert [row.message for row in first + rest] == letters
    assert store.last_seq() == 12


def test_options_come_from_the_environment_and_are_checked() -> None:
    prefix = "TIDEMARK_LABELING_"
    given = Options.from_environment(
        {
            f"{prefix}ADDRESS": "localhost:50051",
            f"{prefix}LEASE": "90s",
            f"{prefix}MAX_OPEN": "500",
            f"{prefix}RELEASE_HOLD": "1m",
            f"{prefix}REFLECTION": "on",
        }
    )
    assert given == Options("localhost:50051", 90_000_000, 500, 60_000_000, reflection=True)
    assert Options.from_environment({f"{prefix}LEASE": " "}) == Options()
    for name, value in {
        "ADDRESS": "50051",
        "LEASE": "90",
        "MAX_OPEN": "0",
        "RELEASE_HOLD": "soon",
        "REFLECTION": "maybe",
    }.items():
        with pytest.raises(ConfigError, match=f"{value}"):
            Options.from_environment({prefix + name: value})

"""The engine's parts that need no Kafka."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.engine.alignment import Bounds, allowed_rows
from dataflows.engine.call_timeout import Hung, bounded
from dataflows.engine.config import gap_accepted
from dataflows.engine.partition_buffer import Lane
from dataflows.engine.shutdown import Stop
from dataflows.engine.start_offsets import Found, pack, start_offset, unpack
from dataflows.engine.transactional_ids import claim_slot, place
from dataflows.engine.warmup import rehearse
from dataflows.engine.watchdog import HUNG, Watchdog
from dataflows.run import expected_cause, main
from tidemark.cli.up import processes
from tidemark.errors import ConfigError, TopicError
from tidemark.pipeline import load
from tidemark.runtime.garbage_collection import seldom
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings
from tidemark.stream import StreamProcessor

ROOT = Path(__file__).parents[3]
PIPELINES = sorted((ROOT / "pipelines").glob("*.toml"))


# ---- alignment -------------------------------------------------------------------------------------------------------


@dataclass
class Source:
    """A partition with `rows` rows read, `pace` µs apart."""

    rows: int
    event_time: int | None
    pace: float = 1.0
    last_row: float = 0.0
    replaying: bool = False
    arrived: int | None = None


BOUNDS = Bounds(ahead=1_000, idle=0.5, min_rows=10, max_rows=500)
SOURCES = st.lists(
    st.builds(
        Source,
        rows=st.integers(0, 1_000),
        event_time=st.one_of(st.none(), st.integers(0, 10_000)),
        pace=st.floats(0, 100),
        last_row=st.floats(0, 2),
        replaying=st.booleans(),
        arrived=st.one_of(st.none(), st.integers(0, 10_000)),
    ),
    min_size=1,
    max_size=6,
)


@given(SOURCES, st.floats(0, 3))
def test_whoever_has_rows_can_go_on_once_the_silent_are_idle(sources: list[Source], wait: float) -> None:
    now = max(source.last_row for source in sources) + BOUNDS.idle + wait
    waiting = [source for source in sources if source.rows]
    if waiting:
        assert any(allowed_rows(source, sources, BOUNDS, now) for source in waiting)


@given(SOURCES)
def test_nobody_runs_ahead_of_the_slowest_by_more_than_the_bound_and_the_fewest_rows(sources: list[Source]) -> None:
    now = 0.0  # nobody is idle yet
    for source in sources:
        rows = allowed_rows(source, sources, BOUNDS, now)
        assert 0 <= rows <= min(source.rows, BOUNDS.max_rows)
        others = [other.event_time for other in sources if not other.replaying and other.event_time is not None]
        if source.event_time is not None and not source.replaying and rows > BOUNDS.min_rows:
            assert source.event_time + rows * source.pace <= min(others) + BOUNDS.ahead + source.pace


@given(SOURCES, st.integers(0, 10_000))
def test_a_partition_of_unreadable_rows_lets_others_go_as_far_as_their_arrival(others: list[Source], at: int) -> None:
    unreadable = Source(rows=0, event_time=None, arrived=at)
    for other in others:
        alone = allowed_rows(other, others, BOUNDS, 0.0)
        beside = allowed_rows(other, [*others, unreadable], BOUNDS, 0.0)
        assert beside <= alone
        if other.event_time is not None and other.event_time + other.pace * BOUNDS.max_rows <= at:
            assert beside == alone


def test_a_partition_ahead_waits_for_one_with_rows_and_not_for_one_that_is_idle() -> None:
    ahead, behind = Source(100, 5_000), Source(50, 0, last_row=9.0)
    assert allowed_rows(ahead, [ahead, behind], BOUNDS, 9.1) == 0
    assert allowed_rows(behind, [ahead, behind], BOUNDS, 9.1) == 50
    behind.rows = 0
    assert allowed_rows(ahead, [ahead, behind], BOUNDS, 9.1) == 0, "its next rows may be on their way"
    assert allowed_rows(ahead, [ahead, behind], BOUNDS, 9.6) == 100


def test_a_partition_that_is_replayed_neither_waits_nor_is_waited_for() -> None:
    ahead, replayed = Source(100, 5_000), Source(100, 0, replaying=True)
    assert allowed_rows(ahead, [ahead, replayed], BOUNDS, 0.0) == 100
    assert allowed_rows(Source(100, 9_000, replaying=True), [ahead], BOUNDS, 0.0) == 100


def test_a_partition_whose_time_is_not_known_goes_first() -> None:
    known, unknown = Source(100, 5_000), Source(100, None)
    assert allowed_rows(known, [known, unknown], BOUNDS, 0.0) == 0
    assert allowed_rows(unknown, [known, unknown], BOUNDS, 0.0) == 100


# ---- lanes -----------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """As much of a consumed message as a lane looks at."""

    at: int
    size: int

    def __len__(self) -> int:
        return self.size

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, self.at * 10

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return bytes(self.size)

    def headers(self) -> None:
        return None


@given(
    gaps=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50)), min_size=1, max_size=60),
    cuts=st.lists(st.integers(1, 20), max_size=10),
    committed=st.integers(0, 120),
    rows=st.integers(1, 15),
    most=st.integers(1, 200),
)
def test_batches_are_the_rows_in_order_each_on_one_side_of_the_committed_offset_and_within_bounds(
    gaps: list[tuple[int, int]], cuts: list[int], committed: int, rows: int, most: int
) -> None:
    offsets = np.cumsum([gap for gap, _ in gaps]).tolist()
    messages = [Row(offset, size) for offset, (_, size) in zip(offsets, gaps, strict=True)]
    lane = Lane("t", 0)
    lane.open(Partition("t", 0, "0"), generation=1, start=0, committed=committed, now=0.0)
    begin = 0
    for length in [*cuts, len(messages)]:  # as they come from Kafka: run by run
        if run := messages[begin : begin + length]:
            lane.add(run, 1.0)  # type: ignore[arg-type]
            begin += length
    taken: list[int] = []
    while lane.rows:
        batch = lane.take(rows, most)
        assert 1 <= len(batch) <= rows
        assert all((offset < committed) == batch.replay for offset in batch.offsets.tolist())
        assert sum(len(value or b"") for value in batch.values) <= most or len(batch) == 1
        taken += batch.offsets.tolist()
        assert lane.taken == taken[-1] + 1
    assert taken == offsets
    assert lane.bytes == 0


def test_a_replay_whose_last_rows_are_gone_ends_with_the_log() -> None:
    lane = Lane("t", 0)
    lane.open(Partition("t", 0, "0"), generation=1, start=0, committed=10, now=0.0)
    lane.add([Row(3, 1)], 1.0)  # type: ignore[list-item]
    lane.at_end = True
    lane.end_replay()
    assert lane.position == 0, "a row is still to be processed"
    lane.take(10, 10)
    lane.position = 4
    lane.end_replay()
    assert lane.position == lane.committed == 10


# ---- where to begin --------------------------------------------------------------------------------------------------


@given(st.text("0123456789abcdef", min_size=8, max_size=8), st.text(st.characters(codec="ascii"), max_size=4_000))
def test_committed_metadata_comes_back_as_it_was(incarnation: str, metadata: str) -> None:
    packed = pack(incarnation, metadata)
    assert unpack(packed) == (incarnation, metadata)
    assert len(packed) <= 4_095


@pytest.mark.parametrize("metadata", ["x" * 4_001, "ü"])
def test_metadata_that_the_broker_would_refuse_is_a_bug_that_is_told(metadata: str) -> None:
    with pytest.raises(ValueError, match="at most 4,000 ASCII"):
        pack("00000000", metadata)


@pytest.mark.parametrize("foreign", [None, "", "hello", "v0:1:2", "v1:no-second-colon"])
def test_metadata_of_a_foreign_tool_is_not_taken_for_ours(foreign: str | None) -> None:
    assert unpack(foreign) == (None, "")


@pytest.mark.parametrize(
    ("committed", "low", "rewind", "start"),
    [
        (None, 5, None, 5),
        (None, 5, 0, 5),
        (None, 5, 7, 7),
        (50, 5, None, 50),
        (50, 5, 20, 20),
        (50, 50, None, 50),
        (50, 20, 20, 20),
    ],
)
def test_reading_begins_at_the_rewind_or_the_committed_offset_or_the_oldest_record(
    committed: int | None, low: int, rewind: int | None, start: int
) -> None:
    found = Found("0", committed, "", low, None)
    assert start_offset(Lane("t", 0), found, rewind, group="g", accept_gap=False) == start


def test_a_gap_is_an_error_unless_it_is_accepted() -> None:
    lane, found = Lane("t", 3), Found("0", 50, "", 60, None)
    with pytest.raises(TopicError, match=r"'t' partition 3 .* removed 40 records .* 10 of them were never processed"):
        start_offset(lane, found, 20, group="g", accept_gap=False)
    assert start_offset(lane, found, 20, group="g", accept_gap=True) == 60
    assert gap_accepted({"TIDEMARK_ACCEPT_GAP": "1"})
    assert not gap_accepted({"TIDEMARK_ACCEPT_GAP": "0"})


def test_a_rewind_beyond_what_is_committed_is_a_bug() -> None:
    with pytest.raises(TopicError, match="rewind to 51 is after the committed 50"):
        start_offset(Lane("t", 0), Found("0", 50, "", 0, None), 51, group="g", accept_gap=False)


# ---- slots, signals, calls that hang ---------------------------------------------------------------------------------


def test_a_slot_is_held_by_one_and_is_free_again_when_released(tmp_path: Path) -> None:
    first = claim_slot("g", "b", folder=tmp_path, name="a")
    with pytest.raises(ConfigError, match="held by another living process"):
        claim_slot("g", "b", folder=tmp_path, name="a")
    other_worker = claim_slot("g", "b", folder=tmp_path, name="a", worker=1)
    other_cluster = claim_slot("g", "c", folder=tmp_path, name="a")
    assert (first.transactional_id, other_worker.transactional_id) == ("g.a", "g.a-1")
    first.release()
    claim_slot("g", "b", folder=tmp_path, name="a").release()
    other_worker.release()
    other_cluster.release()


def test_workers_without_a_name_take_the_first_free_slots_of_their_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEMARK_SLOT", raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: "a host!")
    slots = [claim_slot("g", "b", folder=tmp_path) for _ in range(3)]
    assert [slot.transactional_id for slot in slots] == ["g.a-host--0", "g.a-host--1", "g.a-host--2"]
    slots[1].release()
    again = claim_slot("g", "b", folder=tmp_path)
    assert again.transactional_id == "g.a-host--1"
    for slot in (slots[0], slots[2], again):
        slot.release()


def test_the_slot_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from dataflows.engine.transactional_ids import claim_slot\n"
        f"slot = claim_slot('g', 'b', folder=Path({str(tmp_path)!r}), name='a'); print('held', flush=True)\n"
        "time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError):
            claim_slot("g", "b", folder=tmp_path, name="a")
        child.kill()
    claim_slot("g", "b", folder=tmp_path, name="a").release()


@pytest.mark.parametrize("name", ["a/b", "x" * 101, "ü"])
def test_a_slot_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is no slot name"):
        claim_slot("g", "b", folder=tmp_path, name=name)


def test_a_signal_asks_for_the_end() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        stop = Stop().on_signals()
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_a_call_that_comes_back_gives_its_exception_and_one_that_does_not_is_left_behind() -> None:
    done: list[int] = []
    bounded("a call", 5, lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        bounded("a call", 5, lambda: [1 // 0])  # type: ignore[arg-type]
    released = threading.Event()
    with pytest.raises(Hung, match=r"a call has not come back for 0\.05 s"):
        bounded("a call", 0.05, lambda: released.wait(10))  # type: ignore[arg-type]
    released.set()


def test_the_watchdog_speaks_when_its_clock_has_passed_and_not_before() -> None:
    now = [0.0]
    said: list[str] = []
    dog = Watchdog("P.flow.0", expired=said.append, clock=lambda: now[0])
    with dog.guard("init_transactions", 10):
        now[0] = 9.9
        assert not dog.check()
        now[0] = 10.1
        assert dog.check()
    now[0] = 99.0
    assert not dog.check()
    dog.close()
    assert said
    assert "P.flow.0: init_transactions has not come back for 10 s" in said[0]


def test_a_guard_within_another_leaves_the_outer_one_in_force() -> None:
    now = [0.0]
    said: list[str] = []
    dog = Watchdog("w", expired=said.append, clock=lambda: now[0])
    with dog.guard("close of the consumer", 10):
        with dog.guard("commit", 5):
            now[0] = 4.0
        now[0] = 6.0
        assert not dog.check()
        now[0] = 10.1
        assert dog.check()
    dog.close()
    assert "close of the consumer has not come back" in said[0]


def test_a_call_that_hangs_with_the_interpreters_lock_ends_the_process() -> None:
    code = (
        "import ctypes, dataflows.engine.watchdog as w\n"
        "w.LAST_RESORT = 0.1\n"
        "with w.Watchdog('w').guard('a call', 0.1): ctypes.PyDLL(None).sleep(60)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False, timeout=30)
    assert child.returncode == 1
    assert b"Timeout" in child.stderr


def test_the_last_resort_waits_for_the_first_of_several_guards() -> None:
    code = (
        "import time, dataflows.engine.watchdog as w\n"
        "w.LAST_RESORT = 0.1\n"
        "a, b = (w.Watchdog(name, expired=lambda said: None) for name in 'ab')\n"
        "with a.guard('long', 60):\n"
        "    with b.guard('short', 60): pass\n"
        "    with b.guard('short', 0.1): time.sleep(30)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False, timeout=20)
    assert child.returncode == 1


def test_the_watchdog_ends_a_process_that_hangs() -> None:
    code = (
        "import time; from dataflows.engine.watchdog import Watchdog\n"
        "with Watchdog('w').guard('a call', 0.1): time.sleep(60)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False, timeout=30)
    assert child.returncode == HUNG
    assert b"w: a call has not come back" in child.stderr


def test_the_cycle_collector_leaves_rows_of_a_few_rounds_alone() -> None:
    before = gc.get_threshold()
    try:
        seldom()
        assert gc.get_threshold() == (200_000, *before[1:])
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


# ---- running ---------------------------------------------------------------------------------------------------------


def test_an_expected_error_is_found_in_what_bytewax_wraps_it_in() -> None:
    wrapped = RuntimeError("error calling source")
    wrapped.__cause__ = TopicError("gone")
    assert expected_cause(wrapped) is wrapped.__cause__
    assert expected_cause(RuntimeError("a bug")) is None


def test_a_wrong_command_line_tells_the_right_one(caplog: pytest.LogCaptureFixture) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        assert main(["strm", "p.toml"]) == 2
        assert "stream|select|retrain|monitor|decide|publish PIPELINE" in caplog.text
        assert main(["stream", "not-there.toml"]) == 78
        assert "not-there.toml" in caplog.text
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


class NoModel:
    def current(self) -> None:
        return None


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_rehearsal_goes_through_all_stages_of_each_pipeline(path: Path) -> None:
    pipeline = load(path)
    outputs = rehearse(StreamProcessor(pipeline, NoModel()), pipeline)
    assert outputs[pipeline.topics.predictions] == 300
    assert all(outputs[hop] for hop in pipeline.hop_topics)
    assert outputs[pipeline.topics.deadletter] == 0


def test_no_two_hosts_or_folders_of_state_share_a_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also hosts of one name: their locks are not each other's, so a shared id would have them fence for ever."""
    here = place(tmp_path / "one")
    assert place(tmp_path / "one") == here
    assert place(tmp_path / "two") != here
    monkeypatch.setattr("dataflows.engine.transactional_ids._MACHINE_IDS", ())
    monkeypatch.setattr("uuid.getnode", lambda: 2)
    other = place(tmp_path / "one")
    assert other != here
    monkeypatch.setattr("uuid.getnode", lambda: 3)
    assert place(tmp_path / "one") not in {here, other}
    monkeypatch.setattr("socket.gethostname", lambda: "x y/" * 40)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,60}", place(tmp_path / "one"))


def test_up_gives_slots_that_no_other_hosts_up_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_environment({"TIDEMARK_HOME": str(tmp_path)}).at("kafka:9092")
    ours = {spec.environment.get("TIDEMARK_SLOT") for spec in processes(tmp_path / "p.toml", settings, streams=2)}
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    theirs = {spec.environment.get("TIDEMARK_SLOT") for spec in processes(tmp_path / "p.toml", settings, streams=2)}
    assert ours & theirs == {None}
    assert len(ours) == 3

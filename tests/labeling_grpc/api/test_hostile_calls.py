"""Calls that no client of ours makes, against a service in a process of its own: what it logs is looked at."""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import raw_http2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from labeling import PIPELINE, MovedClock, pipeline

from labeling_grpc.api import health
from labeling_grpc.client import LabelingClient
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.security.quiet import LibraryLog, Tally, described
from labeling_grpc.security.roles import Role
from labeling_grpc.server import bounded, serve
from labeling_grpc.storage import group_commit
from labeling_grpc.storage.sqlite import SqliteStore
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from support import wait_until
from tidemark.runtime.settings import Settings

SECRET = "tdm_MUSTNOTBELOGGED"  # noqa: S105 - it is looked for
STATS = "/labeling_grpc.v1.LabelingService/Stats"
WATCH = "/labeling_grpc.v1.LabelingService/Watch"
CHECK = "/grpc.health.v1.Health/Check"


@dataclass(frozen=True)
class Running:
    address: str
    token: str
    stderr: Path

    @property
    def log(self) -> str:
        return self.stderr.read_text(errors="replace")

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)


SERVICE = """
import logging, sys
from pathlib import Path
from labeling_grpc.options import Options
from labeling_grpc.server import serve
from tidemark.pipeline import parse
from tidemark.runtime.settings import Settings
logging.basicConfig(level=logging.INFO)
folder = Path(sys.argv[1])
settings = Settings(state_dir=folder).at("127.0.0.1:9")
with serve(parse((folder / "pay.toml").read_text(), "pay.toml"), settings, options=Options(tokens=True)) as server:
    print(server.address, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "pay.toml").write_text(PIPELINE.replace("NAME", "pay"))
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVICE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            tokens = sqlite_tokens(folder / "pipelines" / "pay" / "labeling.db")
            token = tokens.create(Role.ADMIN, "root", 10**13).secret
            tokens.close()
            yield Running(address, token, folder / "stderr")
        finally:
            process.communicate("", timeout=30)
    assert process.returncode == 0


def stub(channel: grpc.Channel) -> Any:  # noqa: ANN401 - the stubs' own types are awkward with futures
    return labeling_pb2_grpc.LabelingServiceStub(channel)


def lines(running: Running) -> list[str]:
    """What the log says of calls; the lack of a Kafka, and what the trail is told, are not about them."""
    return [line for line in running.log.splitlines() if "Kafka" not in line and "security.audit" not in line]


def test_no_token_is_logged_however_it_is_sent(running: Running) -> None:
    for path in (STATS, WATCH, CHECK):
        for value in (f"Bearer {SECRET}".encode() + b"\xff1", b"\xfe" + SECRET.encode(), SECRET.encode() * 300):
            headers = [(b"authorization", value), (b"x-" + SECRET.lower().encode(), b"\xc3"), (b"x-bin", b"!")]
            raw_http2.call(running.address, path, headers, times=5)
    wait_until(lambda: "UnicodeDecodeError of grpc" in running.log, "what gRPC logged was not counted")
    assert SECRET.lower() not in running.log.lower()
    assert "Traceback" not in running.log


def test_refused_calls_are_counted_and_told_in_one_line(running: Running) -> None:
    with grpc.insecure_channel(running.address) as channel:
        for _ in range(300):
            with pytest.raises(grpc.RpcError):
                stub(channel).Stats(pb.StatsRequest(), timeout=10)
    wait_until(lambda: "Stats refused: UNAUTHENTICATED" in running.log, "refusals are not told")
    assert sum(len(line) for line in lines(running)) < 5_000


def test_deadlines_of_milliseconds_and_calls_that_are_given_up_leave_no_stack(running: Running) -> None:
    with grpc.insecure_channel(running.address) as channel:
        calls: list[Any] = []
        for number in range(400):
            timeout = (1 + number % 50) / 1_000
            metadata = running.metadata if number % 3 else ()
            calls.append(stub(channel).Stats.future(pb.StatsRequest(), timeout=timeout, metadata=metadata))
            calls.append(stub(channel).Watch(pb.WatchRequest(interval_ms=50), timeout=timeout, metadata=metadata))
            calls.append(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=timeout))
            if number % 4 == 0:
                calls[-3].cancel()
                calls[-2].cancel()
        wait_until(lambda: all(call.done() for call in calls), "calls with a deadline do not end")
        stub(channel).Stats(pb.StatsRequest(), timeout=10, metadata=running.metadata)
    assert "Traceback" not in running.log
    assert "a bug" not in running.log
    assert sum(len(line) for line in lines(running)) < 10_000


def test_metadata_above_its_bound_is_refused_and_others_are_served(running: Running) -> None:
    with grpc.insecure_channel(running.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            stub(channel).Stats(pb.StatsRequest(), timeout=10, metadata=(("x-much", "x" * 100_000),))
        assert cast("Any", caught.value).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub(channel).Stats(pb.StatsRequest(), timeout=10, metadata=running.metadata).stats.pipeline == "pay"


def test_a_watcher_of_health_that_reads_nothing_holds_up_no_other(tmp_path: Path) -> None:
    with serve(pipeline("pay"), Settings(state_dir=tmp_path).at("127.0.0.1:9")) as server:
        host, _, port = server.address.rpartition(":")
        with (
            socket.create_connection((host, int(port))) as deaf,
            grpc.insecure_channel(server.address) as channel,
        ):
            # A window of 0 bytes: nothing of a response may ever be sent to it.
            no_window = struct.pack(">HI", 4, 0)
            deaf.sendall(raw_http2.opening("/grpc.health.v1.Health/Watch", settings=no_window))
            states = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
            assert next(states).status == health_pb2.HealthCheckResponse.SERVING
            server._writer._failing = True
            assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_watchers_of_health_are_bounded_and_their_places_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MAX_WATCHERS_OF_ADDRESS", 3)
    with (
        serve(pipeline("pay"), Settings(state_dir=tmp_path).at("127.0.0.1:9")) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        calls = health_pb2_grpc.HealthStub(channel)
        held = [calls.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        assert [next(call).status for call in held] == [health_pb2.HealthCheckResponse.SERVING] * 3
        with pytest.raises(grpc.RpcError) as caught:
            next(calls.Watch(health_pb2.HealthCheckRequest()))
        assert cast("Any", caught.value).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert calls.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        held[0].cancel()

        def again() -> bool:
            call = calls.Watch(health_pb2.HealthCheckRequest())
            try:
                return bool(next(call).status == health_pb2.HealthCheckResponse.SERVING)
            except grpc.RpcError:
                return False

        wait_until(again, "the place of a watcher who left stays taken")


def test_a_database_that_hangs_is_not_serving_and_calls_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "STALLED_SECONDS", 0.3)
    hangs, goes_on = threading.Event(), threading.Event()
    transact = SqliteStore.transact

    def hanging(self: SqliteStore, *given: Any) -> Any:  # noqa: ANN401 - as the store's
        if hangs.is_set():
            goes_on.wait(60)
        return transact(self, *given)

    monkeypatch.setattr(SqliteStore, "transact", hanging)
    with (
        serve(pipeline("pay"), Settings(state_dir=tmp_path).at("127.0.0.1:9")) as server,
        grpc.insecure_channel(server.address) as channel,
        LabelingClient(server.address, "ada", patience=0) as client,
    ):
        states = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        hangs.set()
        waiting = stub(channel).LeaseTasks.future(pb.LeaseTasksRequest(annotator="ada"))  # kept, or it is given up
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(RefusedError) as caught:
            client.lease()
        assert caught.value.reason is Reason.STORE_UNAVAILABLE
        assert not waiting.done()
        hangs.clear()
        goes_on.set()
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        assert client.lease() == []


def test_a_service_that_cannot_stop_ends_as_it_is() -> None:
    left: list[int] = []
    with bounded(0.01, left.append):
        wait_until(lambda: left == [1], "it does not end")
    with bounded(60.0, left.append):
        pass
    assert left == [1]


def test_a_tally_tells_at_once_and_then_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    clock = MovedClock(time=0)
    tally = Tally(logging.getLogger("tally"), 60.0, lambda: clock.time / 1e6)
    tally.tell()
    tally.count("a")
    tally.tell()
    for _ in range(1_234):
        tally.count("a")
        tally.tell()
    assert caplog.messages == ["1 × a"]
    clock.time += 60_000_000
    for number in range(1_000):
        tally.count(f"kind {number}")
    tally.tell()
    assert caplog.messages[1].startswith("1,234 × a; ")
    assert sum(len(message) for message in caplog.messages) < 1_000


def test_what_a_library_logs_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally(logging.getLogger("tally"))
    library = logging.Logger("grpc.part")  # noqa: LOG001 - of no other test's business
    library.addHandler(LibraryLog(tally))
    library.error("Invalid encoding on %s", SECRET)
    library.error(f"as text: {SECRET}")
    try:
        int(SECRET)
    except ValueError:
        library.exception(SECRET)
    library.info("of no interest")
    tally.tell()
    (told,) = caplog.messages
    assert SECRET not in told
    assert "1 × ValueError of grpc.part" in told
    assert "a message of grpc.part" in told


def test_a_bug_is_described_by_where_it_was_and_not_by_its_words() -> None:
    def bug() -> int:
        try:
            return int(os.environ[SECRET])
        except KeyError:
            return int(SECRET)

    with pytest.raises(ValueError, match=SECRET) as caught:
        bug()
    told = described(caught.value)
    assert SECRET not in told
    assert "ValueError\n" in told
    assert "KeyError\n" in told
    assert "test_hostile_calls.py" in told

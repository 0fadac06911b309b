"""The small one of `make bench-labeling-fuzz`, and what it reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from labeling import CLASSES, SOURCE, arrivals, candidate, pipeline

from benchmarks.labeling.fuzz import Found, Fuzz, Memory, gone
from benchmarks.labeling.requests import Requests
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.queue.engine import count
from labeling_grpc.security.audit import verify
from labeling_grpc.security.roles import OPEN, SERVICES
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.v1 import labeling_pb2 as pb
from support import wait_until
from tidemark.runtime.settings import Settings

CALLS = 6_000
MOST = 10 * CALLS
SEED = 11
CASES = 400


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelingServer]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state")).at("127.0.0.1:9")
    with serve(pipeline("pay"), settings) as running:
        asked = [candidate(i, explore=i % 2 == 0) for i in range(CASES)]
        running._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        yield running


def test_any_request_is_answered_or_refused_with_a_reason_and_the_service_goes_on(
    server: LabelingServer, caplog: pytest.LogCaptureFixture
) -> None:
    fuzz = Fuzz(server.address, SEED, ("pay", "ada", *CLASSES))
    methods = {method.name for service in SERVICES for method in service.methods}
    accepted = methods - OPEN.keys()  # no provider is set, by which anybody could sign in
    found = fuzz.run(CALLS)
    while found.calls < MOST and not (
        met(found, "OK") == accepted and met(found, "INVALID_ARGUMENT") == methods and told(server)
    ):
        found = fuzz.run(found.calls + CALLS)
    assert found.violations == []
    assert "a bug" not in caplog.text
    counts = server.store.counts
    assert gone(server.address, CASES) == 0
    with server.store.engine.connect() as connection:
        assert verify(connection).broken == ""

    def counted() -> bool:  # leases go on ending meanwhile
        with server.store.engine.connect() as connection:
            tables = count(connection)
        return replace(tables, event_clock=counts.event_clock) == server.store.counts

    wait_until(counted, "the counts are not what the tables say")
    assert met(found, "OK") == accepted, "no call of one method was accepted"
    assert met(found, "INVALID_ARGUMENT") == methods, "no call of one method was refused"
    assert {"NOT_FOUND", "FAILED_PRECONDITION"} <= {code for _, code in found.codes}
    assert told(server), "nothing was answered, or nothing skipped"


def met(found: Found, status: str) -> set[str]:
    return {method for method, code in found.codes if code == status}


def told(server: LabelingServer) -> bool:
    return server.store.counts.answered > 0 and server.store.counts.skipped > 0


def test_what_is_not_in_the_contract_is_counted_as_a_violation(server: LabelingServer) -> None:
    server.stop()  # from now on every call is UNAVAILABLE
    fuzz = Fuzz(server.address, SEED, ("pay",))
    fuzz.patience = 0.5
    found = fuzz.run(10)
    assert found.wrong >= 8, "some are given up before they fail"
    assert found.violations[0].startswith("not in the contract: ")


def test_a_token_goes_into_requests_with_the_case_that_it_came_with() -> None:
    requests = Requests(SERVICES, SEED, ())
    lease = SERVICES[0].methods_by_name["LeaseTasks"]
    tasks = [pb.Task(case=pb.Case(event_id=f"e{i}"), lease_token=f"t{i}") for i in range(4)]
    requests.learn(lease, b"", pb.LeaseTasksResponse(tasks=tasks))
    named: set[tuple[str, str]] = set()
    for method, sent in (requests.next() for _ in range(2_000)):
        if method.name == "Skip":
            request = GetMessageClass(method.input_type)()
            assert isinstance(request, pb.SkipRequest)
            try:
                request.ParseFromString(sent)
            except DecodeError:
                continue
            named.add((request.lease.event_id, request.lease.lease_token))
    assert {(f"e{i}", f"t{i}") for i in range(4)} <= named


def test_memory_that_grows_shows_in_the_second_half() -> None:
    warm = [(n, 100.0 + min(n, 50)) for n in range(200)]
    assert Memory(warm).growth == 0.0
    assert Memory([(n, mb + 0.1 * n) for n, mb in warm]).growth == pytest.approx(10.0, rel=0.2)

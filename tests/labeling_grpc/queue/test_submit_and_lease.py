from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from labeling import SOURCE, arrivals, candidate, pipeline

from labeling_grpc.client import Annotation, AsyncLabelingClient, LabelingClient, Reason, RefusedError
from labeling_grpc.commands.labeling import Applied, Command, LeaseCases, SubmitAnswers, TakeIn
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.security.roles import Role
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from support import wait_until
from tidemark.runtime.settings import Settings

DAY = 86_400_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path).at("127.0.0.1:9")


@pytest.fixture
def server(settings: Settings) -> Iterator[LabelingServer]:
    with serve(pipeline("pay"), settings) as running:
        yield running


@pytest.fixture
def client(server: LabelingServer) -> Iterator[LabelingClient]:
    with LabelingClient(server.address, "ada", patience=0) as connected:
        yield connected


def feed(server: LabelingServer, *numbers: int) -> None:
    start = server.store.position("intake", SOURCE)
    offset = start or 0
    asked = [candidate(number, priority=1 - number / 100) for number in numbers]
    server._writer.call(TakeIn(SOURCE, start, offset + len(asked), arrivals(asked, offset)))


def test_answers_and_the_next_lease_take_one_call_and_one_transaction(
    server: LabelingServer, client: LabelingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[list[type[Command]]] = []
    transact = server.store.transact

    def spied(commands: list[Command], meanwhile: Callable[[], None]) -> Applied:
        groups.append([type(command) for command in commands])
        return transact(commands, meanwhile)

    feed(server, 0, 1, 2)
    (task,) = client.lease()
    monkeypatch.setattr(server.store, "transact", spied)
    turn = client.submit_and_lease([Annotation(task, "fraud")], 5)
    assert [outcome.duplicate for outcome in turn.outcomes if not isinstance(outcome, RefusedError)] == [False]
    assert [its.business_id for its in turn.tasks] == ["T1", "T2"]
    assert turn.tasks[0].question == task.question
    assert turn.refused is None
    assert [SubmitAnswers, LeaseCases] in groups
    assert [client.submit(its, "genuine").duplicate for its in turn.tasks] == [False, False]


def test_a_refused_answer_does_not_hold_up_the_next_case(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, 0, 1)
    (task,) = client.lease()
    turn = client.submit_and_lease([Annotation(task, "neither")])
    (refused,) = turn.outcomes
    assert isinstance(refused, RefusedError)
    assert refused.reason is Reason.UNKNOWN_CLASS
    assert [its.business_id for its in turn.tasks] == ["T1"]


def test_repeating_a_call_whose_response_was_lost_loses_neither_answer_nor_case(
    server: LabelingServer, client: LabelingClient
) -> None:
    feed(server, 0, 1, 2)
    (task,) = client.lease()
    lost = client.submit_and_lease([Annotation(task, "fraud")], lease=1.0)
    again = client.submit_and_lease([Annotation(task, "fraud")])
    (first,), (second,) = lost.outcomes, again.outcomes
    assert not isinstance(first, RefusedError)
    assert not isinstance(second, RefusedError)
    assert (second.annotation_id, second.duplicate) == (first.annotation_id, True)
    assert [its.business_id for its in again.tasks] == ["T2"]
    assert [its.business_id for its in client.lease(wait=10.0)] == [its.business_id for its in lost.tasks] == ["T1"]


def test_answers_are_on_disk_while_the_call_waits_for_the_next_case(
    server: LabelingServer, client: LabelingClient
) -> None:
    feed(server, 0)
    (task,) = client.lease()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(client.submit_and_lease, [Annotation(task, "fraud")], wait=20.0)
        wait_until(lambda: server._writer.parked == 1, "the call does not wait")
        assert [row.message.key for row in server.store.unpublished(0, 9)] == [task.event_id.encode()]
        feed(server, 1)
        assert [its.business_id for its in waiting.result(10).tasks] == ["T1"]


def test_the_next_case_of_a_caller_who_is_gone_is_given_back_and_the_answer_stays(
    server: LabelingServer, client: LabelingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(server, 0)
    (task,) = client.lease()
    answer = pb.Annotation(event_id=task.event_id, lease_token=task.token, label="fraud")
    request = pb.SubmitLabelsRequest(annotations=[answer], next=pb.LeaseTasksRequest(annotator="ada", wait_ms=20_000))
    transact = server.store.transact
    with grpc.insecure_channel(server.address) as channel:
        call = labeling_pb2_grpc.LabelingServiceStub(channel).SubmitLabels.future(request)
        wait_until(lambda: server._writer.parked == 1, "the call does not wait")
        (parked,) = server._writer._parked.values()

        def gone_meanwhile(commands: list[Command], meanwhile: Callable[[], None]) -> Applied:
            applied = transact(commands, meanwhile)
            if any(isinstance(command, LeaseCases) for command in commands):
                monkeypatch.undo()
                call.cancel()  # type: ignore[no-untyped-call]  # the stubs leave its types out
                wait_until(lambda: parked.reply.abandoned, "the service does not see that its caller is gone")
            return applied

        monkeypatch.setattr(server.store, "transact", gone_meanwhile)
        feed(server, 1)
        assert [its.business_id for its in client.lease(wait=5.0)] == ["T1"]
    assert client.submit(task, "fraud").duplicate


def test_an_impossible_next_request_takes_nothing(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, 0, 1)
    (task,) = client.lease()
    with pytest.raises(RefusedError, match="max_tasks") as caught:
        client.submit_and_lease([Annotation(task, "fraud")], 101)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_FIELD, "next.max_tasks")
    assert not client.submit(task, "fraud").duplicate


def test_the_asyncio_client_has_the_next_case_too(server: LabelingServer) -> None:
    async def work() -> list[str | None]:
        async with AsyncLabelingClient(server.address, "ada", patience=0) as client:
            tasks = await client.lease()
            done = []
            while tasks:
                done.append(tasks[0].business_id)
                turn = await client.submit_and_lease([Annotation(tasks[0], "fraud")])
                tasks = turn.tasks
            return done

    feed(server, 0, 1, 2)
    assert asyncio.run(work()) == ["T0", "T1", "T2"]


def test_the_next_case_is_leased_to_the_caller_and_to_nobody_else(settings: Settings) -> None:
    with serve(pipeline("pay"), settings, options=Options(tokens=True)) as server:
        feed(server, 0, 1)
        made = sqlite_tokens(settings.state_dir / "pipelines" / "pay" / "labeling.db")
        secret = made.create(Role.ANNOTATOR, "ada", DAY).secret
        with grpc.insecure_channel(server.address) as channel:
            stub = labeling_pb2_grpc.LabelingServiceStub(channel)
            authorized = (("authorization", f"Bearer {secret}"),)
            (task,) = stub.LeaseTasks(pb.LeaseTasksRequest(), metadata=authorized, timeout=10).tasks
            answer = pb.Annotation(event_id=task.case.event_id, lease_token=task.lease_token, label="fraud")
            request = pb.SubmitLabelsRequest(annotations=[answer], next=pb.LeaseTasksRequest(annotator="ben"))
            with pytest.raises(grpc.RpcError) as caught:
                stub.SubmitLabels(request, metadata=authorized, timeout=10)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            request.next.ClearField("annotator")
            response = stub.SubmitLabels(request, metadata=authorized, timeout=10)
            assert not response.results[0].duplicate
            following = response.next.tasks[0]
            answer = pb.Annotation(event_id=following.case.event_id, lease_token=following.lease_token, label="fraud")
            stub.SubmitLabels(pb.SubmitLabelsRequest(annotations=[answer]), metadata=authorized, timeout=10)
        events = [row.message.key for row in server.store.unpublished(0, 9)]
        assert events == [task.case.event_id.encode(), following.case.event_id.encode()]

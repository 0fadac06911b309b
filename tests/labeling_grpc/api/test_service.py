from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from labeling import CLASSES, SOURCE, arrivals, candidate, pipeline

from labeling_grpc.client import (
    Annotation,
    AsyncLabelingClient,
    LabelingClient,
    Reason,
    RefusedError,
    Submitted,
    UnreachableError,
)
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.options import Options
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.storage.base import StoreError
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from support import wait_until
from tidemark.errors import ConfigError, LabelingError
from tidemark.pipeline.model import Labeling
from tidemark.records import Candidate, Label, decode
from tidemark.runtime.settings import Settings

NO_KAFKA = "127.0.0.1:9"
"""The discard port: nothing answers there. The queue works all the same."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path).at(NO_KAFKA)


@pytest.fixture
def server(settings: Settings) -> Iterator[LabelingServer]:
    with serve(pipeline("pay"), settings, options=Options(reflection=True)) as running:
        yield running


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labeling_pb2_grpc.LabelingServiceStub]:
    """Of a service that is never given a case."""
    settings = Settings(state_dir=tmp_path_factory.mktemp("state")).at(NO_KAFKA)
    with serve(pipeline("pay"), settings) as running, grpc.insecure_channel(running.address) as channel:
        yield labeling_pb2_grpc.LabelingServiceStub(channel)


@pytest.fixture
def client(server: LabelingServer) -> Iterator[LabelingClient]:
    with LabelingClient(server.address, "ada", pipeline="pay", patience=0) as connected:
        yield connected


def feed(server: LabelingServer, candidates: list[Candidate]) -> None:
    start = server.store.position("intake", SOURCE)
    offset = start or 0
    server._writer.call(TakeIn(SOURCE, start, offset + len(candidates), arrivals(candidates, offset)))


def published(server: LabelingServer) -> list[Label]:
    return [decode(Label, row.message.value) for row in server.store.unpublished(0, 1_000)]


def refusal(call: Callable[[], object]) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        call()
    return caught.value


def submit(**answer: Any) -> pb.SubmitLabelsRequest:  # noqa: ANN401 - any field of an annotation
    return pb.SubmitLabelsRequest(annotations=[pb.Annotation(**answer)])


def told(error: Exception) -> tuple[grpc.StatusCode, RefusedError | None]:
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    return error.code(), None if status is None else RefusedError.of(status)


def test_a_task_carries_the_case_and_the_question(server: LabelingServer, client: LabelingClient) -> None:
    asked = candidate(7, explore=True, expires_at=5_000)
    feed(server, [asked])
    (task,) = client.lease()
    assert task.event_id == asked.event_id
    assert (task.business_id, task.key, task.time, task.reason) == ("T7", asked.key, asked.time, "explore")
    assert task.context == asked.context
    assert task.features == asked.features
    assert task.probabilities == (0.4, 0.6)
    assert (task.uncertainty, task.model, task.expires_at, task.policy) == (0.8, "m1", 5_000, "margin-1")
    assert (task.question, task.classes, task.positive) == ("Is this payment fraud?", CLASSES, "fraud")
    assert task.leases == 1
    assert abs(task.lease_expires_at - time.time_ns() // 1_000 - 300_000_000) < 60_000_000


def test_an_answer_is_published_with_all_that_the_learner_needs(server: LabelingServer, client: LabelingClient) -> None:
    asked = candidate(7, explore=True)
    feed(server, [asked])
    (task,) = client.lease()
    before = time.time_ns() // 1_000
    done = client.submit(task, "fraud", known_at=9_000, confidence=0.75, comment="stolen card\nseen twice")
    (label,) = published(server)
    assert before <= label.answered_at <= time.time_ns() // 1_000
    assert dataclasses.asdict(done) == {"annotation_id": label.annotation_id, "duplicate": False, "others": {}}
    assert (label.event_id, label.business_id, label.key, label.time) == (
        asked.event_id,
        asked.business_id,
        asked.key,
        asked.time,
    )
    assert (label.status, label.label, label.annotator, label.known_at) == ("answered", "fraud", "ada", 9_000)
    assert (label.confidence, label.comment) == (0.75, "stolen card\nseen twice")
    assert (label.reason, label.inclusion_probability, label.tile, label.tile_count) == ("explore", 0.25, 3, 100)
    assert (label.policy, label.features, label.probabilities) == (asked.policy, asked.features, asked.probabilities)
    assert (label.uncertainty, label.model) == (asked.uncertainty, asked.model)


def test_a_label_is_known_from_the_wall_clock_on_unless_told(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1)])
    client.submit(client.lease()[0], "fraud")
    (label,) = published(server)
    assert label.known_at == label.answered_at


def test_two_annotators_never_hold_the_same_case(server: LabelingServer) -> None:
    feed(server, [candidate(i, explore=i % 4 == 0) for i in range(200)])
    taken: list[str] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        with LabelingClient(server.address, name) as mine:
            while tasks := mine.lease(3):
                with lock:
                    taken.extend(task.event_id for task in tasks)

    threads = [threading.Thread(target=work, args=(f"a{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(taken) == 200
    assert len(set(taken)) == 200


def test_repeating_a_submit_returns_the_same_annotation(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1)])
    (task,) = client.lease()
    first = client.submit(task, "fraud", key="mine")
    again = client.submit(task, "fraud", key="mine")
    assert again == Submitted(first.annotation_id, duplicate=True)
    assert len(published(server)) == 1


def test_another_answer_under_the_same_key_is_refused(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1)])
    (task,) = client.lease()
    client.submit(task, "fraud")
    refused = refusal(lambda: client.submit(task, "genuine"))
    assert (refused.reason, refused.code) == (Reason.KEY_REUSED, grpc.StatusCode.INVALID_ARGUMENT)
    closed = refusal(lambda: client.submit(task, "genuine", key="another browser"))
    assert (closed.reason, closed.code) == (Reason.CASE_CLOSED, grpc.StatusCode.FAILED_PRECONDITION)
    assert [label.label for label in published(server)] == ["fraud"]


def test_an_unknown_class_is_refused_and_the_lease_kept(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1)])
    (task,) = client.lease()
    refused = refusal(lambda: client.submit(task, "froud"))
    assert (refused.reason, refused.code) == (Reason.UNKNOWN_CLASS, grpc.StatusCode.INVALID_ARGUMENT)
    assert (refused.field, refused.event_id) == ("label", task.event_id)
    assert "genuine, fraud" in str(refused)
    client.submit(task, "fraud")


def test_an_unknown_case_and_a_foreign_token_are_refused(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1), candidate(2)])
    (task, other) = client.lease(2)
    unknown = refusal(lambda: client.submit(dataclasses.replace(task, event_id="pay-0-99-0a1b2c3d"), "fraud"))
    assert (unknown.reason, unknown.code) == (Reason.UNKNOWN_CASE, grpc.StatusCode.NOT_FOUND)
    foreign = refusal(lambda: client.submit(dataclasses.replace(task, token=other.token), "fraud"))
    assert (foreign.reason, foreign.code) == (Reason.STALE_LEASE, grpc.StatusCode.FAILED_PRECONDITION)


def test_known_before_the_event_is_refused(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1)])
    (task,) = client.lease()
    refused = refusal(lambda: client.submit(task, "fraud", known_at=task.time - 1))
    assert (refused.reason, refused.field) == (Reason.INVALID_FIELD, "known_at_us")


def test_a_lease_that_ran_out_is_stale_and_its_case_comes_back(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1)])
    (task,) = client.lease(lease=1.0)
    (again,) = client.lease(wait=5.0)
    assert again.event_id == task.event_id
    assert again.leases == 2
    assert refusal(lambda: client.submit(task, "fraud")).reason is Reason.STALE_LEASE
    client.submit(again, "fraud")


def test_in_a_batch_each_answer_stands_alone(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(i) for i in range(4)])
    tasks = client.lease(4)
    outcomes = client.submit_many(
        [
            Annotation(tasks[0], "fraud"),
            Annotation(tasks[1], "froud"),
            Annotation(tasks[2], "genuine", comment="\u202eevil"),
            Annotation(tasks[3], "genuine"),
        ]
    )
    kinds = [outcome.reason if isinstance(outcome, RefusedError) else None for outcome in outcomes]
    assert kinds == [None, Reason.UNKNOWN_CLASS, Reason.INVALID_FIELD, None]
    assert sorted(label.event_id for label in published(server)) == [tasks[0].event_id, tasks[3].event_id]


def test_a_skip_is_published_as_non_response(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1, explore=True)])
    (task,) = client.lease()
    annotation_id = client.skip(task, "no receipt", known_at=8_000)
    assert client.skip(task, "no receipt", known_at=8_000) == annotation_id
    (label,) = published(server)
    assert (label.status, label.label, label.comment, label.known_at) == ("skipped", None, "no receipt", 8_000)
    assert label.inclusion_probability == 0.25
    assert client.lease() == []


def test_an_amendment_is_published_beside_what_it_supersedes(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1, explore=True)])
    given = client.submit(client.lease()[0], "fraud", known_at=9_000)
    corrected = client.amend(given.annotation_id, "genuine", known_at=9_500, confidence=0.9, comment="wrong key")
    again = client.amend(given.annotation_id, "genuine", known_at=9_500, confidence=0.9, comment="wrong key")
    assert again == Submitted(corrected.annotation_id, duplicate=True)
    back = client.retract(corrected.annotation_id)
    first, second, third = published(server)
    assert (second.supersedes, second.label, second.known_at, second.confidence, second.comment) == (
        given.annotation_id,
        "genuine",
        9_500,
        0.9,
        "wrong key",
    )
    assert (third.annotation_id, third.supersedes, third.status, third.label) == (
        back.annotation_id,
        corrected.annotation_id,
        "retracted",
        None,
    )
    assert (second.event_id, second.inclusion_probability, second.features) == (
        first.event_id,
        first.inclusion_probability,
        first.features,
    )
    assert (client.stats().answered, client.stats().waiting) == (1, 0)


def test_only_the_newest_answer_of_a_case_can_be_amended(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1)])
    given = client.submit(client.lease()[0], "fraud").annotation_id
    other = refusal(lambda: client.amend("nothing", "fraud"))
    assert (other.reason, other.code) == (Reason.UNKNOWN_ANNOTATION, grpc.StatusCode.NOT_FOUND)
    assert refusal(lambda: client.amend(given, "froud")).reason is Reason.UNKNOWN_CLASS
    assert refusal(lambda: client.amend(given, "fraud", known_at=0)).field == "known_at_us"
    newer = client.amend(given, "genuine").annotation_id
    assert refusal(lambda: client.amend(given, "fraud")).reason is Reason.KEY_REUSED
    superseded = pb.AmendLabelRequest(annotation_id=given, annotator="ada", label="fraud", idempotency_key="other")
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        labeling_pb2_grpc.LabelingServiceStub(channel).AmendLabel(superseded)
    code, told_why = told(caught.value)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert told_why is not None
    assert told_why.reason is Reason.NOT_AMENDABLE
    client.retract(newer)
    assert refusal(lambda: client.retract(given)).reason is Reason.KEY_REUSED
    assert [label.label for label in published(server)] == ["fraud", "genuine", None]


def test_a_released_case_goes_to_another_at_once(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1)])
    tasks = client.lease()
    assert client.release(tasks) == 1
    assert client.release(tasks) == 0
    assert client.lease() == []
    with LabelingClient(server.address, "ben") as other:
        assert [task.event_id for task in other.lease()] == [tasks[0].event_id]


def test_renewing_moves_the_end_of_a_lease(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1), candidate(2)])
    first, second = client.lease(2, lease=30.0)
    (until,) = client.renew([first], 600.0)
    assert isinstance(until, int)
    assert until > first.lease_expires_at + 500_000_000
    client.submit(second, "fraud")
    both = client.renew([first, second], 600.0)
    assert isinstance(both[0], int)
    assert isinstance(both[1], RefusedError)
    assert both[1].reason is Reason.CASE_CLOSED
    (alone,) = client.renew([second], 600.0)
    assert isinstance(alone, RefusedError)


def test_a_long_poll_is_answered_when_a_case_comes(server: LabelingServer, client: LabelingClient) -> None:
    got: list[str] = []
    waiting = threading.Thread(target=lambda: got.extend(task.event_id for task in client.lease(wait=20.0)))
    waiting.start()
    wait_until(lambda: server._writer.parked == 1, "the call does not wait")
    feed(server, [candidate(1)])
    waiting.join(5)
    assert got == [candidate(1).event_id]


def test_a_long_poll_without_a_case_ends_empty_in_time(client: LabelingClient) -> None:
    started = time.monotonic()
    assert client.lease(wait=0.3) == []
    assert 0.3 <= time.monotonic() - started < 3.0


def test_nothing_is_leased_for_a_caller_who_is_gone(server: LabelingServer, client: LabelingClient) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = labeling_pb2_grpc.LabelingServiceStub(channel)
        call = stub.LeaseTasks.future(pb.LeaseTasksRequest(annotator="gone", wait_ms=20_000))
        wait_until(lambda: server._writer.parked == 1, "the call does not wait")
        (parked,) = server._writer._parked.values()
        call.cancel()  # type: ignore[no-untyped-call]  # the stubs leave its types out
        wait_until(lambda: parked.reply.abandoned, "the service does not see that its caller is gone")
        feed(server, [candidate(1)])
        (task,) = client.lease(wait=5.0)
    assert task.event_id == candidate(1).event_id
    wait_until(lambda: server._writer.parked == 0, "the cancelled call is still there")


def test_the_deadline_shortens_a_long_poll(server: LabelingServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = labeling_pb2_grpc.LabelingServiceStub(channel)
        response = stub.LeaseTasks(pb.LeaseTasksRequest(annotator="ada", wait_ms=60_000), timeout=1.0)
    assert list(response.tasks) == []


def test_leases_are_handed_out_by_priority_in_turn_with_exploration(
    server: LabelingServer, client: LabelingClient
) -> None:
    feed(
        server,
        [
            candidate(1, priority=0.1),
            candidate(2, priority=0.9),
            candidate(3, explore=True, priority=0.0),
            candidate(4, priority=0.5),
            candidate(5, explore=True, priority=1.0),
        ],
    )
    assert [task.event_id.split("-")[2] for task in client.lease(10)] == ["3", "2", "5", "4", "1"]


def test_where_reflection_is_on_a_caller_learns_the_contract_from_the_service(server: LabelingServer) -> None:
    feed(server, [candidate(1)])
    with grpc.insecure_channel(server.address) as channel:
        reflected = ProtoReflectionDescriptorDatabase(channel)
        assert {"labeling_grpc.v1.LabelingService", "grpc.health.v1.Health"} <= set(reflected.get_services())
        service = DescriptorPool(reflected).FindServiceByName("labeling_grpc.v1.LabelingService")
        found = service.methods_by_name["LeaseTasks"]
        asked, answered = GetMessageClass(found.input_type), GetMessageClass(found.output_type)
        call = channel.unary_unary(
            "/labeling_grpc.v1.LabelingService/LeaseTasks", asked.SerializeToString, answered.FromString
        )
        (task,) = call(asked(annotator="ada")).tasks
    assert task.case.event_id == candidate(1).event_id


def test_reflection_is_off_unless_asked_for(settings: Settings) -> None:
    with serve(pipeline("pay"), settings) as running, grpc.insecure_channel(running.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert told(caught.value)[0] is grpc.StatusCode.UNIMPLEMENTED


NO_CHANGE = pb.AmendLabelRequest(annotation_id="a", annotator="ada")
PROOF = {"event_id": "e", "lease_token": "t"}
MALFORMED: dict[str, tuple[str, Message, str]] = {
    "an amendment without a change": ("AmendLabel", NO_CHANGE, "change"),
    "a retraction that is none": ("AmendLabel", pb.AmendLabelRequest(retract=False), "change"),
    "an amendment of nothing": ("AmendLabel", pb.AmendLabelRequest(label="fraud", annotator="a"), "annotation_id"),
    "an amendment by nobody": ("AmendLabel", pb.AmendLabelRequest(label="fraud", annotation_id="a"), "annotator"),
    "nobody asks": ("LeaseTasks", pb.LeaseTasksRequest(), "annotator"),
    "a zero-width space": ("LeaseTasks", pb.LeaseTasksRequest(annotator="a\u200bb"), "annotator"),
    "a long name": ("LeaseTasks", pb.LeaseTasksRequest(annotator="x" * 129), "annotator"),
    "many tasks": ("LeaseTasks", pb.LeaseTasksRequest(annotator="a", max_tasks=101), "max_tasks"),
    "fewer tasks than none": ("LeaseTasks", pb.LeaseTasksRequest(annotator="a", max_tasks=-1), "max_tasks"),
    "a long wait": ("LeaseTasks", pb.LeaseTasksRequest(annotator="a", wait_ms=60_001), "wait_ms"),
    "a short lease": ("LeaseTasks", pb.LeaseTasksRequest(annotator="a", lease_ms=999), "lease_ms"),
    "no answer": ("SubmitLabels", pb.SubmitLabelsRequest(), "annotations"),
    "many answers": ("SubmitLabels", pb.SubmitLabelsRequest(annotations=[pb.Annotation()] * 101), "annotations"),
    "an answer to nothing": ("SubmitLabels", submit(label="fraud"), "event_id"),
    "confidence that is no number": ("SubmitLabels", submit(**PROOF, confidence=float("nan")), "confidence"),
    "a long comment": ("SubmitLabels", submit(**PROOF, comment="x" * 4_001), "comment"),
    "an answer known before 1970": ("SubmitLabels", submit(**PROOF, known_at_us=-1), "known_at_us"),
    "a skip of nothing": ("Skip", pb.SkipRequest(), "lease.event_id"),
    "a release of nothing": ("Release", pb.ReleaseRequest(), "leases"),
    "no token": ("RenewLease", pb.RenewLeaseRequest(leases=[pb.Lease(event_id="e")]), "leases[0].lease_token"),
    "another pipeline": ("Stats", pb.StatsRequest(pipeline="other"), "pipeline"),
    "a watch without a pause": ("Watch", pb.WatchRequest(interval_ms=49), "interval_ms"),
}


@pytest.mark.parametrize(("method", "request_", "field"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_refused_with_its_field(
    stub: labeling_pb2_grpc.LabelingServiceStub, method: str, request_: Message, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(getattr(stub, method)(request_, timeout=5))
    code, refused = told(caught.value)
    assert refused is not None
    assert refused.field == field
    assert refused.code == code


LONG = {
    "a pipeline": ("Stats", pb.StatsRequest(pipeline="🦀" * 5_000)),
    "a case": ("SubmitLabels", submit(**PROOF | {"event_id": "🦀" * 512}, label="fraud")),
}


@pytest.mark.parametrize(("method", "request_"), LONG.values(), ids=LONG.keys())
def test_a_refusal_reaches_a_client_however_long_what_it_quotes(
    stub: labeling_pb2_grpc.LabelingServiceStub, method: str, request_: Message
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, method)(request_, timeout=5)
    code, refused = told(caught.value)
    assert code is grpc.StatusCode.NOT_FOUND
    assert refused is not None
    assert "🦀 … 🦀" in str(refused)


def test_stats_and_health_tell_what_is_wrong(server: LabelingServer, client: LabelingClient) -> None:
    feed(server, [candidate(1), candidate(2, explore=True), candidate(3)])
    client.submit(client.lease()[0], "fraud")
    client.skip(client.lease()[0])
    wait_until(lambda: client.stats().annotators == {"ada": (1, 1)}, "the annotator is not counted")
    stats = client.stats()
    assert (stats.waiting, stats.waiting_explore, stats.leased) == (1, 0, 0)
    assert (stats.answered, stats.skipped, stats.expired, stats.unpublished) == (1, 1, 0, 2)
    assert stats.event_clock == 1_003
    assert stats.classes == CLASSES
    wait_until(lambda: NO_KAFKA in client.stats().publishing_problem, "publishing does not tell its problem", 20)
    wait_until(lambda: NO_KAFKA in client.stats().intake_problem, "intake does not tell its problem", 20)
    with grpc.insecure_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for name in ("", "labeling_grpc.v1.LabelingService"):
            response = check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_watch_tells_what_happens_to_cases(server: LabelingServer, client: LabelingClient) -> None:
    updates = client.watch(0.05)
    assert next(updates).stats.waiting == 0
    feed(server, [candidate(1)])
    (task,) = client.lease()
    client.submit(task, "fraud")
    seen: list[tuple[str, str, str | None]] = []
    while len(seen) < 3:
        seen += [(event.kind, event.annotator, event.label) for event in next(updates).events]
    assert seen == [("added", "", None), ("leased", "ada", None), ("answered", "ada", "fraud")]


def test_a_held_lease_is_renewed_while_the_block_runs_and_given_back_after(
    server: LabelingServer, client: LabelingClient
) -> None:
    feed(server, [candidate(1), candidate(2)])
    with client.hold(2, lease=4.0) as tasks:  # a busy machine may hold a renewal back for a second or two
        first = server.store.next_lease_end
        assert first is not None
        wait_until(lambda: server.store.clock.now() > first + 200_000, "time stands still")
        client.submit(tasks[0], "fraud")
    with LabelingClient(server.address, "ben") as other:
        assert [task.event_id for task in other.lease(5)] == [tasks[1].event_id]


def test_the_asyncio_client_does_the_same(server: LabelingServer) -> None:
    feed(server, [candidate(i) for i in range(5)])

    async def work() -> None:
        async with AsyncLabelingClient(server.address, "ada", pipeline="pay") as mine:
            updates = mine.watch(0.05)
            assert (await anext(updates)).stats.waiting == 5
            tasks = await mine.lease(3, wait=1.0)
            first = await mine.submit(tasks[0], "fraud")
            assert (await mine.submit(tasks[0], "fraud")).annotation_id == first.annotation_id
            with pytest.raises(RefusedError, match="none of the classes"):
                await mine.submit(tasks[1], "froud")
            await mine.skip(tasks[1], "unclear")
            (until,) = await mine.renew([tasks[2]], 900.0)
            assert isinstance(until, int)
            assert await mine.release([tasks[2]]) == 1
            async with mine.hold(1, lease=1.0) as held:
                await asyncio.sleep(0.5)
            assert await mine.release(held) == 0
            stats = await mine.stats()
            assert (stats.answered, stats.skipped, stats.waiting) == (1, 1, 3)
            await updates.aclose()

    asyncio.run(work())
    assert [label.status for label in published(server)] == ["answered", "skipped"]


def test_answers_outlive_a_restart_and_the_client_finds_the_new_address(settings: Settings) -> None:
    with serve(pipeline("pay"), settings) as first:
        feed(first, [candidate(1), candidate(2)])
        client = LabelingClient.of("pay", "ada", settings)
        one, two = client.lease(2)
        done = client.submit(one, "fraud")
    with serve(pipeline("pay"), settings) as second, client:
        assert second.address != first.address
        assert client.submit(one, "fraud") == Submitted(done.annotation_id, duplicate=True)
        client.submit(two, "genuine")
        assert [label.label for label in published(second)] == ["fraud", "genuine"]


def test_without_a_service_the_client_says_what_to_do(settings: Settings) -> None:
    with (
        LabelingClient.of("pay", "ada", settings, patience=0) as client,
        pytest.raises(LabelingError, match="tidemark up"),
    ):
        client.lease()
    with LabelingClient(NO_KAFKA, "ada", patience=0.2) as client:
        with pytest.raises(UnreachableError, match="does not answer"):
            client.lease()
        with pytest.raises(UnreachableError, match="does not answer"):
            next(client.watch())


def test_stopping_ends_long_polls_and_watchers_and_removes_the_address(settings: Settings) -> None:
    server = serve(pipeline("pay"), settings)
    state = settings.state_dir / "pipelines" / "pay" / "labeling.json"
    assert json.loads(state.read_text())["address"] == server.address
    outcome: list[object] = []

    def wait_for_a_case() -> None:
        with LabelingClient(server.address, "ada", patience=0) as client:
            try:
                outcome.append(client.lease(wait=30.0))
            except UnreachableError as error:
                outcome.append(error)

    waiting = threading.Thread(target=wait_for_a_case)
    waiting.start()
    wait_until(lambda: server._writer.parked == 1, "the call does not wait")
    with LabelingClient(server.address, "ada") as watcher:
        updates = watcher.watch(0.05)
        next(updates)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5.0
        assert list(updates) == []
    waiting.join(5)
    assert len(outcome) == 1
    assert not state.exists()
    server.stop()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.168.1.5:50051", "[::]:0", "example.org:1"])
def test_another_address_than_loopback_is_refused(settings: Settings, address: str) -> None:
    with pytest.raises(ConfigError, match="neither tokens nor TLS"):
        serve(pipeline("pay"), settings, address=address)


def test_a_taken_port_is_explained(server: LabelingServer, settings: Settings) -> None:
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(LabelingError, match="port is taken"):
        serve(pipeline("other"), settings, address=port)


def test_a_second_service_on_the_same_database_is_refused(server: LabelingServer, settings: Settings) -> None:
    with pytest.raises(StoreError, match=r"in use by the labeling service with process id \d+"):
        serve(pipeline(server.pipeline), settings)


def test_an_escalated_case_goes_to_reviewers_and_a_reason_is_asked_for(
    server: LabelingServer, client: LabelingClient
) -> None:
    feed(server, [candidate(1)])
    (task,) = client.lease()
    refused = refusal(lambda: client.escalate(task, " "))
    assert (refused.reason, refused.field) == (Reason.INVALID_FIELD, "reason")
    assert client.escalate(task, "is it one of ours?") == client.escalate(task, "is it one of ours?")
    with LabelingClient(server.address, "rev", patience=0) as reviewer:
        assert reviewer.lease() == []
        (again,) = reviewer.lease(review=True)
        reviewer.submit(again, "genuine")
    said = [(label.status, label.annotator, label.comment) for label in published(server)]
    assert said == [("escalated", "ada", "is it one of ours?"), ("answered", "rev", None)]


def test_nobody_is_called_as_the_consensus_is(server: LabelingServer) -> None:
    with LabelingClient(server.address, "consensus", patience=0) as impostor:
        assert refusal(impostor.lease).field == "annotator"


def test_a_service_with_several_answers_sets_aside_who_turns_classes_round(settings: Settings) -> None:
    asked = pipeline("pay").model_copy(update={"labeling": Labeling(answers=4)})
    with serve(asked, settings) as server:
        feed(server, [candidate(number) for number in range(60)])
        for who, rounds in (("ada", 3), ("ben", 3), ("cyd", 3), ("turned", 1)):
            with LabelingClient(server.address, who, patience=0) as one:
                for _ in range(rounds):
                    tasks = one.lease(20)
                    truth = [int(task.event_id.split("-")[2]) % 2 for task in tasks]
                    labels = [CLASSES[1 - real if who == "turned" else real] for real in truth]
                    one.submit_many([Annotation(task, label) for task, label in zip(tasks, labels, strict=True)])
        with LabelingClient(server.address, "turned", patience=0) as turned:
            wait_until(lambda: stopped(turned), "who turns classes round is given more all the same")


def stopped(client: LabelingClient) -> bool:
    try:
        client.release(client.lease(20))
    except RefusedError as refused:
        return refused.reason is Reason.ANNOTATOR_STOPPED
    return False

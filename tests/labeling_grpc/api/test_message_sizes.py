"""Whatever intake took, and however much was said about it: it can be leased, listed, looked up and exported."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeling import SOURCE, arrivals, candidate, pipeline

from labeling_grpc.api.category_names import Categories
from labeling_grpc.api.mapping import add_task, newest
from labeling_grpc.client import LabelingClient
from labeling_grpc.client.administration import LabelingAdminClient
from labeling_grpc.commands.labeling import AdoptLabels, Comment, LeasedCase, TakeIn
from labeling_grpc.contract import message_sizes
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.contract.message_sizes import MAX_CANDIDATE, fit, weight
from labeling_grpc.kafka.record_validation import fitting, misfit
from labeling_grpc.queue.label_records import label_of
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.v1 import admin_pb2, admin_pb2_grpc, labeling_pb2_grpc
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.records import Candidate, Label, encode
from tidemark.runtime.settings import Settings

_number = itertools.count(1)
CLIENT_TAKES = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelingServer]:
    with serve(pipeline("pay"), Settings(state_dir=tmp_path_factory.mktemp("state")).at("127.0.0.1:9")) as running:
        yield running


@pytest.fixture(scope="module")
def channel(server: LabelingServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as opened:  # with gRPC's own limit of 4 MiB
        yield opened


def take_in(server: LabelingServer, *asked: Candidate) -> None:
    start = server.store.position("intake", SOURCE)
    offset = start or 0
    server._writer.call(TakeIn(SOURCE, start, offset + len(asked), arrivals([*asked], offset)))


def said(about: Candidate, text: str, number: int) -> Label:
    row: dict[str, Any] = dict.fromkeys(("label", "confidence", "supersedes", "consensus", "bulk"))
    row |= {"status": "commented", "annotator": "bea", "known_at": 1, "answered_at": 1_000 + number, "comment": text}
    return fitting(label_of(row | {"id": f"{about.event_id}-{number}"}, about))


TEXTS = st.sampled_from(["x", "\u00e9", "\U0001f600", 'a\\"\n', "\0"])


SHAPES = ("features", "missing", "columns", "flags", "text", "names", "key", "classes")
SHAPE = st.tuples(st.sampled_from(SHAPES), st.sampled_from([10, 1_000, 60_000, 250_000]), TEXTS)


def large(shape: str, size: int, text: str) -> Candidate:
    """A candidate of up to the bytes that intake takes, in one of the shapes that grow most on their way."""
    escaped = len(msgspec.json.encode(text))
    shapes: dict[str, Any] = {
        "features": {"features": {f"{place:x}": 1.0 for place in range(size // 14)}},
        "missing": {"features": {f"{place:x}": None for place in range(size // 14)}},
        "columns": {"context": {f"{place:x}": place for place in range(size // 16)}},
        "flags": {"context": {f"{place:x}": True for place in range(size // 14)}},
        "text": {"context": {"note": text * (size // escaped)}},
        "names": {"context": {text * (size // escaped // 2): "x"}, "features": {text * (size // escaped // 2): 1.0}},
        "key": dict.fromkeys(("key", "business_id", "model"), text * (size // escaped // 3)),
        "classes": {"probabilities": [0.0] * min(size, 1_000)},
    }
    return candidate(next(_number), **{"key": "K", "context": {}, **shapes[shape]})


@given(st.lists(SHAPE, min_size=1, max_size=4), st.sampled_from([0, 3, 120]), TEXTS, st.sampled_from([1, 3_900]))
@settings(max_examples=25, deadline=None)
def test_any_case_that_intake_took_can_be_leased_listed_looked_up_and_exported(
    server: LabelingServer,
    channel: grpc.Channel,
    shapes: list[tuple[str, int, str]],
    comments: int,
    text: str,
    length: int,
) -> None:
    asked = [large(*shape) for shape in shapes]
    for case in asked:
        assert misfit(case) is None
        assert len(encode(case)) <= MAX_CANDIDATE
    take_in(server, *asked)
    for case in asked:
        labels = tuple(said(case, text * length, number) for number in range(comments))
        if labels:
            server._writer.call(AdoptLabels(labels))
    stub: Any = labeling_pb2_grpc.LabelingServiceStub(channel)
    leased: list[pb.Task] = []
    while tasks := stub.LeaseTasks(pb.LeaseTasksRequest(annotator="ada", max_tasks=100), timeout=30).tasks:
        leased += tasks
    assert {task.case.event_id for task in leased} == {case.event_id for case in asked}
    for case in asked:
        found = stub.GetCase(pb.GetCaseRequest(event_id=case.event_id, most=100), timeout=30)
        assert found.record.case.event_id == case.event_id
        assert bool(found.comments) == bool(comments)
    listed: set[str] = set()
    request = pb.ListCasesRequest(page_size=500, states=[pb.CASE_STATE_LEASED])
    while True:
        page = stub.ListCases(request, timeout=30)
        listed |= {record.case.event_id for record in page.records}
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert {case.event_id for case in asked} <= listed
    answers = [
        pb.Annotation(event_id=task.case.event_id, lease_token=task.lease_token, label="fraud") for task in leased
    ]
    assert not any(
        result.HasField("error")
        for result in stub.SubmitLabels(pb.SubmitLabelsRequest(annotations=answers), timeout=30).results
    )


def test_everything_is_exported_however_large_its_labels(server: LabelingServer, channel: grpc.Channel) -> None:
    asked = [
        candidate(next(_number), features={f"{place}-{number}": 0.5 for place in range(15_000)}) for number in range(8)
    ]
    take_in(server, *asked)
    for case in asked:
        server._writer.call(AdoptLabels((said(case, "x", 1),)))
    admin: Any = admin_pb2_grpc.LabelingAdminServiceStub(channel)
    lines = [line for response in admin.ExportLabels(admin_pb2.ExportLabelsRequest()) for line in response.labels]
    exported = {msgspec.json.decode(line)["event_id"] for line in lines}
    assert {case.event_id for case in asked} <= exported


def test_all_comments_are_read_page_by_page_and_a_lease_says_how_many_it_lacks(server: LabelingServer) -> None:
    case = candidate(next(_number), explore=True)
    take_in(server, case)
    texts = [f"{number} " + "\U0001f600" * 3_900 for number in range(130)]
    server._writer.call(AdoptLabels(tuple(said(case, text, number) for number, text in enumerate(texts))))
    with LabelingClient(server.address, "ada") as client:
        (task,) = [its for its in client.lease(100) if its.event_id == case.event_id]
        assert task.comments
        assert task.earlier_comments == 130 - len(task.comments)
        assert [comment.text for comment in task.comments] == texts[task.earlier_comments :]
        details = client.case(case.event_id)
        assert details.more_comments
        assert details.comments[-1].text == texts[-1]
        assert [comment.text for comment in client.comments(case.event_id)] == texts[::-1]


def test_where_many_cases_share_a_response_the_middle_of_long_comments_is_left_out(tmp_path: Path) -> None:
    asked = [candidate(next(_number)) for _ in range(100)]
    with (
        serve(pipeline("pay"), Settings(state_dir=tmp_path).at("127.0.0.1:9")) as server,
        LabelingClient(server.address, "ada") as client,
    ):
        take_in(server, *asked)
        server._writer.call(AdoptLabels(tuple(said(case, "a" + "\U0001f600" * 3_900 + "z", 1) for case in asked)))
        tasks = client.lease(100)
        assert len(tasks) == 100
        (comment,) = tasks[0].comments
        assert comment.cut
        assert (comment.text[0], comment.text[-1]) == ("a", "z")
        (whole,) = client.comments(tasks[0].event_id)
        assert not whole.cut


def test_a_thousand_things_are_said_about_a_case_and_no_more(server: LabelingServer) -> None:
    case = candidate(next(_number))
    take_in(server, case)
    server._writer.call(AdoptLabels(tuple(said(case, "x", number) for number in range(999))))
    with LabelingClient(server.address, "ada") as client:
        client.comment(case.event_id, "the thousandth", key="k")
        with pytest.raises(RefusedError, match="no more are taken"):
            client.comment(case.event_id, "one more")
        client.comment(case.event_id, "the thousandth", key="k")


def test_refused_imports_with_long_ids_fit_one_response(server: LabelingServer) -> None:
    labels = [("\U0001f600" * 505 + f"{number}", "\\" * 40) for number in range(900)]
    with grpc.insecure_channel(server.address) as channel:
        stub: Any = admin_pb2_grpc.LabelingAdminServiceStub(channel)
        response = stub.ImportLabels(
            admin_pb2.ImportLabelsRequest(
                labels=[admin_pb2.ImportedLabel(event_id=event_id, label=label) for event_id, label in labels]
            )
        )
    assert len(response.results) == 900
    refusal = RefusedError.of(response.results[0].error)
    assert refusal is not None
    assert refusal.reason == "UNKNOWN_CASE"


def test_an_imported_event_larger_than_a_candidate_may_be_is_refused(server: LabelingServer) -> None:
    features = [pb.Feature(name=f"{place}" + "x" * 123, value=1.0) for place in range(2_000)]
    label = admin_pb2.ImportedLabel(
        event_id="e", label="fraud", known_at_us=5, case=pb.Case(time_us=1, features=features, policy="p")
    )
    with grpc.insecure_channel(server.address) as channel:
        stub: Any = admin_pb2_grpc.LabelingAdminServiceStub(channel)
        (result,) = stub.ImportLabels(admin_pb2.ImportLabelsRequest(labels=[label])).results
    assert "at most 262144" in result.error.message


def test_an_entry_of_the_trail_about_many_cases_fits(server: LabelingServer) -> None:
    with LabelingAdminClient(server.address, "root") as admin:
        for number in range(6):
            admin.expire([f"{place}-{number}" + "\\" * 500 for place in range(900)], "why")
        assert len([*admin.audit()]) >= 6


@given(SHAPE, st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_the_weight_of_a_case_is_no_less_than_its_message(shape: tuple[str, int, str], room: int) -> None:
    case = large(*shape)
    raw = encode(case)
    leased = LeasedCase(
        case.event_id, raw, "t" * 24, 2**62, 2**30, segment="\U0001f600" * 100, skill="\U0001f600" * 100
    )
    response = pb.LeaseTasksResponse()
    add_task(response, leased, room, Categories(pipeline("pay")).response())
    assert response.ByteSize() <= weight(case, len(raw))


COMMENTS = st.builds(Comment, annotator=st.text(max_size=9), text=st.text(max_size=400), at=st.just(1))


@given(st.lists(COMMENTS, max_size=30), st.integers(700, 4_000))
def test_what_is_shown_of_comments_are_the_newest_and_they_fit(comments: list[Comment], most: int) -> None:
    shown = newest(comments, most)
    assert bool(shown) == bool(comments)
    assert [comment.at for comment, _ in shown] == [1] * len(shown)
    if not any(cut for _, cut in shown):
        assert [comment for comment, _ in shown] == comments[len(comments) - len(shown) :]
    else:
        assert len(shown) == 1
    assert sum(len(comment.text.encode()) for comment, _ in shown) <= most


@given(st.lists(st.integers(0, 300), max_size=20), st.integers(0, 2_000))
def test_messages_are_taken_in_their_order_while_they_fit(lengths: list[int], most: int) -> None:
    messages = [pb.Comment(text="x" * length) for length in lengths]
    kept, whole = fit(messages, most)
    assert kept == messages[: len(kept)]
    assert whole == (len(kept) == len(messages))
    assert pb.GetCaseResponse(comments=kept).ByteSize() <= most


def test_shares_add_up_to_what_a_client_takes() -> None:
    details = (
        message_sizes.MAX_HISTORY
        + message_sizes.MAX_SIMILAR
        + message_sizes.MAX_ANSWERS
        + message_sizes.MAX_CONTRIBUTIONS
        + message_sizes.MAX_COMMENTS
    )
    largest = 3 * MAX_CANDIDATE
    assert details + largest <= message_sizes.MAX_RESPONSE < CLIENT_TAKES
    assert message_sizes.MAX_CASES + message_sizes.MAX_COMMENTS <= message_sizes.MAX_RESPONSE

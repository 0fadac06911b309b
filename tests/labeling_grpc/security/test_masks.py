from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from labeling import PIPELINE, SOURCE, arrivals, candidate

from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.security.masks import masks
from labeling_grpc.security.roles import Role
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.v1 import admin_pb2, admin_pb2_grpc, labeling_pb2_grpc
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Label, decode
from tidemark.runtime.settings import Settings

PRIVATE_NAME = "Zebediah Quux"
PRIVATE_AMOUNT = 918273.645
TEXT = PIPELINE.replace('delay = "7d"', 'delay = "7d"\ncontext = ["name", "amount", "customer", "ward"]').replace(
    'amount = { type = "float" }',
    'amount = { type = "float" }\nname = { type = "string" }\nward = { type = "string" }',
)
HIDDEN = """
[[windows]]
name = "sum_1d"
key = "customer"
aggregate = "sum"
column = "amount"
size = "1d"
[[windows]]
name = "count_1d"
key = "customer"
aggregate = "count"
size = "1d"
[[derived]]
name = "ratio"
sql = "amount / sum_1d"
[labeling]
segment = "ward"
[labeling.hidden]
name = ["annotator", "program"]
amount = ["annotator"]
customer = ["program"]
ward = ["program"]
"""


def hiding() -> Pipeline:
    return parse((TEXT + HIDDEN).replace("NAME", "pay"), "test.toml")


def test_what_is_computed_from_a_hidden_column_is_hidden_with_it() -> None:
    found = masks(hiding())
    assert found[Role.ANNOTATOR].columns == {"name", "amount", "sum_1d", "ratio"}
    assert found[Role.ANNOTATOR].fields == frozenset()
    assert found[Role.PROGRAM].columns == {"name", "customer", "ward"}
    assert found[Role.PROGRAM].fields == {"key", "segment"}
    assert set(found) == {Role.ANNOTATOR, Role.PROGRAM}


def test_a_cleaned_column_and_a_function_tell_what_they_read() -> None:
    text = TEXT.replace('keys = ["customer"]', 'keys = ["customer"]\nclean = ["amount * 2 AS doubled"]')
    text += '[[derived]]\nname = "own"\nfunction = "mine:own"\n[labeling.hidden]\namount = ["viewer"]\n'
    found = masks(Pipeline.model_validate(tomllib.loads(text.replace("NAME", "pay"))))
    assert found[Role.VIEWER].columns == {"amount", "doubled", "own"}


@dataclass
class Seat:
    """A caller of one role."""

    queue: labeling_pb2_grpc.LabelingServiceStub
    admin: admin_pb2_grpc.LabelingAdminServiceStub
    metadata: tuple[tuple[str, str], ...]

    def ask(self, method: str, request: Message) -> Any:  # noqa: ANN401 - the method's response
        stub = self.queue if hasattr(self.queue, method) else self.admin
        return getattr(stub, method)(request, metadata=self.metadata, timeout=10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelingServer]:
    settings = Settings(state_dir=tmp_path).at("127.0.0.1:9")
    with serve(hiding(), settings, options=Options(tokens=True)) as running:
        asked = [
            candidate(
                n,
                key=f"customer-{PRIVATE_NAME}",
                context={"name": PRIVATE_NAME, "amount": PRIVATE_AMOUNT, "ward": "W1", "channel": "online"},
                features={"amount": PRIVATE_AMOUNT, "sum_1d": PRIVATE_AMOUNT, "ratio": 0.5, "count_1d": 3.0},
            )
            for n in range(6)
        ]
        running._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        yield running


@pytest.fixture
def seats(server: LabelingServer, tmp_path: Path) -> Iterator[dict[Role, Seat]]:
    tokens = sqlite_tokens(tmp_path / "pipelines" / "pay" / "labeling.db")
    with grpc.insecure_channel(server.address) as channel:
        stubs = labeling_pb2_grpc.LabelingServiceStub(channel), admin_pb2_grpc.LabelingAdminServiceStub(channel)
        yield {
            role: Seat(*stubs, (("authorization", f"Bearer {tokens.create(role, role.value, 10**12).secret}"),))
            for role in Role
        }
    tokens.close()


def one(seat: Seat) -> pb.Task:
    (task,) = seat.ask("LeaseTasks", pb.LeaseTasksRequest()).tasks
    return task  # type: ignore[no-any-return]


def test_each_role_is_shown_a_case_without_what_it_may_not_see(seats: dict[Role, Seat]) -> None:
    shown = {role: one(seats[role]).case for role in (Role.ANNOTATOR, Role.REVIEWER, Role.PROGRAM)}
    names = {role: {field.name for field in case.context} for role, case in shown.items()}
    assert names[Role.REVIEWER] == {"name", "amount", "ward", "channel"}
    assert names[Role.ANNOTATOR] == {"ward", "channel"}
    assert names[Role.PROGRAM] == {"amount", "channel"}
    assert list(shown[Role.REVIEWER].hidden_columns) == []
    assert list(shown[Role.ANNOTATOR].hidden_columns) == ["name", "amount"]
    assert {feature.name for feature in shown[Role.ANNOTATOR].features} == {"count_1d"}
    assert shown[Role.ANNOTATOR].HasField("key")
    assert not shown[Role.PROGRAM].HasField("key")
    assert {feature.name for feature in shown[Role.PROGRAM].features} == {"amount", "sum_1d", "ratio", "count_1d"}


def test_no_response_to_a_role_holds_what_it_may_not_see(seats: dict[Role, Seat]) -> None:
    task = one(seats[Role.REVIEWER])
    answer = pb.Annotation(event_id=task.case.event_id, lease_token=task.lease_token, label="fraud")
    seats[Role.REVIEWER].ask("SubmitLabels", pb.SubmitLabelsRequest(annotations=[answer]))
    program = seats[Role.PROGRAM]
    for method, request in (
        ("LeaseTasks", pb.LeaseTasksRequest(max_tasks=2)),
        ("LeaseTasks", pb.LeaseTasksRequest(max_tasks=2, details=pb.GetCaseRequest(columns=True), progress=True)),
        ("GetCase", pb.GetCaseRequest(event_id=task.case.event_id, columns=True)),
        ("ListCases", pb.ListCasesRequest()),
        ("GetCase", pb.GetCaseRequest(event_id=task.case.event_id)),
        ("Stats", pb.StatsRequest()),
        ("ListPipelines", admin_pb2.ListPipelinesRequest()),
    ):
        response = program.ask(method, request)
        assert PRIVATE_NAME not in str(response), method
    exported = [
        line for response in program.ask("ExportLabels", admin_pb2.ExportLabelsRequest()) for line in response.labels
    ]
    (label,) = (decode(Label, line) for line in exported)
    assert (label.key, label.features["amount"]) == (None, PRIVATE_AMOUNT)
    watch = program.ask("Watch", pb.WatchRequest())
    assert PRIVATE_NAME not in str(next(watch))
    watch.cancel()


def test_a_hidden_column_of_the_history_is_hidden_wherever_the_history_is(seats: dict[Role, Seat]) -> None:
    asked = pb.GetCaseRequest(columns=True)
    response = seats[Role.ANNOTATOR].ask("LeaseTasks", pb.LeaseTasksRequest(max_tasks=6, details=asked))
    columns = [column.name for told in response.details for column in told.history_columns.features]
    assert set(columns) == {"count_1d"}
    assert str(PRIVATE_AMOUNT) not in str(response)


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("ListCases", pb.ListCasesRequest(key="x")),
        ("ListCases", pb.ListCasesRequest(segments=["W1"])),
        ("LeaseTasks", pb.LeaseTasksRequest(segments=["W1"])),
    ],
    ids=["by key", "by segment", "by segment, to lease"],
)
def test_a_role_may_not_search_for_what_it_may_not_see(seats: dict[Role, Seat], method: str, asked: Message) -> None:
    assert refused(seats[Role.PROGRAM], method, asked) is grpc.StatusCode.PERMISSION_DENIED


def refused(seat: Seat, method: str, asked: Message) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        seat.ask(method, asked)
    error: Any = caught.value
    code: grpc.StatusCode = error.code()
    return code


def test_the_log_holds_no_column_no_comment_and_no_secret(
    seats: dict[Role, Seat], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    comment = "a word about somebody"
    task = one(seats[Role.REVIEWER])
    lease = pb.Lease(event_id=task.case.event_id, lease_token=task.lease_token)
    reviewer, admin = seats[Role.REVIEWER], seats[Role.ADMIN]
    answer = pb.Annotation(event_id=lease.event_id, lease_token=lease.lease_token, label="fraud", comment=comment)
    (result,) = reviewer.ask("SubmitLabels", pb.SubmitLabelsRequest(annotations=[answer])).results
    reviewer.ask(
        "AmendLabel", pb.AmendLabelRequest(annotation_id=result.annotation_id, label="genuine", comment=comment)
    )
    said = pb.AddCommentRequest(event_id=task.case.event_id, text=comment, idempotency_key="k")
    reviewer.ask("AddComment", said)
    admin.ask("PauseQueue", admin_pb2.PauseQueueRequest(why=comment))
    admin.ask("ResumeQueue", admin_pb2.ResumeQueueRequest())
    admin.ask("RequeueCases", admin_pb2.RequeueCasesRequest(event_ids=[task.case.event_id], why=comment))
    admin.ask("ListCases", pb.ListCasesRequest())
    list(admin.ask("ExportLabels", admin_pb2.ExportLabelsRequest()))
    unclassed = pb.Annotation(event_id=lease.event_id, lease_token=lease.lease_token, label=PRIVATE_NAME)
    refused(admin, "SubmitLabels", pb.SubmitLabelsRequest(annotations=[unclassed]))
    refused(reviewer, "Skip", pb.SkipRequest(lease=lease, reason=comment))
    refused(reviewer, "PauseQueue", admin_pb2.PauseQueueRequest(why=comment))
    text = caplog.text
    assert "audit" in text
    for seat in seats.values():
        assert seat.metadata[0][1].removeprefix("Bearer ") not in text
    for private in (PRIVATE_NAME, str(PRIVATE_AMOUNT), comment, task.lease_token):
        assert private not in text


def test_what_is_hidden_does_not_follow_from_what_is_seen_of_the_models_reasons() -> None:
    found = masks(hiding())
    assert not found[Role.ANNOTATOR].explained
    response = pb.GetCaseResponse(base_score=-1.5, contributions_model="v1")
    for name, part in (("count_1d", 0.25), ("ratio", -0.5)):
        response.contributions.add(name=name, value=1.0, contribution=part)
    response.similar.add(event_id="e", label="fraud", distance=0.75)
    response.record.case.probabilities.extend([0.4, 0.6])
    seen = pb.GetCaseResponse()
    seen.CopyFrom(response)
    found[Role.ANNOTATOR].message(seen)
    assert (seen.base_score, seen.contributions_model, len(seen.contributions)) == (0.0, "", 0)
    assert (seen.similar[0].distance, seen.similar[0].label) == (0.0, "fraud")
    assert list(seen.record.case.probabilities) == [0.4, 0.6]
    text = (TEXT + '[labeling.hidden]\nname = ["viewer"]\n').replace("NAME", "pay")
    harmless = masks(Pipeline.model_validate(tomllib.loads(text)))
    seen.CopyFrom(response)
    harmless[Role.VIEWER].message(seen)
    assert not seen.contributions, "features that the pipeline does not have: they may be of what is hidden"
    del response.contributions[:]
    response.contributions.add(name="amount", value=1.0, contribution=0.5)
    seen.CopyFrom(response)
    harmless[Role.VIEWER].message(seen)
    assert seen == response

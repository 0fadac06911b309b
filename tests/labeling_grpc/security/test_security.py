from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from labeling import PIPELINE, SOURCE, MovedClock, arrivals, candidate, pipeline
from typer.testing import CliRunner

from labeling_grpc.client import AsyncLabelingClient, LabelingClient, UnreachableError
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.options import Options, is_loopback
from labeling_grpc.security.roles import MATRIX, SERVICES, Role, Scope, check_matrix
from labeling_grpc.security.tokens import TokenError, TokenStore, digest
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.v1 import admin_pb2, admin_pb2_grpc, labeling_pb2_grpc
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.cli.app import app
from tidemark.errors import ConfigError
from tidemark.runtime.settings import Settings

DAY = 86_400_000_000
SECRET = "tdm_x"  # noqa: S105 - of no service
_number = itertools.count()


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def store(tmp_path: Path, clock: MovedClock) -> Iterator[TokenStore]:
    opened = sqlite_tokens(tmp_path / "tokens.db", clock.wall)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[LabelingServer]:
    with serve(pipeline("pay"), Settings(state_dir=folder).at("127.0.0.1:9"), options=Options(tokens=True)) as running:
        yield running


@pytest.fixture(scope="module")
def issued(folder: Path, server: LabelingServer) -> dict[tuple[Role, str], str]:
    assert server.pipeline == "pay"
    made = sqlite_tokens(folder / "pipelines" / "pay" / "labeling.db")
    return {(role, who): made.create(role, who, DAY).secret for role in Role for who in ("ada", "ben")}


def lease_of(server: LabelingServer, who: str, secret: str) -> pb.Lease:
    """A fresh case, leased by an administrator in the name of `who`."""
    start = server.store.position("intake", SOURCE)
    offset = start or 0
    server._writer.call(TakeIn(SOURCE, start, offset + 1, arrivals([candidate(next(_number))], offset)))
    with LabelingClient(server.address, who, token=secret) as client:
        (task,) = client.lease()
    return pb.Lease(event_id=task.event_id, lease_token=task.token)


def request(method: str, lease: pb.Lease, annotator: str) -> Any:  # noqa: ANN401 - the method's request
    """A request of `annotator`'s, about their lease or case."""
    answer = pb.Annotation(event_id=lease.event_id, lease_token=lease.lease_token, label="fraud")
    known = {"annotator": "ada", "text": "look at it", "idempotency_key": lease.lease_token or "k"}
    requests: dict[str, Any] = {
        "LeaseTasks": pb.LeaseTasksRequest(annotator=annotator),
        "RenewLease": pb.RenewLeaseRequest(leases=[lease]),
        "SubmitLabels": pb.SubmitLabelsRequest(annotations=[answer]),
        "Skip": pb.SkipRequest(lease=lease),
        "Escalate": pb.EscalateRequest(lease=lease, reason="hard"),
        "AddComment": pb.AddCommentRequest(event_id=lease.event_id, **known),
        "GetCase": pb.GetCaseRequest(event_id=lease.event_id),
        "ListCases": pb.ListCasesRequest(),
        "GetProgress": pb.GetProgressRequest(annotator=annotator),
        "AmendLabel": pb.AmendLabelRequest(annotation_id=lease.event_id, annotator="ada", label="genuine"),
        "Release": pb.ReleaseRequest(leases=[lease]),
        "Stats": pb.StatsRequest(),
        "Watch": pb.WatchRequest(),
        "ListPipelines": admin_pb2.ListPipelinesRequest(),
        "ListAnnotators": admin_pb2.ListAnnotatorsRequest(),
        "UpdateAnnotator": admin_pb2.UpdateAnnotatorRequest(name="eve", quota=5),
        "AssignCases": admin_pb2.AssignCasesRequest(event_ids=[lease.event_id], why="a look"),
        "PauseQueue": admin_pb2.PauseQueueRequest(why="a look"),
        "ResumeQueue": admin_pb2.ResumeQueueRequest(),
        "RequeueCases": admin_pb2.RequeueCasesRequest(event_ids=[lease.event_id], why="a look"),
        "ExpireCases": admin_pb2.ExpireCasesRequest(event_ids=[lease.event_id], why="a look"),
        "ExportLabels": admin_pb2.ExportLabelsRequest(),
        "ImportLabels": admin_pb2.ImportLabelsRequest(
            labels=[admin_pb2.ImportedLabel(event_id=lease.event_id, label="fraud")]
        ),
        "AddGold": admin_pb2.AddGoldRequest(answers=[admin_pb2.GoldAnswer(event_id=lease.event_id, label="fraud")]),
        "ListGold": admin_pb2.ListGoldRequest(),
        "RemoveGold": admin_pb2.RemoveGoldRequest(event_id=lease.event_id),
        "ListAudit": admin_pb2.ListAuditRequest(),
    }
    return requests[method] if method in requests else GetMessageClass(METHODS[method].input_type)()


def answered(server: LabelingServer, lease: pb.Lease, secret: str) -> str:
    answer = pb.Annotation(event_id=lease.event_id, lease_token=lease.lease_token, label="fraud")
    with grpc.insecure_channel(server.address) as channel:
        submitted = labeling_pb2_grpc.LabelingServiceStub(channel).SubmitLabels(
            pb.SubmitLabelsRequest(annotations=[answer]), metadata=(("authorization", f"Bearer {secret}"),), timeout=10
        )
    return submitted.results[0].annotation_id


METHODS = {method.name: method for service in SERVICES for method in service.methods}


def outcome(server: LabelingServer, method: str, message: Any, secret: str) -> grpc.StatusCode:  # noqa: ANN401
    metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
    path = f"/{METHODS[method].containing_service.full_name}/{method}"
    with grpc.insecure_channel(server.address) as channel:
        try:
            if METHODS[method].server_streaming:
                call: Any = channel.unary_stream(path, None, None)(
                    message.SerializeToString(), metadata=metadata, timeout=10
                )
                next(call, None)
                call.cancel()
            else:
                channel.unary_unary(path, None, None)(message.SerializeToString(), metadata=metadata, timeout=10)
        except grpc.RpcError as error:
            refused: Any = error
            return refused.code()  # type: ignore[no-any-return]
    return grpc.StatusCode.OK


OBJECTS = {"LeaseTasks", "RenewLease", "SubmitLabels", "Skip", "Escalate", "AddComment", "GetCase", "GetProgress"}
OBJECTS |= {"AmendLabel", "Release"}
"""Calls that are about somebody's lease, answer, case or figures."""


@pytest.mark.parametrize("whose", ["ada", "ben"])
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("method", list(MATRIX))
def test_each_role_may_do_what_the_table_says_and_no_more(
    server: LabelingServer, issued: dict[tuple[Role, str], str], method: str, role: Role, whose: str
) -> None:
    scope = MATRIX[method][role]
    lease = lease_of(server, whose, issued[Role.ADMIN, "ada"]) if method in OBJECTS else pb.Lease(event_id="e")
    if method == "AmendLabel":  # names the annotation in the place of the event
        lease = pb.Lease(event_id=answered(server, lease, issued[Role.ADMIN, "ada"]))
    allowed = scope is Scope.ANY or (scope is Scope.OWN and whose == "ada")
    found = outcome(server, method, request(method, lease, whose), issued[role, "ada"])
    if method == "PauseQueue" and allowed:
        resumed = outcome(server, "ResumeQueue", admin_pb2.ResumeQueueRequest(), issued[Role.ADMIN, "ada"])
        assert resumed is grpc.StatusCode.OK
    done = grpc.StatusCode.NOT_FOUND if method == "RemoveGold" else grpc.StatusCode.OK  # there is no gold case
    assert found is (done if allowed else grpc.StatusCode.PERMISSION_DENIED)


@pytest.mark.parametrize("method", list(MATRIX))
@pytest.mark.parametrize("secret", ["", "tdm_guess"])
def test_a_call_without_a_valid_token_is_refused(server: LabelingServer, method: str, secret: str) -> None:
    assert outcome(server, method, request(method, pb.Lease(), "ada"), secret) is grpc.StatusCode.UNAUTHENTICATED


def test_a_revoked_token_is_refused_from_the_next_call_on(server: LabelingServer, folder: Path) -> None:
    made = sqlite_tokens(folder / "pipelines" / "pay" / "labeling.db")
    one = made.create(Role.VIEWER, "eve", DAY)
    with LabelingClient(server.address, "eve", token=one.secret, patience=0) as client:
        assert client.stats().pipeline == "pay"
        made.revoke(one.token.id)
        with pytest.raises(RefusedError) as caught:
            client.stats()
    assert caught.value.reason is Reason.UNAUTHENTICATED


def test_a_lease_token_that_was_used_is_still_its_holders_alone(
    server: LabelingServer, issued: dict[tuple[Role, str], str]
) -> None:
    lease = lease_of(server, "ada", issued[Role.ADMIN, "ada"])
    answer = request("SubmitLabels", lease, "ada")
    assert outcome(server, "SubmitLabels", answer, issued[Role.ANNOTATOR, "ada"]) is grpc.StatusCode.OK
    assert outcome(server, "SubmitLabels", answer, issued[Role.ANNOTATOR, "ben"]) is grpc.StatusCode.PERMISSION_DENIED


def test_a_call_without_a_row_in_the_table_keeps_the_service_from_starting() -> None:
    check_matrix(MATRIX)
    with pytest.raises(ConfigError, match="Skip"):
        check_matrix({method: row for method, row in MATRIX.items() if method != "Skip"})
    with pytest.raises(ConfigError, match="Watch"):
        check_matrix(MATRIX | {"Watch": {Role.ADMIN: Scope.ANY}})
    with pytest.raises(ConfigError, match="ExchangeToken"):
        check_matrix(MATRIX | {"ExchangeToken": dict.fromkeys(Role, Scope.ANY)})


def test_a_token_ends_with_its_time(store: TokenStore, clock: MovedClock) -> None:
    made = store.create(Role.ANNOTATOR, "ada", DAY)
    clock.time += DAY - 1
    assert store.find(made.secret) == made.token
    clock.time += 1
    assert store.find(made.secret) is None


def test_two_tokens_are_valid_while_one_takes_over_from_the_other(store: TokenStore, clock: MovedClock) -> None:
    old = store.create(Role.PROGRAM, "bot", 90 * DAY)
    new = store.rotate(old.token.id, 90 * DAY, DAY)
    assert (new.token.role, new.token.annotator) == (Role.PROGRAM, "bot")
    assert store.find(old.secret) is not None
    assert store.find(new.secret) is not None
    clock.time += DAY
    assert store.find(old.secret) is None
    assert store.find(new.secret) is not None
    with pytest.raises(TokenError, match="no valid token"):
        store.rotate(old.token.id, DAY, DAY)


def test_the_database_holds_no_secret(store: TokenStore, tmp_path: Path) -> None:
    made = store.create(Role.ADMIN, "ada", DAY)
    with sqlite3.connect(tmp_path / "tokens.db") as connection:
        rows = connection.execute("SELECT * FROM access_tokens").fetchall()
    connection.close()
    assert digest(made.secret) in rows[0]
    assert made.secret not in repr(rows)
    assert len(made.secret) >= 43


@pytest.mark.parametrize(("who", "lifetime"), [("", DAY), ("a\u200bda", DAY), ("ada", 0)])
def test_a_token_that_makes_no_sense_is_not_made(store: TokenStore, who: str, lifetime: int) -> None:
    with pytest.raises(TokenError):
        store.create(Role.ADMIN, who, lifetime)
    assert store.all() == []


def test_another_address_than_loopback_needs_tokens() -> None:
    far = {"TIDEMARK_LABELING_ADDRESS": "0.0.0.0:50051"}
    with pytest.raises(ConfigError, match="neither tokens nor TLS"):
        Options.from_environment(far)
    assert Options.from_environment(far | {"TIDEMARK_LABELING_TOKENS": "on"}).address == "0.0.0.0:50051"


@pytest.mark.parametrize("who", ["consensus", "Consensus", " con sensus", "\uff43onsensus"])
def test_nobody_is_called_as_verdicts_are(server: LabelingServer, store: TokenStore, who: str) -> None:
    with pytest.raises(TokenError, match="take another"):
        store.create(Role.ANNOTATOR, who, DAY)
    assert store.all() == []
    made = TokenStore(server.store.engine)
    root = made.create(Role.ADMIN, "root", DAY).secret
    lease = lease_of(server, "ada", root)
    for method, message in (
        ("LeaseTasks", pb.LeaseTasksRequest(annotator=who)),
        ("AddComment", pb.AddCommentRequest(event_id=lease.event_id, annotator=who, text="x", idempotency_key="k")),
        ("AmendLabel", pb.AmendLabelRequest(annotation_id="x", annotator=who, label="fraud")),
        ("UpdateAnnotator", admin_pb2.UpdateAnnotatorRequest(name=who, quota=1)),
    ):
        assert outcome(server, method, message, root) is grpc.StatusCode.INVALID_ARGUMENT, method


def test_a_program_imports_no_answer_in_the_name_of_another(
    server: LabelingServer, issued: dict[tuple[Role, str], str]
) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub: Any = admin_pb2_grpc.LabelingAdminServiceStub(channel)

        def imported(role: Role, annotator: str) -> RefusedError | None:
            lease = lease_of(server, "eve", issued[Role.ADMIN, "ada"])
            label = admin_pb2.ImportedLabel(event_id=lease.event_id, label="fraud", annotator=annotator)
            metadata = (("authorization", f"Bearer {issued[role, 'ada']}"),)
            (result,) = stub.ImportLabels(admin_pb2.ImportLabelsRequest(labels=[label]), metadata=metadata).results
            return RefusedError.of(result.error)

        for annotator in ("ben", "Ada", "consensus"):
            refused = imported(Role.PROGRAM, annotator)
            assert refused is not None
            assert refused.reason is Reason.FORBIDDEN
        for annotator in ("", "ada", "import"):
            assert imported(Role.PROGRAM, annotator) is None
        assert imported(Role.ADMIN, "ben") is None


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:5", True),
        ("127.8.9.1:5", True),
        ("localhost:5", True),
        ("[::1]:5", True),
        ("unix:/run/x", True),
        ("unix:///run/x", True),
        ("ipv4:127.0.0.1:5", True),
        ("dns:///localhost:5", True),
        ("192.0.2.1:5", False),
        ("0.0.0.0:5", False),
        ("[2001:db8::1]:5", False),
        ("labels.example:5", False),
        ("dns:///labels.example:5", False),
        ("localhost.example:5", False),
        ("127.0.0.1.example:5", False),
        ("ipv4:192.0.2.1:5", False),
        ("", False),
    ],
)
def test_a_token_goes_to_another_machine_by_tls_alone(
    address: str, local: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert is_loopback(address) is local
    if local:
        return
    client = LabelingClient(address, "ada", token=SECRET, patience=0, timeout=0.1)
    with client, pytest.raises(ConfigError, match="could be read on the way"):
        client.stats()
    asking = AsyncLabelingClient(address, "ada", token=SECRET, patience=0, timeout=0.1)
    with pytest.raises(ConfigError, match="could be read on the way"):
        asyncio.run(asking.stats())
    monkeypatch.setenv("TIDEMARK_LABELING_TOKEN_IN_THE_CLEAR", "on")
    exposed = LabelingClient("labels.invalid:5", "ada", token=SECRET, patience=0, timeout=0.1)
    with exposed, pytest.raises(UnreachableError):
        exposed.stats()
    assert "in the clear" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("secret", ["tdm_\u00e9", "tdm_\n", "tdm_\x00"])
def test_a_token_with_a_stray_character_is_refused_before_it_is_sent(secret: str) -> None:
    with pytest.raises(ConfigError, match="copy it anew") as caught:
        LabelingClient("127.0.0.1:5", "ada", token=secret)
    assert secret not in str(caught.value)


def test_tokens_at_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in Settings(state_dir=tmp_path).environment().items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "pay.toml"
    file.write_text(PIPELINE.replace("NAME", "pay"))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["token", arguments[0], str(file), *arguments[1:]])
        assert result.exit_code == 0, result.output
        return result.output

    secret = run("create", "--as", "ada").split()[-1]
    made = sqlite_tokens(tmp_path / "pipelines" / "pay" / "labeling.db")
    token = made.find(secret)
    assert token is not None
    assert (token.role, token.annotator) == (Role.ANNOTATOR, "ada")
    successor = run("rotate", token.id).split()[-1]
    assert made.find(successor) is not None
    assert made.find(secret) is not None
    at_once = run("rotate", token.id, "--overlap", "0s").split()[-1]
    assert made.find(at_once) is not None
    assert made.find(secret) is None
    run("revoke", token.id)
    assert made.find(secret) is None
    listed = run("list")
    assert "revoked" in listed
    assert secret not in listed
    wrong = CliRunner().invoke(app, ["token", "revoke", str(file), "nothing"])
    assert wrong.exit_code == 1

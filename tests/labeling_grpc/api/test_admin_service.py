from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from labeling import SOURCE, arrivals, candidate, pipeline

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.client import AsyncLabelingClient, LabelingClient, Submitted, admin_messages
from labeling_grpc.client.admin_messages import AdminCalls
from labeling_grpc.client.administration import AsyncLabelingAdminClient, Changed, Imported, LabelingAdminClient
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.options import Options
from labeling_grpc.queue import queries
from labeling_grpc.security import audit as trail
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.tables.schema import audit
from labeling_grpc.v1 import admin_pb2, admin_pb2_grpc, labeling_pb2_grpc
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.errors import LabelingError
from tidemark.records import Label, decode
from tidemark.runtime.settings import Settings

CASES = 12
_number = itertools.count()


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[LabelingServer]:
    name = f"served{next(_number)}"
    database = postgres.url if request.param == "postgres" else None
    settings = Settings(state_dir=tmp_path).at("127.0.0.1:9")
    with serve(pipeline(name), settings, options=Options(reflection=True), database=database) as running:
        asked = [candidate(n, explore=n % 4 == 0) for n in range(CASES)]
        running._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        yield running


@pytest.fixture
def channel(server: LabelingServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as opened:
        yield opened


@pytest.fixture
def queue(channel: grpc.Channel) -> labeling_pb2_grpc.LabelingServiceStub:
    return labeling_pb2_grpc.LabelingServiceStub(channel)


@pytest.fixture
def admin(channel: grpc.Channel) -> admin_pb2_grpc.LabelingAdminServiceStub:
    return admin_pb2_grpc.LabelingAdminServiceStub(channel)


def refusal(call: Callable[[], object]) -> RefusedError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    found = RefusedError.of(rpc_status.from_call(error))
    assert found is not None, error
    return found


def answered(queue: labeling_pb2_grpc.LabelingServiceStub, who: str, most: int, label: str = "fraud") -> list[str]:
    """Event ids of cases that `who` answered."""
    tasks = queue.LeaseTasks(pb.LeaseTasksRequest(annotator=who, max_tasks=most)).tasks
    queue.SubmitLabels(
        pb.SubmitLabelsRequest(
            annotations=[
                pb.Annotation(event_id=task.case.event_id, lease_token=task.lease_token, label=label) for task in tasks
            ]
        )
    )
    return [task.case.event_id for task in tasks]


def pages(call: Callable[[str], Any], field: str) -> list[Any]:
    """What a list gives, page by page."""
    found, token = [], ""
    for _ in range(100):
        response = call(token)
        found += list(getattr(response, field))
        token = response.next_page_token
        if not token:
            return found
    raise AssertionError("the list does not end")


def test_both_services_are_told_by_reflection_and_health(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "labeling_grpc.v1.LabelingService", "labeling_grpc.v1.LabelingAdminService"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING


def test_cases_are_listed_in_the_order_in_which_they_came_whatever_happens_meanwhile(
    queue: labeling_pb2_grpc.LabelingServiceStub,
) -> None:
    def page(token: str) -> Any:  # noqa: ANN401 - the response
        answered(queue, "ada", 1)
        return queue.ListCases(pb.ListCasesRequest(page_size=5, page_token=token))

    listed = [record.case.event_id for record in pages(page, "records")]
    assert listed == [candidate(n).event_id for n in range(CASES)]


def test_cases_are_listed_backwards_from_what_came_last(queue: labeling_pb2_grpc.LabelingServiceStub) -> None:
    done = set(answered(queue, "ada", 3))

    def listed(**over: Any) -> list[str]:  # noqa: ANN401 - fields of the request
        asked = {"page_size": 2, "newest_first": True} | over
        found = pages(lambda token: queue.ListCases(pb.ListCasesRequest(page_token=token, **asked)), "records")
        return [record.case.event_id for record in found]

    backwards = [candidate(n).event_id for n in reversed(range(CASES))]
    assert listed() == backwards
    assert listed(states=[pb.CASE_STATE_ANSWERED]) == [event for event in backwards if event in done]
    forwards = queue.ListCases(pb.ListCasesRequest(page_size=2)).next_page_token
    with pytest.raises(grpc.RpcError, match="page_token"):
        queue.ListCases(pb.ListCasesRequest(page_size=2, newest_first=True, page_token=forwards))


def test_cases_are_filtered_by_state_and_entity(queue: labeling_pb2_grpc.LabelingServiceStub) -> None:
    done = set(answered(queue, "ada", 3))
    (held,) = queue.LeaseTasks(pb.LeaseTasksRequest(annotator="ben")).tasks

    def listed(**over: Any) -> list[pb.CaseRecord]:  # noqa: ANN401 - fields of the request
        return pages(
            lambda token: queue.ListCases(pb.ListCasesRequest(page_size=2, page_token=token, **over)), "records"
        )

    by_answer = listed(states=[pb.CASE_STATE_ANSWERED])
    assert {record.case.event_id for record in by_answer} == done
    assert {(record.label, record.answers) for record in by_answer} == {("fraud", 1)}
    (leased,) = listed(states=[pb.CASE_STATE_LEASED])
    assert (leased.case.event_id, leased.annotator) == (held.case.event_id, "ben")
    assert len(listed(states=[pb.CASE_STATE_WAITING])) == CASES - 4
    both = listed(states=[pb.CASE_STATE_ANSWERED, pb.CASE_STATE_WAITING])
    assert len(both) == CASES - 1
    assert {record.case.key for record in listed(key="C3")} == {"C3"}
    assert listed(review=True) == []


def test_a_page_has_no_more_than_a_response_can_hold(
    queue: labeling_pb2_grpc.LabelingServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_CASES", 100)
    first = queue.ListCases(pb.ListCasesRequest(page_size=50))
    assert len(first.records) == 1
    assert first.next_page_token
    listed = pages(lambda token: queue.ListCases(pb.ListCasesRequest(page_size=50, page_token=token)), "records")
    assert len(listed) == CASES


def test_a_search_through_many_cases_goes_on_with_the_next_page(
    queue: labeling_pb2_grpc.LabelingServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_SCANNED", 3)
    asked = pb.ListCasesRequest(segments=["none of them"])
    first = queue.ListCases(asked)
    assert (list(first.records), first.next_page_token != "") == ([], True)


@pytest.mark.parametrize("wrong", ["x", "!!!!", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAA==", "ü", "\x00"])
def test_a_page_token_that_was_not_given_is_refused(
    queue: labeling_pb2_grpc.LabelingServiceStub, admin: admin_pb2_grpc.LabelingAdminServiceStub, wrong: str
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: queue.ListCases(pb.ListCasesRequest(page_token=wrong)),
        lambda: admin.ListAnnotators(admin_pb2.ListAnnotatorsRequest(page_token=wrong)),
        lambda: admin.ListAudit(admin_pb2.ListAuditRequest(page_token=wrong)),
    ]
    for call in calls:
        found = refusal(call)
        assert (found.reason, found.field) == (Reason.INVALID_FIELD, "page_token")


def test_a_page_token_is_of_one_query_alone(queue: labeling_pb2_grpc.LabelingServiceStub) -> None:
    token = queue.ListCases(pb.ListCasesRequest(page_size=2)).next_page_token
    assert queue.ListCases(pb.ListCasesRequest(page_size=5, page_token=token)).records, "the size may change"
    found = refusal(lambda: queue.ListCases(pb.ListCasesRequest(page_token=token, key="C1")))
    assert (found.reason, found.field) == (Reason.INVALID_FIELD, "page_token")
    changed = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    assert refusal(lambda: queue.ListCases(pb.ListCasesRequest(page_token=changed))).field == "page_token"
    assert refusal(lambda: queue.ListCases(pb.ListCasesRequest(page_size=501))).field == "page_size"


def test_progress_tells_today_and_what_is_left(
    queue: labeling_pb2_grpc.LabelingServiceStub, admin: admin_pb2_grpc.LabelingAdminServiceStub
) -> None:
    answered(queue, "ada", 2)
    (task, kept) = queue.LeaseTasks(pb.LeaseTasksRequest(annotator="ada", max_tasks=2)).tasks
    queue.Skip(pb.SkipRequest(lease=pb.Lease(event_id=task.case.event_id, lease_token=task.lease_token)))
    admin.UpdateAnnotator(admin_pb2.UpdateAnnotatorRequest(name="ada", quota=20))
    found = queue.GetProgress(pb.GetProgressRequest(annotator="ada")).progress
    numbers = (found.answered_today, found.skipped_today, found.answered, found.leased, found.waiting, found.quota)
    assert numbers == (2, 1, 2, 1, CASES - 4, 20)
    assert kept.lease_token
    nobody = refusal(lambda: queue.GetProgress(pb.GetProgressRequest(annotator="nobody")))
    assert nobody.reason is Reason.UNKNOWN_ANNOTATOR
    assert refusal(lambda: queue.GetProgress(pb.GetProgressRequest())).field == "annotator"


def test_annotators_are_listed_by_name_whether_they_answered_or_were_only_made_known(
    queue: labeling_pb2_grpc.LabelingServiceStub, admin: admin_pb2_grpc.LabelingAdminServiceStub
) -> None:
    for who in ("cyd", "ada", "ben"):
        answered(queue, who, 1)
    admin.UpdateAnnotator(
        admin_pb2.UpdateAnnotatorRequest(
            name="bob",
            state=admin_pb2.ANNOTATOR_STATE_PAUSED,
            why="on leave",
            skills=admin_pb2.SkillSet(skills=["card"]),
        )
    )

    def page(token: str) -> admin_pb2.ListAnnotatorsResponse:
        return admin.ListAnnotators(admin_pb2.ListAnnotatorsRequest(page_size=2, page_token=token))

    found = pages(page, "annotators")
    assert [its.name for its in found] == ["ada", "ben", "bob", "cyd"]
    assert [its.any_skill for its in found] == [True, True, False, True]
    bob = found[2]
    assert (bob.state, bob.why, list(bob.skills)) == (admin_pb2.ANNOTATOR_STATE_PAUSED, "on leave", ["card"])


def test_labels_are_exported_in_their_order_each_once(
    queue: labeling_pb2_grpc.LabelingServiceStub,
    admin: admin_pb2_grpc.LabelingAdminServiceStub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queries, "_READ_AHEAD", 2)
    order = [event for who in ("ada", "ben", "ada", "cyd", "ada") for event in answered(queue, who, 1)]
    first = json.loads(exported(admin)[0])
    again = pb.AmendLabelRequest(annotation_id=first["annotation_id"], annotator="ben", label="genuine")
    queue.AmendLabel(again)
    queue.AddComment(pb.AddCommentRequest(event_id=order[0], annotator="ben", text="look", idempotency_key="k"))
    labels = [decode(Label, line) for line in exported(admin)]
    assert [label.event_id for label in labels] == [*order, first["event_id"], order[0]]
    assert [label.status for label in labels[-2:]] == ["answered", "commented"]
    asked = {candidate(n).event_id: candidate(n, explore=n % 4 == 0) for n in range(CASES)}
    for label in labels:
        assert (label.features, label.inclusion_probability) == (
            asked[label.event_id].features,
            asked[label.event_id].inclusion_probability,
        )
    verdicts = [decode(Label, line) for line in exported(admin, verdicts=True)]
    assert sorted(label.event_id for label in verdicts) == sorted(order)
    (amended,) = (label for label in verdicts if label.event_id == first["event_id"])
    assert (amended.label, amended.supersedes) == ("genuine", first["annotation_id"])


@pytest.mark.parametrize("told_before", [False, True])
def test_an_event_that_is_amended_while_labels_are_exported_is_told_once(
    server: LabelingServer,
    queue: labeling_pb2_grpc.LabelingServiceStub,
    monkeypatch: pytest.MonkeyPatch,
    *,
    told_before: bool,
) -> None:
    monkeypatch.setattr(queries, "_TOLD", 2)
    monkeypatch.setattr(queries, "_READ_AHEAD", 2 if told_before else 20_000)
    answered(queue, "ada", 12 if told_before else 5)
    given = list(queries.labels(server.store.engine, verdicts=True))
    names = [label.event_id for label in given]
    going = queries.labels(server.store.engine, verdicts=True)
    told = [next(going)]
    amended = given[0 if told_before else -1].annotation_id or ""
    queue.AmendLabel(pb.AmendLabelRequest(annotation_id=amended, annotator="ada", label="genuine"))
    told += going
    assert [label.event_id for label in told] == names
    assert {label.label for label in told} == {"fraud"}


def exported(admin: admin_pb2_grpc.LabelingAdminServiceStub, *, verdicts: bool = False) -> list[bytes]:
    request = admin_pb2.ExportLabelsRequest(verdicts=verdicts)
    return [label for response in admin.ExportLabels(request) for label in response.labels]


def test_labels_of_known_and_of_new_events_are_taken_in_each_on_its_own(
    admin: admin_pb2_grpc.LabelingAdminServiceStub,
) -> None:
    case = pb.Case(key="C1", time_us=500, features=[pb.Feature(name="amount", value=4.5), pb.Feature(name="count_1d")])
    twice = pb.Case(time_us=500, features=[pb.Feature(name="amount", value=4.5), pb.Feature(name="amount", value=5)])
    sent = admin_pb2.ImportLabelsRequest(
        labels=[
            admin_pb2.ImportedLabel(event_id="new-1", label="fraud", known_at_us=900, case=case, confidence=0.75),
            admin_pb2.ImportedLabel(event_id=candidate(0).event_id, label="genuine", annotator="eve"),
            admin_pb2.ImportedLabel(event_id="new-2", label="fraud", case=case),
            admin_pb2.ImportedLabel(event_id="new-3", label="fraud"),
            admin_pb2.ImportedLabel(event_id="new-4", label="fraud", confidence=2.0),
            admin_pb2.ImportedLabel(event_id="new-5", label="fraud", known_at_us=900, case=twice),
        ]
    )
    results = admin.ImportLabels(sent).results
    refusals = [RefusedError.of(result.error) for result in results]
    assert [its and (its.reason, its.field) for its in refusals] == [
        None,
        None,
        (Reason.INVALID_FIELD, "known_at_us"),
        (Reason.UNKNOWN_CASE, ""),
        (Reason.INVALID_FIELD, "confidence"),
        (Reason.INVALID_FIELD, "case.features"),
    ]
    assert all(result.duplicate for result in admin.ImportLabels(sent).results[:2])
    labels = {label.event_id: label for label in (decode(Label, line) for line in exported(admin))}
    new, known = labels.pop("new-1"), labels.pop(candidate(0).event_id)
    assert not labels
    assert (new.key, new.time, new.features, new.confidence) == ("C1", 500, {"amount": 4.5, "count_1d": None}, 0.75)
    assert (known.event_id, known.label, known.annotator) == (candidate(0).event_id, "genuine", "eve")


def test_every_change_is_in_the_audit_trail_page_by_page(
    queue: labeling_pb2_grpc.LabelingServiceStub, admin: admin_pb2_grpc.LabelingAdminServiceStub
) -> None:
    (event,) = answered(queue, "ada", 1)
    admin.PauseQueue(admin_pb2.PauseQueueRequest(why="a look"))
    admin.ResumeQueue(admin_pb2.ResumeQueueRequest())
    admin.UpdateAnnotator(admin_pb2.UpdateAnnotatorRequest(name="ada", quota=3))
    (amendable,) = (json.loads(line)["annotation_id"] for line in exported(admin))
    queue.AmendLabel(pb.AmendLabelRequest(annotation_id=amendable, annotator="ben", retract=True))
    admin.RequeueCases(admin_pb2.RequeueCasesRequest(event_ids=[event], why="again"))
    admin.ExpireCases(admin_pb2.ExpireCasesRequest(event_ids=[event], why="no"))
    admin.ImportLabels(admin_pb2.ImportLabelsRequest(labels=[admin_pb2.ImportedLabel(event_id=event, label="fraud")]))

    def page(token: str) -> admin_pb2.ListAuditResponse:
        response = admin.ListAudit(admin_pb2.ListAuditRequest(page_size=3, page_token=token))
        assert response.broken == ""
        return response

    entries = pages(page, "entries")
    assert [entry.action for entry in entries] == [
        "PauseQueue",
        "ResumeQueue",
        "UpdateAnnotator",
        "ExportLabels",
        "AmendLabel",
        "RequeueCases",
        "ExpireCases",
        "ImportLabels",
    ]
    assert [entry.number for entry in entries] == list(range(1, 9))
    assert {entry.role for entry in entries} == {"admin"}
    assert json.loads(entries[5].detail) == {"why": "again", "cases": [event]}


def test_the_clients_of_the_administration_do_what_the_calls_do(server: LabelingServer) -> None:
    with LabelingClient(server.address, "ada") as work, LabelingAdminClient(server.address, "root") as admin:
        (task,) = work.lease()
        work.submit(task, "fraud")
        key = "said once"
        assert work.comment(task.event_id, "look", key=key) == work.comment(task.event_id, "look", key=key)
        listed = list(work.cases(states=["answered", "leased"], page=1))
        assert [(record.case.event_id, record.label) for record in listed] == [(task.event_id, "fraud")]
        assert len(list(work.cases(page=5))) == CASES
        assert work.progress().answered_today == 1
        assert admin.requeue([task.event_id, "nobody"], "again") == Changed(1, ("nobody",))
        (again,) = (case for case in work.lease(CASES) if case.event_id == task.event_id)
        assert [(comment.annotator, comment.text) for comment in again.comments] == [("ada", "look")]
        assert admin.update("ada", state="paused", why="on leave", skills=["card"], quota=7).skills == ("card",)
        (ada,) = admin.annotators()
        assert (ada.name, ada.state, ada.why, ada.quota) == ("ada", "paused", "on leave", 7)
        admin.update("ada", state="active", why="back", skills="any")
        admin.pause("a look")
        admin.resume()
        assert admin.expire([candidate(3).event_id], "no") == Changed(1, ())
        new = Imported("new", "fraud", "eve", known_at=900, time=500, features={"amount": 2.5, "count_1d": None})
        wrong, right = admin.import_labels([Imported("nobody", "fraud"), new])
        assert isinstance(wrong, RefusedError)
        assert isinstance(right, Submitted)
        (unsaid,) = admin.import_labels([Imported(candidate(4).event_id, "fraud", asked=True)])
        assert (unsaid.reason, unsaid.field) == (Reason.INVALID_FIELD, "asked")  # type: ignore[union-attr]  # a refusal
        exported = list(admin.export())
        (brought,) = (label for label in exported if label.event_id == "new")
        assert brought.features == {"amount": 2.5, "count_1d": None}
        assert len(exported) == 5
        assert [entry.number for entry in admin.audit(page=2)] == list(range(1, 9))
        assert [stats.pipeline for stats in admin.pipelines()] == [server.pipeline]
        with server.store.engine.begin() as connection:
            connection.execute(sa.update(audit).where(audit.c.number == 3).values(actor="mallory"))
        with pytest.raises(LabelingError, match="entry 3"):
            list(admin.audit())


def test_the_asyncio_clients_do_the_same(server: LabelingServer) -> None:
    async def work() -> None:
        async with (
            AsyncLabelingClient(server.address, "ada") as work,
            AsyncLabelingAdminClient(server.address, "root") as admin,
        ):
            (task,) = await work.lease()
            await work.submit(task, "fraud")
            await work.comment(task.event_id, "look")
            assert [record.label async for record in work.cases(states=["answered"], page=1)] == ["fraud"]
            assert (await work.progress()).answered == 1
            assert await admin.requeue([task.event_id], "again") == Changed(1, ())
            assert await admin.expire([task.event_id], "no") == Changed(1, ())
            await admin.update("ada", quota=3)
            assert [its.quota async for its in admin.annotators(page=1)] == [3]
            await admin.pause("a look")
            await admin.resume()
            (taken,) = await admin.import_labels([Imported(candidate(5).event_id, "fraud")])
            assert isinstance(taken, Submitted)
            assert len([label async for label in admin.export(verdicts=True)]) == 2
            assert [entry.action async for entry in admin.audit(page=3)][-1] == "ExportLabels"
            assert len(await admin.pipelines()) == 1

    asyncio.run(work())


def test_requests_of_many_are_parted(server: LabelingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_messages, "MOST", 2)
    with LabelingAdminClient(server.address, "root") as admin:
        events = [candidate(n).event_id for n in range(5)]
        assert [len(its.labels) for its in AdminCalls("").imports([Imported("e", "x")] * 5)] == [2, 2, 1]
        large = Imported("e", "x", known_at=1, time=1, features={f"f{n}": 0.5 for n in range(30_000)})
        assert [len(its.labels) for its in AdminCalls("").imports([large] * 5)] == [1] * 5
        assert len(admin.import_labels([Imported(event_id, "fraud") for event_id in events])) == 5
        assert admin.requeue([*events, "nobody"], "again") == Changed(5, ("nobody",))


def test_gold_cases_are_made_listed_and_ended(server: LabelingServer) -> None:
    with LabelingClient(server.address, "ada") as work, LabelingAdminClient(server.address, "root") as admin:
        closed = [task.event_id for task in work.lease(3)]
        admin.import_labels([Imported(event_id, "fraud") for event_id in closed])
        waiting = next(record.case.event_id for record in work.cases(states=["waiting"]))
        assert admin.add_gold([(event_id, "fraud") for event_id in [*closed, waiting]]) == Changed(3, (waiting,))
        with pytest.raises(RefusedError) as unclassed:
            admin.add_gold([(closed[0], "maybe")])
        assert unclassed.value.reason is Reason.UNKNOWN_CLASS
        assert [(its.event_id, its.right) for its in admin.gold(page=2)] == [(event, 0) for event in sorted(closed)]
        admin.remove_gold(closed[0])
        with pytest.raises(RefusedError) as gone:
            admin.remove_gold(closed[0])
        assert gone.value.reason is Reason.UNKNOWN_CASE
        assert len(list(admin.gold())) == 2
        assert [entry.action for entry in admin.audit()] == ["ImportLabels", "AddGold", "RemoveGold"]


def test_a_page_of_the_trail_has_no_more_than_a_response_can_hold(
    server: LabelingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "_MAX_BYTES", 100)
    monkeypatch.setattr(trail, "_CHUNK", 2)
    with LabelingAdminClient(server.address, "root") as admin:
        for _ in range(5):
            admin.expire(["nobody"], "w" * 200)
        assert [entry.number for entry in admin.audit(page=500)] == [1, 2, 3, 4, 5]


def test_annotators_are_listed_with_how_well_they_label(server: LabelingServer) -> None:
    with LabelingClient(server.address, "ada") as work, LabelingAdminClient(server.address, "root") as admin:
        for task in work.lease(2):
            work.submit(task, "fraud")
        work.skip(work.lease()[0])
        (ada,) = admin.annotators()
        assert (ada.quality.answered, ada.quality.skipped, ada.quality.gold_accuracy) == (2, 1, None)
